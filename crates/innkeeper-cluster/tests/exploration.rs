//! T1: every state of the shipped ownership code within bounds; and mistakes put into that code,
//! each of which has to be found.
//!
//! The files of `src/ownership` and `src/exploration` are copied, patched where a mistake is to be
//! seeded, and built with optimization by `rustc` alone: the decision knows nothing but the
//! standard library. `INNKEEPER_EXPLORE=full` explores each space to its end.

#![allow(clippy::unwrap_used)] // What a test unwraps is what it asserts.

#[path = "exploration/mistakes.rs"]
mod mistakes;
#[path = "patched/patched.rs"]
mod patched;

use std::path::{Path, PathBuf};
use std::process::Command;

use mistakes::{MISTAKES, Mistake};

const ROOT: &str = "#![allow(dead_code)]
mod exploration;
mod ownership;
fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let found = exploration::named(&args[0], args[1].parse().expect(\"a number of states\"));
    println!(\"{}\", exploration::explore(&found));
    std::process::ExitCode::SUCCESS
}
";

/// How many states are looked at in the everyday run, where the space is not whole before.
const STATES: &str = "300000";

/// In which of them a mistake has to show.
const STATES_OF_MISTAKE: &str = "1500000";

/// The spaces, and what has to be reached in each even in the everyday run.
const SPACES: [(&str, &[&str]); 12] = [
    ("core", &["Served", "Frozen", "HeldReleased"]),
    ("sessions", &["Served", "Frozen", "HeldReleased"]),
    ("restart", &["Served", "Evicted", "Frozen"]),
    ("handover", &["Served", "ServedAgain", "Transferred"]),
    ("move", &["Served", "ServedAgain", "Transferred", "ClaimedAgain"]),
    ("leave", &["Served", "Left", "ServedAgain"]),
    ("frames", &["FrameTaken", "FrameRefused"]),
    ("farewell", &["FrameTaken", "FrameRefused", "Left"]),
    ("burial", &["FrameTaken", "FrameRefused", "Buried"]),
    ("stale", &["Served", "Frozen"]),
    ("three", &["Served"]),
    ("all", &["Served"]),
];

#[test]
fn no_state_within_the_bounds_breaks_a_promise() {
    let full = std::env::var("INNKEEPER_EXPLORE").is_ok_and(|it| it == "full");
    let program = Program::build("shipped", None);
    for (space, goals) in SPACES {
        let found = program.explore(space, if full { "4000000000" } else { STATES });
        println!("{space}: {found}");
        assert!(found.contains("violation=none"), "{space}: {found}");
        for goal in goals {
            assert!(found.contains(goal), "{space} does not reach {goal}: {found}");
        }
    }
}

#[test]
fn every_seeded_mistake_is_found() {
    let mut missed = Vec::new();
    for mistake in &MISTAKES {
        let program = Program::build(mistake.name, Some(mistake));
        let found = program.explore(mistake.space, STATES_OF_MISTAKE);
        println!("{}: {found}", mistake.name);
        if !found.contains("violation=\"") {
            missed.push(mistake.name);
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

/// The explorer together with the ownership code as it is, or with a mistake in it.
struct Program {
    folder: PathBuf,
}

impl Program {
    fn build(name: &str, mistake: Option<&Mistake>) -> Program {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("exploration").join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let edits = mistake.map_or(&[][..], |mistake| mistake.edits);
        for part in ["ownership", "ownership.rs", "exploration", "exploration.rs"] {
            patched::copy(part, &folder, edits);
        }
        std::fs::write(folder.join("root.rs"), ROOT).unwrap();
        let rustc = Path::new(env!("CARGO")).with_file_name("rustc");
        let rustc = if rustc.exists() { rustc } else { PathBuf::from("rustc") };
        let mut build = Command::new(rustc);
        build.args(["--edition", "2024", "-C", "opt-level=2", "-A", "warnings", "-o", "explore"]);
        let output = build.arg("root.rs").current_dir(&folder).output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        Program { folder }
    }

    fn explore(&self, space: &str, states: &str) -> String {
        let mut explore = Command::new(self.folder.join("explore"));
        let output = explore.args([space, states]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with("states="), "{space}: {text}");
        text.trim().to_owned()
    }
}
