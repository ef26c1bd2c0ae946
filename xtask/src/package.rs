//! The Debian package: built, installed into a folder of its own, served from there, and removed.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::install;
use crate::step::{Steps, cargo};

/// Where the package is put, with what goes into it.
const DIR: &str = "target/deb";

/// Builds the package and tries it, as far as this machine has what that takes.
///
/// The man pages and the completions come from the program itself, and so are never behind it.
pub(crate) fn all(steps: &mut Steps) {
    let features = if install::builds_etcd() {
        "cluster,otlp"
    } else {
        steps.skip("the cluster in the package: install protobuf-compiler and libprotobuf-dev");
        "otlp"
    };
    let program = ["--release", "--quiet", "--package", "innkeeper-cli", "--features", features];
    let with = |first: &str| {
        let mut command = cargo([first]);
        command.args(program);
        command
    };
    steps.run("release build", with("build"));
    // What is left of another version would be packed too.
    let _ = fs::remove_dir_all(DIR);
    let mut man = with("run");
    man.args(["--", "man", "--dir"]).arg(Path::new(DIR).join("man"));
    steps.run("man pages", man);
    let made = fs::create_dir_all(DIR);
    let files = [("innkeeper.bash", "bash"), ("_innkeeper", "zsh"), ("innkeeper.fish", "fish")];
    for (name, shell) in files {
        let place = Path::new(DIR).join(name);
        let file = made.as_ref().ok().and_then(|()| fs::File::create(place).ok());
        let mut program = with("run");
        program.args(["--", "completions", shell]);
        if let Some(file) = file {
            program.stdout(file);
        }
        steps.run(name, program);
    }
    if !install::has_cargo_deb() {
        return steps.skip("the package itself: cargo install --locked cargo-deb");
    }
    let package = format!("{DIR}/innkeeper.deb");
    let mut deb = cargo(["deb", "--no-build", "--package", "innkeeper-cli", "--output", &package]);
    // In the workspace, and not where the tools of the caller build.
    deb.env_remove("CARGO_PKG_NAME");
    steps.run("deb", deb);
    attempt(steps, &package);
}

/// Installs the package where it is in nobody's way, serves from there, and removes it.
fn attempt(steps: &mut Steps, package: &str) {
    if !install::has("dpkg") {
        return steps.skip("the package, tried: there is no dpkg here");
    }
    let root = match fresh_root() {
        Ok(root) => root,
        Err(why) => return steps.skip(&format!("the package, tried: {why}")),
    };
    steps.run("install the package", dpkg(&root, &["--install", package]));
    steps.check("everything is in its place", || is_whole(&root));
    unit(steps, &root);
    steps.check("serve from the package", || serve(&root));
    steps.run("remove the package", dpkg(&root, &["--purge", "innkeeper"]));
    steps.check("nothing of the package is left", || is_gone(&root));
}

/// A folder with a dpkg of its own, which knows of no package.
fn fresh_root() -> Result<PathBuf, std::io::Error> {
    let root = std::env::current_dir()?.join(DIR).join("root");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    let state = root.join("var/lib/dpkg");
    for dir in ["info", "updates", "triggers"] {
        fs::create_dir_all(state.join(dir))?;
    }
    for file in ["status", "available"] {
        fs::write(state.join(file), "")?;
    }
    Ok(root)
}

/// dpkg on that folder. Its scripts are not run within it, for there is no shell in it, but told of
/// it; what the package depends on is on the machine.
fn dpkg(root: &Path, args: &[&str]) -> Command {
    let mut dpkg = Command::new("dpkg");
    dpkg.arg(format!("--root={}", root.display()));
    dpkg.args(["--force-not-root", "--force-depends", "--force-script-chrootless"]);
    dpkg.args(["--log=/dev/null"]).args(args).env("DEBIAN_FRONTEND", "noninteractive");
    dpkg
}

/// Where people look for the parts of a package, and dpkg for what stops the service.
const PLACES: [&str; 9] = [
    "usr/bin/innkeeper",
    "etc/innkeeper/innkeeper.toml",
    "usr/lib/systemd/system/innkeeper.service",
    "usr/share/man/man1/innkeeper.1.gz",
    "usr/share/man/man1/innkeeper-serve.1.gz",
    "usr/share/bash-completion/completions/innkeeper",
    "usr/share/zsh/vendor-completions/_innkeeper",
    "usr/share/fish/vendor_completions.d/innkeeper.fish",
    "var/lib/dpkg/info/innkeeper.prerm",
];

fn is_whole(root: &Path) -> Result<(), String> {
    let lacks: Vec<_> = PLACES.iter().filter(|place| !root.join(place).is_file()).collect();
    if lacks.is_empty() { Ok(()) } else { Err(format!("it lacks {lacks:?}")) }
}

/// The unit, as systemd reads it, with the program where it was installed.
fn unit(steps: &mut Steps, root: &Path) {
    if !install::has("systemd-analyze") {
        return steps.skip("the unit, verified: there is no systemd-analyze here");
    }
    let program = root.join("usr/bin/innkeeper");
    let copy = Path::new(DIR).join("innkeeper.service");
    let unit = fs::read_to_string(root.join("usr/lib/systemd/system/innkeeper.service"));
    let copied = unit.and_then(|unit| {
        fs::write(&copy, unit.replace("/usr/bin/innkeeper", &program.display().to_string()))
    });
    if let Err(error) = copied {
        return steps.skip(&format!("the unit, verified: {error}"));
    }
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]).arg(copy);
    steps.run("verify the unit", verify);
}

/// A server from the package, which is asked whether it lives and told to end.
fn serve(root: &Path) -> Result<(), String> {
    let mut command = Command::new(root.join("usr/bin/innkeeper"));
    command.arg("serve").arg("--config").arg(root.join("etc/innkeeper/innkeeper.toml"));
    command.args(["--http", "127.0.0.1:0", "--kv", "127.0.0.1:0"]).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let asked = ask(&mut child);
    let told = Command::new("kill").arg(child.id().to_string()).status();
    let ended = child.wait().map_err(|error| error.to_string())?;
    asked?;
    match told {
        Ok(told) if told.success() && ended.success() => Ok(()),
        _ => Err(format!("it did not end in order: {ended}")),
    }
}

fn ask(child: &mut Child) -> Result<(), String> {
    let said = child.stdout.take().ok_or("it says nothing")?;
    let place = BufReader::new(said).lines().map_while(Result::ok).find_map(|line| {
        let words = line.split_whitespace();
        let place = words.filter_map(|word| word.strip_prefix("http://")).next();
        place.map(|place| place.trim_end_matches('/').to_owned())
    });
    let place = place.ok_or("it does not say where it serves")?;
    let mut stream = TcpStream::connect(&place).map_err(|error| format!("{place}: {error}"))?;
    let request = format!("GET /livez HTTP/1.1\r\nhost: {place}\r\nconnection: close\r\n\r\n");
    let mut answer = String::new();
    let asked = stream.write_all(request.as_bytes());
    asked.and_then(|()| stream.read_to_string(&mut answer)).map_err(|error| error.to_string())?;
    if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(answer) }
}

/// Whether no file is left but dpkg's own.
fn is_gone(root: &Path) -> Result<(), String> {
    let mut left = Vec::new();
    files(root, &mut left).map_err(|error| error.to_string())?;
    left.retain(|path| !path.starts_with(root.join("var/lib/dpkg")));
    if left.is_empty() { Ok(()) } else { Err(format!("left behind: {left:?}")) }
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => files(&entry.path(), found)?,
            false => found.push(entry.path()),
        }
    }
    Ok(())
}
