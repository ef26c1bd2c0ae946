//! How cost grows with the number of rooms on one node: a thousand, ten thousand, and so on.
//!
//! Each size in a process of its own, so that memory is what its rooms take. A small size is
//! measured several times, and the middle one counts.

use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use innkeeper::{
    ChildSpec, Context, Keyed, Message, Process, ReplyTo, Restart, StartError, Supervisor, What,
};
use innkeeper_bench::room::Rooms;
use tokio::sync::SetOnce;

use crate::lanes;
use crate::measure::{Dice, figure, percentile, resident, size};

/// Who asks at once for rooms to be started.
const CALLERS: usize = 64;

/// Rooms that are found, one after the other, at random.
const HITS: usize = 200_000;

/// Rooms that are stopped while somebody listens.
const EVENTS: usize = 2000;

/// Rooms on a page.
const PAGE: usize = 100;

/// How long a scope of any size may take to end.
const PATIENCE: Duration = Duration::from_secs(600);

/// The sizes that `growth` and these arguments stand for.
pub(crate) fn sizes(args: &[&str]) -> Result<Vec<usize>, String> {
    let max = match args {
        [] => 1_000_000,
        ["--max", max] => max.replace('_', "").parse().map_err(|_| not_a_number(max))?,
        _ => return Err("usage: innkeeper-bench growth [--max ROOMS]".to_owned()),
    };
    let sizes = std::iter::successors(Some(1000_usize), |size| size.checked_mul(10));
    let sizes: Vec<_> = sizes.take_while(|size| *size <= max).collect();
    if sizes.is_empty() {
        Err(format!("expected 1000 rooms or more, got {max}"))
    } else {
        Ok(sizes)
    }
}

fn not_a_number(text: &str) -> String {
    format!("expected a number of rooms, got {text}")
}

/// Runs this program for each size.
pub(crate) fn each(sizes: &[usize]) -> ExitCode {
    let this = std::env::current_exe().expect("this program has a path");
    for size in sizes {
        let status = Command::new(&this).args(["growth-of", &size.to_string()]).status();
        if !status.is_ok_and(|status| status.success()) {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Measures one size.
pub(crate) async fn run(rooms: &str) {
    let n: usize = rooms.parse().unwrap_or_else(|_| panic!("{}", not_a_number(rooms)));
    let times = size("BENCH_GROWTH_ROUNDS", (100_000 / n).clamp(1, 9));
    let mut rounds = Vec::new();
    for round in 0..times {
        rounds.push(measure(n, round == 0).await);
    }
    for (at, Figure { what, unit, .. }) in rounds[0].iter().enumerate() {
        let mut values: Vec<_> =
            rounds.iter().filter_map(|round| Some(round.get(at)?.value)).collect();
        values.sort_by(f64::total_cmp);
        figure("growth", &format!("{what}-{n}"), percentile(&values, 0.5), unit);
    }
}

struct Figure {
    what: &'static str,
    value: f64,
    unit: &'static str,
}

async fn measure(n: usize, first: bool) -> Vec<Figure> {
    let mut figures = Vec::new();
    let mut note = |what, value, unit| figures.push(Figure { what, value, unit });
    let each = |time: Duration| time.as_nanos() as f64 / n as f64;
    let rooms = Rooms::open().await;
    let before = resident();
    let starting = start(&rooms, n).await;
    let memory = (resident() - before) / n as f64;
    note("start", each(starting), "ns/room");
    note("find", find(&rooms, n).await, "ns/room");
    note("event", hear(&rooms, n).await, "ns/event");
    note("page", page(&rooms, n).await, "ns/page");
    let began = Instant::now();
    let report = rooms.supervisor.shutdown(PATIENCE).await;
    let ending = began.elapsed();
    assert!(report.is_clean(), "not all rooms ended: {report:?}");
    note("shutdown", ending.as_nanos() as f64, "ns");
    note("shutdown-each", each(ending), "ns/room");
    note("sweep", each(sweep(n, starting).await), "ns/room");
    // What has been freed is not given back at once: only the first round tells.
    if first {
        note("memory", memory, "B/room");
    }
    figures
}

fn key(number: usize) -> String {
    format!("room:{number:08}")
}

async fn start(rooms: &Rooms, n: usize) -> Duration {
    lanes::run(CALLERS.min(n), |lane| {
        let rooms = rooms.clone();
        async move {
            for number in (lane..n).step_by(CALLERS) {
                black_box(rooms.get(&key(number)).await);
            }
        }
    })
    .await
}

/// Nanoseconds to find a room that is there.
async fn find(rooms: &Rooms, n: usize) -> f64 {
    let mut dice = Dice::new();
    // In the order in which they are asked for, so that only the rooms are at random places.
    let keys: Arc<Vec<String>> = Arc::new((0..HITS).map(|_| key(dice.roll(n))).collect());
    let wall = lanes::run(1, |_| {
        let (rooms, keys) = (rooms.clone(), keys.clone());
        async move {
            for key in keys.iter() {
                black_box(rooms.get(key).await);
            }
        }
    })
    .await;
    assert_eq!(rooms.keyed.count(), n, "a room was not there to be found");
    wall.as_nanos() as f64 / HITS as f64
}

/// Nanoseconds from the order that ends a room to the event that says so.
async fn hear(rooms: &Rooms, n: usize) -> f64 {
    let rooms = rooms.clone();
    let listening = tokio::spawn(async move {
        let (mut dice, mut events) = (Dice::new(), rooms.keyed.events());
        let mut times = Vec::with_capacity(EVENTS);
        for _ in 0..EVENTS {
            let key = key(dice.roll(n));
            let began = Instant::now();
            let stopping = async { rooms.keyed.stop(&key).await.expect("it was there") };
            let hearing = async {
                loop {
                    let event = events.recv().await.expect("nobody falls behind");
                    if event.key == key && matches!(event.what, What::Stopped(_)) {
                        return began.elapsed();
                    }
                }
            };
            let ((), heard) = tokio::join!(stopping, hearing);
            times.push(heard.as_nanos() as f64);
            black_box(rooms.get(&key).await);
        }
        times.sort_by(f64::total_cmp);
        percentile(&times, 0.5)
    });
    listening.await.expect("it comes to an end")
}

/// Nanoseconds for a page of keys in order, from anywhere on.
async fn page(rooms: &Rooms, n: usize) -> f64 {
    let mut dice = Dice::new();
    let mut times = Vec::new();
    for _ in 0..5 {
        // Not from so near the end that it is no whole page.
        let from = dice.roll(n - PAGE);
        let began = Instant::now();
        let page = rooms.keyed.page(Some(&key(from)), PAGE, |_| true).await;
        times.push(began.elapsed().as_nanos() as f64);
        assert_eq!(page.last().map(|row| row.key.clone()), Some(key(from + PAGE)));
    }
    times.sort_by(f64::total_cmp);
    percentile(&times, 0.5)
}

/// What is seen of rooms that nobody needs any more.
struct Night {
    began: Instant,
    awake: AtomicUsize,
    /// When the first was asked whether it is still needed.
    first: OnceLock<Duration>,
    /// When the last was gone.
    last: SetOnce<Duration>,
}

/// A room that goes as soon as it is asked.
struct Sleeper(Arc<Night>);

struct Nothing;

impl Message for Nothing {
    type Reply = ();
}

impl Process for Sleeper {
    type Args = Arc<Night>;
    type Message = Nothing;

    async fn init(night: &Arc<Night>, _: &mut Context<Self>) -> Result<Self, StartError> {
        Ok(Sleeper(night.clone()))
    }

    async fn handle(&mut self, _: Nothing, _: ReplyTo<Nothing>, _: &mut Context<Self>) {}

    async fn idle(&mut self, _: &mut Context<Self>) -> bool {
        self.0.first.get_or_init(|| self.0.began.elapsed());
        true
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let night = &self.0;
        if night.awake.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Only the last one comes here.
            let _ = night.last.set(night.began.elapsed());
        }
    }
}

/// How long it takes to sweep all rooms out because they are idle: from the first that is asked to
/// the last that is gone.
async fn sweep(n: usize, starting: Duration) -> Duration {
    let supervisor = Supervisor::new().start().await.expect("a supervisor starts");
    let night = Arc::new(Night {
        began: Instant::now(),
        awake: AtomicUsize::new(n),
        first: OnceLock::new(),
        last: SetOnce::new(),
    });
    // The scope looks at its rooms four times in that time: all are there at the first look.
    let idle_after = 4 * (starting.mul_f64(1.5) + Duration::from_millis(20));
    let args = night.clone();
    let spec = ChildSpec::new().restart(Restart::Transient);
    let keyed = Keyed::<String, Sleeper>::with_args(spec, move |_| args.clone())
        .idle_after(idle_after)
        .max_children(usize::MAX)
        .start(&supervisor)
        .await
        .expect("a scope starts");
    let _ = lanes::run(CALLERS, |lane| {
        let keyed = keyed.clone();
        async move {
            for number in (lane..n).step_by(CALLERS) {
                let _ = black_box(keyed.get_or_start(&key(number)).await.expect("a room"));
            }
        }
    })
    .await;
    let last = *night.last.wait().await;
    last - *night.first.get().expect("the last that is gone was asked")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sizes_are_powers_of_ten_up_to_the_most() {
        assert_eq!(sizes(&[]), Ok(vec![1000, 10_000, 100_000, 1_000_000]));
        assert_eq!(sizes(&["--max", "20_000"]), Ok(vec![1000, 10_000]));
    }

    #[test]
    fn a_most_that_is_none_is_named() {
        let said = |args: &[&str]| sizes(args).unwrap_err();
        assert_eq!(said(&["--max", "many"]), "expected a number of rooms, got many");
        assert_eq!(said(&["--max", "999"]), "expected 1000 rooms or more, got 999");
        assert!(said(&["--least", "1"]).starts_with("usage: "));
    }
}
