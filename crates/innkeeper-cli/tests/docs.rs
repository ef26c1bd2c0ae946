//! The documents say what is so: the table of settings, the runbook, the names of metrics.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Tests.

#[path = "support/program.rs"]
mod program;

use std::collections::BTreeSet;
use std::path::Path;

use clap::CommandFactory;
use innkeeper_cli::args::Cli;
use innkeeper_cli::exit::Exit;
use program::Program;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A line for each flag of `serve`.
fn settings() -> String {
    let command = Cli::command();
    let serve = command.find_subcommand("serve").unwrap();
    let flags = serve.get_arguments().filter(|arg| !arg.is_hide_set() && arg.get_long().is_some());
    let lines = flags.filter(|arg| arg.get_id() != "help").map(|arg| {
        let default = arg.get_default_values().first().map(|value| value.to_string_lossy());
        let default = default.map(|value| format!("`{value}`")).unwrap_or_default();
        let variable = arg.get_env().map(|name| name.to_string_lossy()).unwrap_or_default();
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let flag = arg.get_long().unwrap();
        format!("| `--{flag}` | `{variable}` | {default} | {} |\n", help.replace('|', "\\|"))
    });
    let lines: String = lines.collect();
    format!("| flag | environment | default | |\n|---|---|---|---|\n{lines}")
}

/// A line for each command with codes of its own, and one for the others.
fn exit_codes() -> String {
    let command = Cli::command();
    let names = command.get_subcommands().map(clap::Command::get_name);
    let has_own = |name: &&str| Exit::ALL.iter().any(|exit| exit.meaning(name) != exit.meaning(""));
    let rows = names.filter(has_own).map(|name| (format!("`{name}`"), name));
    let rows = rows.chain([("any other".to_owned(), "")]);
    let lines = rows.map(|(shown, name)| {
        let said = Exit::ALL.map(|exit| exit.meaning(name).unwrap_or_default().to_owned());
        format!("| {shown} | {} |\n", said.join(" | "))
    });
    let codes = Exit::ALL.map(|exit| exit.code().to_string()).join(" | ");
    format!("| | {codes} |\n|---|---|---|---|\n{}", lines.collect::<String>())
}

/// What stands between the marks of a table. `INNKEEPER_UPDATE_DOCS=1` writes it.
fn is_in_operating(name: &str, table: &str) {
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let text = read("docs/OPERATING.md");
    let (head, rest) = text.split_once(&begin).unwrap();
    let (there, tail) = rest.split_once(&end).unwrap();
    if there != table && std::env::var_os("INNKEEPER_UPDATE_DOCS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/OPERATING.md");
        std::fs::write(path, format!("{head}{begin}{table}{end}{tail}")).unwrap();
        return;
    }
    assert_eq!(there, table, "run this test with INNKEEPER_UPDATE_DOCS=1");
}

/// One after the other, for both are written to one file.
#[test]
fn the_tables_of_settings_and_of_exit_codes_are_those_of_the_program() {
    is_in_operating("settings", &settings());
    is_in_operating("exit codes", &exit_codes());
}

#[test]
fn every_alert_and_every_code_has_its_part_in_the_runbook() {
    let runbook = read("docs/OPERATING.md");
    let alerts = read("packaging/grafana/alerts.yml");
    let mut seen = 0;
    for alert in alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(runbook.contains(&format!("\n### {alert}\n")), "no runbook for {alert}");
        let anchor = format!("runbook: docs/OPERATING.md#{}", alert.to_lowercase());
        assert!(alerts.contains(&anchor), "{alert} does not lead to its runbook");
        seen += 1;
    }
    assert!(seen > 0, "no alerts were found");
    let codes = read("crates/innkeeper-api/src/problem.rs");
    let codes: BTreeSet<_> = codes
        .lines()
        .filter_map(|line| {
            line.trim().strip_prefix("Code::")?.split_once("=> (\"")?.1.split_once('"')
        })
        .map(|(word, _)| word)
        .collect();
    assert!(codes.len() > 20, "{codes:?}");
    for code in codes {
        assert!(runbook.contains(&format!("`{code}`")), "{code} is not in docs/OPERATING.md");
    }
}

/// The names of our metrics in a text; those of a histogram's samples count as its own.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_lowercase() && c != '_');
    let names = words.filter(|word| word.starts_with("innkeeper_"));
    names
        .map(|name| {
            let ends = ["_bucket", "_count", "_sum"];
            let bare = ends.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            bare.to_owned()
        })
        .collect()
}

#[tokio::test]
async fn every_metric_that_is_named_exists_and_every_one_that_exists_is_named() {
    let server = Program::start(&[]);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(server.url("/metrics")).send().await.unwrap();
    let there = metrics(&answer.text().await.unwrap());
    for file in ["packaging/grafana/dashboard.json", "packaging/grafana/alerts.yml"] {
        let named = metrics(&read(file));
        assert!(!named.is_empty() && named.is_subset(&there), "{file}: {named:?}");
    }
    // That these are there is seen where there is a cluster: tests/phoenix/cluster.mjs.
    let of_a_cluster = ["gate_shut_total", "session_remaining_seconds", "shards_owned"];
    let of_a_cluster = of_a_cluster.map(|name| format!("innkeeper_{name}"));
    let mut named = metrics(&read("docs/OPERATING.md"));
    assert!(of_a_cluster.iter().all(|name| named.remove(name)), "{named:?}");
    assert_eq!(named, there);
}

#[test]
fn the_dashboard_of_grafana_can_be_read_and_every_panel_asks_something() {
    let board: serde_json::Value =
        serde_json::from_str(&read("packaging/grafana/dashboard.json")).unwrap();
    for panel in board["panels"].as_array().unwrap() {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{panel}");
        for target in targets {
            assert!(target["expr"].as_str().unwrap().contains("innkeeper_"), "{target}");
        }
    }
}

/// `systemd-analyze verify`, where there is one.
#[test]
fn systemd_takes_the_unit() {
    let dir = tempfile::tempdir().unwrap();
    let unit = dir.path().join("innkeeper.service");
    let text = read("packaging/systemd/innkeeper.service");
    // It looks for the program and the page, which are not installed here.
    let text = text.replace("/usr/bin/innkeeper", env!("CARGO_BIN_EXE_innkeeper"));
    std::fs::write(&unit, text.replace("Documentation=man:innkeeper(1)\n", "")).unwrap();
    let verify = std::process::Command::new("systemd-analyze").arg("verify").arg(&unit).output();
    let Ok(verified) = verify else { return };
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && said.trim().is_empty(), "{said}");
}
