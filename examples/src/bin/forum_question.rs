//! The question that this library answers, and the answer, in one file.
//!
//! It was asked in a forum, in Elixir's terms: many users connect to an application, each to a
//! room with an id. A room is to be started if there is none with that id, and found if there is
//! one; one dynamic supervisor has all of them. But a dynamic supervisor knows its children by
//! their addresses only, and ignores their ids. Is a `get_or_start_child` of one's own correct, and
//! safe?
//!
//! Two were tried there, and a third one is what people usually recommend; docs/SEMANTICS.md lists
//! how each of them goes wrong. Here it is one call, and the rest of this file tries to break it.
//!
//! Run it: `cargo run -p innkeeper-examples --bin forum_question`. Look at how many rooms there are
//! in the end, and at what the users of a room that crashed are told.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::Duration;

use innkeeper::{ChildSpec, Context, Keyed, Outcome, Restart, StartError, Supervisor, process};
use tokio::task::JoinSet;

/// What the question calls `MyApp.Room`.
struct Room {
    users: Vec<u32>,
}

#[process]
impl Room {
    async fn init(id: &String, ctx: &mut Context<Self>) -> Result<Self, StartError> {
        // Slow, as a room that reads its history would be: everybody else arrives meanwhile.
        tokio::time::sleep(Duration::from_millis(20)).await;
        println!("room {id} opens as {}", ctx.incarnation().number());
        Ok(Room { users: Vec::new() })
    }

    #[call]
    fn join(&mut self, user: u32) -> usize {
        self.users.push(user);
        self.users.len()
    }

    #[cast]
    fn crash(&mut self) {
        panic!("somebody found a bug");
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // One for the whole application: a supervisor, and under it all rooms, by their ids.
    let supervisor = Supervisor::new().start().await?;
    let spec = ChildSpec::new().restart(Restart::Transient);
    let rooms = Keyed::<String, Room>::new(spec).start(&supervisor).await?;

    // A thousand users come at once, to three rooms that do not exist yet.
    let mut users = JoinSet::new();
    for user in 0..1000 {
        let rooms = rooms.clone();
        users.spawn(async move {
            let id = ["lobby", "kitchen", "garden"][user as usize % 3].to_owned();
            // The question, as one call. All who ask share one start, and one is told of it.
            let outcome = rooms.get_or_start(&id).await?;
            let started = matches!(outcome, Outcome::Started(_));
            outcome.process()?.join(user).await?;
            Ok::<_, Box<dyn Error + Send + Sync>>(started)
        });
    }
    let mut started = 0;
    while let Some(user) = users.join_next().await {
        started += usize::from(user?.map_err(|error| error.to_string())?);
    }
    println!("1000 users joined {} rooms, {started} of them started one", rooms.count());

    // A crash keeps the key: whoever asks meanwhile waits for the next incarnation.
    let lobby = "lobby".to_owned();
    let before = rooms.get(&lobby).await?.process()?;
    before.crash().await?;
    before.ended().await;
    let size = rooms.via(&lobby).join(1000).await?;
    println!("after its crash the lobby is there again, with {size} user");
    match before.join(1001).await {
        Ok(_) => println!("the old address is not to reach anybody"),
        Err(error) => println!("its old address says: {error}"),
    }

    // And a stop frees it: when this returns, the room has ended.
    rooms.stop(&lobby).await?;
    println!("{} rooms are left", rooms.count());
    let report = supervisor.shutdown(Duration::from_secs(5)).await;
    println!("shut down in order: {}", report.is_clean());
    Ok(())
}
