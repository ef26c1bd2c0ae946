//! The real program, started on ports of its own and ended at the end of a test.

#![allow(dead_code)] // Each test binary uses a part of it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The program under test.
pub(crate) fn innkeeper() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_innkeeper"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("INNKEEPER_") {
            command.env_remove(name);
        }
    }
    command.env("NO_COLOR", "1").env_remove("RUST_LOG");
    command
}

/// A server of the real program.
pub(crate) struct Program {
    child: Child,
    /// `127.0.0.1:PORT`
    pub(crate) http: String,
    pub(crate) kv: Option<String>,
}

impl Program {
    /// Starts `innkeeper serve` on free ports, with more flags.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Program::on("127.0.0.1:0", flags)
    }

    pub(crate) fn on(http: &str, flags: &[&str]) -> Self {
        Program::told(http, flags, &[])
    }

    /// With variables of its own.
    pub(crate) fn told(http: &str, flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = innkeeper();
        command.envs(variables.iter().copied());
        command.args(["serve", "--http", http, "--kv", "127.0.0.1:0", "--log-format", "text"]);
        command.args(flags).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (mut http, mut kv) = (None, None);
        for line in lines.by_ref().map_while(Result::ok) {
            if let Some(at) = line.trim().strip_prefix("rooms ") {
                let at = at.trim().trim_start_matches("http://").trim_start_matches("https://");
                http = at.split('/').next().map(str::to_owned);
            }
            if let Some(at) = line.trim().strip_prefix("kv ") {
                let mut words = at.split_whitespace().skip(1);
                kv = words.next().zip(words.next()).map(|(ip, port)| format!("{ip}:{port}"));
            }
            if line.contains("Ctrl-C") {
                break;
            }
        }
        let http = http.unwrap_or_else(|| {
            let mut error = String::new();
            let _ = child.stderr.take().unwrap().read_to_string(&mut error);
            panic!("the server did not start: {error}")
        });
        Program { child, http, kv }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, by name.
    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for its end, and answers how it ended and what it had said on standard error.
    pub(crate) fn ended(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > deadline => panic!("has not ended"),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (status, said)
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Gone already, where the test waited for it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
