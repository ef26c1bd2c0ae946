//! The disks of a drill: a file system of its own for each member of etcd, which can be frozen.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::stage::{tool, word};

/// How much fits: etcd sets aside 64 MB at a time.
const BYTES: u64 = 512 << 20;

/// A disk. Dropped, it goes on: what waits for a frozen one could not even be killed.
pub(crate) struct Disk {
    pub(crate) folder: PathBuf,
}

impl Disk {
    pub(crate) fn make(folder: &Path) -> Result<Disk, Error> {
        let image = folder.with_extension("image");
        std::fs::create_dir_all(folder)?;
        File::create(&image)?.set_len(BYTES)?;
        tool(&["mkfs.ext4", "-q", word(&image)])?;
        tool(&["mount", "-o", "loop", word(&image), word(folder)])?;
        Ok(Disk { folder: folder.to_owned() })
    }

    pub(crate) fn freeze(&self) -> Result<(), Error> {
        tool(&["fsfreeze", "--freeze", word(&self.folder)])
    }

    pub(crate) fn thaw(&self) -> Result<(), Error> {
        tool(&["fsfreeze", "--unfreeze", word(&self.folder)])
    }
}

/// Lets disks go on that a director has left frozen which was killed: what waits for one of them
/// could not even be killed, and all that the director has made stays for as long.
pub(crate) fn thaw_left(folder: &Path) {
    let Ok(folder) = std::fs::canonicalize(folder) else { return };
    for (namespace, disk) in left(&folder) {
        let namespace = format!("--mount={}", word(&namespace));
        // It says so if it is not frozen, or gone meanwhile.
        let _ = tool(&["nsenter", &namespace, "fsfreeze", "--unfreeze", word(&disk)]);
    }
}

/// The disks below a folder that are mounted for some thread, and where.
fn left(folder: &Path) -> Vec<(PathBuf, PathBuf)> {
    let list = |path: &Path| {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let mut left: Vec<(PathBuf, PathBuf)> = Vec::new();
    // Each thread by itself: the first one of a program that was killed may have ended already.
    for thread in list(Path::new("/proc")).iter().flat_map(|it| list(&it.join("task"))) {
        let mounts = std::fs::read_to_string(thread.join("mountinfo")).unwrap_or_default();
        let places = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
        for disk in places.filter(|place| place.starts_with(folder)) {
            if !left.iter().any(|(_, known)| *known == disk) {
                left.push((thread.join("ns/mnt"), disk));
            }
        }
    }
    left
}

impl Drop for Disk {
    fn drop(&mut self) {
        // It says so if it is not frozen.
        let _ = self.thaw();
    }
}
