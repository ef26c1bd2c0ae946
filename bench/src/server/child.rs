//! A server as a child of this program: started, listened for, its time and memory read, ended.

use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take until it listens.
const LISTEN_WITHIN: Duration = Duration::from_secs(20);

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Peer {
    Ours,
    SocketIo,
    Colyseus,
}

impl Peer {
    pub(crate) const ALL: [Peer; 3] = [Peer::Ours, Peer::SocketIo, Peer::Colyseus];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Peer::Ours => "ours",
            Peer::SocketIo => "socket.io",
            Peer::Colyseus => "colyseus",
        }
    }

    /// The command that serves on a port of this machine.
    fn command(self, innkeeper: &Path, port: u16) -> Command {
        let script = match self {
            Peer::Ours => {
                let mut command = Command::new(innkeeper);
                let http = format!("127.0.0.1:{port}");
                command.args(["serve", "--http", &http, "--kv", "off"]);
                // All members come from one address.
                command.args(["--starts-per-client", "0", "--starts-per-second", "0"]);
                return command;
            }
            Peer::SocketIo => "socketio.js",
            Peer::Colyseus => "colyseus.js",
        };
        let mut command = Command::new("node");
        command.arg(script).arg(port.to_string()).env("NODE_ENV", "production");
        command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/server"));
        command
    }
}

/// A server that runs until this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
}

impl Server {
    /// Starts it, and waits until it listens.
    ///
    /// # Errors
    /// Why it does not, in words, and what to do.
    pub(crate) fn start(peer: Peer, innkeeper: &Path) -> Result<Server, String> {
        Server::start_with(peer, innkeeper, &[])
    }

    /// As [`start`](Server::start), with more flags.
    pub(crate) fn start_with(
        peer: Peer,
        innkeeper: &Path,
        flags: &[&str],
    ) -> Result<Server, String> {
        let address = free_address().map_err(|error| format!("no free port: {error}"))?;
        let mut command = peer.command(innkeeper, address.port());
        let quiet =
            command.args(flags).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = quiet.spawn().map_err(|error| {
            let program = command.get_program().display();
            format!("{program}: {error}; `cargo build --release`, or a --innkeeper that is there")
        })?;
        let mut server = Server { child, address: address.to_string() };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = server.child.try_wait().ok().flatten();
            if let Some(status) = ended {
                let name = peer.name();
                return Err(format!("{name} ended ({status}); `npm ci` in bench/server"));
            }
            if began.elapsed() > LISTEN_WITHIN {
                return Err(format!("{} does not listen on {address}", peer.name()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// The processor time it has used by now, to the nanosecond, where what is compared is small.
    pub(crate) fn run_time(&self) -> io::Result<Duration> {
        let mut sum = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            let first = text.split(' ').next().and_then(|word| word.parse::<u64>().ok());
            sum += first.ok_or_else(|| io::Error::other("/proc has another form here"))?;
        }
        Ok(Duration::from_nanos(sum))
    }

    /// What it has used by now.
    pub(crate) fn usage(&self) -> io::Result<Usage> {
        let folder = PathBuf::from(format!("/proc/{}", self.child.id()));
        let ticks = cpu_ticks(&fs::read_to_string(folder.join("stat"))?);
        let resident = resident_bytes(&fs::read_to_string(folder.join("status"))?);
        let unknown = || io::Error::other("/proc has another form here");
        let per_second = rustix::param::clock_ticks_per_second() as f64;
        Ok(Usage {
            cpu_seconds: ticks.ok_or_else(unknown)? as f64 / per_second,
            resident_bytes: resident.ok_or_else(unknown)?,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing is kept that an orderly end would save.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process has used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    pub(crate) resident_bytes: u64,
}

fn free_address() -> io::Result<std::net::SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// User and system time in `/proc/PID/stat`; the name before it may hold blanks and brackets.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_read_whatever_the_program_is_called() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 250 75 0 0 20 0 3 0 1 2 3";
        assert_eq!(cpu_ticks(stat), Some(325));
        assert_eq!(cpu_ticks(""), None);
    }

    #[test]
    fn resident_memory_is_read_in_bytes() {
        assert_eq!(resident_bytes("VmHWM:\t 9 kB\nVmRSS:\t    12 kB\n"), Some(12 * 1024));
        assert_eq!(resident_bytes("VmHWM:\t 9 kB\n"), None);
    }
}
