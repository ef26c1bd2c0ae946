//! Says what is wrong in the folder of a drill: ends with 1 if a promise was broken, with 2 if the
//! drill does not count, and with 3 if it cannot be read.

#![allow(clippy::print_stdout, clippy::print_stderr)] // It talks to whoever runs it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use innkeeper_judge::{Evidence, judge};

/// How many violations of a kind are told of.
const TOLD: usize = 5;

fn main() -> ExitCode {
    let Some(folder) = std::env::args().nth(1) else {
        eprintln!("innkeeper-judge FOLDER: judges the drill that is written down there");
        return ExitCode::from(3);
    };
    let evidence = match Evidence::read(Path::new(&folder)) {
        Ok(evidence) => evidence,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(3);
        }
    };
    let setting = &evidence.setting;
    println!("versions             {}", setting.versions.join("; "));
    println!("session length       {} ms", setting.session_ms);
    let verdict = judge(&evidence);
    print!("{}", verdict.tally);
    let mut kinds: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for violation in &verdict.violations {
        kinds.entry(violation.kind).or_default().push(&violation.what);
    }
    println!("violations           {}", verdict.violations.len());
    for (kind, all) in kinds {
        println!("  {:<18} {}", format!("{kind:?}").to_lowercase(), all.len());
        for what in all.iter().take(TOLD) {
            println!("    {what}");
        }
    }
    for what in &verdict.missing {
        println!("does not count       {what}");
    }
    match (verdict.violations.is_empty(), verdict.missing.is_empty()) {
        (false, _) => ExitCode::from(1),
        (true, false) => ExitCode::from(2),
        (true, true) => ExitCode::SUCCESS,
    }
}
