//! One connection while it lasts: what is read, what is written, and for how long the other side is
//! believed.

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::handshake::Begun;
use super::outbox::{Batch, Outbox};
use super::standing::Standing;
use super::{Core, Traffic};
use crate::frame::{self, BadFrame, Frame, LENGTH_BYTES, Under};
use crate::limits;
use crate::net::Wire;
use crate::ownership::Release;
use crate::ownership::link::Link;
use crate::ownership::record::Session;

/// Why a connection is no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The other side has closed it.
    Closed,
    /// It broke.
    Broken(String),
    /// What came is no frame, or none that may come here.
    Bad(BadFrame),
    /// Nothing came for the length of a session.
    Silent,
    /// Nothing could be written for that long.
    Stalled,
    /// So much is owed to the other side that it cannot be kept.
    Overrun,
    /// Nobody has used it for a while.
    Idle,
    /// This side is done with it.
    Over,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cut::Closed => f.write_str("the other side closed it"),
            Cut::Broken(why) => f.write_str(why),
            Cut::Bad(bad) => bad.fmt(f),
            Cut::Silent => f.write_str("nothing came for the length of a session"),
            Cut::Stalled => f.write_str("nothing could be written for the length of a session"),
            Cut::Overrun => f.write_str("the other side does not read its answers"),
            Cut::Idle => f.write_str("nobody used it"),
            Cut::Over => f.write_str("it is closed"),
        }
    }
}

impl From<BadFrame> for Cut {
    fn from(bad: BadFrame) -> Cut {
        Cut::Bad(bad)
    }
}

impl From<io::Error> for Cut {
    fn from(error: io::Error) -> Cut {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Cut::Closed,
            _ => Cut::Broken(error.to_string()),
        }
    }
}

/// What each side of a link does with frames.
pub(crate) trait Side: Send + Sync {
    /// What waits to be sent.
    fn outbox(&self) -> &Outbox;

    /// Takes a frame from the other side, whose session is proven to be there, or is not.
    fn take(&self, frame: Frame, is_proven: bool) -> Result<(), Cut>;

    /// Whether a frame is still wanted. From then on it counts as sent.
    fn send(&self, frame: &Frame) -> bool;

    /// What is sent instead of a frame that was made under an ownership that is no more.
    fn disowned(&self, frame: Frame) -> Vec<Frame>;

    /// The other side has not been able to prove its session for a while: whoever listens to what
    /// happens there is not to be kept waiting.
    fn doubted(&self) {}

    /// Whether nobody would miss the connection.
    fn is_idle(&self) -> bool;
}

/// One connection, after its ends know each other.
pub(crate) struct Line<'a, S> {
    core: &'a Core,
    side: &'a S,
    /// Whom it leads to.
    to: Session,
    /// For how long the other side is believed.
    proof: Mutex<Link>,
    /// Whether something came since that was last looked at.
    heard: Mutex<bool>,
}

/// How long what may take, from the length of a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// From one question to the next.
    pub(crate) ask: Duration,
    /// How long the other side may be silent.
    pub(crate) silence: Duration,
    /// For how long after a question its effects are taken, in nanoseconds.
    pub(crate) effects: u64,
}

impl<'a, S: Side> Line<'a, S> {
    pub(crate) fn new(core: &'a Core, side: &'a S, begun: Begun) -> Line<'a, S> {
        Line { core, side, to: begun.to, proof: Mutex::new(begun.proof), heard: Mutex::new(true) }
    }

    /// Runs the connection until it is no more. Everything is read, written and watched by this
    /// one future: dropped, all of it has stopped.
    pub(crate) async fn run(&self, wire: Wire) -> Cut {
        tokio::select! {
            // In this order, so that a run can be repeated. Each goes on until it has to wait.
            biased;
            cut = self.read(wire.reader) => cut,
            cut = self.write(wire.writer) => cut,
            cut = self.watch() => cut,
        }
    }

    async fn read(&self, mut reader: Box<dyn AsyncRead + Send + Unpin>) -> Cut {
        let mut bytes = BytesMut::new();
        loop {
            bytes.reserve(limits::READ_BYTES / 2);
            match reader.read_buf(&mut bytes).await {
                Ok(0) => return Cut::Closed,
                Ok(_) => {}
                Err(error) => return error.into(),
            }
            // There is probably more than there was room for.
            let is_full = bytes.len() == bytes.capacity();
            *self.heard.lock() = true;
            loop {
                let whole = match cut_out(&mut bytes) {
                    Ok(whole) if whole.is_empty() => break,
                    Ok(whole) => whole,
                    Err(bad) => return bad.into(),
                };
                if let Err(cut) = self.take_all(&whole) {
                    return cut;
                }
            }
            // However much comes, it is also answered, and those it is for have their turn.
            match is_full {
                true => tokio::task::yield_now().await,
                false => tokio::task::coop::consume_budget().await,
            }
        }
    }

    /// Takes frames that are there whole, one after the other.
    fn take_all(&self, whole: &Bytes) -> Result<(), Cut> {
        let mut begin = 0;
        while let Some(length) = frame::length(&whole[begin..], limits::FRAME_BYTES_MAX)? {
            let end = begin + LENGTH_BYTES + length;
            self.take(frame::decode_in(whole, begin + LENGTH_BYTES..end)?)?;
            begin = end;
        }
        Ok(())
    }

    fn take(&self, frame: Frame) -> Result<(), Cut> {
        match frame {
            Frame::Ask { nonce } => self.side.outbox().asked(nonce),
            Frame::Told { nonce, remaining } => self.proof.lock().told(nonce, remaining),
            frame => {
                // For each frame anew: this program may stand still between any two.
                let now = self.core.standing.now();
                let proof = self.proof.lock();
                let is_proven = if frame.is_effect() {
                    proof.accepts_effect(now, self.core.times.effects)
                } else {
                    proof.accepts(now)
                };
                drop(proof);
                return self.side.take(frame, is_proven);
            }
        }
        Ok(())
    }

    async fn write(&self, mut writer: Box<dyn AsyncWrite + Send + Unpin>) -> Cut {
        let mut bytes = Vec::new();
        let mut batch = Batch::default();
        loop {
            self.side.outbox().ready().await;
            if batch.is_many {
                // Probably it is now, too.
                self.gather().await;
            }
            let mut leaving = Leaving { standing: &*self.core.standing, all: Vec::new() };
            let is_held = self.fill(&mut batch, &mut bytes, &mut leaving);
            if !bytes.is_empty() {
                let write = async {
                    writer.write_all(&bytes).await?;
                    writer.flush().await
                };
                match tokio::time::timeout(self.core.times.silence, write).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return error.into(),
                    Err(_) => return Cut::Stalled,
                }
                bytes.clear();
                // What one long frame took is not kept for ever.
                bytes.shrink_to(2 * limits::WRITE_BYTES);
            }
            drop(leaving);
            if is_held {
                tokio::time::sleep(limits::HOLD_WAIT).await;
            }
        }
    }

    /// Lets whoever is about to say more do so first, for a write costs more than they do: as long
    /// as more comes, and it is not enough yet.
    async fn gather(&self) {
        let mut before = 0;
        for _ in 0..limits::GATHER_TURNS {
            let bytes = self.side.outbox().bytes();
            if bytes == before || bytes >= limits::WRITE_BYTES {
                return;
            }
            before = bytes;
            tokio::task::yield_now().await;
        }
    }

    /// Writes down what is to be sent next. Whether something of it has to wait for the session of
    /// this node to be proven again.
    fn fill(&self, batch: &mut Batch, bytes: &mut Vec<u8>, leaving: &mut Leaving<'_>) -> bool {
        self.side.outbox().take(batch);
        if let Some(nonce) = batch.asked.take() {
            encode(&Frame::Told { nonce, remaining: self.core.promise() }, bytes);
        }
        if let Some(nonce) = batch.ask.take() {
            encode(&Frame::Ask { nonce }, bytes);
        }
        let mut held = [false; limits::LANES];
        let mut traffic = Traffic::default();
        for _ in 0..batch.frames.len() {
            let Some((lane, frame)) = batch.frames.pop_front() else { break };
            if held[lane] {
                // Behind one that is held: its sender's order is kept.
                batch.frames.push_back((lane, frame));
                continue;
            }
            match leaving.ask(&frame) {
                Release::Now if self.side.send(&frame) => {
                    traffic.count(&frame);
                    encode(&frame, bytes);
                }
                Release::Now => {}
                Release::Hold => {
                    held[lane] = true;
                    batch.frames.push_back((lane, frame));
                }
                Release::Never => {
                    self.side.disowned(frame).iter().for_each(|instead| encode(instead, bytes));
                }
            }
        }
        traffic.bytes = u64::try_from(bytes.len()).unwrap_or(0);
        self.core.traffic.lock().add(traffic);
        // What was held went round, in its order.
        self.side.outbox().put_back(&mut batch.frames);
        held.contains(&true)
    }

    /// Asks the other side again and again for how long it can prove its session, and notices when
    /// it falls silent or is no more.
    async fn watch(&self) -> Cut {
        let rounds = |wait: Duration| wait.as_millis() / self.core.times.ask.as_millis().max(1);
        let (mut silent, mut idle, mut doubtful) = (0, 0, 0);
        loop {
            tokio::time::sleep(self.core.times.ask).await;
            if self.core.standing.member(self.to).is_none() {
                return Cut::Over;
            }
            let was_heard = std::mem::take(&mut *self.heard.lock());
            silent = if was_heard { 0 } else { silent + 1 };
            if silent >= rounds(self.core.times.silence) {
                return Cut::Silent;
            }
            let is_proven = self.proof.lock().accepts(self.core.standing.now());
            doubtful = if is_proven { 0 } else { doubtful + 1 };
            if doubtful == rounds(limits::DOUBT_WAIT) {
                self.side.doubted();
            }
            idle = if self.side.is_idle() { idle + 1 } else { 0 };
            if idle >= rounds(limits::IDLE_WAIT) {
                return Cut::Idle;
            }
            let nonce = self.proof.lock().ask(self.core.standing.now());
            self.side.outbox().ask(nonce);
        }
    }
}

/// What is leaving under some ownership, until its bytes have left or the connection has broken.
struct Leaving<'a> {
    standing: &'a dyn Standing,
    all: Vec<Under>,
}

impl Leaving<'_> {
    fn ask(&mut self, frame: &Frame) -> Release {
        let Some(under) = frame.under() else { return Release::Now };
        let release = self.standing.leave(under);
        if release == Release::Now {
            self.all.push(under);
        }
        release
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.all.iter().for_each(|under| self.standing.left(*under));
    }
}

/// Cuts out of what was read the frames that are there whole, up to one that is none.
fn cut_out(bytes: &mut BytesMut) -> Result<Bytes, BadFrame> {
    let mut end = 0;
    loop {
        let next = match frame::length(&bytes[end..], limits::FRAME_BYTES_MAX) {
            Ok(Some(length)) if bytes.len() - end >= LENGTH_BYTES + length => LENGTH_BYTES + length,
            Ok(_) => break,
            // First those before it.
            Err(_) if end > 0 => break,
            Err(bad) => return Err(bad),
        };
        end += next;
    }
    Ok(bytes.split_to(end).freeze())
}

/// Whatever is to be sent was made sure to be short enough when it was taken.
fn encode(frame: &Frame, bytes: &mut Vec<u8>) {
    if let Err(error) = frame::encode(frame, bytes) {
        tracing::error!(%error, "a frame that cannot be sent");
    }
}
