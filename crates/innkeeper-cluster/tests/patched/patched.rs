//! Copies of the shipped code with a mistake put into them.

use std::path::Path;

/// One change of a file.
pub(crate) struct Edit {
    /// Below `src`.
    pub(crate) file: &'static str,
    /// What is there exactly once.
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
}

/// Copies a file or folder of `src`, with these changes.
pub(crate) fn copy(part: &str, to: &Path, edits: &[Edit]) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(part);
    if !source.is_dir() {
        let mut text = std::fs::read_to_string(&source).unwrap();
        for edit in edits.iter().filter(|edit| edit.file == part) {
            let count = text.matches(edit.from).count();
            assert_eq!(count, 1, "{part} has it {count} times: {}", edit.from);
            text = text.replace(edit.from, edit.to);
        }
        return std::fs::write(to.join(part), text).unwrap();
    }
    std::fs::create_dir_all(to.join(part)).unwrap();
    for entry in std::fs::read_dir(source).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let inner = if part.is_empty() { name } else { format!("{part}/{name}") };
        copy(&inner, to, edits);
    }
}
