//! The program on a data directory, under a parent, and alone, on a real etcd: what is left of it
//! when it ends, however that comes about, and how soon somebody acts for its rooms again.

#![cfg(feature = "cluster")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Tests.

#[path = "support/etcd.rs"]
mod etcd;
#[path = "support/missing.rs"]
mod missing;
#[path = "support/program.rs"]
mod program;

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use etcd::{Etcd, free_port};
use innkeeper_cluster::coordinator::Coordinator;
use innkeeper_etcd::Options;
use program::{Program, innkeeper};

/// How long a session lasts in these tests, in seconds: whatever comes sooner did not wait for its
/// end.
const SESSION: u64 = 60;

/// How long anything may take that does not wait for the end of a session.
const SOON: Duration = Duration::from_secs(SESSION / 2);

/// A node of a cluster, and what to start it with.
struct Place {
    http: String,
    flags: Vec<String>,
}

impl Place {
    fn new(etcd: &Etcd, name: &str, session: u64, more: &[&str]) -> Place {
        let mut flags = vec![
            format!("--etcd={}", etcd.url),
            format!("--node={name}"),
            format!("--session-length={session}s"),
        ];
        flags.extend(
            ["--cluster=test", "--insecure-cluster", "--listen=127.0.0.1:0"].map(Into::into),
        );
        flags.push("--shards=16".to_owned());
        flags.extend(more.iter().map(|flag| (*flag).to_owned()));
        Place { http: format!("127.0.0.1:{}", free_port()), flags }
    }

    /// Starts it, and waits until it serves.
    fn start(&self) -> Program {
        self.start_with(&[])
    }

    fn start_with(&self, variables: &[(&str, &str)]) -> Program {
        let flags: Vec<_> = self.flags.iter().map(String::as_str).collect();
        Program::told(&self.http, &flags, variables)
    }
}

/// A test of this name is to run, with an etcd of its own.
fn etcd(test: &str) -> Option<Etcd> {
    missing::or_skip(test, Etcd::start())
}

/// Waits until it is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The child of a process, if it has one now.
fn child_of(parent: u32) -> Option<u32> {
    let children = format!("/proc/{parent}/task/{parent}/children");
    std::fs::read_to_string(children).unwrap_or_default().trim().parse().ok()
}

/// Kills the child of a server, and takes its port before the next child can.
fn kill_and_take(parent: &Program) -> TcpListener {
    let mut taken = None;
    until("the child is dead", || {
        if let Some(child) = child_of(parent.id()) {
            // It may have ended meanwhile.
            let _ = Command::new("kill").args(["-KILL", &child.to_string()]).output().unwrap();
        }
        taken = TcpListener::bind(&parent.http).ok();
        taken.is_some()
    });
    taken.unwrap()
}

fn is_alive(id: u32) -> bool {
    Command::new("kill").args(["-0", &id.to_string()]).output().unwrap().status.success()
}

/// Whether a server answers each of these paths with 200.
fn answers(method: reqwest::Method, http: &str, paths: &[String]) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = reqwest::Client::builder().no_proxy().timeout(SOON).build().unwrap();
    runtime.block_on(async {
        for path in paths {
            let request = client.request(method.clone(), format!("http://{http}{path}"));
            let answer = request.send().await;
            if !answer.is_ok_and(|answer| answer.status() == 200) {
                return false;
            }
        }
        true
    })
}

fn is_ready(http: &str) -> bool {
    answers(reqwest::Method::GET, http, &["/readyz".to_owned()])
}

/// The sessions that etcd has.
fn sessions(etcd: &Etcd) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = Options { endpoints: vec![etcd.url.clone()], ..Options::default() };
        let etcd = innkeeper_etcd::Etcd::connect(&options, SOON).await.unwrap();
        let nodes = etcd.list("test/node/".to_owned(), SOON).await.unwrap();
        nodes.entries.len()
    })
}

/// C7: alone on a cluster, and told to end as at a terminal.
#[test]
fn the_only_node_leaves_no_session_and_its_name_is_free() {
    let Some(etcd) = etcd("the_only_node_leaves_no_session_and_its_name_is_free") else { return };
    let place = Place::new(&etcd, "n1", SESSION, &[]);
    let node = place.start();
    assert_eq!(sessions(&etcd), 1);
    node.signal("INT");
    let (status, said) = node.ended();
    assert!(status.success(), "{status}\n{said}");
    assert_eq!(sessions(&etcd), 0);
    let began = Instant::now();
    drop(place.start());
    assert!(began.elapsed() < SOON, "it waited for its own name");
}

/// C7
#[test]
fn a_program_that_was_killed_serves_again_from_its_data_directory() {
    let Some(etcd) = etcd("a_program_that_was_killed_serves_again_from_its_data_directory") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let home = format!("--data-dir={}", folder.path().display());
    let place = Place::new(&etcd, "n1", SESSION, &[&home]);
    let mut node = place.start();
    let deadline = Instant::now() + SOON;
    // Half of the second is waited on purpose. In one of many rounds the machine is not busy.
    loop {
        node.signal("KILL");
        let _ = node.ended();
        let began = Instant::now();
        node = place.start();
        let took = began.elapsed();
        if took < Duration::from_secs(1) {
            break;
        }
        assert!(Instant::now() < deadline, "never ready within a second: {took:?}");
    }
    let rooms: Vec<_> = (0..32).map(|n| format!("/api/rooms/r{n}")).collect();
    until("every shard has an owner", || answers(reqwest::Method::POST, &node.http, &rooms));
}

/// C7: without a data directory it waits, and says for what.
#[test]
fn a_program_that_waits_for_the_end_of_its_own_session_says_so() {
    let Some(etcd) = etcd("a_program_that_waits_for_the_end_of_its_own_session_says_so") else {
        return;
    };
    let place = Place::new(&etcd, "n1", 5, &[]);
    let node = place.start();
    node.signal("KILL");
    let _ = node.ended();
    let node = place.start();
    node.signal("TERM");
    let (status, said) = node.ended();
    assert!(status.success(), "{status}\n{said}");
    assert!(said.contains("--data-dir"), "{said}");
}

/// C7: at once, and the child is there again.
#[test]
fn under_a_parent_others_serve_at_once_what_a_killed_child_had() {
    let Some(etcd) = etcd("under_a_parent_others_serve_at_once_what_a_killed_child_had") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let home = format!("--data-dir={}", folder.path().display());
    let supervised = Place::new(&etcd, "n1", SESSION, &[&home, "--supervised"]);
    let (parent, other) = (supervised.start(), Place::new(&etcd, "n2", SESSION, &[]).start());
    let rooms: Vec<_> = (0..32).map(|n| format!("/api/rooms/r{n}")).collect();
    until("both serve", || answers(reqwest::Method::POST, &other.http, &rooms));
    // Without its port the next child cannot start, and end the session itself.
    let held = kill_and_take(&parent);
    until("the other serves all", || answers(reqwest::Method::POST, &other.http, &rooms));
    assert_eq!(sessions(&etcd), 1);
    drop(held);
    until("a child serves", || is_ready(&supervised.http));
    parent.signal("TERM");
    let (status, said) = parent.ended();
    assert!(status.success(), "{status}\n{said}");
    assert!(said.contains("the server has died"), "{said}");
    assert_eq!(sessions(&etcd), 1);
}

#[test]
fn a_node_that_was_drained_is_not_started_again_even_if_a_connection_was_cut() {
    let test = "a_node_that_was_drained_is_not_started_again_even_if_a_connection_was_cut";
    let Some(etcd) = etcd(test) else { return };
    let folder = tempfile::tempdir().unwrap();
    let home = format!("--data-dir={}", folder.path().display());
    let more = [&home, "--supervised", "--drain-timeout=1s"];
    let parent = Place::new(&etcd, "n1", SESSION, &more).start();
    // Its headers never end, so it does not end by itself.
    let mut stuck = TcpStream::connect(&parent.http).unwrap();
    stuck.write_all(b"POST /api/rooms/a HTTP/1.1\r\nhost: 1").unwrap();
    let drain = ["cluster", "drain", "n1", "--url", &parent.url("")];
    let drained = innkeeper().args(drain).output().unwrap();
    assert!(drained.status.success(), "{}", String::from_utf8_lossy(&drained.stderr));
    let (status, said) = parent.ended();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("connections were cut") && !said.contains("has died"), "{said}");
    assert_eq!(sessions(&etcd), 0);
}

#[test]
fn a_parent_that_is_told_to_end_or_is_killed_does_not_leave_its_child() {
    let test = "a_parent_that_is_told_to_end_or_is_killed_does_not_leave_its_child";
    let Some(etcd) = etcd(test) else { return };
    let folder = tempfile::tempdir().unwrap();
    let home = format!("--data-dir={}", folder.path().display());
    let place = Place::new(&etcd, "n1", SESSION, &[&home, "--supervised"]);
    let parent = place.start();
    // To it alone, and not to a whole group as a terminal does it.
    parent.signal("INT");
    let (status, said) = parent.ended();
    assert!(status.success(), "{status}\n{said}");
    let parent = place.start();
    let child = child_of(parent.id()).unwrap();
    parent.signal("KILL");
    let (_, said) = parent.ended();
    until("the child has ended", || !is_alive(child));
    assert!(said.contains("drained: every connection"), "{said}");
    let again = place.start();
    assert!(is_ready(&again.http));
}

#[test]
fn a_server_that_cannot_start_under_a_parent_is_not_tried_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let home = format!("--data-dir={}", folder.path().display());
    let flags = ["serve", "--http=127.0.0.1:0", "--kv=off", "--cluster=test", "--node=n1"];
    let wrong = ["--supervised", "--insecure-cluster", "--listen=nowhere", "--etcd=http://[::1]:1"];
    let ended = innkeeper().args(flags).args(wrong).arg(&home).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert_eq!(said.matches("--listen").count(), 2, "{said}");
    let ended = innkeeper().args(flags).args(wrong).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(said.contains("--supervised needs --cluster and --data-dir"), "{said}");
}

/// As the unit has it: `NotifyAccess=all`.
#[test]
fn systemd_hears_from_the_child_of_a_parent_that_it_is_ready_and_alive() {
    let test = "systemd_hears_from_the_child_of_a_parent_that_it_is_ready_and_alive";
    let Some(etcd) = etcd(test) else { return };
    let folder = tempfile::tempdir().unwrap();
    let home = format!("--data-dir={}", folder.path().join("home").display());
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let place = Place::new(&etcd, "n1", SESSION, &[&home, "--supervised"]);
    let variables = [
        ("NOTIFY_SOCKET", path.to_str().unwrap()),
        ("WATCHDOG_USEC", "200000"),
        // As it is for every process but the one that the manager has started.
        ("WATCHDOG_PID", "1"),
    ];
    let _parent = place.start_with(&variables);
    let (mut ready, mut alive) = (0, 0);
    let mut words = [0; 256];
    // The parent says once that it is alive, before the child is there to say so.
    while ready < 1 || alive < 3 {
        let length = socket.recv(&mut words).unwrap();
        let said = String::from_utf8_lossy(&words[..length]).into_owned();
        ready += usize::from(said.contains("READY=1"));
        alive += usize::from(said.contains("WATCHDOG=1"));
    }
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/systemd/innkeeper.service");
    assert!(std::fs::read_to_string(unit).unwrap().contains("\nNotifyAccess=all\n"));
}
