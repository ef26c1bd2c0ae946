//! Where a drill takes place: in namespaces of its own for network, mounts and processes, so that
//! the system removes all of it when the director is gone, whatever it died of.

use std::fs::{read_dir, read_to_string};
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};

use crate::director::{self, DirectorArgs};
use crate::disks;
use crate::node::Mistake;

/// What it ends with where no drill can take place.
const UNABLE: u8 = 3;

/// What it ends with where etcd does not have the fault that a control is about.
const MENDED: u8 = 4;

/// What it is made with, each with Debian's package.
const TOOLS: [(&str, &str); 8] = [
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("fsfreeze", "util-linux"),
    ("mount", "mount"),
    ("losetup", "mount"),
    ("mkfs.ext4", "e2fsprogs"),
    ("ip", "iproute2"),
];

/// How often it is looked whether a director was killed.
const LOOK: Duration = Duration::from_millis(200);

/// Namespaces for network, mounts and processes.
const NAMESPACES: [&str; 5] = ["--net", "--mount", "--pid", "--fork", "--mount-proc"];

/// Has the director work in namespaces of its own.
pub(crate) fn enter(args: &DirectorArgs) -> ExitCode {
    if let Some(why) = unable(args) {
        eprintln!("no drill: {why}");
        return ExitCode::from(UNABLE);
    }
    if args.mistake == Some(Mistake::Lease)
        && let Some(version) = version(&args.etcd)
        && is_mended(&version)
    {
        eprintln!("no drill: a frozen leader of etcd {version} does not keep leases alive");
        return ExitCode::from(MENDED);
    }
    match direct(args) {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Whoever goes, be it killed, takes whom it has started along, down to the director: that ends in
/// order, and all else with it.
fn direct(args: &DirectorArgs) -> Result<ExitStatus, crate::Error> {
    set_parent_process_death_signal(Some(Signal::TERM))?;
    let mut direct = Command::new("setpriv");
    direct.args(["--pdeathsig", "KILL", "unshare"]).args(NAMESPACES).arg("--kill-child=TERM");
    direct.arg(std::env::current_exe()?).arg("direct").args(args.words());
    // What is left of one whose stage was killed as well.
    if director::lock(&args.folder).is_ok() {
        disks::thaw_left(&args.folder);
    }
    let mut directing = direct.spawn()?;
    loop {
        if let Some(status) = directing.try_wait()? {
            return Ok(status);
        }
        if is_killed(directing.id()) {
            disks::thaw_left(&args.folder);
        }
        sleep(LOOK);
    }
}

/// Whether a director has ended, though whoever started it still waits: for all that there is in
/// its namespace, of which some may wait for a disk that is frozen.
fn is_killed(starter: u32) -> bool {
    let children = read_to_string(format!("/proc/{starter}/task/{starter}/children"));
    let children = children.unwrap_or_default();
    // It may not have been started yet.
    let Some(director) = children.split_whitespace().next() else { return false };
    // While it runs it has files open.
    read_dir(format!("/proc/{director}/fd")).map_or(true, |mut files| files.next().is_none())
}

/// Why none can take place.
fn unable(args: &DirectorArgs) -> Option<String> {
    for (tool, package) in TOOLS {
        if !is_there(Path::new(tool)) {
            return Some(format!("there is no {tool}; install {package}"));
        }
    }
    if !is_there(&args.etcd) {
        let named = args.etcd.display();
        return Some(format!("there is no {named}; install etcd-server, or set INNKEEPER_ETCD"));
    }
    if !Path::new("/dev/loop-control").exists() {
        return Some("there are no loop devices for the disks of etcd".to_owned());
    }
    let mut probe = Command::new("unshare");
    probe.args(NAMESPACES).arg("true").stdout(Stdio::null()).stderr(Stdio::null());
    if !probe.status().is_ok_and(|status| status.success()) {
        return Some("namespaces cannot be made; it has to run as root".to_owned());
    }
    None
}

/// The version that etcd says it has.
fn version(etcd: &Path) -> Option<String> {
    let said = Command::new(etcd).arg("--version").output().ok()?;
    let said = String::from_utf8(said.stdout).ok()?;
    let version = said.lines().find_map(|line| line.strip_prefix("etcd Version: "))?;
    Some(version.trim().to_owned())
}

/// Whether its leases are not kept alive by a leader that is none any more (etcd-io/etcd#15247).
fn is_mended(version: &str) -> bool {
    let mut numbers = version.split(['.', '-']).map(|number| number.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    match (next(), next(), next()) {
        (3, ..4, _) => false,
        (3, 4, patch) => patch >= 31,
        (3, 5, patch) => patch >= 13,
        (major, ..) => major >= 3,
    }
}

fn is_there(program: &Path) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    // A whole path stays what it is.
    std::env::split_paths(&paths).any(|dir| dir.join(program).is_file())
}

/// Runs a tool to its end.
pub(crate) fn tool(words: &[&str]) -> Result<(), crate::Error> {
    let output = Command::new(words[0]).args(&words[1..]).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{}: {}", words.join(" "), said.trim()).into())
}

/// A path as a word.
pub(crate) fn word(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_known_which_etcd_has_the_fault() {
        for version in ["3.3.25", "3.4.23", "3.4.30", "3.5.12"] {
            assert!(!is_mended(version), "{version}");
        }
        for version in ["3.4.31", "3.5.13", "3.5.16", "3.6.0", "3.6.0-rc.1"] {
            assert!(is_mended(version), "{version}");
        }
    }
}
