//! The tables of docs/SEMANTICS.md: which tests show which promise, which known hole is closed, and
//! which behaviour of OTP is kept.

use std::collections::{BTreeMap, BTreeSet};

use crate::Finding;
use crate::source::numbered;

/// How many of the known holes may go without a test.
const WITHOUT_TEST_MAX: usize = 6;

/// What begins the cell of a line that has no test, before the reason.
const NONE: &str = "none: ";

/// What stands in the cell of a promise that is not kept yet.
const NOT_YET: &str = "cluster: not yet";

/// The lines of OTP's own suites and documents that have to have a row, by group. Those between
/// them are of the BEAM alone.
const CONFORMANCE: [(&str, &[u8]); 11] = [
    ("REG", &REGISTRY),
    ("LOCK", &[1, 3, 4, 6]),
    ("DS", &DYNAMIC),
    ("SUP", &[1, 3, 4, 6, 7, 9]),
    ("PS", &[1, 3, 4, 6, 7, 9, 10, 12]),
    ("GS", &[1, 3, 4, 6, 7, 9, 10, 12, 13]),
    ("AG", &[1, 4]),
    ("TS", &[1, 3, 4, 6, 9, 10, 12, 13, 15, 16, 18, 19, 21]),
    ("PR", &[1, 3, 4, 6]),
    ("KV", &[1, 2, 3, 4, 5, 6, 7, 8]),
    ("NEW", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]),
];

const REGISTRY: [u8; 30] = [
    1, 3, 4, 6, 7, 9, 10, 12, 13, 15, 16, 21, 22, 24, 25, 27, 28, 30, 31, 40, 42, 43, 45, 46, 48,
    49, 60, 61, 63, 64,
];

const DYNAMIC: [u8; 24] =
    [1, 3, 4, 6, 7, 10, 12, 13, 15, 16, 18, 21, 22, 24, 25, 27, 28, 40, 42, 43, 45, 46, 51, 52];

/// Those of them that may go without a test: what they are about cannot be written here, or is
/// there in another shape.
const WITHOUT_TEST: [&str; 12] = [
    "REG-04", "DS-03", "DS-06", "SUP-04", "SUP-06", "PS-01", "PS-03", "PS-07", "PS-09", "PS-10",
    "GS-10", "KV-08",
];

/// The row of one promise or hole.
struct Row {
    line: usize,
    tests: Vec<String>,
    /// Why there is none.
    reason: Option<String>,
}

/// What is wrong with the tables, given the tests that there are.
pub(crate) fn findings(text: &str, tests: &BTreeSet<String>, comments: &str) -> Vec<Finding> {
    let (rows, mut findings) = rows(text);
    for (id, row) in conformance().filter_map(|id| rows.get_key_value(&id)) {
        if !row.tests.is_empty() && !comments.contains(id.as_str()) {
            let what = format!("no test of {id} says so; put it into its doc comment");
            findings.push(Finding::new(row.line, what));
        }
    }
    for row in rows.values() {
        for test in row.tests.iter().filter(|test| !tests.contains(*test)) {
            let what = format!("there is no test `{test}`; name one that there is");
            findings.push(Finding::new(row.line, what));
        }
        if row.tests.is_empty() && row.reason.is_none() {
            let what = format!("name a test in the last column, or say `{NONE}` and why");
            findings.push(Finding::new(row.line, what));
        }
    }
    for id in ids().filter(|id| !rows.contains_key(id)) {
        findings.push(Finding::new(1, format!("{id} has no row; add one with its test")));
    }
    let holes = rows.iter().filter(|(id, row)| is_hole(id) && row.reason.is_some());
    let without: Vec<_> = holes.map(|(id, _)| id.as_str()).collect();
    if without.len() > WITHOUT_TEST_MAX {
        let what = format!("{} have no test; {WITHOUT_TEST_MAX} may", without.join(", "));
        findings.push(Finding::new(1, what));
    }
    for (id, row) in rows.iter().filter(|(id, _)| is_promise(id)) {
        if row.tests.is_empty() || row.reason.is_some() {
            findings.push(Finding::new(row.line, format!("{id} is owed a test")));
        }
    }
    for id in conformance().filter(|id| !WITHOUT_TEST.contains(&id.as_str())) {
        if let Some(row) = rows.get(&id).filter(|row| row.reason.is_some()) {
            findings.push(Finding::new(row.line, format!("{id} is owed a test")));
        }
    }
    findings
}

/// All that has to have a row.
fn ids() -> impl Iterator<Item = String> {
    let promises = (1..=16).map(|n| format!("P{n}")).chain((1..=9).map(|n| format!("C{n}")));
    let v1 = (1..=21).map(|n| format!("V1-{n:02}"));
    let v2 = (1..=23).map(|n| format!("V2-{n:02}"));
    let holes = v1.chain(v2).chain((1..=10).map(|n| format!("G-{n:02}")));
    promises.chain(holes).chain(conformance())
}

fn conformance() -> impl Iterator<Item = String> {
    let lines = CONFORMANCE.iter().flat_map(|(group, lines)| lines.iter().map(move |n| (group, n)));
    lines.map(|(group, n)| format!("{group}-{n:02}"))
}

fn is_hole(id: &str) -> bool {
    id.starts_with('V') || id.starts_with("G-")
}

/// Of one node; those of a cluster may wait.
fn is_promise(id: &str) -> bool {
    id.strip_prefix('P').is_some_and(|number| number.parse::<u8>().is_ok())
}

/// Every row of a table whose last column is one of tests, by its first column.
fn rows(text: &str) -> (BTreeMap<String, Row>, Vec<Finding>) {
    let (mut rows, mut findings) = (BTreeMap::new(), Vec::new());
    let mut is_of_tests = false;
    for (line, text) in numbered(text) {
        let Some(cells) = text.strip_prefix("| ").and_then(|text| text.strip_suffix(" |")) else {
            is_of_tests = false;
            continue;
        };
        let cells: Vec<&str> = cells.split(" | ").map(str::trim).collect();
        let (first, last) = (cells[0], cells[cells.len() - 1]);
        let is_head = last == "tests";
        is_of_tests |= is_head;
        if is_head || !is_of_tests || first == "---" {
            continue;
        }
        let row = Row {
            line,
            tests: last.split('`').skip(1).step_by(2).map(str::to_owned).collect(),
            reason: last.strip_prefix(NONE).or(last.strip_prefix(NOT_YET)).map(str::to_owned),
        };
        if rows.insert(first.to_owned(), row).is_some() {
            findings.push(Finding::new(line, format!("{first} has two rows; make one of them")));
        }
    }
    (rows, findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> String {
        let row = |id: String| match id.as_str() {
            "C1" => "| C1 | same code | cluster: not yet |\n".to_owned(),
            "G-10" => "| G-10 | global names | none: needs a cluster |\n".to_owned(),
            "DS-03" => "| DS-03 | what no test says it shows | none: hard |\n".to_owned(),
            _ => format!("| {id} | what it is | `a_test`, `another` |\n"),
        };
        let other = "| word | what |\n| --- | --- |\n| key | a name |\n";
        let head = "| id | what | tests |\n| --- | --- | --- |\n";
        format!("# Title\n\n{other}\n{head}{}", ids().map(row).collect::<String>())
    }

    fn check(text: &str) -> Vec<String> {
        let tests = ["a_test", "another"].map(str::to_owned).into();
        let comments = conformance().collect::<Vec<_>>().join(", ").replace("DS-03, ", "");
        findings(text, &tests, &comments).into_iter().map(|found| found.what).collect()
    }

    #[test]
    fn a_whole_table_has_nothing_wrong() {
        assert_eq!(check(&whole()), [""; 0]);
    }

    #[test]
    fn a_test_that_is_not_there_is_found() {
        let text = whole().replace("| P3 | what it is | `a_test`", "| P3 | what it is | `gone`");
        assert_eq!(check(&text), ["there is no test `gone`; name one that there is"]);
    }

    #[test]
    fn a_line_of_otp_whose_test_does_not_carry_it_is_found() {
        let text = whole().replace("| DS-03 | what no test says it shows | none: hard |", ROW);
        assert_eq!(check(&text), ["no test of DS-03 says so; put it into its doc comment"]);
    }

    const ROW: &str = "| DS-03 | what no test says it shows | `a_test` |";

    #[test]
    fn a_missing_row_and_a_second_one_are_found() {
        let text = whole().replace("| V1-07 |", "| V1-08 |");
        let found = check(&text);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("V1-08 has two rows") && found[1].starts_with("V1-07"));
    }

    #[test]
    fn a_promise_without_a_test_is_found() {
        let text = whole()
            .replace("| P9 | what it is | `a_test`, `another` |", "| P9 | messages | none: hard |");
        assert_eq!(check(&text), ["P9 is owed a test"]);
        let text = whole().replace("`a_test`, `another` |", "some day |");
        assert!(check(&text).iter().any(|found| found.starts_with("name a test")));
    }

    #[test]
    fn a_line_of_conformance_without_a_row_or_a_test_is_found() {
        let row = "| TS-06 | what it is | `a_test`, `another` |\n";
        assert_eq!(check(&whole().replace(row, "")), ["TS-06 has no row; add one with its test"]);
        let text = whole().replace(row, "| TS-06 | too many | none: hard |\n");
        assert_eq!(check(&text), ["TS-06 is owed a test"]);
        let row = "| KV-08 | what it is | `a_test`, `another` |";
        assert_eq!(check(&whole().replace(row, "| KV-08 | far | none: far |")), [""; 0]);
    }

    #[test]
    fn more_holes_without_a_test_than_may_be_are_found() {
        let mut text = whole();
        for n in 1..=6 {
            let row = format!("| V2-0{n} | what it is | `a_test`, `another` |");
            text = text.replace(&row, &format!("| V2-0{n} | what it is | none: hard |"));
        }
        let found = check(&text);
        assert_eq!(found, ["G-10, V2-01, V2-02, V2-03, V2-04, V2-05, V2-06 have no test; 6 may"]);
    }
}
