//! The chores of the workspace: `cargo xtask test` installs what is missing and runs every test.

#![allow(clippy::print_stderr)] // It talks to whoever runs it.

mod drill;
mod install;
mod package;
mod step;

use std::process::ExitCode;

use step::{Steps, cargo};

const USAGE: &str = "\
cargo xtask test        install what is missing, then run every test of the workspace
cargo xtask quick       format, lints and the tests that need nothing but Rust
cargo xtask schedules   the real code under seeded thread schedules
cargo xtask fuzz [SECS] each parser, fed with made-up input (default: 10 s each)
cargo xtask counts      instructions and allocations of each operation, against bench/baseline.txt
cargo xtask counts --renew  writes them there
cargo xtask explore     every state of the ownership of shards, to the end of each space (hours)
cargo xtask simulate [N] N seeds of simulated clusters (default: 100 000)
cargo xtask drill [--minutes N]  real processes to which everything is done (root; about 20 minutes)
cargo xtask drill short     something of everything, in a minute
cargo xtask drill controls  mistakes that its judge has to find
cargo xtask drill figures   what fail-over, moves and starts take there
cargo xtask package     a Debian package, built and tried in a folder of its own (needs cargo-deb)
cargo xtask soak        the oracle, the residue and the memory test at full size
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut steps = Steps::new();
    match words[..] {
        ["test"] => test(&mut steps),
        ["quick"] => quick(&mut steps),
        ["schedules"] => schedules(&mut steps),
        ["fuzz"] => fuzz(&mut steps, "10"),
        ["fuzz", secs] => fuzz(&mut steps, secs),
        ["counts"] => counts(&mut steps, "check"),
        ["counts", "--renew"] => counts(&mut steps, "renew"),
        ["explore"] => explore(&mut steps),
        ["simulate"] => simulate(&mut steps, "100000"),
        ["simulate", seeds] => simulate(&mut steps, seeds),
        ["drill"] => drill::long(&mut steps, "10"),
        ["drill", "--minutes", minutes] => drill::long(&mut steps, minutes),
        ["drill", "short"] => drill::short(&mut steps),
        ["drill", "controls"] => drill::controls(&mut steps),
        ["drill", "figures"] => drill::figures(&mut steps),
        ["package"] => package::all(&mut steps),
        ["soak"] => soak(&mut steps),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    }
    steps.report()
}

fn test(steps: &mut Steps) {
    install::everything(steps);
    quick(steps);
    schedules(steps);
    fuzz(steps, "10");
    counts(steps, "check");
    release(steps);
    install::cargo_deb(steps);
    package::all(steps);
}

fn quick(steps: &mut Steps) {
    steps.run("format", cargo(["fmt", "--all", "--check"]));
    let mut all = vec!["--workspace", "--features", "innkeeper-cli/otlp"];
    if install::builds_etcd() {
        all.extend(["--features", "innkeeper-cli/cluster,innkeeper-bench/cluster"]);
    } else {
        steps.skip("what is on etcd: install protobuf-compiler and libprotobuf-dev");
        all.extend(["--exclude", "innkeeper-etcd", "--exclude", "innkeeper-drill"]);
    }
    let on_all = |first: &[&str], last: &[&str]| {
        let mut command = cargo(first.iter().copied());
        command.args(&all).args(last);
        command
    };
    steps.run("lints", on_all(&["clippy"], &["--all-targets", "--quiet", "--", "-D", "warnings"]));
    if install::has("cargo-nextest") {
        steps.run("tests", on_all(&["nextest", "run"], &[]));
    } else {
        steps.run("tests", on_all(&["test"], &["--tests", "--bins", "--quiet"]));
    }
    steps.run("examples in the documents", on_all(&["test"], &["--doc", "--quiet"]));
    let mut docs = on_all(&["doc"], &["--no-deps", "--quiet"]);
    docs.env("RUSTDOCFLAGS", "-D warnings");
    steps.run("documents", docs);
}

/// The locks and tasks of the core swapped for those of a schedule explorer.
fn schedules(steps: &mut Steps) {
    let args = ["test", "--package", "innkeeper", "--test", "schedules", "--release", "--quiet"];
    let mut schedules = cargo(args);
    schedules.env("RUSTFLAGS", "--cfg shuttle").env("CARGO_TARGET_DIR", "target/shuttle");
    steps.run("schedules", schedules);
}

/// Each fuzz target, for a while. libFuzzer needs instrumented code, which stable Rust makes when
/// told to; the address sanitizer, which it does not make, is not needed without unsafe code.
fn fuzz(steps: &mut Steps, secs: &str) {
    let flags = "--cfg fuzzing -Cpasses=sancov-module -Cdebug-assertions \
                 -Cllvm-args=-sanitizer-coverage-level=4 \
                 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                 -Cllvm-args=-sanitizer-coverage-pc-table \
                 -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";
    // Named, so that build scripts and macros, which run here too, are not instrumented.
    let host = step::host();
    for target in ["cluster_frame", "frame", "kv_command", "kv_line", "room_key", "config_file"] {
        let limit = format!("-max_total_time={secs}");
        let args = ["run", "--release", "--quiet", "--manifest-path", "fuzz/Cargo.toml", "--bin"];
        let mut fuzz = cargo(args);
        fuzz.args([
            target,
            "--target",
            &host,
            "--",
            &limit,
            "-verbosity=0",
            "-print_final_stats=1",
        ]);
        fuzz.env("RUSTFLAGS", flags).env("CARGO_TARGET_DIR", "target/fuzz");
        steps.run(&format!("fuzz {target}"), fuzz);
    }
}

/// What an operation takes, in numbers that do not depend on the hour: compared or written anew.
fn counts(steps: &mut Steps, what: &str) {
    // What innkeeper-counts says when all is well that it could count, and it could not count all.
    const NOT_COMPARED: i32 = 3;
    let mut counts = cargo(["run", "--release", "--quiet", "--package", "innkeeper-bench"]);
    counts.args(["--bin", "innkeeper-counts", "--", what, "bench/baseline.txt"]);
    let skip = "the instruction counts; what they lack is said above";
    steps.run_unless("instructions and allocations", counts, NOT_COMPARED, skip);
}

/// What is about speed and size, with the program as people run it.
fn release(steps: &mut Steps) {
    simulate(steps, "1000");
    drill::short(steps);
    drill::controls(steps);
    steps.run("release build", cargo(["build", "--release", "--quiet"]));
    let race =
        ["run", "--release", "--quiet", "--", "race", "--callers", "10000", "--rounds", "100"];
    steps.run("race", cargo(race));
    let mut chaos = cargo(race);
    chaos.arg("--chaos");
    steps.run("race --chaos", chaos);
    let mut crowd = fast("innkeeper-cli");
    crowd.args(["--test", "crowd"]).env("INNKEEPER_CROWD", "10000");
    steps.run("10 000 members", crowd);
    let mut dashboard = fast("innkeeper-cli");
    dashboard.args(["--test", "browser_dashboard", "--", "every_page", "--nocapture"]);
    dashboard.env("INNKEEPER_DASHBOARD_ROOMS", "100000");
    steps.run("the dashboard with 100 000 rooms", dashboard);
    soak(steps);
}

/// The tests of one package, at full size.
fn fast(package: &str) -> std::process::Command {
    cargo(["test", "--profile", "fast", "--quiet", "--package", package])
}

/// Each space of `tests/exploration.rs` to its end, as far as there is memory.
fn explore(steps: &mut Steps) {
    let args = ["test", "--package", "innkeeper-cluster", "--test", "exploration"];
    let mut explore = cargo(args);
    explore.args(["--", "--nocapture", "no_state"]).env("INNKEEPER_EXPLORE", "full");
    steps.run("every state of ownership", explore);
}

fn simulate(steps: &mut Steps, seeds: &str) {
    let mut simulate = fast("innkeeper-cluster");
    simulate.args(["--test", "simulation", "--", "--nocapture"]).env("INNKEEPER_SEEDS", seeds);
    steps.run(&format!("{seeds} simulated clusters"), simulate);
}

fn soak(steps: &mut Steps) {
    let mut stress = fast("innkeeper");
    stress.args(["--test", "it", "--", "stress"]).env("INNKEEPER_STRESS", "10000");
    steps.run("64 x 10 000 random operations", stress);
    let mut residue = fast("innkeeper");
    residue.args(["--test", "residue"]).env("INNKEEPER_RESIDUE_KEYS", "1000000");
    steps.run("1 000 000 keys without residue", residue);
    let mut million = fast("innkeeper");
    million.args(["--test", "million"]).env("INNKEEPER_PROCESSES", "1000000");
    steps.run("1 000 000 processes within a gibibyte", million);
}
