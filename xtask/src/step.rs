//! Runs commands one after the other, says how each went, and names at the end what did not run.

use std::process::{Command, ExitCode};
use std::time::Instant;

/// The steps of a chore.
pub(crate) struct Steps {
    failed: Vec<String>,
    skipped: Vec<String>,
    began: Instant,
}

impl Steps {
    #[allow(clippy::disallowed_methods)] // A stopwatch for whoever watches.
    pub(crate) fn new() -> Self {
        Steps { failed: Vec::new(), skipped: Vec::new(), began: Instant::now() }
    }

    /// Runs one step. The next ones run whether it fails or not, so that one run shows all that is
    /// wrong.
    pub(crate) fn run(&mut self, name: &str, command: Command) {
        self.run_to(name, command, 0);
    }

    /// Runs a step that is well if it ends with `good`.
    pub(crate) fn run_to(&mut self, name: &str, command: Command, good: i32) {
        self.code_of(name, command, &[(good, "ok")]);
    }

    /// Runs a step that ends with the code `unable` where a part of it could not run: `what`.
    pub(crate) fn run_unless(&mut self, name: &str, command: Command, unable: i32, what: &str) {
        let ends = [(0, "ok"), (unable, "not all of it could run,")];
        if self.code_of(name, command, &ends) == Some(unable) {
            self.skip(what);
        }
    }

    /// Runs a step that may end with one of these codes, each with a word for it; with any other,
    /// it has failed.
    #[allow(clippy::disallowed_methods)]
    pub(crate) fn code_of(
        &mut self,
        name: &str,
        mut command: Command,
        ends: &[(i32, &str)],
    ) -> Option<i32> {
        eprintln!("=== {name}");
        let began = Instant::now();
        let code = command.status().ok().and_then(|status| status.code());
        let end = ends.iter().find(|(end, _)| Some(*end) == code);
        let word = end.map_or("FAILED", |(_, word)| word);
        eprintln!("=== {name}: {word} in {:.0?}", began.elapsed());
        if end.is_none() {
            self.failed.push(name.to_owned());
        }
        code
    }

    /// Runs a step that is no command.
    pub(crate) fn check(&mut self, name: &str, check: impl FnOnce() -> Result<(), String>) {
        match check() {
            Ok(()) => eprintln!("=== {name}: ok"),
            Err(why) => {
                eprintln!("=== {name}: FAILED: {why}");
                self.failed.push(name.to_owned());
            }
        }
    }

    /// Notes that something could not run.
    pub(crate) fn skip(&mut self, what: &str) {
        self.skipped.push(what.to_owned());
    }

    /// Says how it went. What did not run is a failure where nobody is there to read it.
    pub(crate) fn report(&self) -> ExitCode {
        eprintln!("--- in all {:.0?}", self.began.elapsed());
        for what in &self.skipped {
            eprintln!("--- did not run: {what}");
        }
        for name in &self.failed {
            eprintln!("--- failed: {name}");
        }
        let unattended = std::env::var_os("CI").is_some();
        if self.failed.is_empty() && (self.skipped.is_empty() || !unattended) {
            eprintln!("--- all passed");
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

/// The cargo that runs us.
pub(crate) fn cargo<'a>(args: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args);
    // Set for us by the outer cargo; for an inner one they would be those of xtask.
    command.env_remove("CARGO_MANIFEST_DIR").env_remove("CARGO_PKG_NAME");
    command
}

/// The triple of this machine.
pub(crate) fn host() -> String {
    let asked = Command::new("rustc").arg("-vV").output();
    let text = asked.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.unwrap_or("x86_64-unknown-linux-gnu").to_owned()
}
