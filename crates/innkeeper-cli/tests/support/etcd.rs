//! An etcd of the test's own, on free ports of loopback.

#![allow(dead_code)] // Each test binary uses a part of it.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// An etcd that ends with the test.
pub(crate) struct Etcd {
    child: Child,
    pub(crate) url: String,
    ports: (u16, u16),
    flags: Vec<String>,
    folder: tempfile::TempDir,
}

impl Etcd {
    /// # Errors
    /// It is not installed.
    pub(crate) fn start() -> Result<Etcd, String> {
        Etcd::start_with(&[])
    }

    /// # Errors
    /// It is not installed.
    pub(crate) fn start_with(flags: &[&str]) -> Result<Etcd, String> {
        let folder = tempfile::tempdir().unwrap();
        let (ports, flags) = ((free_port(), free_port()), words(flags));
        let url = format!("http://127.0.0.1:{}", ports.0);
        let child = run(ports, &folder.path().join("data"), &flags)?;
        let etcd = Etcd { child, url, ports, flags, folder };
        etcd.until_up();
        Ok(etcd)
    }

    /// Where it keeps everything.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Ends it in order.
    pub(crate) fn stop(&mut self) {
        self.signal("TERM");
        let _ = self.child.wait().unwrap();
    }

    /// Starts it again, on what it has kept.
    pub(crate) fn start_again(&mut self) {
        self.child = run(self.ports, &self.data(), &self.flags).unwrap();
        self.until_up();
    }

    fn until_up(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", self.ports.0)).is_err() {
            assert!(Instant::now() < deadline, "etcd does not come up");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Sends a signal, by name.
    #[allow(dead_code)] // Not every test binary does.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
    }
}

fn run((port, peer): (u16, u16), data: &Path, flags: &[String]) -> Result<Child, String> {
    let named = std::env::var_os("INNKEEPER_ETCD").map(PathBuf::from);
    let url = format!("http://127.0.0.1:{port}");
    let child = Command::new(named.unwrap_or_else(|| "etcd".into()))
        .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
        .args(["--listen-peer-urls", &format!("http://127.0.0.1:{peer}")])
        .args(["--log-level", "error", "--data-dir"])
        .arg(data)
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    child.map_err(|error| format!("etcd (Debian: etcd-server): {error}"))
}

fn words(flags: &[&str]) -> Vec<String> {
    flags.iter().map(|flag| (*flag).to_owned()).collect()
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
