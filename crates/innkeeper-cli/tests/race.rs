//! The race catches what is broken, and finds nothing wrong with what is not.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)] // Tests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use innkeeper::testing::{Alive, Census};
use innkeeper_cli::race::keyed::Rooms;
use innkeeper_cli::race::{Answer, Contender, Plan, run};
use tokio::sync::OnceCell;
use tokio::task::yield_now;

fn plan(chaos: bool) -> Plan {
    Plan { key: "lobby".into(), callers: 2000, rounds: 10, chaos }
}

async fn dawdle() {
    for _ in 0..20 {
        yield_now().await;
    }
}

/// A registry: what people write first.
type Registry<R> = Arc<Mutex<HashMap<String, R>>>;

/// Look, and start if there is none.
#[derive(Clone, Default)]
struct LookThenStart {
    rooms: Registry<(u64, Arc<Alive>)>,
    next: Arc<Mutex<u64>>,
    census: Census<String>,
}

impl Contender for LookThenStart {
    type Room = ();

    async fn get_or_start(&self, key: &str) -> Result<Answer<()>, String> {
        if let Some((number, _)) = self.rooms.lock().unwrap().get(key) {
            return Ok(Answer { room: (), incarnation: number.to_string(), started: false });
        }
        let alive = Arc::new(self.census.enter(key.to_owned()));
        dawdle().await;
        let number = {
            let mut next = self.next.lock().unwrap();
            *next += 1;
            *next
        };
        self.rooms.lock().unwrap().insert(key.to_owned(), (number, alive));
        Ok(Answer { room: (), incarnation: number.to_string(), started: true })
    }

    async fn crash(&self, (): &()) {}

    async fn stop_if_idle(&self, (): &()) {}

    async fn stop(&self, key: &str) {
        self.rooms.lock().unwrap().remove(key);
    }

    fn census(&self) -> Option<&Census<String>> {
        Some(&self.census)
    }
}

/// One start at a time, but the name is free before the room has ended: what libraries do.
#[derive(Clone, Default)]
struct FreedTooEarly {
    rooms: Registry<Arc<OnceCell<(u64, Alive)>>>,
    next: Arc<Mutex<u64>>,
    census: Census<String>,
}

impl FreedTooEarly {
    fn forget(&self, key: &str) -> Option<Arc<OnceCell<(u64, Alive)>>> {
        self.rooms.lock().unwrap().remove(key)
    }
}

impl Contender for FreedTooEarly {
    type Room = String;

    async fn get_or_start(&self, key: &str) -> Result<Answer<String>, String> {
        let cell = self.rooms.lock().unwrap().entry(key.to_owned()).or_default().clone();
        let mut started = false;
        let (number, _) = cell
            .get_or_init(async || {
                started = true;
                let alive = self.census.enter(key.to_owned());
                dawdle().await;
                let mut next = self.next.lock().unwrap();
                *next += 1;
                (*next, alive)
            })
            .await;
        Ok(Answer { room: key.to_owned(), incarnation: number.to_string(), started })
    }

    async fn crash(&self, key: &String) {
        self.stop(key).await;
    }

    async fn stop_if_idle(&self, key: &String) {
        self.stop(key).await;
    }

    async fn stop(&self, key: &str) {
        let ending = self.forget(key);
        // Its `terminate`: somebody else may start the next one meanwhile.
        dawdle().await;
        drop(ending);
    }

    fn census(&self) -> Option<&Census<String>> {
        Some(&self.census)
    }
}

/// P1, P2
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_promise_is_kept() {
    let report = run(&Rooms::open(false).await.unwrap(), &plan(false), || {}).await;
    assert!(report.is_kept(), "{report:?}");
    assert_eq!((report.incarnations, report.started), (10, 10));
}

/// P1, P2
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_promise_is_kept_under_chaos() {
    let report = run(&Rooms::open(true).await.unwrap(), &plan(true), || {}).await;
    assert!(report.is_kept(), "{report:?}");
    assert_eq!((report.alive_at_once_max, report.alive_after), (Some(1), Some(0)));
    assert!(report.cancelled > 0 && report.incarnations > 10, "no chaos: {report:?}");
}

/// Negative control: without this the race above proves nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn look_then_start_is_caught() {
    let report = run(&LookThenStart::default(), &plan(false), || {}).await;
    assert!(!report.is_kept(), "{report:?}");
    assert!(report.incarnations_in_a_round_max > 1, "{report:?}");
}

/// Negative control: started once, but alive twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_name_that_is_free_too_early_is_caught_by_chaos() {
    let report = run(&FreedTooEarly::default(), &plan(true), || {}).await;
    assert!(!report.is_kept(), "{report:?}");
    assert!(report.alive_at_once_max > Some(1), "{report:?}");
}
