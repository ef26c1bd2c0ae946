//! Installs what the tests talk to: a browser, Node with the real client, etcd, a compiler for the
//! fuzzer, a counter of instructions.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::step::{Steps, cargo};

/// Debian's packages, and the program by which each is known to be there.
const PACKAGES: [(&str, &str, &str); 12] = [
    ("chromium", "chromium", "the tests in a browser"),
    ("tmux", "tmux", "the tests in a terminal"),
    ("node", "nodejs", "the tests with the phoenix client"),
    ("npm", "npm", "the tests with the phoenix client"),
    ("g++", "g++", "the fuzz targets"),
    ("etcd", "etcd-server", "the tests on etcd, and the drill"),
    ("ip", "iproute2", "the drill"),
    ("mkfs.ext4", "e2fsprogs", "the drill"),
    ("unshare", "util-linux", "the drill"),
    ("protoc", "protobuf-compiler", "the crate innkeeper-etcd"),
    ("valgrind", "valgrind", "the instruction counts"),
    ("systemd-analyze", "systemd", "the unit of the package, verified"),
];

/// Installs what is missing, where that is possible; else says what will not run.
pub(crate) fn everything(steps: &mut Steps) {
    let missing: Vec<_> = PACKAGES.iter().filter(|(program, ..)| !has(program)).collect();
    if !missing.is_empty() || !builds_etcd() {
        let packages = missing.iter().map(|(_, package, _)| *package);
        let packages: Vec<&str> = packages.chain([PROTO_FILES]).collect();
        eprintln!("=== installing {}", packages.join(", "));
        apt(&packages);
    }
    for (program, package, what) in missing {
        if !has(program) {
            steps.skip(&format!("{what}: install {package}"));
        }
    }
    phoenix(steps);
}

/// Debian's package of the files that protoc's own ones refer to.
const PROTO_FILES: &str = "libprotobuf-dev";

/// Whether the crate that talks to etcd can be built: its dependency needs protoc, with the files
/// that come with it, which stand beside the program or in the system's place.
pub(crate) fn builds_etcd() -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let file = Path::new("include/google/protobuf/descriptor.proto");
    let beside = std::env::split_paths(&paths).filter(|dir| dir.join("protoc").is_file());
    let mut roots = beside.filter_map(|dir| dir.parent().map(Path::to_path_buf));
    roots.any(|root| root.join(file).is_file())
}

/// Debian's way, as root; anywhere else it is for the reader to install.
fn apt(packages: &[&str]) {
    if !has("apt-get") {
        return;
    }
    let run = |args: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.args(args).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
        apt.status().is_ok_and(|status| status.success())
    };
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(packages);
    let _ = run(&["update"]) && run(&install);
}

/// The published client, into a directory that is not kept.
fn phoenix(steps: &mut Steps) {
    let dir = Path::new("crates/innkeeper-cli/tests/phoenix");
    if !dir.join("package-lock.json").exists() || dir.join("node_modules").exists() {
        return;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--silent"]).current_dir(dir);
    if !npm.status().is_ok_and(|status| status.success()) {
        steps.skip("the tests with the phoenix client: npm ci failed");
    }
}

/// What builds the package. It is made here from its source, which takes about a minute of two
/// cores: Debian has none, and no other of our tests needs it.
pub(crate) fn cargo_deb(steps: &mut Steps) {
    if has_cargo_deb() {
        return;
    }
    // Unoptimised it is there sooner, and is run once.
    let quick = ["install", "--locked", "--debug", "--quiet", "cargo-deb"];
    // What cargo ends with that could not fetch or build it: who tries the package says so.
    steps.code_of("install cargo-deb", cargo(quick), &[(0, "ok"), (101, "it could not be had,")]);
}

/// Whether cargo finds it: on the path, or where it installs programs.
pub(crate) fn has_cargo_deb() -> bool {
    let asked = cargo(["deb", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

/// Whether a program is to be found.
pub(crate) fn has(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|dir| dir.join(program).is_file())
}
