//! Where the log goes and what it looks like: standard error; text for people, JSON for machines.

use std::io::{IsTerminal, stderr};

use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt, registry};

use crate::args::LogFormat;
use crate::error::Failure;
use crate::traces::Traces;

/// Starts the log, and the export of traces if there is to be one.
///
/// What is logged is for `RUST_LOG` to say; without it, what an operator needs.
pub(crate) fn start(
    format: Option<LogFormat>,
    node: &str,
    runtime: &Handle,
) -> Result<Traces, Failure> {
    let traces = Traces::open(node, runtime)?;
    let log = log(format);
    // Fails only if it was started before, and then it goes on.
    let _ = registry().with(log).with(traces.layer()).try_init();
    Ok(traces)
}

fn log<S>(format: Option<LogFormat>) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let people = stderr().is_terminal();
    let format = format.unwrap_or(if people { LogFormat::Text } else { LogFormat::Json });
    let log = fmt::layer().with_writer(stderr);
    let log = match format {
        LogFormat::Text => {
            let colour = people && std::env::var_os("NO_COLOR").is_none();
            log.with_ansi(colour).with_target(false).boxed()
        }
        LogFormat::Json => log.json().flatten_event(true).boxed(),
    };
    log.with_filter(filter)
}
