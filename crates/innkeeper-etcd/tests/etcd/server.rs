//! An etcd of the test's own: started on free ports of loopback, stopped, replaced, and killed at
//! the end.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use etcd_client::{Client, PermissionType};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// How long an etcd may take to be there, on a machine that is busy.
const READY: Duration = Duration::from_secs(60);

/// Some etcds that are one, or one.
pub(crate) struct Servers {
    pub(crate) all: Vec<Server>,
}

/// One member.
pub(crate) struct Server {
    child: Child,
    folder: PathBuf,
    endpoint: String,
    args: Vec<String>,
}

fn program() -> Option<PathBuf> {
    let named = std::env::var_os("INNKEEPER_ETCD").map(PathBuf::from);
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).map(|dir| dir.join("etcd")).find(|it| it.is_file());
    let program = named.or(found);
    if program.is_none() {
        let in_ci = std::env::var("CI").is_ok_and(|it| it == "true");
        assert!(!in_ci, "there is no etcd: install the package etcd-server");
        println!("skipped: there is no etcd; install the package etcd-server");
    }
    program
}

/// A port that was free a moment ago, and is given to nobody else of these tests.
fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Each process of the tests looks in a place of its own first.
    let start = 20_000 + (std::process::id() % 1_000) as u16 * 10;
    loop {
        let port = start + NEXT.fetch_add(1, Ordering::Relaxed);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Servers {
    /// `None` where no etcd is installed.
    pub(crate) async fn start(count: usize) -> Option<Servers> {
        program()?;
        let ports: Vec<_> = (0..count).map(|_| (port(), port())).collect();
        let peers = ports.iter().enumerate();
        let peers: Vec<_> =
            peers.map(|(at, (_, peer))| format!("m{at}=http://127.0.0.1:{peer}")).collect();
        let mut all = Vec::new();
        for (at, (client, peer)) in ports.into_iter().enumerate() {
            let (client, peer) =
                (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
            let args = [
                ("--name", format!("m{at}")),
                ("--listen-client-urls", client.clone()),
                ("--advertise-client-urls", client.clone()),
                ("--listen-peer-urls", peer.clone()),
                ("--initial-advertise-peer-urls", peer),
                ("--initial-cluster", peers.join(",")),
            ];
            all.push(Server::spawn(client, flat(args))?);
        }
        let servers = Servers { all };
        servers.ready().await;
        Some(servers)
    }

    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.all.iter().map(|server| server.endpoint.clone()).collect()
    }

    async fn ready(&self) {
        let ready = async {
            for server in &self.all {
                loop {
                    let client = Client::connect([&server.endpoint], None).await;
                    if let Ok(client) = client
                        && client.kv_client().get("ready", None).await.is_ok()
                    {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        };
        tokio::time::timeout(READY, ready).await.expect("etcd does not come up");
    }

    pub(crate) async fn compact(&self, revision: u64) {
        let client = Client::connect([&self.all[0].endpoint], None).await.unwrap();
        let _ = client.kv_client().compact(revision as i64, None).await.unwrap();
    }

    /// An empty one in the place of the first.
    pub(crate) async fn replace(&mut self) {
        let old = self.all.remove(0);
        let (endpoint, args) = (old.endpoint.clone(), old.args.clone());
        drop(old);
        self.all.push(Server::spawn(endpoint, args).unwrap());
        self.ready().await;
    }

    /// From now on everybody has to say who they are.
    pub(crate) async fn enable_auth(&self, user: &str, password: &str) {
        let mut client = Client::connect([&self.all[0].endpoint], None).await.unwrap();
        client.user_add(user, password, None).await.unwrap();
        client.role_add(user).await.unwrap();
        let all = etcd_client::Permission::new(PermissionType::Readwrite, "").with_all_keys();
        client.role_grant_permission(user, all).await.unwrap();
        client.user_grant_role(user, user).await.unwrap();
        client.auth_enable().await.unwrap();
    }
}

impl Server {
    fn spawn(endpoint: String, args: Vec<String>) -> Option<Server> {
        let name = endpoint.rsplit(':').next().unwrap_or_default();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("etcd-{name}"));
        let _ = std::fs::remove_dir_all(&folder);
        let mut etcd = Command::new(program()?);
        etcd.args(&args).arg("--data-dir").arg(&folder);
        etcd.args(["--log-level", "error", "--logger", "zap"]);
        let child = etcd.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Some(Server { child, folder, endpoint, args })
    }

    /// One member that speaks only to those who have a certificate.
    pub(crate) async fn with_tls(authority: &Authority) -> Option<Server> {
        program()?;
        let (client, peer) = (port(), port());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-{client}"));
        std::fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, text: &[u8]| {
            let file = folder.join(name);
            std::fs::write(&file, text).unwrap();
            file.to_str().unwrap().to_owned()
        };
        let (certificate, key) = authority.issue();
        let endpoint = format!("https://127.0.0.1:{client}");
        let peer = format!("http://127.0.0.1:{peer}");
        let mut args = flat([
            ("--listen-client-urls", endpoint.clone()),
            ("--advertise-client-urls", endpoint.clone()),
            ("--listen-peer-urls", peer.clone()),
            ("--initial-advertise-peer-urls", peer.clone()),
            ("--initial-cluster", format!("default={peer}")),
            ("--cert-file", write("cert.pem", &certificate)),
            ("--key-file", write("key.pem", &key)),
            ("--trusted-ca-file", write("ca.pem", &authority.certificate())),
        ]);
        args.push("--client-cert-auth".to_owned());
        let server = Server::spawn(endpoint, args)?;
        until(|| std::net::TcpStream::connect(("127.0.0.1", client)).is_ok()).await;
        Some(server)
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// It stands still; its connections stay.
    pub(crate) fn stop(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let mut kill = Command::new("kill");
        let done = kill.arg(signal).arg(self.child.id().to_string()).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Who signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn certificate(&self) -> Vec<u8> {
        self.0.pem().into_bytes()
    }

    /// A certificate for loopback, and its key.
    pub(crate) fn issue(&self) -> (Vec<u8>, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem().into_bytes(), key.serialize_pem().into_bytes())
    }
}

fn flat<const N: usize>(args: [(&str, String); N]) -> Vec<String> {
    args.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
}

/// Waits until it is so, on a machine that may be busy.
pub(crate) async fn until(what: impl Fn() -> bool) {
    let all = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(READY, all).await.expect("it does not come about");
}
