//! What innkeeper costs: `innkeeper-bench [WORKLOAD [VARIANT]]` prints a line for each figure,
//! `ours WORKLOAD VARIANT VALUE UNIT`. Without arguments all workloads run, one after the other,
//! each in a process of its own. `innkeeper-bench server` is apart from them: whole servers, ours
//! and others (`--help` tells more). So are `unwatched`, what a dashboard costs that was closed
//! again, and `pages`, what looking costs where there are a million rooms.
//!
//! `growth [--max ROOMS]` prints how cost grows with the number of rooms, and `plots FOLDER` draws
//! that from `FOLDER/growth.txt`.
//!
//! The rooms are whole ones: keyed, supervised, restarted, with bounded mailboxes. The sizes come
//! from the environment (`BENCH_HIT_KEYS`, `BENCH_COLD_N`, ...), so that the same runs can be made
//! small.

#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)] // A stopwatch.

mod chart;
#[cfg(feature = "cluster")]
mod far;
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
use tokio::runtime::Builder;

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
        ["unwatched", ..] => Ok(server::unwatched::run(&args[1..])),
        ["pages", ..] => Ok(server::pages::run(&args[1..])),
        ["plots", folder] => plots::draw(Path::new(folder)),
        #[cfg(feature = "cluster")]
        ["far-node", name, url] => Ok(on_nodes(far::serve(name, url))),
        #[cfg(feature = "cluster")]
        [workload @ ("global" | "remote"), ref variant @ ..] => {
            Ok(on_nodes(far::run(workload, &variant.concat())))
        }
        #[cfg(not(feature = "cluster"))]
        ["global" | "remote", ..] => Err("built without the feature `cluster`".to_owned()),
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

/// What takes sockets, and other programs.
#[cfg(feature = "cluster")]
fn on_nodes(run: impl Future<Output = std::io::Result<()>>) -> ExitCode {
    measured_with(Builder::enable_all, async {
        if let Err(error) = run.await {
            eprintln!("# ours: {error}");
            std::process::exit(2);
        }
    })
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
    measured_with(Builder::enable_time, run)
}

/// As [`measured`], with what the runtime is to have besides; a panic ends all that was begun.
fn measured_with(
    enable: fn(&mut Builder) -> &mut Builder,
    run: impl Future<Output = ()>,
) -> ExitCode {
    let mut runtime = Builder::new_multi_thread();
    let runtime = enable(runtime.worker_threads(measure::size("BENCH_WORKERS", 2))).build();
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
