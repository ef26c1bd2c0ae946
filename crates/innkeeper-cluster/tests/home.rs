//! A data directory within one program: what is written there and when, and what is refused.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Tests assert, and run tasks.

#[path = "support/front.rs"]
mod front;
#[path = "support/runtime.rs"]
mod runtime;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use front::{Front, Fronted};
use innkeeper_cluster::clock::Machine;
use innkeeper_cluster::coordinator::memory::Memory;
use innkeeper_cluster::coordinator::{
    Change, Committed, Coordinator, CoordinatorError, Later, Transaction,
};
use innkeeper_cluster::ownership::timing::FAIL_OVER_DEFAULT;
use innkeeper_cluster::{Home, HomeError, JoinError, Node, Settings, VERSIONS, bury};
use parking_lot::Mutex;
use runtime::Runtime;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

fn directory(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("home-{name}"));
    let _ = fs::remove_dir_all(&folder);
    folder
}

fn settings(cluster: &str) -> Settings {
    Settings {
        cluster: cluster.to_owned(),
        name: "a".to_owned(),
        address: "a:1".to_owned(),
        weight: 1,
        shards: 8,
        session: 5 * SECOND,
        fail_over: FAIL_OVER_DEFAULT,
        versions: VERSIONS,
        starts_at_once: innkeeper_cluster::limits::STARTS_AT_ONCE,
    }
}

fn clock() -> Arc<Runtime> {
    Arc::new(Runtime(Instant::now()))
}

/// Notes what is written in the directory when a session is sent for, and may lose the answer.
struct Watching {
    memory: Memory,
    session: PathBuf,
    seen: Mutex<Vec<String>>,
    registers: Registers,
}

/// What becomes of a session that is sent for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Registers {
    Done,
    /// It is made, and nobody is told.
    Unknown,
    Not,
}

impl Front for Watching {
    fn behind(&self) -> &Memory {
        &self.memory
    }

    fn commit(
        &self,
        transaction: Transaction,
        within: Duration,
    ) -> Later<'_, Result<Committed, CoordinatorError>> {
        let is_register = transaction.writes.len() > 2;
        if is_register {
            self.seen.lock().push(fs::read_to_string(&self.session).unwrap_or_default());
        }
        let why = "by the test".to_owned();
        match self.registers {
            Registers::Not if is_register => {
                Box::pin(async { Err(CoordinatorError::NotDone(why)) })
            }
            Registers::Unknown if is_register => {
                let commit = self.memory.commit(transaction, within);
                Box::pin(async {
                    commit.await?;
                    Err(CoordinatorError::Unknown(why))
                })
            }
            _ => self.memory.commit(transaction, within),
        }
    }
}

fn watching(memory: &Memory, home: &Home, registers: Registers) -> Arc<Fronted<Watching>> {
    let session = home.path().join("session");
    let (memory, seen) = (memory.clone(), Mutex::default());
    Arc::new(Fronted(Watching { memory, session, seen, registers }))
}

/// As the directory of a program that has died: another one with its lock, and what it wrote.
fn inherited(of: &Path, name: &str) -> PathBuf {
    let folder = directory(name);
    let text = fs::read_to_string(of.join("session")).unwrap();
    drop(Home::open(&folder, &Machine).unwrap());
    let inode = |folder: &Path| {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(folder.join("lock")).unwrap().ino()
    };
    let (old, new) = (format!("inode={}\n", inode(of)), format!("inode={}\n", inode(&folder)));
    assert!(text.contains(&old));
    fs::write(folder.join("session"), text.replace(&old, &new)).unwrap();
    folder
}

/// C7: a program may die at any instant.
#[tokio::test(start_paused = true)]
async fn a_session_is_written_down_before_it_can_be_there_and_whole_after() {
    let memory = Memory::new();
    let home = Home::open(directory("order"), &*clock()).unwrap();
    let coordinator = watching(&memory, &home, Registers::Done);
    let joined = Node::join_from(coordinator.clone(), clock(), &settings("test"), &home).await;
    let (node, _orders, _running) = joined.unwrap();
    let before = coordinator.0.seen.lock().concat();
    let session = node.session();
    let (id, created) =
        (format!("node={:016x}\n", session.node.0), format!("created={}\n", session.created));
    assert!(before.contains(&id) && !before.contains("created="), "{before}");
    let after = fs::read_to_string(home.path().join("session")).unwrap();
    assert!(after.contains(&id) && after.contains(&created), "{after}");
}

/// C7: it died before it knew whether it had a session.
#[tokio::test(start_paused = true)]
async fn a_session_that_nobody_knew_of_is_found_by_who_was_about_to_have_it() {
    let memory = Memory::new();
    let home = Home::open(directory("unknown"), &*clock()).unwrap();
    let coordinator = watching(&memory, &home, Registers::Unknown);
    let joined = Node::join_from(coordinator, clock(), &settings("test"), &home).await;
    assert!(matches!(joined, Err(JoinError::Coordinator(CoordinatorError::Unknown(_)))));
    let next = Home::open(inherited(home.path(), "unknown-next"), &*clock()).unwrap();
    let began = Instant::now();
    let joined = Node::join_from(Arc::new(memory), clock(), &settings("test"), &next).await;
    drop(joined.unwrap());
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
}

/// C7: one that was started, and died before it had a session, does not hide who had one.
#[tokio::test(start_paused = true)]
async fn a_session_is_proven_to_be_over_by_the_one_after_the_next() {
    let memory = Memory::new();
    let home = Home::open(directory("first"), &*clock()).unwrap();
    let first = Node::join_from(Arc::new(memory.clone()), clock(), &settings("test"), &home).await;
    drop(first.unwrap());
    let second = Home::open(inherited(home.path(), "second"), &*clock()).unwrap();
    let coordinator = watching(&memory, &second, Registers::Not);
    let joined = Node::join_from(coordinator, clock(), &settings("test"), &second).await;
    assert!(matches!(joined, Err(JoinError::Coordinator(CoordinatorError::NotDone(_)))));
    let third = Home::open(inherited(second.path(), "third"), &*clock()).unwrap();
    let began = Instant::now();
    let joined = Node::join_from(Arc::new(memory), clock(), &settings("test"), &third).await;
    drop(joined.unwrap());
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
}

/// C7: one that was made and whose program never knew is not hidden by those after it.
#[tokio::test(start_paused = true)]
async fn any_start_that_may_have_a_session_is_remembered_until_one_is_known_to() {
    let memory = Memory::new();
    let mut home = Home::open(directory("start-0"), &*clock()).unwrap();
    let first = Node::join_from(Arc::new(memory.clone()), clock(), &settings("test"), &home).await;
    drop(first.unwrap());
    // As many as are remembered, the last among them.
    let mut starts = vec![Registers::Unknown];
    starts.resize(innkeeper_cluster::limits::STARTS_MAX - 1, Registers::Not);
    for (number, registers) in (1..).zip(starts) {
        let folder = inherited(home.path(), &format!("start-{number}"));
        home = Home::open(folder, &*clock()).unwrap();
        let (coordinator, began) = (watching(&memory, &home, registers), Instant::now());
        let joined = Node::join_from(coordinator, clock(), &settings("test"), &home).await;
        assert!(matches!(joined, Err(JoinError::Coordinator(_))), "{joined:?}");
        assert!(began.elapsed() < SECOND, "{number}: {:?}", began.elapsed());
    }
    let last = Home::open(inherited(home.path(), "start-last"), &*clock()).unwrap();
    let began = Instant::now();
    let joined = Node::join_from(Arc::new(memory), clock(), &settings("test"), &last).await;
    drop(joined.unwrap());
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
    let text = fs::read_to_string(last.path().join("session")).unwrap();
    assert_eq!(text.matches("cluster=").count(), 1, "{text}");
}

/// C7
#[tokio::test(start_paused = true)]
async fn the_next_session_begins_as_the_one_of_the_dead_ends() {
    let memory = Memory::new();
    let home = Home::open(directory("dead"), &*clock()).unwrap();
    let shared: Arc<dyn Coordinator> = Arc::new(memory.clone());
    let first = Node::join_from(shared.clone(), clock(), &settings("test"), &home).await;
    let (first, _orders, running) = first.unwrap();
    drop(running);
    let mut watch = memory.watch("test/node/".to_owned(), 0, SECOND).await.unwrap();
    assert_eq!(watch.next().await.unwrap().len(), 1);
    let next = Home::open(inherited(home.path(), "dead-next"), &*clock()).unwrap();
    let began = Instant::now();
    let joined = Node::join_from(shared, clock(), &settings("test"), &next).await;
    let (next, _orders, _running) = joined.unwrap();
    assert!(began.elapsed() >= SECOND / 2, "what the dead have sent may still be taken");
    let seen = watch.next().await.unwrap();
    let [gone, come] = &seen[..] else { panic!("{seen:?}") };
    let (gone, come) = if gone.value.is_none() { (gone, come) } else { (come, gone) };
    assert!(gone.key.ends_with(&format!("{:016x}", first.session().node.0)));
    assert!(come.key.ends_with(&format!("{:016x}", next.session().node.0)));
    assert_eq!(gone.modified, come.modified);
}

/// C2: the record that is there may be another's.
#[tokio::test(start_paused = true)]
async fn a_session_that_was_made_at_another_revision_is_left_alone() {
    let memory = Memory::new();
    let home = Home::open(directory("other"), &*clock()).unwrap();
    let shared: Arc<dyn Coordinator> = Arc::new(memory.clone());
    let (node, _orders, _running) =
        Node::join_from(shared.clone(), clock(), &settings("test"), &home).await.unwrap();
    let folder = inherited(home.path(), "other-next");
    let key = format!("test/node/{:016x}", node.session().node.0);
    let entry = memory.list(key.clone(), SECOND).await.unwrap().entries.remove(0);
    let write = async |change| {
        let transaction = Transaction { writes: vec![change], ..Transaction::default() };
        assert!(memory.commit(transaction, SECOND).await.unwrap().done);
    };
    write(Change::Delete(key.clone())).await;
    write(Change::Put(key.clone(), entry.value.unwrap())).await;
    let next = Home::open(folder, &*clock()).unwrap();
    assert_eq!(bury(&memory, &*clock(), &next).await, Ok(None));
    assert_eq!(memory.list(key, SECOND).await.unwrap().entries.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_directory_of_another_cluster_is_refused_by_name() {
    let home = Home::open(directory("cluster"), &*clock()).unwrap();
    let joined = Node::join_from(Arc::new(Memory::new()), clock(), &settings("test"), &home).await;
    drop(joined.unwrap());
    let next = Home::open(inherited(home.path(), "cluster-next"), &*clock()).unwrap();
    let memory = Memory::new();
    let joined = Node::join_from(Arc::new(memory.clone()), clock(), &settings("tset"), &next).await;
    let expected = HomeError::OtherCluster {
        path: next.path().to_owned(),
        theirs: "test".to_owned(),
        ours: "tset".to_owned(),
    };
    assert_eq!(joined.unwrap_err(), JoinError::Home(expected.clone()));
    let text = format!(
        "data directory {}: a node of cluster `test` used it, not of `tset`; \
         correct the name of the cluster, or use another directory",
        next.path().display()
    );
    assert_eq!(expected.to_string(), text);
    let all = memory.list("/".to_owned(), SECOND).await.unwrap();
    assert!(all.entries.is_empty(), "no cluster was made: {all:?}");
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error_that_names_it() {
    let path = directory("file");
    fs::write(&path, "").unwrap();
    let error = Home::open(&path, &Machine).unwrap_err();
    assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
    fs::remove_file(&path).unwrap();
}
