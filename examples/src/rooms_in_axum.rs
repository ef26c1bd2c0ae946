//! Rooms within somebody's own axum application, joined from a WebSocket handler.

use std::collections::HashMap;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use innkeeper::{ChildSpec, Keyed, Restart, StartChildError, StartError, Supervisor, process};
use tokio::sync::mpsc;

/// Lines that wait for a member before it counts as gone.
const LINES: usize = 64;

/// A room: whoever is in it hears what is said.
#[derive(Debug, Default)]
pub struct Room {
    members: HashMap<u64, mpsc::Sender<String>>,
    next: u64,
}

#[process]
impl Room {
    async fn init(_name: &String) -> Result<Self, StartError> {
        Ok(Room::default())
    }

    /// Lets somebody in, who hears all that is said from now on.
    #[call]
    pub fn join(&mut self, lines: mpsc::Sender<String>) -> u64 {
        self.next += 1;
        self.members.insert(self.next, lines);
        self.next
    }

    /// Lets somebody go; answers how many are left.
    #[call]
    pub fn leave(&mut self, member: u64) -> usize {
        self.members.remove(&member);
        self.members.len()
    }

    /// Tells everybody.
    #[cast]
    pub fn say(&mut self, line: String) {
        // Nobody waits for a member that does not keep up: it sees the end of its lines.
        self.members.retain(|_, lines| lines.try_send(line.clone()).is_ok());
    }

    /// A room goes when it has been quiet for a while, unless somebody is in it.
    async fn idle(&mut self) -> bool {
        self.members.retain(|_, lines| !lines.is_closed());
        self.members.is_empty()
    }
}

/// The rooms of an application, to be kept in its state.
pub type Rooms = Keyed<String, Room>;

/// Starts the rooms, as a child of whatever supervisor the application has.
///
/// # Errors
/// What the supervisor says.
pub async fn rooms(supervisor: &Supervisor) -> Result<Rooms, StartChildError> {
    let spec = ChildSpec::new().restart(Restart::Transient);
    Keyed::new(spec).idle_after(Duration::from_secs(300)).start(supervisor).await
}

/// A route among the others of the application.
pub fn app(rooms: Rooms) -> Router {
    Router::new()
        .route("/", get(async || "an application with rooms in it"))
        .route("/rooms/{name}", get(enter))
        .with_state(rooms)
}

async fn enter(
    State(rooms): State<Rooms>,
    Path(name): Path<String>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade.on_upgrade(move |socket| async move {
        // A client that goes away in the midst of something is no failure of ours.
        let _ = talk(rooms, name, socket).await;
    })
}

async fn talk(rooms: Rooms, name: String, mut socket: WebSocket) -> Result<(), axum::Error> {
    let room = rooms.via(&name);
    let (sender, mut lines) = mpsc::channel(LINES);
    // Started or found; the call waits out a restart, and says why if there is no room to be had.
    let Ok(member) = room.join(sender).await else {
        return socket.send(Message::text("the room cannot be entered")).await;
    };
    loop {
        tokio::select! {
            line = lines.recv() => match line {
                Some(line) => socket.send(Message::text(line)).await?,
                // The room has ended, or this member was too slow: its client connects again.
                None => return socket.send(Message::Close(None)).await,
            },
            said = socket.recv() => match said {
                Some(Ok(Message::Text(line))) => {
                    // Handed back if it was not accepted; a chat lets it go.
                    let _ = room.say(line.to_string()).await;
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                Some(Ok(_)) => {}
            },
        }
    }
    let _ = room.leave(member).await;
    Ok(())
}
