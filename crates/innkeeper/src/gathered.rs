//! What was asked of all nodes at once: the answer, and whose part of it is missing.

use std::fmt;

use crate::error::Away;

/// An answer that all nodes have a part in.
///
/// # Guarantees
/// The part of each key comes from the node that acted for the key at some instant between the
/// question and the answer, and from no other. [`missing`](Self::missing) says what is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a part of it may be missing"]
pub struct Gathered<T> {
    /// The answer, as far as it came in time.
    pub value: T,
    /// What it lacks. Empty: nothing.
    pub missing: Vec<Missing>,
}

impl<T> Gathered<T> {
    /// An answer that lacks nothing.
    pub fn whole(value: T) -> Self {
        Gathered { value, missing: Vec::new() }
    }

    /// Whether it lacks nothing.
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty()
    }
}

/// A part that an answer lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missing {
    /// That of this node itself.
    Here(NoAnswer),
    /// That of another node.
    Node {
        /// Its name.
        name: String,
        /// Why it gave none.
        why: NoAnswer,
    },
    /// That of keys for which nobody acted all the while: their node is gone, or they were on
    /// their way from one to another.
    Nobody {
        /// How many of the parts that the keys of a cluster are dealt out in.
        parts: usize,
        /// How many of them there are, each with about as many keys.
        of: usize,
    },
}

/// Why whoever was asked gave no answer. A question that changes nothing is safe to ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NoAnswer {
    /// It did not come by the caller's deadline.
    Late,
    /// It could not be asked.
    Away(Away),
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoAnswer::Late => f.write_str("no answer by the deadline"),
            NoAnswer::Away(away) => away.fmt(f),
        }
    }
}

impl std::error::Error for NoAnswer {}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Here(why) => write!(f, "this node: {why}"),
            Missing::Node { name, why } => write!(f, "node {name:?}: {why}"),
            Missing::Nobody { parts, of } => {
                write!(f, "{parts} of {of} parts of the keys: nobody acts for them; ask again")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_with_whose_it_is_and_what_to_do() {
        let unreachable = NoAnswer::Away(Away::Unreachable);
        let said = [
            Missing::Here(NoAnswer::Late),
            Missing::Node { name: "b".to_owned(), why: unreachable },
            Missing::Nobody { parts: 2, of: 8 },
        ];
        let said = said.map(|missing| missing.to_string());
        assert_eq!(said[0], "this node: no answer by the deadline");
        assert!(said[1].starts_with("node \"b\": ") && said[1].ends_with("; ask again"));
        assert_eq!(said[2], "2 of 8 parts of the keys: nobody acts for them; ask again");
    }
}
