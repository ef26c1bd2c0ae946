//! The settings of `serve`, and where each came from: a flag, the environment, the file, a default.
//!
//! Flags, environment and defaults are clap's. The file comes in between: each of its keys becomes
//! the flag of the same name, put before those that were typed, unless a flag or the environment
//! says otherwise already.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, CommandFactory, FromArgMatches};

use crate::args::{Cli, ServeArgs};
use crate::config_file::{self, Entry};
use crate::error::Failure;

/// The settings that count.
pub(crate) struct Settings {
    pub(crate) serve: ServeArgs,
    /// Each setting as text, with its origin, in the order of the help.
    pub(crate) table: Vec<Setting>,
}

/// One setting.
pub(crate) struct Setting {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) origin: Origin,
}

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    File { path: String, line: usize },
    Environment { variable: String },
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => write!(f, "{path}:{line}"),
            Origin::Environment { variable } => f.write_str(variable),
            Origin::Flag => f.write_str("flag"),
        }
    }
}

impl Settings {
    /// Takes the settings from all four places.
    pub(crate) fn load() -> Result<Settings, Failure> {
        Self::from(std::env::args_os().collect())
    }

    fn from(argv: Vec<OsString>) -> Result<Settings, Failure> {
        let typed = matches(&argv)?;
        let at = serve_position(&argv);
        let file = match typed.get_one::<std::path::PathBuf>("config") {
            None => Vec::new(),
            Some(path) => config_file::read(path)?,
        };
        let (mut lines, mut merged) = (HashMap::new(), argv[..at].to_vec());
        if at == 1 {
            // No command was given: the settings are those of the default one.
            merged.push("serve".into());
        }
        for entry in &file {
            check(entry)?;
            if matches!(typed.value_source(&entry.key), None | Some(ValueSource::DefaultValue)) {
                lines.insert(entry.key.clone(), entry.origin());
                merged.extend(flags(entry).into_iter().map(OsString::from));
            }
        }
        merged.extend_from_slice(&argv[at..]);
        let matches = matches(&merged)?;
        let serve = ServeArgs::from_arg_matches(&matches).map_err(Failure::new)?;
        Ok(Settings { serve, table: table(&matches, &lines) })
    }
}

/// Behind which of the arguments the flags of `serve` begin.
fn serve_position(argv: &[OsString]) -> usize {
    let is = |at: usize, word: &str| argv.get(at).is_some_and(|arg| arg == word);
    match (is(1, "serve"), is(1, "config") && is(2, "show")) {
        (true, _) => 2,
        (_, true) => 3,
        _ => 1,
    }
}

/// What clap makes of the flags of `serve`, wherever they stand.
fn matches(argv: &[OsString]) -> Result<ArgMatches, Failure> {
    let mut argv = argv.to_vec();
    if argv.len() <= 1 {
        argv = vec!["innkeeper".into(), "serve".into()];
    }
    // Errors in what was typed were reported before; what is left comes from the file.
    let all = Cli::command()
        .try_get_matches_from(argv)
        .map_err(|error| Failure::new(error.to_string().trim().trim_start_matches("error: ")))?;
    let (_, found) = all.subcommand().ok_or_else(|| Failure::new("expected a command"))?;
    Ok(found.subcommand().map_or_else(|| found.clone(), |(_, show)| show.clone()))
}

/// Refuses a value of the file that its flag would refuse, and names the place.
fn check(entry: &Entry) -> Result<(), Failure> {
    let mut argv = vec!["innkeeper".to_owned(), "serve".to_owned()];
    argv.extend(flags(entry));
    Cli::command().try_get_matches_from(argv).map(drop).map_err(|error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        Failure::new(format_args!("{}: {first}", entry.origin()))
    })
}

fn flags(entry: &Entry) -> Vec<String> {
    let flag = format!("--{}", entry.key.replace('_', "-"));
    entry.values.iter().map(|value| format!("{flag}={value}")).collect()
}

fn table(matches: &ArgMatches, lines: &HashMap<String, Origin>) -> Vec<Setting> {
    let command = Cli::command();
    let serve = command.find_subcommand("serve").into_iter();
    let args = serve.flat_map(clap::Command::get_arguments);
    let shown = args.filter(|arg| !arg.is_hide_set() && arg.get_action().takes_values());
    shown
        .filter(|arg| !matches!(arg.get_action(), ArgAction::Help | ArgAction::Version))
        .map(|arg| {
            let id = arg.get_id().as_str();
            let origin = lines.get(id).cloned().unwrap_or_else(|| {
                let variable = arg.get_env().map(|name| name.to_string_lossy().into_owned());
                match (matches.value_source(id), variable) {
                    (Some(ValueSource::CommandLine), _) => Origin::Flag,
                    (Some(ValueSource::EnvVariable), Some(variable)) => {
                        Origin::Environment { variable }
                    }
                    _ => Origin::Default,
                }
            });
            let values = matches.get_raw(id).into_iter().flatten();
            let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
            let secret = arg.is_hide_env_values_set() && !values.is_empty();
            let value = if secret { "(set)".to_owned() } else { values.join(",") };
            Setting { name: id.replace('_', "-"), value, origin }
        })
        .collect()
}

/// The keys that a configuration file may have, with their help and default, in order.
pub(crate) fn known() -> Vec<(String, String, Option<String>)> {
    let command = Cli::command();
    let serve = command.find_subcommand("serve").into_iter();
    let args = serve.flat_map(clap::Command::get_arguments);
    args.filter(|arg| !arg.is_hide_set() && arg.get_id() != "config" && arg.get_id() != "help")
        .map(|arg| {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let default = arg.get_default_values().first();
            let default = default.map(|value| value.to_string_lossy().into_owned());
            (arg.get_id().to_string(), help, default)
        })
        .collect()
}

/// The place of an entry, as an origin.
pub(crate) fn file_origin(path: &Path, line: usize) -> Origin {
    Origin::File { path: path.display().to_string(), line }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(args: &[&str], file: &str) -> Result<Settings, Failure> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("innkeeper.toml");
        std::fs::write(&path, file).unwrap();
        let mut argv: Vec<OsString> = vec!["innkeeper".into(), "serve".into()];
        argv.push(format!("--config={}", path.display()).into());
        argv.extend(args.iter().map(OsString::from));
        Settings::from(argv)
    }

    fn setting<'a>(settings: &'a Settings, name: &str) -> &'a Setting {
        settings.table.iter().find(|setting| setting.name == name).unwrap()
    }

    #[test]
    fn the_file_goes_before_the_default_and_a_flag_before_the_file() {
        let file = "max-rooms = 7\nidle_after = \"9s\"\n";
        let settings = load(&["--max-rooms", "5"], file).unwrap();
        assert_eq!(settings.serve.max_rooms, 5);
        assert_eq!(setting(&settings, "max-rooms").origin, Origin::Flag);
        assert_eq!(settings.serve.idle_after.as_secs(), 9);
        let Origin::File { line, .. } = setting(&settings, "idle-after").origin else {
            panic!("expected the file");
        };
        assert_eq!(line, 2);
        assert_eq!(setting(&settings, "max-members").origin, Origin::Default);
    }

    #[test]
    fn a_list_of_the_file_is_the_flag_said_several_times() {
        let settings = load(&[], "allow-origin = [\"https://a\", \"https://b\"]").unwrap();
        assert_eq!(settings.serve.allow_origin, ["https://a", "https://b"]);
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place_and_a_suggestion() {
        let error = load(&[], "\nmax_room = 7\n").err().unwrap().to_string();
        assert!(error.contains("innkeeper.toml:2: unknown key `max_room`"), "{error}");
        assert!(error.contains("max-rooms"), "{error}");
    }

    #[test]
    fn a_bad_value_is_refused_with_its_place() {
        let error = load(&[], "max-rooms = \"many\"\n").err().unwrap().to_string();
        assert!(error.contains("innkeeper.toml:1: invalid value 'many'"), "{error}");
    }

    #[test]
    fn what_is_no_toml_is_refused_with_its_place() {
        let error = load(&[], "max-rooms = \n").err().unwrap().to_string();
        assert!(error.contains("innkeeper.toml:1:"), "{error}");
    }

    #[test]
    fn a_secret_is_not_shown() {
        let settings = load(&["--admin-token", "hunter2"], "").unwrap();
        assert_eq!(setting(&settings, "admin-token").value, "(set)");
    }
}
