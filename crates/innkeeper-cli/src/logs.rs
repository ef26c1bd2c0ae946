//! Where the log goes and what it looks like: standard error; text for people, JSON for machines.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use crate::args::LogFormat;

/// Starts the log. What is logged is for `RUST_LOG` to say; without it, what an operator needs.
pub(crate) fn start(format: Option<LogFormat>) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let people = stderr().is_terminal();
    let format = format.unwrap_or(if people { LogFormat::Text } else { LogFormat::Json });
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let started = match format {
        LogFormat::Text => {
            let colour = people && std::env::var_os("NO_COLOR").is_none();
            log.with_ansi(colour).with_target(false).try_init()
        }
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    // Fails only if it was started before, and then it goes on.
    drop(started);
}
