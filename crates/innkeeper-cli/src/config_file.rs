//! The configuration file: TOML with the flags of `serve` as keys, and nothing else.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::Failure;
use crate::settings::{self, Origin};

/// One key of the file.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The id of the flag.
    pub(crate) key: String,
    /// What the flag is to be given; several for a list.
    pub(crate) values: Vec<String>,
    origin: Origin,
}

impl Entry {
    pub(crate) fn origin(&self) -> Origin {
        self.origin.clone()
    }
}

/// Reads a file.
pub(crate) fn read(path: &Path) -> Result<Vec<Entry>, Failure> {
    let text = fs::read_to_string(path).map_err(|error| {
        Failure::new(format_args!("cannot read {}: {error}", path.display()))
            .try_next("`innkeeper config init` writes a file to start from")
    })?;
    parse(&text, path)
}

/// Reads the text of a file.
pub(crate) fn parse(text: &str, path: &Path) -> Result<Vec<Entry>, Failure> {
    let at = |offset: usize| settings::file_origin(path, line_of(text, offset));
    let table = DeTable::parse(text).map_err(|error| {
        let place = at(error.span().map_or(0, |span| span.start));
        Failure::new(format_args!("{place}: {}", error.message()))
    })?;
    let known: Vec<String> = settings::known().into_iter().map(|(id, ..)| id).collect();
    let entries = table.into_inner().into_iter().map(|(key, value)| {
        let origin = at(key.span().start);
        let name = key.into_inner();
        let id = name.replace('-', "_");
        if !known.contains(&id) {
            return Err(unknown(&name, &known, &origin));
        }
        let values = values(value).ok_or_else(|| {
            let what = "expected a text, a number, true or false, or a list of them";
            Failure::new(format_args!("{origin}: {what} for `{name}`"))
        })?;
        Ok(Entry { key: id, values, origin })
    });
    entries.collect()
}

fn unknown(name: &str, known: &[String], origin: &Origin) -> Failure {
    let closest = known
        .iter()
        .map(|id| (strsim::jaro_winkler(id, &name.replace('-', "_")), id))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .filter(|(likeness, _)| *likeness > 0.7);
    let failure = Failure::new(format_args!("{origin}: unknown key `{name}`"));
    match closest {
        Some((_, id)) => failure.try_next(format_args!("`{}`", id.replace('_', "-"))),
        None => failure.try_next("`innkeeper config init` lists every key"),
    }
}

/// What a flag would be given for this value.
fn values(value: Spanned<DeValue<'_>>) -> Option<Vec<String>> {
    match value.into_inner() {
        DeValue::Array(list) => {
            let values: Option<Vec<_>> = list.into_iter().map(values).collect();
            values.map(|values| values.into_iter().flatten().collect())
        }
        DeValue::String(text) => Some(vec![text.into_owned()]),
        DeValue::Integer(number) => Some(vec![number.to_string()]),
        DeValue::Boolean(truth) => Some(vec![truth.to_string()]),
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// Writes a file with every setting in it, commented out.
pub(crate) fn init(path: &Path, force: bool) -> Result<(), Failure> {
    let written = if force {
        fs::write(path, template())
    } else {
        fs::File::create_new(path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, template().as_bytes()))
    };
    written.map_err(|error| {
        let failure = Failure::new(format_args!("cannot write {}: {error}", path.display()));
        match error.kind() {
            std::io::ErrorKind::AlreadyExists => failure.try_next("--force, to overwrite it"),
            _ => failure,
        }
    })
}

fn template() -> String {
    let mut text = String::from(
        "# Settings of `innkeeper serve`. A flag or a variable INNKEEPER_... goes before what is \
         said\n\
         # here; `innkeeper config show --config FILE` prints what counts, and why.\n",
    );
    for (id, help, default) in settings::known() {
        let key = id.replace('_', "-");
        let value = match (id.as_str(), default) {
            ("allow_origin", _) => "[\"https://rooms.example\"]".to_owned(),
            (_, None) => "\"\"".to_owned(),
            (_, Some(value)) if value.parse::<u64>().is_ok() => value,
            (_, Some(value)) => format!("{value:?}"),
        };
        // Writing to a String cannot fail.
        let _ = write!(text, "\n# {help}\n# {key} = {value}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_a_file_that_says_nothing_and_with_its_comments_off_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("innkeeper.toml");
        init(&path, false).unwrap();
        assert!(read(&path).unwrap().is_empty());
        let bare =
            template().replace("\n# http =", "\nhttp =").replace("\n# max-rooms", "\nmax-rooms");
        fs::write(&path, bare).unwrap();
        let keys: Vec<_> = read(&path).unwrap().into_iter().map(|entry| entry.key).collect();
        assert_eq!(keys, ["http", "max_rooms"]);
    }

    #[test]
    fn a_file_that_is_there_is_not_overwritten_unasked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("innkeeper.toml");
        fs::write(&path, "mine").unwrap();
        let error = init(&path, false).unwrap_err().to_string();
        assert!(error.contains("--force"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        init(&path, true).unwrap();
        assert_ne!(fs::read_to_string(&path).unwrap(), "mine");
    }
}
