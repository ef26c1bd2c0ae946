//! The only printer: what is asked for goes to standard output, talk goes to standard error.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::Path;

use clap::CommandFactory;
use comfy_table::{ContentArrangement, Table, presets};
use innkeeper_server::Drained;
use serde::Serialize;

use crate::args::{Cli, Format};
use crate::error::Failure;
use crate::settings::Settings;

/// Where a server listens, and how it was set up.
pub(crate) struct Addresses<'a> {
    pub(crate) http: SocketAddr,
    pub(crate) kv: Option<SocketAddr>,
    pub(crate) is_tls: bool,
    pub(crate) may_act: bool,
    pub(crate) node: &'a str,
    pub(crate) cluster: Option<&'a str>,
    pub(crate) config: Option<&'a Path>,
}

/// Prints what was asked for. A reader who has gone away has read enough.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints what is not the result.
pub(crate) fn talk(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

pub(crate) fn error(failure: &Failure) {
    talk(&failure.to_string());
}

/// The lines that a person can click or paste.
pub(crate) fn banner(at: &Addresses<'_>) {
    let (http, node) = (at.http, at.node);
    let config = at.config.map_or("defaults".to_owned(), |path| path.display().to_string());
    let place = at.cluster.map_or("one node, nothing to install".to_owned(), |cluster| {
        format!("of cluster {cluster}")
    });
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "innkeeper {}   node {node} ({place})   config: {config}",
        env!("CARGO_PKG_VERSION")
    );
    let http = format!("{}://{http}", if at.is_tls { "https" } else { "http" });
    let _ = writeln!(text, "  rooms      {http}/   open it twice: you are in the same process");
    let may = if at.may_act { "it may stop and restart rooms" } else { "it only looks" };
    let _ = writeln!(text, "  dashboard  {http}/dashboard   {may}");
    let _ = writeln!(text, "  api        curl -X POST {http}/api/rooms/lobby");
    if let Some(kv) = at.kv {
        let _ = writeln!(text, "  kv         nc {} {}   then CREATE shopping", kv.ip(), kv.port());
    }
    // As it was called, which need not be on the path.
    let program = std::env::args().next().unwrap_or_else(|| "innkeeper".to_owned());
    let _ = writeln!(text, "  prove it   {program} race --url {http} --callers 1000");
    let last = match at.cluster {
        None => "Rooms live in memory and end with the server. Ctrl-C drains and stops.",
        Some(_) => "Rooms live in memory. Ctrl-C moves them to other nodes, and stops.",
    };
    let _ = writeln!(text, "{last}");
    say(&text);
}

/// Who did not end by itself.
pub(crate) fn unclean(drained: &Drained) {
    let processes = &drained.processes;
    if processes.killed.count > 0 {
        talk(&format!("killed, as out of time: {}", processes.killed));
    }
    if processes.stuck.count > 0 {
        talk(&format!("has not ended: {}", processes.stuck));
    }
    if drained.connections_cut {
        talk("connections were cut, as out of time");
    }
}

/// Rows under a head, as a table, as JSON, or as words.
pub(crate) fn rows<T: Serialize>(format: Format, head: &[&str], rows: &[(T, Vec<String>)]) {
    match format {
        Format::Json => {
            let values: Vec<&T> = rows.iter().map(|(value, _)| value).collect();
            json(&values);
        }
        Format::Plain => {
            let lines = rows.iter().map(|(_, cells)| cells.join("\t") + "\n");
            say(&lines.collect::<String>());
        }
        Format::Table => {
            let mut table = Table::new();
            table.load_style(presets::NOTHING);
            table.set_content_arrangement(ContentArrangement::Disabled);
            table.set_header(head.iter().map(|word| word.to_uppercase()));
            table.add_rows(rows.iter().map(|(_, cells)| cells.clone()));
            let lines = table.to_string();
            let lines = lines.lines().map(|line| format!("{}\n", line.trim()));
            say(&lines.collect::<String>());
        }
    }
}

/// One line of many that come one after the other: as JSON, an object a line.
pub(crate) fn line<T: Serialize>(format: Format, value: &T, words: &[&str], widths: &[usize]) {
    let text = match format {
        Format::Json => serde_json::to_string(value).unwrap_or_default(),
        Format::Plain => words.iter().map(|word| printable(word)).collect::<Vec<_>>().join("\t"),
        Format::Table => {
            let columns = words.iter().zip(widths);
            let columns = columns.map(|(word, width)| format!("{:width$}", printable(word)));
            columns.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        }
    };
    say(&(text + "\n"));
}

/// A text that comes from others, without what a terminal would take for an order.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// What a terminal shows; `None` where standard output is none.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Prints a picture of a screen.
pub(crate) fn picture(text: &str) {
    say(text);
}

/// One thing, as names and values.
pub(crate) fn one<T: Serialize>(format: Format, value: &T, cells: &[(&str, String)]) {
    match format {
        Format::Json => json(value),
        Format::Plain => {
            let lines = cells.iter().map(|(name, value)| format!("{name}\t{value}\n"));
            say(&lines.collect::<String>());
        }
        Format::Table => {
            let width = cells.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
            let lines = cells.iter().map(|(name, value)| format!("{name:width$}  {value}\n"));
            say(&lines.collect::<String>());
        }
    }
}

fn json<T: Serialize + ?Sized>(value: &T) {
    // What is printed is plain data, which can always be written as JSON.
    say(&(serde_json::to_string_pretty(value).unwrap_or_default() + "\n"));
}

#[derive(Serialize)]
struct ShownSetting<'a> {
    name: &'a str,
    value: &'a str,
    origin: String,
}

/// Each setting, and where it came from.
pub(crate) fn settings(settings: &Settings, format: Format) {
    let shown: Vec<_> = settings
        .table
        .iter()
        .map(|setting| {
            let (name, value) = (setting.name.as_str(), setting.value.as_str());
            let origin = setting.origin.to_string();
            let cells = vec![name.to_owned(), value.to_owned(), origin.clone()];
            (ShownSetting { name, value, origin }, cells)
        })
        .collect();
    rows(format, &["setting", "value", "from"], &shown);
}

pub(crate) fn completions(shell: clap_complete::Shell) {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "innkeeper", &mut text);
    say(&String::from_utf8_lossy(&text));
}

/// A page for `man`.
pub(crate) fn page(text: &str) {
    say(text);
}

/// A progress bar on standard error, if that is a terminal.
pub(crate) fn progress(steps: usize, what: &'static str) -> indicatif::ProgressBar {
    if !io::stderr().is_terminal() {
        return indicatif::ProgressBar::hidden();
    }
    let bar = indicatif::ProgressBar::new(steps as u64).with_message(what);
    let style = indicatif::ProgressStyle::with_template("{msg} {bar:40} {pos}/{len}");
    style.map_or(bar.clone(), |style| bar.with_style(style))
}
