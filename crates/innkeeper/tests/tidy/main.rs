//! The house rules, checked: what may not be in the sources, who may import whom, and that the
//! tables of docs/SEMANTICS.md are whole.

#![allow(clippy::unwrap_used)] // What a test unwraps is what it asserts.

mod imports;
mod links;
mod rules;
mod semantics;
mod source;

use std::path::{Path, PathBuf};
use std::process::Command;

use imports::Package;
use source::Source;

/// One thing that is not as it should be.
#[derive(Debug, PartialEq)]
pub(crate) struct Finding {
    pub(crate) line: usize,
    /// What it is, and what to do.
    pub(crate) what: String,
}

impl Finding {
    pub(crate) fn new(line: usize, what: impl Into<String>) -> Finding {
        Finding { line, what: what.into() }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The packages of the workspace, as cargo sees them.
fn packages() -> Vec<Package> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]);
    let output = cargo.current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    imports::packages(&serde_json::from_slice(&output.stdout).unwrap())
}

/// Every Rust file of the workspace.
fn sources() -> Vec<Source> {
    let root = root();
    let mut sources = Vec::new();
    for package in packages() {
        let mut files = Vec::new();
        for folder in ["src", "tests", "benches", "examples"] {
            rust_files(&package.folder.join(folder), &mut files);
        }
        assert!(!files.is_empty(), "no sources in {}", package.folder.display());
        for file in files {
            let path = file.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
            let text = std::fs::read_to_string(&file).unwrap();
            sources.push(Source::new(&package.name, &path, text));
        }
    }
    sources
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = folder.read_dir() else { return };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn report(findings: &[String]) {
    let count = findings.len();
    assert!(findings.is_empty(), "{count} to put right:\n{}", findings.join("\n"));
}

#[test]
fn tidy_the_sources_keep_to_the_house_rules() {
    let mut findings = Vec::new();
    for source in sources() {
        for rule in rules::ALL {
            let found = rule(&source);
            findings.extend(
                found.iter().map(|found| format!("{}:{}: {}", source.path, found.line, found.what)),
            );
        }
    }
    report(&findings);
}

#[test]
fn tidy_links_in_the_documents_lead_somewhere() {
    let root = root();
    let mut lines = Vec::new();
    for document in links::documents(&root) {
        let path = document.strip_prefix(&root).unwrap().display().to_string();
        let found = links::findings(&document);
        lines.extend(found.iter().map(|(line, what)| format!("{path}:{line}: {what}")));
    }
    report(&lines);
}

#[test]
fn tidy_imports_go_in_one_direction() {
    report(&packages().iter().flat_map(imports::findings).collect::<Vec<_>>());
}

#[test]
fn tidy_every_promise_and_every_known_hole_names_its_tests() {
    let sources = sources();
    let tests = sources.iter().flat_map(Source::test_names).collect();
    let comments = sources.iter().filter(|source| source.is_tests());
    let comments: String = comments.map(|source| source.comments.as_str()).collect();
    let text = std::fs::read_to_string(root().join("docs/SEMANTICS.md")).unwrap();
    let findings = semantics::findings(&text, &tests, &comments);
    let lines = findings.iter().map(|found| {
        let Finding { line, what } = found;
        format!("docs/SEMANTICS.md:{line}: {what}")
    });
    report(&lines.collect::<Vec<_>>());
}
