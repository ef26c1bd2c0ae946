//! The parts of the program `innkeeper`; `main.rs` only calls [`run`].

pub mod args;
mod check;
mod client;
mod clock;
pub mod cluster_args;
mod cluster_command;
mod config_file;
mod error;
mod events;
pub mod exit;
#[cfg(feature = "cluster")]
mod joining;
pub mod load;
mod logs;
mod man;
#[cfg(feature = "cluster")]
mod operator;
#[cfg(not(feature = "cluster"))]
#[path = "no_operator.rs"]
mod operator;
mod output;
pub mod race;
mod race_command;
mod rooms;
mod serve;
mod service;
mod settings;
#[cfg(feature = "cluster")]
mod supervise;
mod top;
#[cfg(feature = "otlp")]
mod traces;
#[cfg(not(feature = "otlp"))]
#[path = "no_traces.rs"]
mod traces;
pub mod wire;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::args::{Cli, Command, ConfigCommand};
use crate::error::Failure;
use crate::exit::Exit;
use crate::settings::Settings;

/// Runs the program with the arguments it was called with.
#[must_use]
pub fn run() -> ExitCode {
    let matches = Cli::command().get_matches();
    // What was matched by the same definition can be read by it.
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let exit = carry_out(cli).unwrap_or_else(|failure| {
        output::error(&failure);
        Exit::Failed
    });
    exit.into()
}

/// Reads the text of a configuration file as `serve` does: whether it could, for the fuzzer.
#[cfg(fuzzing)]
pub fn read_config(text: &str) -> bool {
    config_file::parse(text, std::path::Path::new("fuzz")).is_ok()
}

fn carry_out(cli: Cli) -> Result<Exit, Failure> {
    match cli.command.unwrap_or(Command::Serve(Box::default())) {
        Command::Serve(_) => serve::run(&Settings::load()?),
        Command::Race(args) => race_command::run(&args),
        Command::Rooms(args) => rooms::run(&args),
        Command::Cluster(args) => cluster_command::run(&args),
        Command::Load(args) => load::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Events(args) => events::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Config { command: ConfigCommand::Show(show) } => {
            output::settings(&Settings::load()?, show.format);
            Ok(Exit::Yes)
        }
        Command::Config { command: ConfigCommand::Init(init) } => {
            config_file::init(&init.output, init.force)?;
            output::talk(&format!("wrote {}", init.output.display()));
            Ok(Exit::Yes)
        }
        Command::Completions { shell } => {
            output::completions(shell);
            Ok(Exit::Yes)
        }
        Command::Man { dir } => {
            match dir {
                None => output::page(&man::page()?),
                Some(dir) => man::write(&dir)?,
            }
            Ok(Exit::Yes)
        }
    }
}
