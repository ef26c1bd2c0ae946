//! What is written down for the judge: a line at once, so that a program that is killed has written
//! what it did.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use parking_lot::Mutex;
use serde::Serialize;

pub(crate) struct Log(Mutex<File>);

impl Log {
    pub(crate) fn open(path: &Path) -> io::Result<Log> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Log(Mutex::new(file)))
    }

    /// A line that cannot be written is missing, and what is missing the judge finds.
    pub(crate) fn note(&self, what: &impl Serialize) {
        let Ok(mut line) = serde_json::to_vec(what) else { return };
        line.push(b'\n');
        let _ = self.0.lock().write_all(&line);
    }
}
