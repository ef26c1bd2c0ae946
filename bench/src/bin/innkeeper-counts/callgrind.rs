//! Runs an operation under callgrind, in a process of its own, and reads what it took.

use std::path::Path;
use std::process::{Command, Output};

use crate::operations::COUNTED;

/// What a run under callgrind told.
pub(crate) struct Run {
    /// Instructions, without those of the allocator.
    pub(crate) instructions: u64,
    /// What the operation itself printed.
    pub(crate) printed: String,
}

/// How memory is copied, filled and compared is what the C library chooses by what the processor
/// can do. Here it is to choose as on one that can do nothing of all that, so that the same code
/// runs on each.
const PLAIN_PROCESSOR: &str = "glibc.cpu.hwcaps=-AVX,-AVX2,-AVX_Fast_Unaligned_Load,-AVX512F,\
    -AVX512VL,-AVX512BW,-BMI1,-BMI2,-ERMS,-FSRM,-LZCNT,-MOVBE,-POPCNT,-RTM,-SSE4_1,-SSE4_2,-SSSE3";

/// What a program asks of the C library's allocator.
const ALLOCATOR: [&str; 6] =
    ["malloc", "calloc", "realloc", "free", "posix_memalign", "aligned_alloc"];

/// Whether callgrind can be had.
pub(crate) fn is_there() -> bool {
    let asked = Command::new("valgrind").arg("--version").output();
    asked.is_ok_and(|output| output.status.success())
}

/// Runs an operation, by name, of this program.
pub(crate) fn run(program: &Path, operation: &str) -> Result<Run, String> {
    let file = format!("innkeeper-counts-{}-{operation}", std::process::id());
    let file = std::env::temp_dir().join(file);
    let ran = start(program, operation, &file);
    let text = std::fs::read_to_string(&file);
    // There is none if valgrind did not come to its end.
    let _ = std::fs::remove_file(&file);
    let ran = ran.map_err(|error| format!("valgrind cannot be run: {error}"))?;
    if !ran.status.success() {
        return Err(format!("valgrind failed: {}", String::from_utf8_lossy(&ran.stderr)));
    }
    let text = text.map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    match instructions(&text) {
        Some(0) => Err(format!("no function {COUNTED} was found: build it with its symbols")),
        Some(instructions) => {
            Ok(Run { instructions, printed: String::from_utf8_lossy(&ran.stdout).into_owned() })
        }
        None => Err(format!("{} has no summary in it", file.display())),
    }
}

fn start(program: &Path, operation: &str, file: &Path) -> std::io::Result<Output> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--quiet", "--compress-strings=no"]);
    valgrind.arg(format!("--toggle-collect={COUNTED}"));
    valgrind.arg(format!("--callgrind-out-file={}", file.display()));
    valgrind.arg(program).args(["operation", operation]);
    valgrind.env("GLIBC_TUNABLES", PLAIN_PROCESSOR).output()
}

/// All instructions in callgrind's file, less those that the allocator took. Those depend on the
/// shape of its heap, and so on the seeds of hashes; how often it is asked is counted by itself.
fn instructions(text: &str) -> Option<u64> {
    let total = text.lines().find_map(|line| line.strip_prefix("summary:"))?;
    let total: u64 = total.trim().parse().ok()?;
    Some(total.saturating_sub(allocator(text)))
}

/// What the calls of the allocator took, with all that it called.
fn allocator(text: &str) -> u64 {
    let is_allocator = |name: &str| ALLOCATOR.contains(&name);
    let (mut sum, mut caller_is, mut called_is) = (0, false, false);
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(caller) = line.strip_prefix("fn=") {
            caller_is = is_allocator(caller);
        } else if let Some(called) = line.strip_prefix("cfn=") {
            called_is = is_allocator(called);
        } else if line.starts_with("calls=") {
            // The next line has the cost of these calls, after where they were made.
            let cost = lines.next().and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
            if called_is && !caller_is {
                sum += cost.unwrap_or(0);
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
events: Ir
fn=a::start
0 5
cfn=malloc
calls=2 0
0 30
cfn=a::other
calls=1 0
0 47
fn=a::other
0 7
cfn=free
calls=1 0
0 40
fn=malloc
0 20
cfn=_int_malloc
calls=1 0
0 10
fn=realloc
cfn=malloc
calls=1 0
0 8
summary: 82
";

    #[test]
    fn what_the_allocator_takes_is_not_counted() {
        assert_eq!(instructions(FILE), Some(82 - 30 - 40));
    }

    #[test]
    fn a_file_that_callgrind_did_not_finish_counts_nothing() {
        assert_eq!(instructions("events: Ir\nfn=a\n0 5\n"), None);
    }
}
