//! Racing for rooms of this library, in this process.

use std::time::Duration;

use innkeeper::testing::{Alive, Census};
use innkeeper::{
    ChildSpec, Context, ExitReason, Keyed, Outcome, ProcessRef, Restart, RestartBudget,
    StartChildError, StartError, Supervisor, process,
};
use tokio::task::yield_now;

use crate::race::{Answer, Contender};

/// What a room of the race is started with.
#[derive(Debug)]
pub struct RoomArgs {
    key: String,
    census: Census<String>,
    slow: bool,
}

/// A room that does nothing but be there, and be seen.
#[derive(Debug)]
pub struct Room {
    slow: bool,
    _alive: Alive,
}

#[process]
impl Room {
    async fn init(args: &RoomArgs) -> Result<Self, StartError> {
        let alive = args.census.enter(args.key.clone());
        if args.slow {
            dawdle().await;
        }
        Ok(Room { slow: args.slow, _alive: alive })
    }

    /// Crashes.
    #[cast]
    pub fn crash(&mut self) {
        // Unwinds as a panic does, without the hook that would write to the terminal.
        std::panic::resume_unwind(Box::new("crashed for the race"));
    }

    /// Stops, if nothing waits.
    #[cast]
    pub fn stop_if_idle(&mut self, ctx: &mut Context<Self>) {
        ctx.stop_if_idle();
    }

    async fn terminate(&mut self, _: &ExitReason) {
        if self.slow {
            dawdle().await;
        }
    }
}

/// Takes its time, in a way that lets others overtake.
async fn dawdle() {
    for _ in 0..20 {
        yield_now().await;
    }
}

/// Rooms of this library.
#[derive(Clone)]
pub struct Rooms {
    rooms: Keyed<String, Room>,
    census: Census<String>,
    _supervisor: Supervisor,
}

impl Rooms {
    /// Opens them; `slow` rooms take their time to start and to end.
    ///
    /// # Errors
    /// Hardly ever: a supervisor of its own did not start.
    pub async fn open(slow: bool) -> Result<Self, StartChildError> {
        let census = Census::new();
        let supervisor = Supervisor::new().start().await?;
        let seen = census.clone();
        let args = move |key: &String| RoomArgs { key: key.clone(), census: seen.clone(), slow };
        // Crashes are part of the race: no key is to be parked for them.
        let budget = RestartBudget::new(u32::MAX, Duration::from_secs(1));
        let spec = ChildSpec::new().restart(Restart::Transient);
        let rooms = Keyed::<String, Room>::with_args(spec, args)
            .restart_budget(budget.backoff(Duration::ZERO, Duration::ZERO))
            .start(&supervisor)
            .await?;
        Ok(Rooms { rooms, census, _supervisor: supervisor })
    }
}

impl Contender for Rooms {
    type Room = ProcessRef<RoomMessage>;

    async fn get_or_start(&self, key: &str) -> Result<Answer<Self::Room>, String> {
        let (room, started) = match self.rooms.get_or_start(&key.to_owned()).await {
            Ok(Outcome::Started(room)) => (room, true),
            Ok(Outcome::Existing(room)) => (room, false),
            Ok(Outcome::Ignored) => return Err("declined".to_owned()),
            Err(error) => return Err(error.to_string()),
        };
        Ok(Answer { incarnation: room.incarnation().to_string(), room, started })
    }

    async fn crash(&self, room: &Self::Room) {
        // It may have ended by itself.
        let _ = room.crash().await;
    }

    async fn stop_if_idle(&self, room: &Self::Room) {
        let _ = room.stop_if_idle().await;
    }

    async fn stop(&self, key: &str) {
        // It may have ended by itself.
        let _ = self.rooms.stop(&key.to_owned()).await;
    }

    fn census(&self) -> Option<&Census<String>> {
        Some(&self.census)
    }
}

impl std::fmt::Debug for Rooms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rooms").field("rooms", &self.rooms).finish_non_exhaustive()
    }
}
