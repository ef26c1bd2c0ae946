//! The network between two nodes, opened: one frame of a move is lost, late, doubled, or the last
//! that anybody hears.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use innkeeper_cluster::frame::{self, Frame, Id, Request};
use innkeeper_cluster::limits;
use innkeeper_cluster::net::memory::Port;
use innkeeper_cluster::net::{Later, Net, Wire};
use parking_lot::Mutex;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, SimplexStream, WriteHalf,
};
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;

/// How late what is late arrives: after whoever sent it has given up.
pub(crate) const LATE: Duration = Duration::from_secs(3);
/// And what is slow: before that.
pub(crate) const SLOW: Duration = Duration::from_millis(1_500);

/// A part of what a shard takes along, or the word that it has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passing {
    Part(u32),
    Taken(u32),
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Lost,
    Late,
    /// So late that it arrives after what is late, but while whoever sent it still waits.
    Slow,
    Doubled,
}

/// What is done to what one node sends to another, and hears of it.
#[derive(Default)]
pub(crate) struct Tap {
    rule: Mutex<Option<(Passing, Fate)>>,
    /// Which parts were asked about.
    asked: Mutex<HashMap<Id, u32>>,
    pub(crate) reached: Notify,
}

impl Tap {
    /// From now on, once.
    pub(crate) fn rule(&self, passing: Passing, fate: Fate) {
        *self.rule.lock() = Some((passing, fate));
    }

    /// What becomes of a frame, if anything does.
    fn fate(&self, frame: &Frame) -> Option<Fate> {
        let passing = match frame {
            Frame::Request { id, request: Request::Prepare(part), .. } => {
                self.asked.lock().insert(*id, part.number);
                Passing::Part(part.number)
            }
            Frame::Reply { id, .. } => Passing::Taken(self.asked.lock().remove(id)?),
            _ => return None,
        };
        let (_, fate) = self.rule.lock().take_if(|(which, _)| *which == passing)?;
        self.reached.notify_one();
        Some(fate)
    }

    /// Passes frames on, after the first bytes, which are none.
    async fn pass(
        self: Arc<Self>,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin + Send + 'static,
        first: usize,
    ) -> io::Result<()> {
        let mut bytes = vec![0; first];
        from.read_exact(&mut bytes).await?;
        to.write_all(&bytes).await?;
        let (out, mut late) = mpsc::channel::<Vec<u8>>(64);
        let writing = tokio::spawn(async move {
            while let Some(bytes) = late.recv().await {
                if to.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            let _ = to.shutdown().await;
        });
        let reading = async {
            loop {
                let mut whole = vec![0; frame::LENGTH_BYTES];
                from.read_exact(&mut whole).await?;
                let length = frame::length(&whole, limits::FRAME_BYTES_MAX).unwrap().unwrap();
                whole.resize(frame::LENGTH_BYTES + length, 0);
                from.read_exact(&mut whole[frame::LENGTH_BYTES..]).await?;
                let body = Bytes::copy_from_slice(&whole[frame::LENGTH_BYTES..]);
                let fate = frame::decode(&body).ok().and_then(|frame| self.fate(&frame));
                let out = out.clone();
                match fate {
                    None => drop(out.send(whole).await),
                    Some(Fate::Lost) => {}
                    Some(Fate::Doubled) => {
                        drop(out.send(whole.clone()).await);
                        drop(out.send(whole).await);
                    }
                    Some(fate @ (Fate::Late | Fate::Slow)) => drop(tokio::spawn(async move {
                        sleep(if fate == Fate::Late { LATE } else { SLOW }).await;
                        out.send(whole).await
                    })),
                }
            }
        };
        let ended: io::Result<()> = reading.await;
        drop(out);
        let _ = writing.await;
        ended
    }
}

/// The network as a node sees it whose words to another are tapped.
pub(crate) struct Tapped {
    pub(crate) port: Port,
    /// The address of the other.
    pub(crate) other: String,
    pub(crate) tap: Arc<Tap>,
}

impl Net for Tapped {
    fn accept(&self) -> Later<'_, io::Result<Later<'static, io::Result<Wire>>>> {
        self.port.accept()
    }

    fn connect(&self, address: String, name: String) -> Later<'_, io::Result<Wire>> {
        Box::pin(async move {
            let wire = self.port.connect(address.clone(), name).await?;
            if address != self.other {
                return Ok(wire);
            }
            let ((near_in, far_out), (far_in, near_out)) = (pipe(), pipe());
            tokio::spawn(self.tap.clone().pass(far_in, wire.writer, frame::MAGIC.len()));
            tokio::spawn(self.tap.clone().pass(wire.reader, far_out, 0));
            let (reader, writer) = (Box::new(near_in), Box::new(near_out));
            Ok(Wire { reader, writer, proof: wire.proof })
        })
    }
}

type Ends = (ReadHalf<SimplexStream>, WriteHalf<SimplexStream>);

/// One direction: what is written to the second is read from the first.
fn pipe() -> Ends {
    tokio::io::simplex(1 << 20)
}
