//! A text that is not to be seen where settings are shown or logged.

use std::fmt;

use subtle::ConstantTimeEq;

/// A secret: shown as `(set)`, and compared in a time that says nothing of what is in it.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Whether it is this text.
    pub fn is(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }
}

impl<T: Into<String>> From<T> for Secret {
    fn from(text: T) -> Self {
        Secret(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(set)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_by_whole_and_never_shown() {
        let secret = Secret::from("hunter2");
        assert!(secret.is("hunter2"));
        assert!(!secret.is("hunter") && !secret.is("hunter22") && !secret.is(""));
        assert_eq!(format!("{:?}", Some(secret)), "Some((set))");
    }
}
