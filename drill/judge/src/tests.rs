//! Each promise, broken on purpose in a drill that is otherwise fine.

use super::*;
use crate::records::{Call, FAULTS, Form, Noted, Outcome, Record, STOP, Setting, Staged};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

/// The key's one process on `a`, then, from the tenth second on, the one on `b`: a call every
/// 100 ms, one after the other.
fn fine() -> Evidence {
    let (mut calls, mut nodes) = (Vec::new(), Vec::new());
    for (name, epoch, from) in [("a", 1, 0), ("b", 2, 10)] {
        let mut noted = Vec::new();
        for count in 1..=90 {
            let (call, at) = (epoch * 1_000 + count, from * SECOND + count * 100 * MS);
            let (key, incarnation) = ("k".to_owned(), 7);
            noted.push(began(call, epoch, at));
            let (ended, at) = (at + MS, at + 2 * MS);
            let key = key.clone();
            noted.push(Noted::Released { call, key, epoch, incarnation, count, ended, at });
            calls.push(Call {
                call,
                key: "k".to_owned(),
                node: "a".to_owned(),
                began: at - 3 * MS,
                ended: at + MS,
                outcome: Outcome::Ok { epoch, incarnation, count },
            });
        }
        nodes.push(NodeLog { name: name.to_owned(), noted });
    }
    let records = vec![
        Record::Session { id: "a1".to_owned() },
        shard(1, "a1"),
        Record::Session { id: "b1".to_owned() },
        Record::Gone { id: "a1".to_owned() },
        shard(2, "b1"),
    ];
    let setting = Setting {
        form: Form::Control,
        session_ms: 5_000,
        versions: Vec::new(),
        prefix: String::new(),
    };
    let staged = vec![Staged::Quiet { from: 10 * SECOND, until: 19 * SECOND }];
    Evidence { setting, calls, nodes, staged, records }
}

fn shard(epoch: u64, owner: &str) -> Record {
    Record::Shard { shard: "00001".to_owned(), epoch, owner: owner.to_owned() }
}

fn began(call: u64, epoch: u64, at: u64) -> Noted {
    Noted::Began { call, key: "k".to_owned(), epoch, incarnation: 7, at }
}

/// What is found, by kind, each once.
fn kinds(evidence: &Evidence) -> Vec<Kind> {
    let mut kinds: Vec<_> = judge(evidence).violations.into_iter().map(|it| it.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

fn call(evidence: &mut Evidence, id: u64) -> &mut Call {
    evidence.calls.iter_mut().find(|call| call.call == id).unwrap()
}

/// When the last thing that `a` had to say got out.
fn last_out(evidence: &mut Evidence) -> (&mut u64, &mut u64) {
    match evidence.nodes[0].noted.last_mut().unwrap() {
        Noted::Released { ended, at, .. } => (ended, at),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_drill_that_went_well_has_no_violation() {
    let verdict = judge(&fine());
    assert_eq!(verdict.violations, []);
    assert_eq!((verdict.tally.ok, verdict.tally.outputs, verdict.tally.keys), (180, 180, 1));
    // Its first reply since the tenth second.
    assert_eq!(verdict.tally.slowest_ms, 103);
    assert_eq!((verdict.tally.evictions, verdict.tally.claims, verdict.tally.moves), (1, 1, 0));
}

#[test]
fn an_output_after_the_next_owner_began_is_an_overlap() {
    let mut evidence = fine();
    let (ended, at) = last_out(&mut evidence);
    (*ended, *at) = (11 * SECOND, 11 * SECOND + MS);
    assert_eq!(kinds(&evidence), [Kind::Overlap]);
    // Also if user code was done long before: it was held and let go wrongly.
    *last_out(&mut evidence).0 = 9 * SECOND;
    assert_eq!(kinds(&evidence), [Kind::Overlap]);
}

#[test]
fn an_output_that_was_written_down_late_after_a_stop_is_none() {
    let mut evidence = fine();
    *last_out(&mut evidence).1 = 16 * SECOND;
    assert_eq!(kinds(&evidence), [Kind::Overlap]);
    let stop = Staged::Fault {
        kind: STOP.to_owned(),
        target: "a".to_owned(),
        began: 9_200 * MS,
        ended: 16 * SECOND - MS,
    };
    evidence.staged.push(stop);
    assert_eq!(kinds(&evidence), []);
    // What user code was done with only after the stop was decided after it.
    *last_out(&mut evidence).0 = 16 * SECOND - MS / 2;
    assert_eq!(kinds(&evidence), [Kind::Overlap]);
}

#[test]
fn a_handler_that_began_under_a_later_epoch_counts_whether_or_not_it_answered() {
    let mut evidence = fine();
    evidence.nodes[1].noted.push(began(9_999, 3, 5 * SECOND));
    assert_eq!(kinds(&evidence), [Kind::Overlap]);
}

#[test]
fn a_call_that_sees_an_epoch_that_is_over_goes_backward() {
    let mut evidence = fine();
    let late = call(&mut evidence, 1_090);
    (late.began, late.ended) = (12 * SECOND, 13 * SECOND);
    assert_eq!(kinds(&evidence), [Kind::Backward]);
    // One that had begun before may come back late.
    call(&mut evidence, 1_090).began = 9 * SECOND;
    assert_eq!(kinds(&evidence), []);
}

#[test]
fn a_count_that_goes_back_within_an_epoch_is_lost() {
    let mut evidence = fine();
    let (one, other) = (call(&mut evidence, 1_010).clone(), call(&mut evidence, 1_020).clone());
    *call(&mut evidence, 1_010) = Call { outcome: other.outcome, ..one.clone() };
    *call(&mut evidence, 1_020) = Call { outcome: one.outcome, ..other };
    assert!(kinds(&evidence).contains(&Kind::Lost));
}

#[test]
fn a_count_that_is_told_twice_is_lost() {
    let mut evidence = fine();
    let Noted::Released { count, .. } = &mut evidence.nodes[0].noted[19] else { panic!() };
    *count = 9;
    call(&mut evidence, 1_010).outcome = Outcome::Ok { epoch: 1, incarnation: 7, count: 9 };
    assert_eq!(kinds(&evidence), [Kind::Lost]);
}

#[test]
fn a_count_that_leaves_one_out_is_lost() {
    let mut evidence = fine();
    let noted = &mut evidence.nodes[0].noted;
    noted.retain(|it| !matches!(it, Noted::Released { count: 50, .. }));
    call(&mut evidence, 1_050).outcome = Outcome::Unknown { why: "cut".to_owned() };
    assert_eq!(kinds(&evidence), [Kind::Lost]);
}

#[test]
fn a_count_that_was_told_of_and_is_not_handed_over_is_lost() {
    for (count, from, found) in
        [(90, 1, vec![]), (91, 1, vec![]), (89, 1, vec![Kind::Lost]), (95, 0, vec![Kind::Lost])]
    {
        let mut evidence = fine();
        // What it has from before, and then goes on from there.
        for noted in &mut evidence.nodes[1].noted {
            if let Noted::Released { count: told, .. } = noted {
                *told += count;
            }
        }
        for call in evidence.calls.iter_mut().filter(|call| call.call > 2_000) {
            if let Outcome::Ok { count: told, .. } = &mut call.outcome {
                *told += count;
            }
        }
        let (key, incarnation, at) = ("k".to_owned(), 7, 10 * SECOND);
        let handed = Noted::Handed { key, epoch: 2, incarnation, from, count, at };
        evidence.nodes[1].noted.insert(0, handed);
        assert_eq!(kinds(&evidence), found, "{count} of {from}");
        // It goes on from no other count.
        evidence.nodes[1].noted.remove(0);
        assert_eq!(kinds(&evidence), [Kind::Lost]);
    }
}

#[test]
fn a_call_that_was_not_delivered_and_ran_is_a_wrong_outcome() {
    let mut evidence = fine();
    call(&mut evidence, 1_090).outcome = Outcome::NotDelivered { why: "late".to_owned() };
    assert_eq!(kinds(&evidence), [Kind::Outcome]);
    call(&mut evidence, 1_090).outcome = Outcome::Unknown { why: "late".to_owned() };
    assert_eq!(kinds(&evidence), []);
}

#[test]
fn a_call_that_ran_twice_is_a_wrong_outcome() {
    for unknown in [false, true] {
        let mut evidence = fine();
        if unknown {
            call(&mut evidence, 1_090).outcome = Outcome::Unknown { why: "cut".to_owned() };
        }
        evidence.nodes[1].noted.push(began(1_090, 2, 19 * SECOND));
        assert_eq!(kinds(&evidence), [Kind::Outcome]);
    }
}

#[test]
fn an_answer_to_what_did_not_run_is_a_wrong_outcome() {
    let mut evidence = fine();
    evidence.nodes[0].noted.truncate(178);
    assert_eq!(kinds(&evidence), [Kind::Outcome]);
}

#[test]
fn an_answer_that_user_code_did_not_give_is_a_wrong_outcome() {
    let mut evidence = fine();
    call(&mut evidence, 2_090).outcome = Outcome::Ok { epoch: 2, incarnation: 7, count: 91 };
    assert_eq!(kinds(&evidence), [Kind::Outcome]);
}

#[test]
fn a_call_without_an_end_hangs() {
    let mut evidence = fine();
    evidence.nodes[0].noted.push(Noted::Hung { call: 5, at: 0 });
    assert_eq!(kinds(&evidence), [Kind::Hung]);
}

#[test]
fn a_key_that_does_not_answer_when_all_is_well_is_silent() {
    let mut evidence = fine();
    let (key, node) = ("other".to_owned(), "a".to_owned());
    let (call, outcome) = (77, Outcome::NotDelivered { why: "nobody".to_owned() });
    let (began, ended) = (11 * SECOND, 12 * SECOND);
    evidence.calls.push(Call { call, key: key.clone(), node: node.clone(), began, ended, outcome });
    assert_eq!(kinds(&evidence), [Kind::Silent]);
    // It answers, but after D + 2 s only.
    let (call, outcome) = (78, Outcome::Ok { epoch: 1, incarnation: 1, count: 1 });
    let (began, ended) = (12 * SECOND, 18 * SECOND);
    evidence.calls.push(Call { call, key: key.clone(), node, began, ended, outcome });
    let (epoch, incarnation) = (1, 1);
    let ran = Noted::Began { call, key: key.clone(), epoch, incarnation, at: began };
    evidence.nodes[0].noted.push(ran);
    let (count, at) = (1, ended);
    let out = Noted::Released { call, key, epoch, incarnation, count, ended, at };
    evidence.nodes[0].noted.push(out);
    assert_eq!(kinds(&evidence), [Kind::Silent]);
    evidence.calls.last_mut().unwrap().ended = 17 * SECOND;
    assert_eq!(kinds(&evidence), []);
}

#[test]
fn a_shard_whose_records_go_back_is_a_wrong_record() {
    let mut evidence = fine();
    evidence.records.push(shard(2, "c1"));
    assert_eq!(kinds(&evidence), [Kind::Record]);
}

#[test]
fn sessions_that_left_in_order_were_not_evicted_and_live_owners_move() {
    let mut evidence = fine();
    let over = Noted::Over { session: "a1".to_owned(), is_left: true, at: 0 };
    evidence.nodes[0].noted.push(over);
    evidence.records.swap(3, 4);
    let tally = judge(&evidence).tally;
    assert_eq!((tally.evictions, tally.claims, tally.moves), (0, 0, 1));
}

#[test]
fn a_drill_without_its_minimums_does_not_count() {
    let mut evidence = fine();
    evidence.setting.form = Form::Short;
    let verdict = judge(&evidence);
    assert!(verdict.violations.is_empty());
    // Evictions, moves and hand-overs are too few, and there is no fault of any kind.
    assert_eq!(verdict.missing.len(), 3 + FAULTS.len());
    let mut tally = verdict.tally;
    (tally.evictions, tally.moves, tally.handed) = (50, 200, 200);
    tally.faults = FAULTS.iter().map(|kind| ((*kind).to_owned(), 20)).collect();
    assert_eq!(tally.missing(Form::Long), Vec::<String>::new());
    tally.unknown = 2;
    assert_eq!(tally.missing(Form::Long).len(), 1);
    tally.outside_ok = tally.outside / 2;
    assert_eq!(tally.missing(Form::Long).len(), 2);
    tally.faults.insert(STOP.to_owned(), 19);
    assert_eq!(tally.missing(Form::Long).len(), 3);
}

#[test]
fn calls_that_met_a_fault_or_what_came_of_it_are_not_outside() {
    let mut evidence = fine();
    let (kind, target) = ("cut".to_owned(), "a".to_owned());
    let fault = Staged::Fault { kind, target, began: SECOND, ended: 2 * SECOND };
    evidence.staged.push(fault);
    // From the first second to the ninth: D + 2 s more than the fault.
    let tally = judge(&evidence).tally;
    assert_eq!(tally.outside, 180 - 81);
}

#[test]
fn the_last_line_of_a_program_that_was_killed_may_be_cut_short_and_no_other() {
    let folder = std::env::temp_dir().join(format!("innkeeper-judge-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut evidence = fine();
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
    write("drill.json", serde_json::to_string(&evidence.setting).unwrap());
    write("client-c.jsonl", lines(&evidence.calls));
    write("faults.jsonl", lines(&evidence.staged));
    write("records.jsonl", lines(&evidence.records));
    for node in &evidence.nodes {
        write(&format!("node-{}-1.jsonl", node.name), lines(&node.noted) + "{\"released\":{");
    }
    let read = Evidence::read(&folder).unwrap();
    assert_eq!((read.calls, read.records), (evidence.calls, evidence.records));
    assert_eq!(read.nodes[1].noted, evidence.nodes.remove(1).noted);
    write("client-c.jsonl", "{}\n".to_owned());
    let error = Evidence::read(&folder).unwrap_err().to_string();
    assert!(error.contains("client-c.jsonl: line 1: missing field"), "{error}");
    std::fs::remove_dir_all(&folder).unwrap();
}

fn lines<T: serde::Serialize>(all: &[T]) -> String {
    let line = |one| serde_json::to_string(one).unwrap() + "\n";
    all.iter().map(line).collect()
}
