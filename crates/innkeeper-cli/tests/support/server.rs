//! The program itself, serving on a free port until it is dropped.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

/// How often a start on a given port is tried: somebody else may hold it for a moment.
const TRIES: usize = 100;

/// A server, started by its command.
pub(crate) struct Server {
    child: Child,
    /// Read no more, but kept open: what it prints later must not fail.
    _stdout: BufReader<ChildStdout>,
    /// Where it listens, as `http://HOST:PORT`.
    pub(crate) url: String,
}

impl Server {
    /// Starts one on any free port.
    #[allow(dead_code)] // Some always have flags.
    pub(crate) fn start() -> Server {
        Server::with(&[])
    }

    /// As [`start`](Server::start), with more flags.
    pub(crate) fn with(flags: &[&str]) -> Server {
        Server::on("127.0.0.1:0", flags)
            .unwrap_or_else(|status| panic!("it did not start: {status}"))
    }

    fn on(http: &str, flags: &[&str]) -> Result<Server, ExitStatus> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_innkeeper"))
            .args(["serve", "--http", http, "--kv", "off"])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while stdout.read_line(&mut line).unwrap() > 0 {
            if let Some(url) = line.split_whitespace().find(|word| word.starts_with("http://")) {
                let url = url.trim_end_matches('/').to_owned();
                return Ok(Server { child, _stdout: stdout, url });
            }
            line.clear();
        }
        Err(child.wait().unwrap())
    }

    /// The processor time it has used so far, in hundredths of a second.
    #[allow(dead_code)] // Not every test binary measures.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The name, in parentheses, may have blanks in it.
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Drains it, as a service manager does, and starts it again on the same port.
    #[allow(dead_code)] // As above.
    pub(crate) fn restart(&mut self) {
        let address = self.url.trim_start_matches("http://").to_owned();
        let status = self.terminate();
        assert!(status.success(), "the drain was not clean: {status}");
        for _ in 0..TRIES {
            if let Ok(server) = Server::on(&address, &[]) {
                *self = server;
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("it did not start again on {address}");
    }

    #[allow(dead_code)]
    fn terminate(&mut self) -> ExitStatus {
        let kill = format!("kill -TERM {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
