//! The rules that each file keeps to, one pure function each.

use crate::Finding;
use crate::source::{Source, numbered, words};

/// Every rule.
pub(crate) const ALL: [fn(&Source) -> Vec<Finding>; 13] = [
    width,
    function_length,
    file_length,
    opening,
    file_name,
    vocabulary,
    spawning,
    time,
    printing,
    pure_decisions,
    unbounded_queues,
    leftovers,
    ignored_tests,
];

const COLUMNS_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 500;
const TEST_FILE_LINES_MAX: usize = 800;

/// Packages that nobody runs but who works on this one.
const CHORES: [&str; 6] = [
    "xtask",
    "innkeeper-bench",
    "innkeeper-sim",
    "innkeeper-examples",
    "innkeeper-drill",
    "innkeeper-judge",
];

/// Where tasks are made, by package: each has a parent that awaits it.
const SPAWNERS: [(&str, &[&str]); 5] = [
    ("innkeeper", &["context.rs", "dispatch.rs", "remembered.rs", "runner.rs", "seam.rs"]),
    ("innkeeper-cluster", &["cluster.rs", "driver.rs", "links.rs"]),
    ("innkeeper-etcd", &[]),
    ("innkeeper-server", &["accept.rs", "member.rs", "room.rs"]),
    ("innkeeper-cli", &["load.rs", "race.rs", "supervise.rs"]),
];

/// Files that decide who owns what, and do nothing else.
const DECISIONS: [&str; 11] = [
    "registry/slot.rs",
    "supervisor/line.rs",
    "src/ownership.rs",
    "ownership/link.rs",
    "ownership/peers.rs",
    "ownership/placement.rs",
    "ownership/record.rs",
    "ownership/session.rs",
    "ownership/shards.rs",
    "ownership/timing.rs",
    "ownership/vigil.rs",
];

fn width(source: &Source) -> Vec<Finding> {
    let long = numbered(&source.text).filter(|(_, line)| line.chars().count() > COLUMNS_MAX);
    long.map(|(line, text)| {
        let columns = text.chars().count();
        Finding::new(line, format!("{columns} columns; wrap it at {COLUMNS_MAX}"))
    })
    .collect()
}

fn function_length(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    // Functions that are open: where they began, and how deep the braces were.
    let mut open: Vec<(usize, usize)> = Vec::new();
    let mut signature = None;
    let (mut braces, mut parens) = (0_usize, 0_usize);
    for (line, code) in numbered(&source.code) {
        let mut fns = fn_columns(code).into_iter().peekable();
        for (column, c) in code.char_indices() {
            if fns.next_if_eq(&column).is_some() {
                signature = Some(line);
            }
            match c {
                '(' | '[' => parens += 1,
                ')' | ']' => parens = parens.saturating_sub(1),
                // The end of a function without a body.
                ';' if parens == 0 => signature = None,
                '{' => {
                    if let Some(begun) = signature.take() {
                        open.push((begun, braces));
                    }
                    braces += 1;
                }
                '}' => {
                    braces = braces.saturating_sub(1);
                    if let Some((begun, _)) = open.pop_if(|(_, depth)| *depth == braces) {
                        let lines = line - begun + 1;
                        if lines > FUNCTION_LINES_MAX {
                            let what = format!(
                                "a function of {lines} lines; make parts of it functions of their \
                                 own, of up to {FUNCTION_LINES_MAX}"
                            );
                            findings.push(Finding::new(begun, what));
                        }
                    }
                }
                _ => {}
            }
        }
    }
    findings
}

/// Where the keyword `fn` begins a function, and not a type.
fn fn_columns(code: &str) -> Vec<usize> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let found = code.match_indices("fn ").filter(|(at, _)| {
        let before = code[..*at].chars().next_back();
        !before.is_some_and(is_word) && code[at + 3..].starts_with(is_word)
    });
    found.map(|(at, _)| at).collect()
}

fn file_length(source: &Source) -> Vec<Finding> {
    let all = source.text.lines().count();
    let (lines, max) = if source.is_tests() {
        (all, TEST_FILE_LINES_MAX)
    } else {
        (source.lines_before_tests, FILE_LINES_MAX)
    };
    if lines <= max {
        return Vec::new();
    }
    let what = format!("{lines} lines; split it, one noun a file, at {max}");
    vec![Finding::new(max + 1, what)]
}

fn opening(source: &Source) -> Vec<Finding> {
    if !source.path.contains("/src/") {
        return Vec::new();
    }
    let lines = source.text.lines().take_while(|line| line.starts_with("//!"));
    let paragraph: Vec<_> = lines.take_while(|line| *line != "//!").collect();
    let ends = paragraph.last().is_some_and(|line| line.ends_with(['.', '!', '?']));
    if ends && paragraph[0].starts_with("//! ") {
        return Vec::new();
    }
    vec![Finding::new(1, "begin it with a `//!` sentence that says what the file decides")]
}

fn file_name(source: &Source) -> Vec<Finding> {
    let what = match source.name() {
        "mod.rs" => "name it after its module: `foo.rs` beside `foo/`",
        "util.rs" | "utils.rs" | "helper.rs" | "helpers.rs" | "common.rs" | "types.rs"
        | "manager.rs" => "name it after what it is about",
        _ => return Vec::new(),
    };
    vec![Finding::new(1, what)]
}

fn vocabulary(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, code) in numbered(&source.code) {
        for word in words(code) {
            // tokio's own name for its threads.
            if word == "worker_threads" {
                continue;
            }
            let instead = match parts(word).find_map(|part| instead_of(&part)) {
                Some(instead) => instead,
                None => continue,
            };
            findings.push(Finding::new(line, format!("`{word}`: here it is called {instead}")));
        }
    }
    findings
}

fn instead_of(part: &str) -> Option<&'static str> {
    match part {
        "actor" | "actors" | "worker" | "workers" => Some("a process"),
        "manager" | "managers" => Some("by what it does: supervisor, registry, scope"),
        _ => None,
    }
}

/// The words an identifier is made of, in small letters.
fn parts(identifier: &str) -> impl Iterator<Item = String> {
    let mut parts = vec![String::new()];
    let mut before = '_';
    for c in identifier.chars() {
        if c == '_' || (c.is_uppercase() && before.is_lowercase()) {
            parts.push(String::new());
        }
        if c != '_' {
            parts.last_mut().unwrap().extend(c.to_lowercase());
        }
        before = c;
    }
    parts.into_iter()
}

/// The lines of code, not of tests, in which one of `wanted` occurs.
fn lines_with(source: &Source, wanted: &[&str], what: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, code) in source.code_before_tests() {
        for found in wanted.iter().filter(|wanted| has(code, wanted)) {
            findings.push(Finding::new(line, format!("`{found}`: {what}")));
        }
    }
    findings
}

/// Whether code has `wanted`, and not only within a longer word.
fn has(code: &str, wanted: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(wanted).any(|(at, _)| {
        let before = code[..at].ends_with(is_word) && wanted.starts_with(is_word);
        let after = code[at + wanted.len()..].starts_with(is_word) && wanted.ends_with(is_word);
        !before && !after
    })
}

fn is_chore(source: &Source) -> bool {
    CHORES.contains(&source.package.as_str())
}

fn spawning(source: &Source) -> Vec<Finding> {
    let allowed = SPAWNERS.iter().find(|(package, _)| *package == source.package);
    let allowed = allowed.map_or(&[][..], |(_, files)| files);
    if is_chore(source) || allowed.contains(&source.name()) {
        return Vec::new();
    }
    let wanted = [
        "tokio::spawn",
        "task::spawn",
        "thread::spawn",
        "spawn_blocking",
        "spawn_local",
        ".spawn(",
        ".spawn_on(",
    ];
    let what = "make tasks where others are made, with a parent that awaits each; or add the file \
                to SPAWNERS in tests/tidy/rules.rs";
    lines_with(source, &wanted, what)
}

fn time(source: &Source) -> Vec<Finding> {
    if is_chore(source) || source.name() == "clock.rs" {
        return Vec::new();
    }
    let wanted = ["Instant::now", "SystemTime::now", "Timestamp::now", "Zoned::now", "UNIX_EPOCH"];
    lines_with(source, &wanted, "only clock.rs reads time; ask it")
}

fn printing(source: &Source) -> Vec<Finding> {
    let is_printer = source.package == "innkeeper-cli" && source.name() == "output.rs";
    if is_chore(source) || is_printer {
        return Vec::new();
    }
    let wanted = ["println!", "eprintln!", "print!", "eprint!", "dbg!"];
    lines_with(source, &wanted, "only the program prints, in output.rs; return it or log it")
}

fn pure_decisions(source: &Source) -> Vec<Finding> {
    if !DECISIONS.iter().any(|path| source.path.ends_with(path)) {
        return Vec::new();
    }
    let wanted =
        ["async", "await", "Mutex", "RwLock", "atomic", "Instant", "tokio", "std::fs", "std::net"];
    let what = "this file only decides: events in, commands out, the time as an argument";
    lines_with(source, &wanted, what)
}

fn unbounded_queues(source: &Source) -> Vec<Finding> {
    // The channel of the standard library has no bound either, unless it is made by sync_channel.
    let wanted = ["unbounded_channel", "unbounded(", "unbounded::<", "std::sync::mpsc"];
    lines_with(source, &wanted, "every queue has a bound, named in limits.rs")
}

fn leftovers(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let what = "do it now, or write an issue";
    for (line, comment) in numbered(&source.comments) {
        for word in words(comment).filter(|word| matches!(*word, "TODO" | "FIXME" | "XXX")) {
            findings.push(Finding::new(line, format!("{word}: {what}")));
        }
    }
    for (line, code) in numbered(&source.code) {
        for found in ["todo!", "unimplemented!"].iter().filter(|wanted| has(code, wanted)) {
            findings.push(Finding::new(line, format!("`{found}`: {what}")));
        }
    }
    findings
}

fn ignored_tests(source: &Source) -> Vec<Finding> {
    let ignored = numbered(&source.code).filter(|(_, code)| code.contains("#[ignore"));
    ignored.map(|(line, _)| Finding::new(line, "mend the test or take it out")).collect()
}

#[cfg(test)]
mod tests;
