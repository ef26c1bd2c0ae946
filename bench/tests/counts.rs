//! The check of what an operation takes, as a program: against the baseline that is kept, and
//! against ones that are not met.

#![allow(clippy::unwrap_used)] // What a test unwraps is what it asserts.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a check; its code and what it printed.
fn check(baseline: &Path) -> (i32, String) {
    let mut counts = Command::new(env!("CARGO_BIN_EXE_innkeeper-counts"));
    let output = counts.arg("check").arg(baseline).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), printed.into_owned())
}

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("baseline.txt")
}

/// The baseline that is kept, with something else in it.
fn altered(name: &str, alter: impl Fn(&str) -> String) -> PathBuf {
    let text = std::fs::read_to_string(kept()).unwrap();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    // Compared with nothing else than allocations, wherever this runs.
    let text = text.replace("# with: ", "# with: another compiler than ");
    std::fs::write(&file, alter(&text)).unwrap();
    file
}

/// The program that is tested is not optimised, and asks for memory as often as one that is.
#[test]
fn no_operation_asks_for_memory_more_often_than_is_written_down() {
    let (code, printed) = check(&altered("as-it-is", str::to_owned));
    assert!(
        code == 3 && printed.contains("the baseline was made with another compiler"),
        "{printed}"
    );
}

#[test]
fn a_baseline_says_what_a_cast_and_a_hit_ask_for_which_is_nothing() {
    let text = std::fs::read_to_string(kept()).unwrap();
    for operation in ["cast ", "hit "] {
        let line = text.lines().find(|line| line.starts_with(operation)).unwrap();
        assert!(line.ends_with(" 0"), "{line}");
    }
}

#[test]
fn an_operation_that_asks_more_often_is_named() {
    let fewer = |text: &str| {
        let lines = text.lines().map(|line| match line.strip_prefix("start") {
            Some(rest) => format!("start {} 0", rest.split_whitespace().next().unwrap()),
            None => line.to_owned(),
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    let (code, printed) = check(&altered("fewer", fewer));
    assert_eq!(code, 1, "{printed}");
    let told: Vec<_> = printed.lines().filter(|line| line.starts_with("more: ")).collect();
    assert!(told.len() == 1 && told[0].starts_with("more: start: "), "{printed}");
}

#[test]
fn a_baseline_that_cannot_be_read_is_named() {
    let (code, printed) = check(&altered("broken", |text| text.replace("cast", "cast x")));
    assert!(code == 2 && printed.contains("got cast x"), "{printed}");
    let (code, printed) = check(Path::new("not-there"));
    assert!(code == 2 && printed.contains("not-there cannot be read"), "{printed}");
}
