//! Groups of processes, and what is published in them: `:pg` and `Registry.dispatch`.

use std::num::NonZeroU32;

use innkeeper::{
    ChildSpec, Context, ExitReason, Groups, Lagged, Message, Process, ProcessRef, RegisterError,
    RegistryEvent, ReplyTo, StartError,
};
use tokio::sync::mpsc;

use crate::support::{Gate, Log, eventually, poll_once, script, secs, settle};

/// Notes what it is told.
struct Member {
    heard: mpsc::Sender<Heard>,
}

#[derive(Debug, PartialEq)]
enum Heard {
    Number(u64),
    Lagged(Option<&'static str>),
}

#[derive(Clone)]
enum Say {
    Number(u64),
    Hold(Gate),
}

impl Message for Say {
    type Reply = ();
}

impl Process for Member {
    type Args = (mpsc::Sender<Heard>, Option<Groups<&'static str, Say>>);
    type Message = Say;

    async fn init(args: &Self::Args, ctx: &mut Context<Self>) -> Result<Self, StartError> {
        if let Some(groups) = &args.1 {
            groups.join("news", &ctx.process())?;
            assert_eq!(groups.publish(&"news", &Say::Number(0)).delivered, 1);
        }
        Ok(Member { heard: args.0.clone() })
    }

    async fn handle(&mut self, say: Say, _: ReplyTo<Say>, _: &mut Context<Self>) {
        match say {
            Say::Number(number) => self.heard.try_send(Heard::Number(number)).unwrap(),
            Say::Hold(gate) => gate.hold().await,
        }
    }

    async fn lagged(&mut self, lagged: Lagged, _: &mut Context<Self>) {
        assert_eq!(lagged.group::<u32>(), None);
        self.heard.try_send(Heard::Lagged(lagged.group().copied())).unwrap();
    }
}

async fn member(
    capacity: u32,
    joins: Option<Groups<&'static str, Say>>,
) -> (ProcessRef<Say>, mpsc::Receiver<Heard>) {
    let (sender, heard) = mpsc::channel(1000);
    let spec = ChildSpec::new().mailbox_capacity(NonZeroU32::new(capacity).unwrap());
    (innkeeper::start::<Member>((sender, joins), spec).await.unwrap(), heard)
}

fn so_far(heard: &mut mpsc::Receiver<Heard>) -> Vec<Heard> {
    std::iter::from_fn(|| heard.try_recv().ok()).collect()
}

#[tokio::test(start_paused = true)]
async fn members_join_are_told_leave_and_are_not_told_any_more() {
    let groups = Groups::new();
    let (one, mut first) = member(10, None).await;
    let (two, mut second) = member(10, None).await;
    assert_eq!(groups.publish(&"news", &Say::Number(1)).delivered, 0);
    groups.join("news", &one).unwrap();
    groups.join("news", &two).unwrap();
    groups.join("sport", &two).unwrap();
    assert_eq!(groups.members(&"news"), [one.clone(), two.clone()]);
    let mut which = groups.which_groups();
    which.sort_unstable();
    assert_eq!((which, groups.groups_of(&one)), (vec!["news", "sport"], vec!["news"]));
    let told = groups.publish(&"news", &Say::Number(2));
    assert_eq!((told.delivered, told.dropped), (2, 0));
    assert!(groups.leave(&"news", &one) && !groups.leave(&"news", &one));
    assert_eq!(groups.publish(&"news", &Say::Number(3)).delivered, 1);
    settle().await;
    assert_eq!(so_far(&mut first), [Heard::Number(2)]);
    assert_eq!(so_far(&mut second), [Heard::Number(2), Heard::Number(3)]);
}

/// As in `:pg`: twice in, twice told, twice out.
#[tokio::test(start_paused = true)]
async fn who_joins_twice_is_told_twice_and_leaves_twice() {
    let groups = Groups::new();
    let (one, mut heard) = member(10, None).await;
    groups.join("news", &one).unwrap();
    groups.join("news", &one).unwrap();
    assert_eq!(groups.publish(&"news", &Say::Number(1)).delivered, 2);
    assert!(groups.leave(&"news", &one));
    assert_eq!(groups.publish(&"news", &Say::Number(2)).delivered, 1);
    settle().await;
    assert_eq!(so_far(&mut heard), [1, 1, 2].map(Heard::Number));
    assert!(groups.leave(&"news", &one));
    assert_eq!((groups.count(), groups.which_groups()), (0, vec![]));
}

/// P11: a slow member is dropped and told, and costs the publisher and the others nothing.
#[tokio::test(start_paused = true)]
async fn a_member_that_does_not_keep_up_is_dropped_and_told() {
    let groups = Groups::new();
    let (slow, mut held) = member(3, None).await;
    let (quick, mut heard) = member(100, None).await;
    for member in [&slow, &quick] {
        groups.join("news", member).unwrap();
    }
    let gate = Gate::default();
    slow.cast(Say::Hold(gate.clone())).await.unwrap();
    gate.reached().await;
    let mut dropped = 0;
    for n in 1..=10 {
        let told = groups.publish(&"news", &Say::Number(n));
        dropped += told.dropped;
        assert_eq!(told.delivered + told.dropped, if n <= 4 { 2 } else { 1 }, "{n}");
    }
    assert_eq!((dropped, groups.members(&"news")), (1, vec![quick.clone()]));
    gate.open();
    settle().await;
    assert_eq!(so_far(&mut heard), (1..=10).map(Heard::Number).collect::<Vec<_>>());
    // All that was accepted, and that something is missing: that first, for it is urgent.
    let mut rest = so_far(&mut held);
    assert_eq!(rest.remove(0), Heard::Lagged(Some("news")));
    assert_eq!(rest, [1, 2, 3].map(Heard::Number));
    // It may come back.
    groups.join("news", &slow).unwrap();
    assert_eq!(groups.publish(&"news", &Say::Number(11)).delivered, 2);
}

/// Members go with their process, before its end is told.
#[tokio::test(start_paused = true)]
async fn a_member_that_ends_is_in_no_group() {
    let groups: Groups<u32, crate::support::Order> = Groups::new();
    for stopped in [false, true] {
        let one = script(&Log::new()).await;
        for group in 0..5 {
            groups.join(group, &one).unwrap();
        }
        if stopped {
            one.stop(ExitReason::Normal, secs(1)).await.unwrap();
        } else {
            one.kill();
            one.ended().await;
        }
        assert_eq!((groups.count(), groups.members(&1)), (0, vec![]));
        assert_eq!(groups.join(1, &one), Err(RegisterError::NoProcess));
    }
}

/// What it joins in its `init` it belongs to from then on.
#[tokio::test(start_paused = true)]
async fn a_process_may_join_in_its_init_and_misses_nothing_from_then_on() {
    let groups = Groups::new();
    let (_one, mut heard) = member(10, Some(groups.clone())).await;
    groups.publish(&"news", &Say::Number(1));
    settle().await;
    assert_eq!(so_far(&mut heard), [Heard::Number(0), Heard::Number(1)]);
}

#[tokio::test(start_paused = true)]
async fn who_watches_the_groups_is_told_who_comes_and_goes() {
    let groups = Groups::new();
    let mut events = groups.events();
    let (one, _heard) = member(10, None).await;
    groups.join("news", &one).unwrap();
    one.kill();
    let came = events.recv().await.unwrap();
    assert!(matches!(came, RegistryEvent::Registered { key: "news", .. }));
    let Ok(RegistryEvent::Unregistered { ended, .. }) = events.recv().await else {
        panic!("it ended");
    };
    assert_eq!(ended, Some(ExitReason::Killed));
}

/// P4: publishers, joins and ends from many threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishing_while_members_come_and_go_reaches_those_who_stay() {
    let groups = Groups::new();
    let (stays, mut heard) = member(10_000, None).await;
    groups.join("news", &stays).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..4 {
        let groups = groups.clone();
        tasks.spawn(async move {
            for n in 0..100 {
                if task == 0 {
                    groups.publish(&"news", &Say::Number(n));
                } else {
                    let (one, _) = member(1, None).await;
                    groups.join("news", &one).unwrap();
                    one.kill();
                }
                tokio::task::yield_now().await;
            }
        });
    }
    tasks.join_all().await;
    eventually(|| groups.count() == 1).await;
    let mut numbers = Vec::new();
    while numbers.len() < 100 {
        numbers.push(heard.recv().await.unwrap());
    }
    assert_eq!(numbers, (0..100).map(Heard::Number).collect::<Vec<_>>());
    let mut more = Box::pin(heard.recv());
    assert!(poll_once(&mut more).await.is_pending());
}
