//! What clients and nodes say to each other: a question a line, and its answer.

use std::time::Duration;

use innkeeper_judge::records::Outcome;

/// A call that a client has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) call: u64,
    pub(crate) key: String,
    pub(crate) takes: Duration,
    pub(crate) within: Duration,
}

impl Question {
    pub(crate) fn write(&self) -> String {
        let Question { call, key, takes, within } = self;
        format!("{call} {key} {} {}\n", takes.as_millis(), within.as_millis())
    }

    pub(crate) fn read(line: &str) -> Option<Question> {
        let mut words = line.split_whitespace();
        let (call, key) = (words.next()?.parse().ok()?, words.next()?.to_owned());
        let mut ms = || Some(Duration::from_millis(words.next()?.parse().ok()?));
        Some(Question { call, key, takes: ms()?, within: ms()? })
    }
}

/// An answer, as a line.
pub(crate) fn answer(call: u64, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Ok { epoch, incarnation, count } => {
            format!("{call} ok {epoch} {incarnation} {count}\n")
        }
        Outcome::NotDelivered { why } => format!("{call} not {}\n", why.replace('\n', " ")),
        Outcome::Unknown { why } => format!("{call} unknown {}\n", why.replace('\n', " ")),
    }
}

/// The answer to a call. `None`: it is none.
pub(crate) fn outcome(call: u64, line: &str) -> Option<Outcome> {
    let rest = line.trim_end().strip_prefix(&format!("{call} "))?;
    let (word, rest) = rest.split_once(' ')?;
    let why = rest.to_owned();
    match word {
        "ok" => {
            let mut numbers = rest.split(' ').map(|number| number.parse().ok());
            let mut next = || numbers.next().flatten();
            Some(Outcome::Ok { epoch: next()?, incarnation: next()?, count: next()? })
        }
        "not" => Some(Outcome::NotDelivered { why }),
        "unknown" => Some(Outcome::Unknown { why }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_answers_are_read_as_they_were_written() {
        let (takes, within) = (Duration::from_millis(3), Duration::from_secs(8));
        let question = Question { call: 7, key: "room-1".to_owned(), takes, within };
        assert_eq!(Question::read(&question.write()), Some(question));
        let why = "the node is\ngone".to_owned();
        for said in [
            Outcome::Ok { epoch: 1, incarnation: u64::MAX, count: 3 },
            Outcome::NotDelivered { why: why.replace('\n', " ") },
            Outcome::Unknown { why: why.replace('\n', " ") },
        ] {
            assert_eq!(outcome(7, &answer(7, &said)), Some(said.clone()));
            assert_eq!(outcome(8, &answer(7, &said)), None);
        }
    }
}
