//! JavaScript clients against the program: the published npm package `phoenix`, unmodified, and
//! the one of the rooms page.

#![allow(clippy::unwrap_used)]

#[path = "support/missing.rs"]
mod missing;
#[path = "support/server.rs"]
mod server;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use server::Server;

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/phoenix");

/// The client of the page.
const CHANNEL_JS: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../innkeeper-server/src/page/channel.js");

/// What the script prints when it wants the server to be restarted.
const RESTART: &str = "# please restart the server";

#[test]
fn the_published_phoenix_client_talks_to_the_server_unmodified() {
    run_script("test.mjs", 12);
}

#[test]
fn the_client_of_the_page_survives_bad_days() {
    run_script("page.mjs", 6);
}

fn run_script(script: &str, tests: usize) {
    let Some(()) = missing::or_skip(&format!("the test phoenix/{script}"), install()) else {
        return;
    };
    let mut server = Server::start();
    let mut node = Command::new("node")
        .args(["--test-reporter=tap", script])
        .current_dir(DIRECTORY)
        .env("INNKEEPER_URL", &server.url)
        .env("INNKEEPER_CHANNEL_JS", CHANNEL_JS)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut report = Vec::new();
    for line in BufReader::new(node.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if line == RESTART {
            server.restart();
        }
        report.push(line);
    }
    let status = node.wait().unwrap();
    let text = report.join("\n");
    assert!(status.success(), "node ended with {status}\n{text}");
    let passed = report.iter().filter(|line| line.starts_with("ok ")).count();
    let planned = report.iter().find_map(|line| line.strip_prefix("1..")).unwrap();
    assert_eq!(passed.to_string(), planned, "{text}");
    assert!(passed == tests && !text.contains("# SKIP"), "{text}");
}

/// Sees to it that a script can run.
fn install() -> Result<(), String> {
    // Once, however many tests need it.
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    INSTALLED.get_or_init(install_packages).clone()
}

fn install_packages() -> Result<(), String> {
    let version = run("node", &["--version"])?;
    let major = version.trim().trim_start_matches('v').split('.').next().unwrap_or_default();
    match major.parse::<u32>() {
        Ok(18..) => {}
        _ => return Err(format!("expected node 18 or newer, got {version}")),
    }
    if Path::new(DIRECTORY).join("node_modules/phoenix").exists() {
        return Ok(());
    }
    run("npm", &["ci", "--no-audit", "--no-fund"]).map(drop)
}

fn run(program: &str, args: &[&str]) -> Result<String, String> {
    let done = Command::new(program).args(args).current_dir(DIRECTORY).output();
    let done = done.map_err(|error| format!("{program} is not there: {error}"))?;
    if !done.status.success() {
        let words = String::from_utf8_lossy(&done.stderr);
        return Err(format!("{program} {} failed: {words}", args.join(" ")));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}
