//! How much memory many processes at once need: a million within a gibibyte (P11, P16).
//!
//! In a program of its own, whose highest resident memory is theirs. `INNKEEPER_PROCESSES` says how
//! many; by default few, for the bound on each is the same.

#![cfg(target_os = "linux")]
// What a test unwraps is what it asserts.
#![allow(clippy::unwrap_used)]

use innkeeper::{
    ChildSpec, Context, Keyed, Message, Outcome, Process, ReplyTo, StartError, Supervisor,
};

/// For a million.
const RESIDENT_MAX: u64 = 1 << 30;

/// What the program itself, its runtime and the pages that an allocator keeps at hand take up.
const BESIDE: u64 = 16 << 20;

fn processes() -> u64 {
    let said = std::env::var("INNKEEPER_PROCESSES").ok().and_then(|said| said.parse().ok());
    said.unwrap_or(50_000)
}

/// The most that was ever resident, in bytes.
fn resident_peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

struct Counter(u64);

struct Add(u64);

impl Message for Add {
    type Reply = u64;
}

impl Process for Counter {
    type Args = u64;
    type Message = Add;

    async fn init(key: &u64, _: &mut Context<Self>) -> Result<Self, StartError> {
        Ok(Counter(*key))
    }

    async fn handle(&mut self, Add(more): Add, reply: ReplyTo<Add>, _: &mut Context<Self>) {
        self.0 += more;
        reply.send(self.0);
    }
}

/// P11, P16
#[test]
fn a_million_processes_are_started_found_called_and_stopped_within_a_gibibyte() {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.enable_time().build().unwrap();
    runtime.block_on(async {
        let supervisor = Supervisor::new().start().await.unwrap();
        let scope = Keyed::<u64, Counter>::new(ChildSpec::new()).start(&supervisor).await.unwrap();
        let count = processes();
        for key in 0..count {
            assert!(matches!(scope.get_or_start(&key).await.unwrap(), Outcome::Started(_)));
        }
        assert_eq!(scope.count() as u64, count);
        for key in 0..count {
            let counter = scope.whereis(&key).unwrap();
            assert_eq!(counter.call(Add(1)).await.unwrap(), key + 1);
        }
        assert_eq!(scope.stop_all().await as u64, count);
        assert_eq!((scope.count(), scope.whereis(&0)), (0, None));
        let (peak, each) = (resident_peak(), RESIDENT_MAX / 1_000_000);
        let max = if count < 1_000_000 { BESIDE + each * count } else { RESIDENT_MAX };
        assert!(peak <= max, "{peak} bytes for {count} processes; {max} may be");
    });
}
