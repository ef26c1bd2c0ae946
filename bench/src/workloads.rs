//! The workloads: what is done how often, and what is printed of it.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Barrier, mpsc};

use crate::lanes;
use crate::measure::{figure, keys, percentile, resident, shuffled, size};
use crate::partitions;
use innkeeper_bench::room::{Extra, Rooms, STARTS, Say, add, add_in_time, cast};

/// Runs a workload; `false` if there is none of that name.
pub(crate) async fn run(rooms: &Rooms, workload: &str, variant: &str) -> bool {
    match workload {
        "hit" => hit(rooms).await,
        "cold" => cold(rooms, workload, variant, size("BENCH_COLD_N", 200_000)).await,
        "cold1m" => cold(rooms, workload, variant, size("BENCH_COLD_N", 1_000_000)).await,
        "mem" => mem(rooms).await,
        "race" => race(rooms).await,
        "call" => call(rooms).await,
        "cast" => cast_all(rooms).await,
        "churn" => churn(rooms).await,
        "crash" => crash(rooms).await,
        "slowinit" => slow_init(rooms).await,
        "partitions" => partitions::run(),
        _ => return false,
    }
    true
}

fn starts() -> usize {
    STARTS.load(Ordering::Acquire) as usize
}

async fn start_all(rooms: &Rooms, keys: &Arc<Vec<String>>, callers: usize) -> Duration {
    lanes::run(callers, |lane| {
        let (rooms, keys) = (rooms.clone(), keys.clone());
        async move {
            for key in keys.iter().skip(lane).step_by(callers) {
                black_box(rooms.get(key).await.incarnation());
            }
        }
    })
    .await
}

/// Nanoseconds to find a room that is there, in random order: all of many, and a thousand that the
/// caches hold.
async fn hit(rooms: &Rooms) {
    let (n, ops) = (size("BENCH_HIT_KEYS", 100_000), size("BENCH_HIT_OPS", 500_000));
    let all = Arc::new(keys("room", n));
    start_all(rooms, &all, 2).await;
    let few = Arc::new(shuffled(&all[..all.len().min(1000)]));
    let all = Arc::new(shuffled(&all));
    for (keys, tail) in [(all, ""), (few, "-1k")] {
        for callers in [1, 2] {
            let wall = lanes::run(callers, |lane| {
                let (rooms, keys) = (rooms.clone(), keys.clone());
                async move {
                    let mut at = lane * keys.len() / 2;
                    for _ in 0..ops {
                        black_box(rooms.get(&keys[at]).await.incarnation());
                        at += 1;
                        if at == keys.len() {
                            at = 0;
                        }
                    }
                }
            })
            .await;
            let ns = wall.as_nanos() as f64 / ops as f64;
            figure("hit", &format!("c{callers}{tail}"), ns, "ns/op");
        }
    }
    assert_eq!(starts(), n, "a hit started a room");
}

async fn cold(rooms: &Rooms, workload: &str, variant: &str, n: usize) {
    let callers = variant.trim_start_matches('c').parse().expect("a variant c1, c2, c64 ...");
    let keys = Arc::new(keys("room", n));
    let wall = start_all(rooms, &keys, callers).await;
    assert_eq!(starts(), n, "not one start for each key");
    figure(workload, variant, n as f64 / wall.as_secs_f64(), "starts/s");
}

async fn mem(rooms: &Rooms) {
    let n = size("BENCH_MEM_N", 1_000_000);
    let keys = Arc::new(keys("room", n));
    let before = resident();
    let wall = start_all(rooms, &keys, 64).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let after = resident();
    assert_eq!(starts(), n, "not one start for each key");
    figure("mem", "rss", (after - before) / n as f64, "B/room");
    figure("mem", "starts-c64", n as f64 / wall.as_secs_f64(), "starts/s");
}

/// Rounds in which many who wait ask for one new key; `ask` or not, to know what waiting costs.
async fn race_rounds(rooms: &Rooms, callers: usize, rounds: usize, ask: bool) -> (f64, usize) {
    let keys = Arc::new(keys("race", rounds));
    let gate = Arc::new(Barrier::new(callers + 1));
    let seen: Arc<Vec<AtomicU64>> = Arc::new((0..callers).map(|_| AtomicU64::new(0)).collect());
    for lane in 0..callers {
        let (rooms, keys) = (rooms.clone(), keys.clone());
        let (gate, seen) = (gate.clone(), seen.clone());
        tokio::spawn(async move {
            for key in keys.iter() {
                gate.wait().await;
                let number = if ask {
                    rooms.get(key).await.incarnation().number()
                } else {
                    black_box(key.len() as u64)
                };
                seen[lane].store(number, Ordering::Release);
                gate.wait().await;
            }
        });
    }
    let judge = tokio::spawn(async move {
        let (mut times, mut broken) = (Vec::with_capacity(rounds), 0);
        for _ in 0..rounds {
            let before = starts();
            let began = Instant::now();
            gate.wait().await;
            gate.wait().await;
            times.push(began.elapsed().as_secs_f64() * 1e6);
            let first = seen[0].load(Ordering::Acquire);
            let one = seen.iter().all(|number| number.load(Ordering::Acquire) == first);
            if ask && (!one || starts() - before != 1) {
                broken += 1;
            }
        }
        times.sort_by(f64::total_cmp);
        (percentile(&times, 0.5), broken)
    });
    judge.await.expect("the judge comes to an end")
}

async fn race(rooms: &Rooms) {
    let (callers, rounds) = (size("BENCH_RACE_CALLERS", 1000), size("BENCH_RACE_ROUNDS", 1000));
    let (asking, broken) = race_rounds(rooms, callers, rounds, true).await;
    let (alone, _) = race_rounds(rooms, callers, rounds.min(300), false).await;
    figure("race", &format!("p50-of-{callers}-callers"), asking, "us/round");
    figure("race", "harness-alone", alone, "us/round");
    figure("race", "violations", broken as f64, "rounds");
}

async fn call(rooms: &Rooms) {
    let n = size("BENCH_CALL_OPS", 500_000);
    for (variant, timed) in [("1to1", false), ("1to1-timeout", true)] {
        let rooms = rooms.clone();
        let wall = lanes::run(1, |_| {
            let rooms = rooms.clone();
            async move {
                let room = rooms.get(&variant.to_owned()).await;
                let mut last = 0;
                for _ in 0..n {
                    last = if timed { add_in_time(&room, 1).await } else { add(&room, 1).await };
                }
                assert_eq!(last, n as u64);
            }
        })
        .await;
        figure("call", variant, wall.as_nanos() as f64 / n as f64, "ns/op");
    }
    for (variant, one) in [("64to64", false), ("64to1", true)] {
        let each = n / 64;
        let mut refs = Vec::new();
        for lane in 0..64 {
            let key = if one { "the-one".to_owned() } else { format!("many:{lane}") };
            refs.push(rooms.get(&key).await);
        }
        let wall = lanes::run(64, |lane| {
            let room = refs[lane].clone();
            async move {
                for _ in 0..each {
                    black_box(add(&room, 1).await);
                }
            }
        })
        .await;
        let expected = if one { each * 64 } else { each };
        assert_eq!(add(&refs[0], 0).await, expected as u64);
        figure("call", variant, (each * 64) as f64 / wall.as_secs_f64(), "ops/s");
    }
}

async fn cast_all(rooms: &Rooms) {
    let n = size("BENCH_CAST_OPS", 1_000_000);
    let wall = lanes::run(1, |_| {
        let rooms = rooms.clone();
        async move {
            let room = rooms.get(&"cast".to_owned()).await;
            for i in 0..n {
                cast(&room, 1).await;
                if i % 256 == 255 {
                    tokio::task::yield_now().await;
                }
            }
            assert_eq!(add(&room, 0).await, n as u64);
        }
    })
    .await;
    figure("cast", "1to1", n as f64 / wall.as_secs_f64(), "ops/s");
}

async fn churn(rooms: &Rooms) {
    let n = size("BENCH_CHURN_OPS", 20_000);
    for callers in [1, 2] {
        let before = starts();
        let wall = lanes::run(callers, |lane| {
            let rooms = rooms.clone();
            async move {
                let key = format!("churn:{lane}");
                for _ in 0..n {
                    let _room = rooms.get(&key).await;
                    rooms.keyed.stop(&key).await.expect("it was there");
                }
            }
        })
        .await;
        let total = n * callers;
        assert_eq!(starts() - before, total, "a stopped room was handed out");
        let per_second = total as f64 / wall.as_secs_f64();
        figure("churn", &format!("c{callers}"), per_second, "start+stop/s");
    }
}

/// From the cast that crashes a room to the end of the `init` of its next incarnation.
async fn crash(rooms: &Rooms) {
    let rounds = size("BENCH_CRASH_ROUNDS", 500);
    let rooms = rooms.clone();
    let measuring = tokio::spawn(async move {
        let (up, mut ups) = mpsc::channel(16);
        let args = Some(Arc::new(Extra { up: Some(up), ..Extra::default() }));
        let key = "crash".to_owned();
        let mut room = rooms.get_with(&key, args).await;
        ups.recv().await.expect("a room that is up says so");
        let mut times = Vec::with_capacity(rounds);
        for _ in 0..rounds {
            let began = Instant::now();
            room.cast(Say::Crash).await.expect("it is there");
            let up = ups.recv().await.expect("a room that is up says so");
            times.push((up - began).as_secs_f64() * 1e6);
            room = rooms.get(&key).await;
            assert_eq!(add(&room, 1).await, 1, "the new room kept the old state");
        }
        times.sort_by(f64::total_cmp);
        times
    });
    let times = measuring.await.expect("it comes to an end");
    figure("crash", "panic-to-restarted-p50", percentile(&times, 0.5), "us");
    figure("crash", "panic-to-restarted-p99", percentile(&times, 0.99), "us");
}

/// Other keys while one key's `init` takes a second.
async fn slow_init(rooms: &Rooms) {
    let others = 32;
    let (slow_rooms, over) = (rooms.clone(), Arc::new(AtomicBool::new(false)));
    let slow_over = over.clone();
    let slow = tokio::spawn(async move {
        let began = Instant::now();
        let extra = Extra { slow: Some(Duration::from_secs(1)), ..Extra::default() };
        let room = slow_rooms.get_with(&"slow".to_owned(), Some(Arc::new(extra))).await;
        slow_over.store(true, Ordering::Release);
        assert_eq!(add(&room, 1).await, 1);
        began.elapsed()
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let asking: Vec<_> = (0..others)
        .map(|n| {
            let rooms = rooms.clone();
            tokio::spawn(async move {
                let began = Instant::now();
                let _room = rooms.get(&format!("other:{n}")).await;
                began.elapsed().as_secs_f64() * 1e6
            })
        })
        .collect();
    let mut times = Vec::new();
    for asking in asking {
        times.push(asking.await.expect("it comes to an end"));
    }
    assert!(!over.load(Ordering::Acquire), "the slow init was over too early");
    assert!(slow.await.expect("it comes to an end") >= Duration::from_secs(1));
    times.sort_by(f64::total_cmp);
    figure("slowinit", "other-key-p50", percentile(&times, 0.5), "us");
    figure("slowinit", "other-key-max", percentile(&times, 1.0), "us");
    let blocked = times.iter().filter(|time| **time > 100_000.0).count();
    figure("slowinit", "keys-blocked", 100.0 * blocked as f64 / f64::from(others), "%");
}
