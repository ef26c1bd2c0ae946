//! How many instructions and allocations an operation takes, and whether that is more than what is
//! written down.
//!
//! ```text
//! innkeeper-counts check FILE       what each operation takes: 1 if it is more than in FILE, 3 if
//!                                   the instructions cannot be compared
//! innkeeper-counts renew FILE       FILE, written anew
//! innkeeper-counts operation NAME   one of them by itself, for callgrind and for a debugger
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr)] // It talks to whoever runs it.

mod baseline;
mod callgrind;
mod operations;

use std::path::Path;
use std::process::{Command, ExitCode};

use baseline::{Baseline, Cost};
use innkeeper_bench::room::BOOM;

const USAGE: &str = "innkeeper-counts check FILE | renew FILE | operation NAME";

/// The instructions were not compared; all that was is as it should be.
const NOT_COMPARED: u8 = 3;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["check", file] => check(Path::new(file)),
        ["renew", file] => renew(Path::new(file)),
        ["operation", name] => operation(name),
        _ => Err(format!("usage: {USAGE}")),
    };
    done.unwrap_or_else(|what| {
        eprintln!("innkeeper-counts: {what}");
        ExitCode::from(2)
    })
}

/// Prints how often the heap was asked for memory; callgrind sees the rest.
fn operation(name: &str) -> Result<ExitCode, String> {
    // A crash is one of them, and no news.
    std::panic::set_hook(Box::new(|panic| {
        if panic.payload().downcast_ref::<&str>() != Some(&BOOM) {
            eprintln!("{panic}");
        }
    }));
    let all = operations::ALL.join(", ");
    let allocations = operations::count(name);
    println!("{}", allocations.ok_or(format!("expected one of {all}, got {name}"))?);
    Ok(ExitCode::SUCCESS)
}

/// Counts all of them, each in a process of its own; the instructions too if that is wanted.
fn count(instructions: bool) -> Result<Baseline, String> {
    let program = std::env::current_exe();
    let program = program.map_err(|error| format!("this program has no path: {error}"))?;
    let costs = operations::ALL.iter().map(|name| {
        let cost =
            if instructions { with_callgrind(&program, name) } else { alone(&program, name) };
        cost.map_err(|what| format!("{name} could not be counted: {what}"))
    });
    Ok(Baseline { made_with: made_with(), costs: costs.collect::<Result<_, _>>()? })
}

fn with_callgrind(program: &Path, operation: &str) -> Result<Cost, String> {
    let run = callgrind::run(program, operation)?;
    let instructions = Some(run.instructions as f64 / operations::TIMES as f64);
    Ok(Cost { instructions, ..cost(operation, &run.printed)? })
}

fn alone(program: &Path, operation: &str) -> Result<Cost, String> {
    let ran = Command::new(program).args(["operation", operation]).output();
    let ran = ran.map_err(|error| error.to_string())?;
    cost(operation, &String::from_utf8_lossy(&ran.stdout))
        .map_err(|what| format!("{what}: {}", String::from_utf8_lossy(&ran.stderr)))
}

/// What an operation printed of itself.
fn cost(operation: &str, printed: &str) -> Result<Cost, String> {
    let allocations = printed.trim().parse::<f64>().map_err(|_| "it printed no count")?;
    let allocations = allocations / operations::TIMES as f64;
    Ok(Cost { operation: operation.to_owned(), instructions: None, allocations })
}

/// What the number of instructions depends on besides the code: others of these, other numbers.
fn made_with() -> String {
    let answer = |program: &str, arg: &str| {
        let output = Command::new(program).arg(arg).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let rustc = answer("rustc", "--version").unwrap_or_else(|| "an unknown rustc".to_owned());
    let libc = answer("getconf", "GNU_LIBC_VERSION").unwrap_or_else(|| "no glibc".to_owned());
    let profile = if cfg!(debug_assertions) { "not optimised" } else { "optimised" };
    format!("{rustc}, {profile}, {libc}, {}", std::env::consts::ARCH)
}

fn check(file: &Path) -> Result<ExitCode, String> {
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    let old = Baseline::read(&text).map_err(|what| format!("{}: {what}", file.display()))?;
    let uncounted = why_uncounted(&old);
    let now = count(uncounted.is_none())?;
    print!("{}", now.print());
    let rises = old.rises(&now.costs);
    for rise in &rises {
        println!("more: {rise}");
    }
    if !rises.is_empty() {
        println!(
            "if it is meant: `cargo xtask counts --renew`, and say in the commit what it buys"
        );
        return Ok(ExitCode::FAILURE);
    }
    let Some(why) = uncounted else { return Ok(ExitCode::SUCCESS) };
    println!("instructions were not counted: {why}");
    Ok(ExitCode::from(NOT_COMPARED))
}

/// Why the instructions cannot be compared with those of a baseline, if so.
fn why_uncounted(old: &Baseline) -> Option<String> {
    let (here, there) = (made_with(), &old.made_with);
    if here != *there {
        let renew = "renew it at a commit that is known to be good";
        return Some(format!("the baseline was made with {there}, this is {here}; {renew}"));
    }
    (!callgrind::is_there()).then(|| "install valgrind".to_owned())
}

fn renew(file: &Path) -> Result<ExitCode, String> {
    if !callgrind::is_there() {
        return Err("instructions cannot be counted: install valgrind".to_owned());
    }
    let now = count(true)?.print();
    std::fs::write(file, &now)
        .map_err(|error| format!("{} cannot be written: {error}", file.display()))?;
    print!("{now}");
    Ok(ExitCode::SUCCESS)
}
