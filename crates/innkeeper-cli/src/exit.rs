//! What the program ends with, and what that says: the one source of the codes, of what the man
//! pages say about them, and of the table in docs/OPERATING.md.

use std::process::ExitCode;

/// How the program has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Yes, or done.
    Yes = 0,
    /// No.
    No = 1,
    /// It could not be done.
    Failed = 2,
}

impl Exit {
    /// All there are, in the order of their codes.
    pub const ALL: [Exit; 3] = [Exit::Yes, Exit::No, Exit::Failed];

    /// What the shell sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What a child of this program has ended with. Any other code is that of a fault.
    #[cfg(feature = "cluster")]
    pub(crate) fn of_child(code: Option<i32>) -> Exit {
        let known = Exit::ALL.into_iter().find(|exit| Some(exit.code().into()) == code);
        known.unwrap_or(Exit::Failed)
    }

    /// What it says at the end of a command, by the command's name. `None`: it does not end so.
    #[must_use]
    pub fn meaning(self, command: &str) -> Option<&'static str> {
        Some(match (self, command) {
            (Exit::Yes, "serve") => {
                "it was told to end, and every connection and every room has ended in order"
            }
            (Exit::No, "serve") => {
                "it was told to end, and something did not end by itself within --drain-timeout: \
                 standard error names it"
            }
            (Exit::Failed, "serve") => {
                "it could not start, or was stopped at once by a second signal"
            }
            (Exit::No, "check") => "a key is alive twice: it is printed",
            (Exit::No, "load") => "a message was not delivered as it should be, or a member lost",
            (Exit::No, "race") => "somebody met a second process under one key",
            (Exit::No, "rooms") => "there is no such room",
            (Exit::No, _) => return None,
            (Exit::Yes, _) => "it was done, or is so",
            (Exit::Failed, _) => {
                "it could not be done, or was asked for in a wrong way: standard error says what \
                 to try"
            }
        })
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

impl From<bool> for Exit {
    fn from(is_so: bool) -> Exit {
        if is_so { Exit::Yes } else { Exit::No }
    }
}
