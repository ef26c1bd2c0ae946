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

impl Drop for Disk {
    fn drop(&mut self) {
        // It says so if it is not frozen.
        let _ = self.thaw();
    }
}
