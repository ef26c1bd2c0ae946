//! Scripts for Node, with the published npm package `phoenix`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/phoenix");

/// Runs a script; what it asks for with a line `# please ...` is done by `please`. Every one of so
/// many tests has to pass.
pub(crate) fn run(
    script: &str,
    tests: usize,
    variables: &[(&str, &str)],
    mut please: impl FnMut(&str),
) {
    let mut node = Command::new("node")
        .args(["--test-reporter=tap", script])
        .current_dir(DIRECTORY)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut report = Vec::new();
    for line in BufReader::new(node.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if let Some(what) = line.strip_prefix("# please ") {
            please(what);
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
pub(crate) fn install() -> Result<(), String> {
    // Once, however many tests need it.
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    INSTALLED.get_or_init(install_packages).clone()
}

fn install_packages() -> Result<(), String> {
    let version = output("node", &["--version"])?;
    let major = version.trim().trim_start_matches('v').split('.').next().unwrap_or_default();
    match major.parse::<u32>() {
        Ok(18..) => {}
        _ => return Err(format!("expected node 18 or newer, got {version}")),
    }
    if Path::new(DIRECTORY).join("node_modules/phoenix").exists() {
        return Ok(());
    }
    output("npm", &["ci", "--no-audit", "--no-fund"]).map(drop)
}

fn output(program: &str, args: &[&str]) -> Result<String, String> {
    let done = Command::new(program).args(args).current_dir(DIRECTORY).output();
    let done = done.map_err(|error| format!("{program} is not there: {error}"))?;
    if !done.status.success() {
        let words = String::from_utf8_lossy(&done.stderr);
        return Err(format!("{program} {} failed: {words}", args.join(" ")));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}
