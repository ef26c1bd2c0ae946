//! That each rule can fail, and does not fail on what is right.

use super::*;

const NOWHERE: [usize; 0] = [];

fn source(path: &str, text: &str) -> Source {
    Source::new("innkeeper", &format!("crates/innkeeper/{path}"), text.to_owned())
}

fn lines(rule: fn(&Source) -> Vec<Finding>, path: &str, text: &str) -> Vec<usize> {
    rule(&source(path, text)).into_iter().map(|found| found.line).collect()
}

#[test]
fn a_line_of_more_than_a_hundred_columns_is_found() {
    let text = format!("{}\n{}\n", "ä".repeat(100), "b".repeat(101));
    assert_eq!(lines(width, "src/a.rs", &text), [2]);
}

#[test]
fn a_function_of_more_than_seventy_lines_is_found_where_it_begins() {
    let body = "    work();\n".repeat(69);
    let text = format!("fn declared();\nimpl A {{\n    pub fn long(\n) {{\n{body}}}\n}}\n");
    assert_eq!(lines(function_length, "src/a.rs", &text), [3]);
    let body = "    work();\n".repeat(68);
    let text = format!("impl A {{\nfn short(f: fn(u8), a: [u8; 2]) {{\n{body}}}\n{body}}}\n");
    assert_eq!(lines(function_length, "src/a.rs", &text), NOWHERE);
}

#[test]
fn a_long_file_is_found_and_its_tests_do_not_count() {
    let code = "fn a() {}\n".repeat(501);
    assert_eq!(lines(file_length, "src/a.rs", &code), [501]);
    let tests = "#[cfg(test)]\nmod tests {\n}\n";
    let short = format!("{}{tests}{code}", "fn a() {}\n".repeat(500));
    assert_eq!(lines(file_length, "src/a.rs", &short), NOWHERE);
    assert_eq!(lines(file_length, "tests/a.rs", &code), NOWHERE);
    assert_eq!(lines(file_length, "tests/a.rs", &code.repeat(2)), [801]);
}

#[test]
fn a_file_that_does_not_say_what_it_decides_is_found() {
    assert_eq!(lines(opening, "src/a.rs", "use std::fmt;\n"), [1]);
    assert_eq!(lines(opening, "src/a.rs", "//! No sentence\n"), [1]);
    assert_eq!(lines(opening, "src/a.rs", "\n//! Too late.\n"), [1]);
    assert_eq!(lines(opening, "src/a.rs", "//! One that\n//! goes on.\n//!\n//! More\n"), NOWHERE);
}

#[test]
fn a_file_named_after_nothing_is_found() {
    for name in ["src/a/mod.rs", "src/utils.rs", "src/a/common.rs", "tests/it/helpers.rs"] {
        assert_eq!(lines(file_name, name, ""), [1], "{name}");
    }
    assert_eq!(lines(file_name, "src/commons.rs", ""), NOWHERE);
}

#[test]
fn the_words_of_others_are_found_in_code_and_only_as_words() {
    let text = "struct RoomActor;\nfn worker_loop() {}\nlet manager = 1;\n";
    assert_eq!(lines(vocabulary, "src/a.rs", text), [1, 2, 3]);
    let text = "// an actor\nfn factor(worker_threads: u8) {}\nlet a = \"manager\";\n";
    assert_eq!(lines(vocabulary, "tests/a.rs", text), NOWHERE);
}

#[test]
fn a_task_without_a_parent_is_found() {
    let text = "tokio::spawn(a);\nset.spawn(a);\nspawner::spawn(a);\n// tokio::spawn\n";
    assert_eq!(lines(spawning, "src/a.rs", text), [1, 2]);
    assert_eq!(lines(spawning, "src/context.rs", text), NOWHERE);
    assert_eq!(lines(spawning, "tests/it/a.rs", text), NOWHERE);
    assert_eq!(
        lines(spawning, "src/a.rs", &format!("#[cfg(test)]\nmod tests {{\n{text}")),
        NOWHERE
    );
}

#[test]
fn reading_the_time_is_found() {
    let text =
        "let a = std::time::Instant::now();\nlet b = SystemTime::now();\nMyInstant::now();\n";
    assert_eq!(lines(time, "src/a.rs", text), [1, 2]);
    assert_eq!(lines(time, "src/clock.rs", text), NOWHERE);
}

#[test]
fn printing_is_found() {
    let text = "println!(\"a\");\neprint!(\"b\");\npprint!(c);\n\"println!\";\n";
    assert_eq!(lines(printing, "src/output.rs", text), [1, 2]);
    let path = "crates/innkeeper-cli/src/output.rs";
    assert_eq!(printing(&Source::new("innkeeper-cli", path, text.to_owned())), []);
    assert_eq!(printing(&Source::new("xtask", "xtask/src/main.rs", text.to_owned())), []);
}

#[test]
fn a_decision_that_does_something_is_found() {
    let text =
        "//! Pure: no async, no lock.\nasync fn a() {}\nlet b: Mutex<u8>;\nfn awaits_it() {}\n";
    assert_eq!(lines(pure_decisions, "src/registry/slot.rs", text), [2, 3]);
    assert_eq!(lines(pure_decisions, "src/cell.rs", text), NOWHERE);
}

#[test]
fn a_queue_without_a_bound_is_found() {
    let text = "let (a, b) = mpsc::unbounded_channel();\nuse std::sync::mpsc;\nmpsc::channel(8);\n";
    assert_eq!(lines(unbounded_queues, "src/a.rs", text), [1, 2]);
}

#[test]
fn what_was_put_off_is_found() {
    let text = "// TODO: later\nlet todos = \"FIXME\";\ntodo!()\n/// XXX\n";
    let mut found = lines(leftovers, "tests/a.rs", text);
    found.sort_unstable();
    assert_eq!(found, [1, 3, 4]);
}

#[test]
fn a_test_that_is_not_run_is_found() {
    let text = "#[test]\n#[ignore = \"slow\"]\nfn a() {}\n// #[ignore]\n";
    assert_eq!(lines(ignored_tests, "tests/a.rs", text), [2]);
}
