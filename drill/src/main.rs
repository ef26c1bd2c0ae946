//! A drill: a cluster of real processes on a network of its own, in which everything fails on
//! purpose, and what happens is written down for the judge.

#![allow(clippy::print_stdout, clippy::print_stderr)] // It talks to whoever runs it.

mod client;
mod clock;
mod dice;
mod director;
mod disks;
mod faults;
mod figures;
mod lease;
mod line;
mod load;
mod log;
mod network;
mod node;
mod papers;
mod plan;
mod programs;
mod room;
mod stage;
mod store;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Why a program of the drill ended before its time.
type Error = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
#[command(version, about = "A cluster of real processes, in which everything fails on purpose")]
struct Args {
    #[command(subcommand)]
    program: Program,
}

#[derive(Subcommand)]
enum Program {
    /// Runs a drill in namespaces of its own. Ends with 3 where there can be none.
    Run(director::DirectorArgs),
    /// The drill itself, within those namespaces.
    #[command(hide = true)]
    Direct(director::DirectorArgs),
    /// One node of it.
    #[command(hide = true)]
    Node(node::NodeArgs),
    /// One client of it.
    #[command(hide = true)]
    Client(client::ClientArgs),
}

fn main() -> ExitCode {
    let program = Args::parse().program;
    let ended = match program {
        Program::Run(args) => return stage::enter(&args),
        Program::Direct(args) => on_one_thread(director::run(args)),
        Program::Node(args) => on_threads(node::run(args)),
        Program::Client(args) => on_one_thread(client::run(args)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn on_one_thread(program: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(program)
}

fn on_threads(program: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(program)
}
