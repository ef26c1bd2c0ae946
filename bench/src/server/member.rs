//! One member: comes in, says what is due if it is the speaker, and checks what it hears.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{Sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::child::Peer;
use super::crowd::{Phase, Room, Shared};
use super::dialect::{Colyseus, Dialect, Heard, Line, Phoenix, Seat, SocketIo};
use super::shape::Talk;

/// How often a member that has to says that it is alive; phoenix.js does it so.
const BEAT: Duration = Duration::from_secs(30);

/// What the system may keep for a member that does not read, in bytes.
const SLOW_BUFFER: u32 = 4096;

/// How long a member that begins to read again waits for more.
const REST: Duration = Duration::from_secs(1);

/// What a member has to tell at the end.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Of each message, in microseconds since it was due.
    pub(super) latencies_us: Vec<u32>,
    /// The last message there was.
    last: u32,
    pub(super) missing: u32,
    pub(super) disordered: u32,
    pub(super) is_dropped: bool,
}

impl Log {
    fn take(&mut self, line: Line, began: Instant) {
        if line.number == self.last + 1 {
            self.last = line.number;
        } else {
            self.disordered += 1;
        }
        let late = began.elapsed().saturating_sub(Duration::from_micros(line.due_us));
        self.latencies_us.push(u32::try_from(late.as_micros()).unwrap_or(u32::MAX));
    }
}

struct Member {
    socket: WebSocketStream<TcpStream>,
    dialect: Box<dyn Dialect>,
    talk: Talk,
    shared: Arc<Shared>,
    is_speaker: bool,
    said: u32,
    log: Log,
}

/// Whether the member at this place of a room does not read.
pub(super) fn is_slow(talk: &Talk, place: usize) -> bool {
    talk.slow && place + 1 == talk.members
}

/// # Errors
/// What went wrong on the way, in words.
pub(super) async fn run(
    shared: Arc<Shared>,
    room: Arc<Room>,
    place: usize,
    mut phase: watch::Receiver<Phase>,
) -> Result<Log, String> {
    let is_slow = is_slow(&room.talk, place);
    let mut member = {
        let door = shared.doors.acquire().await.map_err(|error| error.to_string())?;
        let member = Member::come_in(&shared, &room, place, is_slow).await?;
        drop(door);
        member
    };
    shared.joined.fetch_add(1, Ordering::Release);
    if is_slow {
        let left = phase.wait_for(|phase| *phase == Phase::Leave).await;
        left.map_err(|_| "given up")?;
        member.read_rest().await;
    } else {
        member.talk(phase).await?;
        member.log.missing = room.talk.messages.saturating_sub(member.log.last);
    }
    Ok(member.log)
}

async fn connect(address: &str, is_slow: bool) -> Result<TcpStream, String> {
    let connect = async {
        let socket = TcpSocket::new_v4()?;
        if is_slow {
            socket.set_recv_buffer_size(SLOW_BUFFER)?;
        }
        let to = address.parse().map_err(std::io::Error::other)?;
        let stream = socket.connect(to).await?;
        stream.set_nodelay(true)?;
        Ok::<_, std::io::Error>(stream)
    };
    connect.await.map_err(|error| format!("{address}: {error}"))
}

async fn dialect(shared: &Shared, room: &Room, user: &str) -> Result<Box<dyn Dialect>, String> {
    let address = shared.address.as_str();
    Ok(match shared.peer {
        Peer::Ours => Box::new(Phoenix::new(user, &room.name)),
        Peer::SocketIo => Box::new(SocketIo::new(user, &room.name)),
        Peer::Colyseus => {
            let mut mine = None;
            let id = room.id.get_or_try_init(async || {
                let seat = reserve(address, user, None).await?;
                let id = seat.room_id.clone();
                mine = Some(seat);
                Ok::<_, String>(id)
            });
            let id = id.await?.clone();
            let seat = match mine {
                Some(seat) => seat,
                None => reserve(address, user, Some(&id)).await?,
            };
            Box::new(Colyseus::new(seat))
        }
    })
}

async fn reserve(address: &str, user: &str, room_id: Option<&str>) -> Result<Seat, String> {
    let mut stream = connect(address, false).await?;
    let mut answer = String::new();
    let request = Colyseus::reservation(address, user, room_id);
    let asked = async {
        stream.write_all(request.as_bytes()).await?;
        stream.read_to_string(&mut answer).await
    };
    asked.await.map_err(|error| format!("{address}: {error}"))?;
    Colyseus::reserved(&answer)
}

impl Member {
    async fn come_in(
        shared: &Arc<Shared>,
        room: &Room,
        place: usize,
        is_slow: bool,
    ) -> Result<Member, String> {
        let dialect = dialect(shared, room, &format!("{}-{place}", room.name)).await?;
        let stream = connect(&shared.address, is_slow).await?;
        let url = format!("ws://{}{}", shared.address, dialect.path());
        // The library's buffers are sized for few large streams.
        let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
        let connected = client_async_with_config(url, stream, Some(config)).await;
        let (socket, _) = connected.map_err(|error| format!("{}: {error}", shared.address))?;
        let mut member = Member {
            socket,
            dialect,
            talk: room.talk,
            shared: shared.clone(),
            is_speaker: place == 0,
            said: 0,
            log: Log::default(),
        };
        if let Some(hello) = member.dialect.hello() {
            member.send(hello).await?;
        }
        loop {
            match member.hear().await? {
                Heard::Joined => return Ok(member),
                Heard::Confirm(confirm) => {
                    member.send(confirm).await?;
                    return Ok(member);
                }
                Heard::Answer(answer) => member.send(answer).await?,
                Heard::Dropped => return Err("put out at the door".to_owned()),
                Heard::Said(_) | Heard::Other => {}
            }
        }
    }

    async fn send(&mut self, message: Message) -> Result<(), String> {
        let sent = self.socket.send(message).await;
        sent.map_err(|error| format!("{}: {error}", self.shared.address))
    }

    async fn hear(&mut self) -> Result<Heard, String> {
        match self.socket.next().await {
            Some(Ok(message)) => self.dialect.hear(&message),
            Some(Err(error)) => Err(format!("{}: {error}", self.shared.address)),
            None => Err("the server hung up".to_owned()),
        }
    }

    async fn talk(&mut self, mut phase: watch::Receiver<Phase>) -> Result<(), String> {
        let mut beat = Instant::now() + BEAT;
        let alarm = sleep_until(beat.into());
        tokio::pin!(alarm);
        loop {
            tokio::select! {
                heard = self.hear() => self.take(heard?).await?,
                () = alarm.as_mut() => {
                    if beat <= Instant::now() {
                        beat += BEAT;
                        if let Some(message) = self.dialect.beat() {
                            self.send(message).await?;
                        }
                    }
                    self.say_what_is_due().await?;
                    self.set(alarm.as_mut(), beat);
                }
                changed = phase.changed() => {
                    changed.map_err(|_| "given up")?;
                    if *phase.borrow_and_update() == Phase::Leave {
                        return Ok(());
                    }
                    self.set(alarm.as_mut(), beat);
                }
            }
        }
    }

    fn set(&self, alarm: Pin<&mut Sleep>, beat: Instant) {
        alarm.reset(self.next_due().map_or(beat, |due| due.min(beat)).into());
    }

    fn next_due(&self) -> Option<Instant> {
        let is_left = self.is_speaker && self.said < self.talk.messages;
        let began = self.shared.began.get().filter(|_| is_left)?;
        Some(*began + self.talk.due(self.said + 1))
    }

    async fn say_what_is_due(&mut self) -> Result<(), String> {
        while self.next_due().is_some_and(|due| due <= Instant::now()) {
            self.said += 1;
            // What comes late counts from when it was due: a server that stalls is not to slow
            // down those who measure it.
            let due_us = self.talk.due(self.said).as_micros() as u64;
            let text = Line { number: self.said, due_us }.text(self.talk.text_bytes);
            let message = self.dialect.say(&text);
            self.send(message).await?;
        }
        Ok(())
    }

    async fn take(&mut self, heard: Heard) -> Result<(), String> {
        match heard {
            Heard::Said(line) => {
                let began = *self.shared.began.get().ok_or("said before the talk")?;
                let was_done = self.log.last == self.talk.messages;
                self.log.take(line, began);
                if !was_done && self.log.last == self.talk.messages {
                    self.shared.done.fetch_add(1, Ordering::Release);
                }
            }
            Heard::Answer(answer) | Heard::Confirm(answer) => self.send(answer).await?,
            Heard::Dropped => return Err("put out, though it reads".to_owned()),
            Heard::Joined | Heard::Other => {}
        }
        Ok(())
    }

    /// A member that did not read looks what became of it.
    async fn read_rest(&mut self) {
        while let Ok(heard) = timeout(REST, self.hear()).await {
            if matches!(heard, Ok(Heard::Dropped) | Err(_)) {
                self.log.is_dropped = true;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(numbers: &[u32]) -> Log {
        let mut log = Log::default();
        let began = Instant::now();
        numbers.iter().for_each(|number| log.take(Line { number: *number, due_us: 0 }, began));
        log
    }

    #[test]
    fn once_and_in_order_is_in_order() {
        assert_eq!((log(&[1, 2, 3]).last, log(&[1, 2, 3]).disordered), (3, 0));
    }

    #[test]
    fn twice_or_out_of_order_is_not() {
        assert_eq!(log(&[1, 1, 2]).disordered, 1);
        assert_eq!(log(&[2, 1, 2]).disordered, 1);
        assert_eq!((log(&[1, 3]).last, log(&[1, 3]).disordered), (1, 1));
    }
}
