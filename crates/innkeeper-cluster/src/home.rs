//! A node's data directory: whether the program that used it before is known to be dead.
//!
//! Two files. `lock` is locked (`flock`) by the program that uses the directory, from before it has
//! a session until its last instant: the kernel gives the lock up when the program is no more, and
//! nobody else does. `session` names the session, and what it was locked with. Who gets the lock
//! and finds its own lock named there knows that the program of that session is dead.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::clock::Clock;
use crate::codec::{field, number};
use crate::limits;
use crate::ownership::record::{NodeId, Revision, Session};
use crate::ownership::timing::Now;

/// Where locks are those of one kernel, by the magic numbers of `statfs`: bcachefs, btrfs, ext2 to
/// ext4, f2fs, tmpfs, XFS, ZFS. On another file system two machines may hold one lock, or a lock
/// may outlive a copy of its file.
const LOCAL: [u32; 7] =
    [0xca45_1a4e, 0x9123_683e, 0xef53, 0xf2f5_2010, 0x0102_1994, 0x5846_5342, 0x2fc1_2fc1];

/// A node's data directory, which no other program uses while this one does.
///
/// A node that joins [from](crate::Cluster::join_from) it after it was killed has its shards again
/// at once, and not when its old session is over by itself.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    lock: File,
    place: Place,
    /// Read after the lock was taken: who used it before was dead by then.
    since: Now,
    known: Mutex<Known>,
}

/// What a directory is locked with, so that a copy of it, or of its machine, is told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    /// This boot of the machine.
    boot: String,
    /// The machine; empty where it has no name.
    machine: String,
    /// The device and the inode of the lock.
    lock: (u64, u64),
}

#[derive(Debug)]
struct Known {
    /// The cluster of whoever used it last, proven to be dead or not.
    cluster: Option<String>,
    /// The sessions of programs that are dead.
    dead: Vec<Past>,
    /// Whether the lock is kept until this program is no more.
    is_kept: bool,
    /// The starts of this program since it had a session, the last first, and that session.
    own: Vec<Past>,
}

/// A start of a program that used the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Past {
    pub(crate) cluster: String,
    pub(crate) node: NodeId,
    /// `None`: it was about to have a session.
    pub(crate) created: Option<Revision>,
}

/// Why a data directory cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HomeError {
    /// Another program uses it, and lives.
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// It was used by a node of another cluster.
    OtherCluster {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        theirs: String,
        /// Who was to have it.
        ours: String,
    },
    /// It cannot be made, read or written.
    Failed {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

impl fmt::Display for HomeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HomeError::InUse { path } => {
                write!(f, "data directory {}: another live program uses it; ", path.display())?;
                f.write_str("stop that one, or give each node a directory of its own")
            }
            HomeError::OtherCluster { path, theirs, ours } => {
                let path = path.display();
                write!(f, "data directory {path}: a node of cluster `{theirs}` used it, not of ")?;
                write!(f, "`{ours}`; correct the name of the cluster, or use another directory")
            }
            HomeError::Failed { path, why } => write!(f, "{}: {why}", path.display()),
        }
    }
}

impl std::error::Error for HomeError {}

impl Home {
    /// Takes a data directory, which is made if it is not there. It is given back when this is
    /// dropped before anybody joined from it, and otherwise when this program is no more.
    ///
    /// Blocks for a few small files.
    ///
    /// # Errors
    /// [`HomeError::InUse`], [`HomeError::Failed`]; nothing is taken then.
    pub fn open(path: impl Into<PathBuf>, clock: &dyn Clock) -> Result<Home, HomeError> {
        let path = path.into();
        fs::create_dir_all(&path).map_err(failed(&path))?;
        let name = path.join("lock");
        let mut options = File::options();
        let lock = options.read(true).write(true).create(true).truncate(false).open(&name);
        let lock = lock.map_err(failed(&name))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(HomeError::InUse { path }),
            Err(error) => return Err(failed(&name)(error.into())),
        }
        let since = clock.now();
        let place = Place::of(&lock).map_err(failed(&name))?;
        let session = path.join("session");
        let text = match fs::read_to_string(&session) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read.map_err(failed(&session))?,
        };
        let is_local = is_local(&lock).map_err(failed(&name))?;
        let dead = if is_local { place.dead(&text) } else { Vec::new() };
        if dead.is_empty() && !text.is_empty() {
            // A copy, another machine or boot, or a file system where locks say little.
            tracing::info!(path = %path.display(), "no proof that the program before is dead");
        }
        let cluster = field(&text, "cluster").map(str::to_owned);
        let known = Mutex::new(Known { cluster, dead, is_kept: false, own: Vec::new() });
        Ok(Home { path, lock, place, since, known })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// When those who used it before were dead.
    pub(crate) fn since(&self) -> Now {
        self.since
    }

    /// Those who used it before and are dead.
    pub(crate) fn dead(&self) -> Vec<Past> {
        self.known.lock().dead.clone()
    }

    /// Whether it may be used by a node of that cluster.
    pub(crate) fn check(&self, cluster: &str) -> Result<(), HomeError> {
        let theirs = self.known.lock().cluster.clone();
        let Some(theirs) = theirs.filter(|theirs| theirs != cluster) else { return Ok(()) };
        let (path, ours) = (self.path.clone(), cluster.to_owned());
        Err(HomeError::OtherCluster { path, theirs, ours })
    }

    /// Writes down who is about to have a session, before anybody can have made it. From now on
    /// the lock is this program's until its end.
    pub(crate) fn begin(&self, cluster: &str, node: NodeId) -> Result<(), HomeError> {
        let mut known = self.known.lock();
        if !known.is_kept {
            // Never closed: it must not be given up while a thread of this program still acts.
            std::mem::forget(self.lock.try_clone().map_err(failed(&self.path))?);
            known.is_kept = true;
        }
        let now = Past { cluster: cluster.to_owned(), node, created: None };
        known.own.retain(|past| past.node != node);
        known.own.insert(0, now);
        // If this one comes to nothing, any of those before it may still be there. One that is
        // known to have been is the last to be forgotten.
        let mut starts: Vec<_> = known.own.iter().chain(&known.dead).collect();
        starts[1..].sort_by_key(|past| past.created.is_none());
        starts.truncate(limits::STARTS_MAX);
        self.write(starts.into_iter())?;
        known.own.truncate(limits::STARTS_MAX);
        Ok(())
    }

    /// Writes down the session.
    pub(crate) fn complete(&self, cluster: &str, session: Session) -> Result<(), HomeError> {
        let Session { node, created } = session;
        let own = Past { cluster: cluster.to_owned(), node, created: Some(created) };
        let mut known = self.known.lock();
        known.dead.clear();
        known.own = vec![own.clone()];
        self.write([&own].into_iter())
    }

    /// Whole or not at all, and so that it is there after the power was cut.
    fn write<'a>(&self, sessions: impl Iterator<Item = &'a Past>) -> Result<(), HomeError> {
        let (new, name) = (self.path.join("session.new"), self.path.join("session"));
        let text: String = sessions.map(|past| format!("{past}{}\n", self.place)).collect();
        let all = || {
            let mut file = File::create(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &name)?;
            File::open(&self.path)?.sync_all()
        };
        all().map_err(failed(&name))
    }
}

impl Place {
    fn of(lock: &File) -> io::Result<Place> {
        let metadata = lock.metadata()?;
        let read = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned());
        Ok(Place {
            boot: read("/proc/sys/kernel/random/boot_id").unwrap_or_default(),
            machine: read("/etc/machine-id").unwrap_or_default(),
            lock: (metadata.dev(), metadata.ino()),
        })
    }

    /// The sessions that were written down by programs that had this very lock.
    fn dead(&self, text: &str) -> Vec<Past> {
        let parts = text.split("\n\n").filter(|_| !self.boot.is_empty());
        parts.filter_map(|part| self.of_this(part)).collect()
    }

    fn of_this(&self, text: &str) -> Option<Past> {
        let place = Place {
            boot: field(text, "boot_id")?.to_owned(),
            machine: field(text, "machine_id")?.to_owned(),
            lock: (number(text, "device")?, number(text, "inode")?),
        };
        let node = NodeId(u64::from_str_radix(field(text, "node")?, 16).ok()?);
        let cluster = field(text, "cluster")?.to_owned();
        let past = Past { cluster, node, created: number(text, "created") };
        (place == *self).then_some(past)
    }
}

impl fmt::Display for Past {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Past { cluster, node, created } = self;
        writeln!(f, "cluster={cluster}\nnode={:016x}", node.0)?;
        created.iter().try_for_each(|created| writeln!(f, "created={created}"))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { boot, machine, lock: (device, inode) } = self;
        writeln!(f, "boot_id={boot}\nmachine_id={machine}\ndevice={device}\ninode={inode}")
    }
}

/// Whether a lock on the file says something about one kernel, and only about that.
fn is_local(file: &File) -> io::Result<bool> {
    // The magic numbers have 32 bits, in a word that has another width on each machine.
    Ok(LOCAL.contains(&(rustix::fs::fstatfs(file)?.f_type as u32)))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> HomeError {
    let path = path.to_owned();
    move |error| HomeError::Failed { path, why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place { boot: "b1".to_owned(), machine: "m1".to_owned(), lock: (7, 8) }
    }

    fn past(node: u64, created: Option<Revision>) -> Past {
        Past { cluster: "test".to_owned(), node: NodeId(node), created }
    }

    fn written(sessions: &[Past], place: &Place) -> String {
        sessions.iter().map(|past| format!("{past}{place}\n")).collect()
    }

    /// C7
    #[test]
    fn who_had_this_very_lock_is_dead() {
        let sessions = [past(1, None), past(2, Some(9))];
        assert_eq!(place().dead(&written(&sessions, &place())), sessions);
    }

    /// C2
    #[test]
    fn whoever_had_another_lock_or_had_it_on_another_boot_or_machine_may_be_alive() {
        let text = written(&[past(2, Some(9))], &place());
        let other = |change: fn(&mut Place)| {
            let mut other = place();
            change(&mut other);
            other
        };
        for other in [
            other(|it| it.boot = "b2".to_owned()),
            other(|it| it.machine = "m2".to_owned()),
            other(|it| it.lock.0 = 9),
            other(|it| it.lock.1 = 9),
            other(|it| it.machine = String::new()),
        ] {
            assert_eq!(other.dead(&text), [], "{other:?}");
        }
        let unknown = other(|it| it.boot = String::new());
        assert_eq!(unknown.dead(&written(&[past(2, Some(9))], &unknown)), []);
    }

    /// C2
    #[test]
    fn what_is_cut_short_or_no_text_of_ours_proves_nothing() {
        let text = written(&[past(2, Some(9))], &place());
        for length in 0..text.len() - "8\n\n".len() {
            assert_eq!(place().dead(&text[..length]), [], "{length}");
        }
        assert_eq!(place().dead("node=2\n\nno\n"), []);
    }
}
