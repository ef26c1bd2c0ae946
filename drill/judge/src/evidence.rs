//! Reads what a drill has written down.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::records::{Call, Noted, Record, STOP, Setting, Staged};

/// All that was written down.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// What kind of drill it was.
    pub setting: Setting,
    /// The histories of all who called, together.
    pub calls: Vec<Call>,
    /// What each start of a node wrote down.
    pub nodes: Vec<NodeLog>,
    /// What was done to them.
    pub staged: Vec<Staged>,
    /// What etcd remembers.
    pub records: Vec<Record>,
}

/// What one start of a node wrote down.
#[derive(Clone, Debug)]
pub struct NodeLog {
    /// The node's name.
    pub name: String,
    /// In the order in which it was written.
    pub noted: Vec<Noted>,
}

/// Something that should have been written down cannot be read.
#[derive(Debug)]
pub struct Unreadable {
    file: PathBuf,
    why: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.why)
    }
}

impl std::error::Error for Unreadable {}

impl Evidence {
    /// From the folder of a drill.
    ///
    /// # Errors
    /// [`Unreadable`]: a file is missing, or a line of it is not what it should be. The last line
    /// of a program that was killed may be cut short, and then is left out.
    pub fn read(folder: &Path) -> Result<Evidence, Unreadable> {
        let file = folder.join("drill.json");
        let setting = serde_json::from_str(&text(&file)?);
        let setting = setting.map_err(|error| unreadable(&file, &error))?;
        let (mut calls, mut nodes) = (Vec::new(), Vec::new());
        let entries = folder.read_dir().map_err(|error| unreadable(folder, &error))?;
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Some(name) = name.strip_suffix(".jsonl") else { continue };
            if name.starts_with("client-") {
                calls.extend(lines::<Call>(&path)?);
            } else if let Some(name) = name.strip_prefix("node-") {
                let name = name.split('-').next().unwrap_or_default().to_owned();
                nodes.push(NodeLog { name, noted: lines(&path)? });
            }
        }
        let staged = lines(&folder.join("faults.jsonl"))?;
        let records = lines(&folder.join("records.jsonl"))?;
        Ok(Evidence { setting, calls, nodes, staged, records })
    }

    /// When a node stood still.
    pub(crate) fn stops(&self, node: &str) -> Vec<(u64, u64)> {
        let stop = |staged: &Staged| match staged {
            Staged::Fault { kind, target, began, ended } if kind == STOP && target == node => {
                Some((*began, *ended))
            }
            _ => None,
        };
        self.staged.iter().filter_map(stop).collect()
    }

    /// D, in nanoseconds.
    pub(crate) fn session(&self) -> u64 {
        self.setting.session_ms * 1_000_000
    }

    /// When all was well.
    pub(crate) fn quiet(&self) -> impl Iterator<Item = (u64, u64)> {
        self.staged.iter().filter_map(|staged| match staged {
            Staged::Quiet { from, until } => Some((*from, *until)),
            Staged::Fault { .. } => None,
        })
    }
}

fn unreadable(file: &Path, why: &dyn fmt::Display) -> Unreadable {
    Unreadable { file: file.to_owned(), why: why.to_string() }
}

fn text(file: &Path) -> Result<String, Unreadable> {
    std::fs::read_to_string(file).map_err(|error| unreadable(file, &error))
}

fn lines<T: DeserializeOwned>(file: &Path) -> Result<Vec<T>, Unreadable> {
    let text = text(file)?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let read = |(at, line): (usize, &str)| {
        let at = at + 1;
        serde_json::from_str(line).map_err(|error| unreadable(file, &format!("line {at}: {error}")))
    };
    whole.lines().enumerate().map(read).collect()
}
