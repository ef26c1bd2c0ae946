//! The grammar of the key-value protocol: one line, words split on blanks, exact arity.

/// What a line asks for. Borrowed from the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Makes a bucket, if there is none.
    Create {
        /// Its name.
        bucket: &'a str,
    },
    /// Sets a key.
    Put {
        /// Of which bucket.
        bucket: &'a str,
        /// The key.
        key: &'a str,
        /// Its new value.
        value: &'a str,
    },
    /// Reads a key.
    Get {
        /// Of which bucket.
        bucket: &'a str,
        /// The key.
        key: &'a str,
    },
    /// Deletes a key.
    Delete {
        /// Of which bucket.
        bucket: &'a str,
        /// The key.
        key: &'a str,
    },
    /// Asks for every change from now on.
    Subscribe {
        /// Of which bucket.
        bucket: &'a str,
    },
    /// Asks how many subscribe.
    CountSubscriptions {
        /// Of which bucket.
        bucket: &'a str,
    },
}

impl<'a> Command<'a> {
    /// Reads a line, without its end. `None`: an unknown command, or a wrong number of words.
    pub fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let mut word = || words.next();
        let command = match word()? {
            "CREATE" => Command::Create { bucket: word()? },
            "PUT" => Command::Put { bucket: word()?, key: word()?, value: word()? },
            "GET" => Command::Get { bucket: word()?, key: word()? },
            "DELETE" => Command::Delete { bucket: word()?, key: word()? },
            "SUBSCRIBE" => Command::Subscribe { bucket: word()? },
            "COUNT" if word()? == "SUBSCRIPTIONS" => {
                Command::CountSubscriptions { bucket: word()? }
            }
            _ => return None,
        };
        words.next().is_none().then_some(command)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_commands_of_the_guide_are_read() {
        assert_eq!(Command::parse("CREATE shop"), Some(Command::Create { bucket: "shop" }));
        let put = Command::Put { bucket: "shop", key: "milk", value: "3" };
        assert_eq!(Command::parse("PUT shop milk 3"), Some(put));
        assert_eq!(Command::parse("  PUT   shop\tmilk  3  "), Some(put));
        let get = Command::Get { bucket: "shop", key: "milk" };
        assert_eq!(Command::parse("GET shop milk"), Some(get));
        let delete = Command::Delete { bucket: "shop", key: "milk" };
        assert_eq!(Command::parse("DELETE shop milk"), Some(delete));
        assert_eq!(Command::parse("SUBSCRIBE shop"), Some(Command::Subscribe { bucket: "shop" }));
        let count = Command::CountSubscriptions { bucket: "shop" };
        assert_eq!(Command::parse("COUNT SUBSCRIPTIONS shop"), Some(count));
    }

    #[test]
    fn other_words_other_cases_and_other_arities_are_unknown() {
        for line in [
            "",
            " ",
            "HELLO",
            "create shop",
            "CREATE",
            "CREATE a b",
            "PUT a b",
            "PUT a b c d",
            "GET a",
            "GET a b c",
            "DELETE a",
            "SUBSCRIBE",
            "SUBSCRIBE a b",
            "COUNT a",
            "COUNT SUBSCRIPTIONS",
            "COUNT SUBSCRIPTIONS a b",
            "CREATEshop",
        ] {
            assert_eq!(Command::parse(line), None, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn no_line_breaks_the_reader(line in ".*") {
            let _ = Command::parse(&line);
        }

        #[test]
        fn words_come_through_as_they_are(bucket in "\\S{1,20}", key in "\\S{1,20}") {
            let line = format!("GET {bucket} {key}");
            let read = Command::Get { bucket: &bucket, key: &key };
            prop_assert_eq!(Command::parse(&line), Some(read));
        }
    }
}
