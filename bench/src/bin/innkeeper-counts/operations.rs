//! The operations that are counted: done until all is warm, and then again under a name that
//! callgrind is told to look for.

use std::alloc::System;
use std::hint::black_box;
use std::pin::Pin;

use innkeeper_bench::room::{RoomRef, Rooms, Say, add, add_in_time};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::runtime::Runtime;
use tokio::task::yield_now;

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What is counted, each by its name.
pub(crate) const ALL: [&str; 7] =
    ["hit", "cast", "call", "call-with-timeout", "start", "stop", "crash"];

/// How often each is done while it is counted.
pub(crate) const TIMES: usize = ROUNDS * EACH;

/// In many small rounds: one that frees a lot makes the allocator tidy up, now and then.
const ROUNDS: usize = 10;
const EACH: usize = 500;

/// Casts that are sent before the room has its turn: fewer than it handles in one.
const BURST: usize = 50;

/// The function that is counted, as callgrind is to find it.
pub(crate) const COUNTED: &str = "*only_this_is_counted*";

/// Does an operation [`TIMES`] times. Answers how often the heap was asked for memory meanwhile, or
/// `None` if there is no operation of that name.
///
/// On one thread, so that the same is done in the same order whenever it is run.
pub(crate) fn count(name: &str) -> Option<usize> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().build().expect("a runtime can be made");
    let house = runtime.block_on(House::open());
    let mut allocations = 0;
    for round in 0..2 * ROUNDS {
        runtime.block_on(house.make_ready(name));
        let operation = house.operation(name)?;
        // What grows with the first rounds has its size in the others.
        if round < ROUNDS {
            runtime.block_on(operation);
        } else {
            let doing = Box::pin(counting(operation));
            allocations += only_this_is_counted(&runtime, doing);
        }
    }
    Some(allocations)
}

type Doing<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Neither generic nor inlined, and without a closure of its own: callgrind counts from when it
/// comes to a function of this name to when it comes to the next, or back.
#[inline(never)]
fn only_this_is_counted(runtime: &Runtime, doing: Doing<'_, usize>) -> usize {
    let allocations = runtime.block_on(doing);
    // Something is left to do after it, so that it is not left by a jump.
    black_box(allocations)
}

async fn counting(operation: Doing<'_, ()>) -> usize {
    // The runtime has a list of those who yield, made at the first one.
    yield_now().await;
    let before = asked();
    operation.await;
    asked() - before
}

/// How often the heap was asked for memory.
fn asked() -> usize {
    let stats = HEAP.stats();
    stats.allocations + stats.reallocations
}

/// What the operations are done with.
struct House {
    rooms: Rooms,
    /// Of rooms that come and go.
    keys: Vec<String>,
    /// A room that stays.
    lobby: RoomRef,
}

impl House {
    async fn open() -> House {
        let rooms = Rooms::open().await;
        let lobby = rooms.get(&"lobby".to_owned()).await;
        let keys = (0..EACH).map(|number| format!("room:{number:08}")).collect();
        House { rooms, keys, lobby }
    }

    /// Has the rooms there that an operation finds, and those not there that it starts.
    async fn make_ready(&self, name: &str) {
        match name {
            "hit" | "stop" => self.start().await,
            "start" => {
                self.start().await;
                self.stop().await;
            }
            // A room that has crashed before keeps memory for the next time.
            "crash" => {
                self.start().await;
                self.stop().await;
                self.start().await;
            }
            _ => {}
        }
    }

    fn operation(&self, name: &str) -> Option<Doing<'_, ()>> {
        Some(match name {
            // A start that finds what it would start.
            "hit" | "start" => Box::pin(self.start()),
            "cast" => Box::pin(self.cast()),
            "call" => Box::pin(self.call()),
            "call-with-timeout" => Box::pin(self.call_with_timeout()),
            "stop" => Box::pin(self.stop()),
            "crash" => Box::pin(self.crash()),
            _ => return None,
        })
    }

    async fn start(&self) {
        for key in &self.keys {
            black_box(self.rooms.get(key).await);
        }
    }

    async fn stop(&self) {
        for key in &self.keys {
            self.rooms.keyed.stop(key).await.expect("it is there");
        }
    }

    async fn cast(&self) {
        for number in 0..EACH {
            self.lobby.cast(Say::Cast(1)).await.expect("there is room for a burst");
            if number % BURST == BURST - 1 {
                yield_now().await;
            }
        }
    }

    async fn call(&self) {
        for _ in 0..EACH {
            black_box(add(&self.lobby, 1).await);
        }
    }

    async fn call_with_timeout(&self) {
        for _ in 0..EACH {
            black_box(add_in_time(&self.lobby, 1).await);
        }
    }

    /// From the message that it panics at to the next incarnation that is there to be found.
    async fn crash(&self) {
        for key in &self.keys {
            let room = self.rooms.get(key).await;
            room.cast(Say::Crash).await.expect("it is there");
            room.ended().await;
            black_box(self.rooms.get(key).await);
        }
    }
}
