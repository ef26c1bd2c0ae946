//! An etcd of the test's own, on free ports of loopback.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// An etcd that ends with the test.
pub(crate) struct Etcd {
    child: Child,
    pub(crate) url: String,
    _folder: tempfile::TempDir,
}

impl Etcd {
    /// # Errors
    /// It is not installed.
    pub(crate) fn start() -> Result<Etcd, String> {
        let named = std::env::var_os("INNKEEPER_ETCD").map(PathBuf::from);
        let program = named.unwrap_or_else(|| "etcd".into());
        let folder = tempfile::tempdir().unwrap();
        let (port, peer) = (free_port(), free_port());
        let url = format!("http://127.0.0.1:{port}");
        let child = Command::new(program)
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--listen-peer-urls", &format!("http://127.0.0.1:{peer}")])
            .args(["--log-level", "error", "--data-dir"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = child.map_err(|error| format!("etcd (Debian: etcd-server): {error}"))?;
        let etcd = Etcd { child, url, _folder: folder };
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "etcd does not come up");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(etcd)
    }
}

impl Etcd {
    /// Sends a signal, by name.
    #[allow(dead_code)] // Not every test binary does.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
    }
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
