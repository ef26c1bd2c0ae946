//! Whether a dynamic supervisor is better off in partitions: starts in a second, and how long the
//! slowest start takes beside one whose `init` takes its time, with one supervisor or several.

use std::num::NonZero;
use std::sync::Arc;
use std::time::{Duration, Instant};

use innkeeper::{ChildSpec, DynamicSupervisor, Restart, Supervisor};

use crate::lanes;
use crate::measure::{figure, size};
use innkeeper_bench::room::{Counter, Extra};

/// Supervisors in the partitioned runs: more than there are cores on most machines.
const PARTITIONS: usize = 8;

/// Runs all of it on one core and on all of them.
pub(crate) fn run() {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    for cores in if cores > 1 { vec![1, cores] } else { vec![1] } {
        for partitions in [1, PARTITIONS] {
            // A thread of its own: a runtime cannot be made within another one.
            let done = std::thread::spawn(move || {
                let mut builder = tokio::runtime::Builder::new_multi_thread();
                let runtime = builder.worker_threads(cores).enable_time().build();
                runtime.expect("a runtime can be made").block_on(measure(cores, partitions));
            });
            done.join().expect("a run comes to its end");
        }
    }
}

async fn measure(cores: usize, partitions: usize) {
    let root = Supervisor::new().start().await.expect("a supervisor starts");
    let mut pools = Vec::new();
    for number in 0..partitions {
        let pool = DynamicSupervisor::new().name(number.to_string()).start(&root).await;
        pools.push(pool.expect("a dynamic supervisor starts"));
    }
    let (pools, callers) = (Arc::new(pools), 64);
    let starts = size("BENCH_PARTITIONS_N", 100_000);
    let variant = |what: &str| format!("{what}-cores{cores}-parts{partitions}");
    let wall = lanes::run(callers, |lane| {
        let pools = pools.clone();
        async move {
            for number in (lane..starts).step_by(callers) {
                start(&pools[number % pools.len()], None).await;
            }
        }
    })
    .await;
    figure("partitions", &variant("starts"), starts as f64 / wall.as_secs_f64(), "starts/s");
    let slow = Extra { slow: Some(Duration::from_millis(300)), up: None };
    let pool = pools[0].clone();
    let slow = tokio::spawn(async move { start(&pool, Some(Arc::new(slow))).await });
    let (mut longest, mut number) = (Duration::ZERO, 0);
    while !slow.is_finished() {
        let began = Instant::now();
        start(&pools[number % pools.len()], None).await;
        longest = longest.max(began.elapsed());
        number += 1;
        tokio::task::yield_now().await;
    }
    slow.await.expect("the slow one starts");
    figure("partitions", &variant("delay-max"), longest.as_secs_f64() * 1000.0, "ms");
}

async fn start(pool: &DynamicSupervisor, extra: Option<Arc<Extra>>) {
    let spec = ChildSpec::new().restart(Restart::Temporary);
    pool.start_child::<Counter>(extra, spec).await.expect("a child starts");
}
