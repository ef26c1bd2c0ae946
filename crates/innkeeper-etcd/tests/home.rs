//! Nodes that are killed, as programs of their own on a real etcd: when they are known to be dead,
//! and what that is worth.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout)] // A test's ways.

#[path = "etcd/server.rs"]
#[allow(dead_code)] // Others use the rest.
mod server;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use innkeeper_cluster::clock::Machine;
use innkeeper_cluster::coordinator::Coordinator;
use innkeeper_cluster::ownership::timing::FAIL_OVER_DEFAULT;
use innkeeper_cluster::ownership::{Command as Order, Event, Gate};
use innkeeper_cluster::{Home, HomeError, JoinError, Node, Orders, Settings, VERSIONS, bury};
use innkeeper_etcd::{Etcd, Options};
use server::Servers;

const SHARDS: u16 = 8;
const SECOND: Duration = Duration::from_secs(1);
/// What a program of these tests is to be, as `ENDPOINT SESSION_MS DIRECTORY`.
const TOLD: &str = "INNKEEPER_TEST_NODE";

/// So long that nobody takes it for a moment, on however busy a machine.
const LONG: Duration = Duration::from_secs(60);
/// So long that it is a wait, and no longer.
const SHORT: Duration = Duration::from_secs(5);

/// One node, as a program of its own.
struct Program {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Program {
    fn start(servers: &Servers, session: Duration, home: Option<&Path>) -> Program {
        let home = home.map_or(String::new(), |home| home.display().to_string());
        let told = format!("{} {} {home}", servers.endpoints()[0], session.as_millis());
        let mut program = Command::new(std::env::current_exe().unwrap());
        program.args(["--exact", "node", "--nocapture", "--test-threads=1"]).env(TOLD, told);
        let mut child = program.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Program { child, said }
    }

    /// What it says next.
    fn says(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert!(self.said.read_line(&mut line).unwrap() > 0, "it says nothing any more");
            if let Some((_, said)) = line.trim_end().split_once("node: ") {
                return said.to_owned();
            }
        }
    }

    /// SIGKILL, and its parent has seen it dead.
    fn kill(mut self) {
        self.child.kill().unwrap();
        assert!(!self.child.wait().unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn settings(session: Duration) -> Settings {
    Settings {
        cluster: "test".to_owned(),
        name: "a".to_owned(),
        address: "127.0.0.1:1".to_owned(),
        weight: 1,
        shards: SHARDS,
        session,
        fail_over: FAIL_OVER_DEFAULT,
        versions: VERSIONS,
        starts_at_once: innkeeper_cluster::limits::STARTS_AT_ONCE,
    }
}

async fn connect(endpoint: &str) -> Arc<Etcd> {
    let options = Options { endpoints: vec![endpoint.to_owned()], ..Options::default() };
    Arc::new(Etcd::connect(&options, 60 * SECOND).await.unwrap_or_else(|error| panic!("{error}")))
}

/// The program itself; among the tests, none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node() {
    let Ok(told) = std::env::var(TOLD) else { return };
    let mut told = told.splitn(3, ' ').map(str::to_owned);
    let endpoint = told.next().unwrap();
    let session = Duration::from_millis(told.next().unwrap().parse().unwrap());
    let home = told.next().filter(|home| !home.is_empty());
    match join(&endpoint, session, home).await {
        Err(error) => println!("\nnode: {error}"),
        Ok((node, orders, running)) => {
            tokio::spawn(obey(node.clone(), orders));
            let running = tokio::spawn(running);
            let is_open = |shard| matches!(node.gate(shard), Gate::Open(_));
            server::until(|| (0..SHARDS).all(is_open)).await;
            println!("\nnode: open {:?}", node.owner(0).unwrap().epoch);
            let over = running.await;
            println!("\nnode: {over:?}");
        }
    }
}

async fn join(
    endpoint: &str,
    session: Duration,
    home: Option<String>,
) -> Result<(Node, Orders, innkeeper_cluster::Running), JoinError> {
    // First of all, as a program does: that it was taken is what time is counted from.
    let home = home.map(|home| Home::open(home, &Machine)).transpose()?;
    let (etcd, settings) = (connect(endpoint).await, settings(session));
    match home {
        Some(home) => Node::join_from(etcd, Arc::new(Machine), &settings, &home).await,
        None => Node::join(etcd, Arc::new(Machine), &settings).await,
    }
}

async fn obey(node: Node, mut orders: Orders) {
    while let Some(order) = orders.next().await {
        if let Order::Shut { shard, epoch } = order {
            node.report(Event::Quiesced { shard, epoch }).await;
        }
    }
}

/// An empty directory of the test's own.
fn directory(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("home-{name}"));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

/// How long it takes until the program says that it serves, under the next epoch.
fn until_open(began: Instant, program: &mut Program) -> Duration {
    assert_eq!(program.says(), "open 2");
    let took = began.elapsed();
    println!("served again after {} ms", took.as_millis());
    took
}

/// C7
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_killed_serves_again_at_once_from_its_directory() {
    let Some(servers) = Servers::start(1).await else { return };
    let home = directory("killed");
    let mut first = Program::start(&servers, LONG, Some(&home));
    assert_eq!(first.says(), "open 1");
    first.kill();
    let mut again = Program::start(&servers, LONG, Some(&home));
    let took = until_open(Instant::now(), &mut again);
    assert!(took < LONG / 2, "{took:?}: its old session was waited for");
}

/// C7: what the proof is worth, by its absence.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_killed_and_has_no_directory_waits_for_the_end_of_its_session() {
    let Some(servers) = Servers::start(1).await else { return };
    let mut first = Program::start(&servers, SHORT, None);
    assert_eq!(first.says(), "open 1");
    let killed = Instant::now();
    first.kill();
    let mut again = Program::start(&servers, SHORT, None);
    assert!(until_open(killed, &mut again) >= SHORT);
}

/// C2: who used the original may be alive.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_directory_proves_nothing() {
    let Some(servers) = Servers::start(1).await else { return };
    let (home, copy) = (directory("original"), directory("copy"));
    let mut first = Program::start(&servers, SHORT, Some(&home));
    assert_eq!(first.says(), "open 1");
    let copied = Command::new("cp").arg("-a").args([&home, &copy]).status().unwrap();
    assert!(copied.success());
    let mut other = Program::start(&servers, SHORT, Some(&copy));
    let said = other.says();
    assert!(said.starts_with("node name in use: `a` is alive"), "{said}");
    let killed = Instant::now();
    first.kill();
    let mut again = Program::start(&servers, SHORT, Some(&copy));
    assert!(until_open(killed, &mut again) >= SHORT);
}

/// C2
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_a_live_program_uses_is_refused_by_name() {
    let Some(servers) = Servers::start(1).await else { return };
    let home = directory("used");
    let mut first = Program::start(&servers, LONG, Some(&home));
    assert_eq!(first.says(), "open 1");
    let said = Program::start(&servers, LONG, Some(&home)).says();
    let expected = format!("data directory {}: another live program uses it; ", home.display());
    assert!(said.starts_with(&expected), "{said}");
}

/// C7: `waitpid` has returned, and nobody starts it again yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_parent_that_has_waited_for_its_child_ends_its_session() {
    let Some(servers) = Servers::start(1).await else { return };
    let home = directory("child");
    let etcd = connect(&servers.endpoints()[0]).await;
    let sessions = async || {
        let all = etcd.list("test/node/".to_owned(), 60 * SECOND).await.unwrap();
        all.entries.len()
    };
    let mut child = Program::start(&servers, LONG, Some(&home));
    assert_eq!(child.says(), "open 1");
    let error = Home::open(&home, &Machine).unwrap_err();
    assert_eq!(error, HomeError::InUse { path: home.clone() });
    child.kill();
    let taken = Home::open(&home, &Machine).unwrap();
    let ended = bury(&*etcd, &Machine, &taken).await.unwrap();
    assert!(ended.is_some());
    assert_eq!(sessions().await, 0);
    assert_eq!(bury(&*etcd, &Machine, &taken).await, Ok(None), "it is done");
    drop(taken);
    let mut again = Program::start(&servers, LONG, Some(&home));
    let took = until_open(Instant::now(), &mut again);
    assert!(took < LONG / 2, "{took:?}: its old session was waited for");
}
