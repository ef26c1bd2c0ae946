//! What innkeeper costs: `innkeeper-bench [WORKLOAD [VARIANT]]` prints a line for each figure,
//! `ours WORKLOAD VARIANT VALUE UNIT`. Without arguments all workloads run, one after the other,
//! each in a process of its own. `innkeeper-bench server` is apart from them: whole servers, ours
//! and others (`--help` tells more).
//!
//! `growth [--max ROOMS]` prints how cost grows with the number of rooms, and `plots FOLDER` draws
//! that from `FOLDER/growth.txt`.
//!
//! The rooms are whole ones: keyed, supervised, restarted, with bounded mailboxes. The sizes come
//! from the environment (`BENCH_HIT_KEYS`, `BENCH_COLD_N`, ...), so that the same runs can be made
//! small.

#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)] // A stopwatch.

mod chart;
mod growth;
mod lanes;
mod measure;
mod partitions;
mod plots;
mod server;
mod workloads;

use std::path::Path;
use std::process::{Command, ExitCode};

use innkeeper_bench::room::{BOOM, Rooms};

const ALL: [&[&str]; 12] = [
    &["hit"],
    &["cold", "c1"],
    &["cold", "c2"],
    &["cold", "c64"],
    &["call"],
    &["cast"],
    &["churn"],
    &["crash"],
    &["slowinit"],
    &["race"],
    &["mem"],
    &["partitions"],
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words[..] {
        [] => Ok(all()),
        ["growth", ref args @ ..] => growth::sizes(args).map(|sizes| growth::each(&sizes)),
        ["growth-of", size] => Ok(measured(growth::run(size))),
        ["server", ..] => Ok(server::run(&args[1..])),
        ["plots", folder] => plots::draw(Path::new(folder)),
        [workload, ref variant @ ..] => Ok(measured(one(workload, variant.concat()))),
    };
    done.unwrap_or_else(|what| {
        eprintln!("# ours: {what}");
        ExitCode::from(2)
    })
}

async fn one(workload: &str, variant: String) {
    let rooms = Rooms::open().await;
    if !workloads::run(&rooms, workload, &variant).await {
        eprintln!("# ours: no workload {workload}");
    }
}

/// Runs what is measured, and ends the program.
fn measured(run: impl Future<Output = ()>) -> ExitCode {
    // A crash is part of a workload, and no news.
    std::panic::set_hook(Box::new(|panic| {
        if panic.payload().downcast_ref::<&str>() != Some(&BOOM) {
            eprintln!("{panic}");
            std::process::exit(101);
        }
    }));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(measure::size("BENCH_WORKERS", 2))
        .enable_time()
        .build();
    runtime.expect("a runtime can be made").block_on(run);
    // The rooms are not wound down: the figures are out.
    std::process::exit(0);
}

fn all() -> ExitCode {
    let this = std::env::current_exe().expect("this program has a path");
    let failed = ALL.iter().filter(|args| {
        let status = Command::new(&this).args(**args).status();
        !status.is_ok_and(|status| status.success())
    });
    if failed.count() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
