//! T2, with processes, its controls: mistakes put into the shipped code that carries shards from
//! node to node, each of which `rooms.rs` has to notice.
//!
//! The crate is copied, patched, and built anew for each of them.

#![allow(clippy::unwrap_used)] // What a test unwraps is what it asserts.

#[path = "seeded/mistakes.rs"]
mod mistakes;
#[path = "patched/patched.rs"]
mod patched;

use std::path::{Path, PathBuf};
use std::process::Command;

use mistakes::{MISTAKES, Mistake};

#[test]
fn every_mistake_about_what_is_handed_over_is_noticed() {
    let crate_of = Crate::new();
    assert!(crate_of.noticed(None).is_none(), "there is none in it");
    let mut missed = Vec::new();
    for mistake in &MISTAKES {
        match crate_of.noticed(Some(mistake)) {
            Some(how) => println!("{}: {how}", mistake.name),
            None => missed.push(mistake.name),
        }
    }
    assert!(missed.is_empty(), "not noticed: {missed:?}");
}

/// A copy of this crate, and of the test that has to notice.
struct Crate {
    folder: PathBuf,
}

impl Crate {
    fn new() -> Crate {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("seeded");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        std::fs::write(folder.join("Cargo.toml"), manifest(here)).unwrap();
        std::fs::copy(here.join("../../Cargo.lock"), folder.join("Cargo.lock")).unwrap();
        Crate { folder }
    }

    /// How it was noticed, if it was: the first seed that shows it.
    fn noticed(&self, mistake: Option<&Mistake>) -> Option<String> {
        let edits = mistake.map_or(&[][..], |mistake| mistake.edits);
        patched::copy("", &self.folder.join("src"), edits);
        let cargo = option_env!("CARGO").unwrap_or("cargo");
        let mut test = Command::new(cargo);
        test.args(["test", "--offline", "--quiet", "--test", "rooms", "no_seed", "--"]);
        test.arg("--nocapture").current_dir(&self.folder);
        test.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join(".."));
        match mistake {
            Some(mistake) => test.env("INNKEEPER_SEED", mistake.seed.to_string()),
            None => test.env("INNKEEPER_SEEDS", "1"),
        };
        let output = test.output().unwrap();
        let (said, why) = (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        assert!(said.contains("seeds: Counts"), "it was not run: {said}{why}");
        let all = format!("{said}{why}");
        all.lines().find(|line| line.starts_with("INNKEEPER_SEED=")).map(str::to_owned)
    }
}

/// The manifest of this crate as one that is part of no workspace.
fn manifest(here: &Path) -> String {
    let text = std::fs::read_to_string(here.join("Cargo.toml")).unwrap();
    let core = here.join("../innkeeper").canonicalize().unwrap();
    let text = text
        .replace("rust-version.workspace = true\n", "")
        .replace("version.workspace = true", "version = \"0.0.0\"")
        .replace("edition.workspace = true", "edition = \"2024\"")
        .replace("license.workspace = true\n", "")
        .replace("[lints]\nworkspace = true\n", "")
        .replace("\"../innkeeper\"", &format!("{core:?}"));
    let rooms = here.join("tests/rooms.rs");
    format!(
        "{text}
[[test]]
name = \"rooms\"
path = {rooms:?}

[profile.dev]
debug = false

[workspace]
"
    )
}
