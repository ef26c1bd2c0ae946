//! The drill: real processes to which everything is done, and a judge who knows none of them.

use crate::install;
use crate::step::{Steps, cargo};

/// Where a drill is written down.
const FOLDER: &str = "target/drill";

/// What the drill ends with where there can be none; it has said why.
const UNABLE: i32 = 3;

/// What it ends with where the etcd that is there does not have the fault; it has said so.
const MENDED: i32 = 4;

/// What the judge ends with if a promise was broken.
const BROKEN: i32 = 1;

/// Everything as often as it takes, and so many minutes at least.
pub(crate) fn long(steps: &mut Steps, minutes: &str) {
    let minutes = format!("--minutes={minutes}");
    judged(steps, "drill", &[&minutes], 0);
}

/// Something of everything, in a minute.
pub(crate) fn short(steps: &mut Steps) {
    judged(steps, "short drill", &["--short"], 0);
}

/// Mistakes that the judge has to find.
pub(crate) fn controls(steps: &mut Steps) {
    judged(steps, "drill with outputs that nobody checks", &["--mistake=unchecked"], BROKEN);
    judged(steps, "drill with leases for ownership", &["--mistake=lease"], BROKEN);
}

/// What it takes: fail-over, moves, starts.
pub(crate) fn figures(steps: &mut Steps) {
    judged(steps, "drill that measures", &["--figures"], 0);
}

/// Carries one out and has it judged. `code`: what the judge has to end with.
fn judged(steps: &mut Steps, name: &str, args: &[&str], code: i32) {
    if !install::builds_etcd() {
        steps.skip(&format!("the {name}: install protobuf-compiler and libprotobuf-dev"));
        return;
    }
    let fast = ["run", "--profile", "fast", "--quiet", "--package"];
    let mut drill = cargo(fast);
    drill.args(["innkeeper-drill", "--", "run", "--folder", FOLDER]).args(args);
    let ends = [(0, "ok"), (UNABLE, "it could not run,"), (MENDED, "it does not apply,")];
    match steps.code_of(name, drill, &ends) {
        Some(0) => {}
        Some(UNABLE) => return steps.skip(&format!("the {name}; why is said above")),
        _ => return,
    }
    let mut judge = cargo(fast);
    judge.args(["innkeeper-judge", "--", FOLDER]);
    steps.run_to(&format!("judgement of the {name}"), judge, code);
}
