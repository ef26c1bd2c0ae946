//! Which versions of etcd are not to be relied on.

use std::fmt;

/// The version of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

/// A version that is known to lose what it has confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadVersion {
    /// As the member says.
    pub version: String,
}

/// The oldest that does, by its first two numbers: a confirmed write could be lost in a crash of a
/// single member before (etcd 14370), and 3.5.0 to 3.5.2 could diverge.
const OLDEST: [Version; 2] = [Version(3, 4, 21), Version(3, 5, 5)];

impl Version {
    /// Reads `3.5.16`, with or without something after it.
    pub(crate) fn accept(text: &str) -> Result<Version, BadVersion> {
        let bad = || BadVersion { version: text.to_owned() };
        let mut numbers = text.split(['.', '-', '+']).map(str::parse);
        let mut number = || numbers.next().and_then(Result::ok).ok_or_else(bad);
        let version = Version(number()?, number()?, number()?);
        let is_line = |oldest: &&Version| (oldest.0, oldest.1) == (version.0, version.1);
        let oldest = OLDEST.iter().find(is_line).unwrap_or(&OLDEST[0]);
        if version < *oldest { Err(bad()) } else { Ok(version) }
    }
}

impl fmt::Display for BadVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = &self.version;
        write!(f, "etcd {version} is known to lose data; expected 3.4.21, 3.5.5 or newer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_lose_data_are_refused() {
        for good in ["3.4.23", "3.4.21", "3.5.5", "3.5.16", "3.6.0-rc.1", "4.0.0"] {
            assert!(Version::accept(good).is_ok(), "{good}");
        }
        for bad in ["3.5.0", "3.5.2", "3.5.4", "3.4.20", "3.3.27", "", "new"] {
            assert!(Version::accept(bad).is_err(), "{bad}");
        }
    }
}
