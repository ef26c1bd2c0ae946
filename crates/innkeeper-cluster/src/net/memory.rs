//! A network within one process, with everything that goes wrong on one: what is late, what never
//! comes, what breaks.

mod pipe;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{Binding, Later, Net, Proof, Wire};
use crate::limits;
use pipe::Pipe;

/// A network within one process. Clones are the same one.
#[derive(Clone, Default)]
pub struct Memory {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    listeners: HashMap<String, mpsc::Sender<Wire>>,
    /// How long bytes take from one address to another; not said: no time.
    delays: HashMap<(String, String), Duration>,
    /// From where to where nothing gets, and nobody says so.
    silent: Vec<(String, String)>,
    /// What is connected.
    pipes: Vec<Laid>,
    /// How many connections there have been.
    connected: u64,
}

/// Everybody is believed to have the name that they say; connections are told apart.
struct Numbered(u64);

impl Proof for Numbered {
    fn is_named(&self, _: &str) -> bool {
        true
    }

    fn binding(&self) -> Option<Binding> {
        let mut binding = Binding::default();
        binding[..8].copy_from_slice(&self.0.to_le_bytes());
        Some(binding)
    }
}

/// One direction of a connection.
struct Laid {
    from: String,
    to: String,
    pipe: Arc<Pipe>,
}

/// The network as the node at one address sees it.
#[derive(Clone)]
pub struct Port {
    memory: Memory,
    address: String,
    arriving: Arc<tokio::sync::Mutex<mpsc::Receiver<Wire>>>,
}

impl Memory {
    /// One on which everything arrives at once.
    pub fn new() -> Memory {
        Memory::default()
    }

    /// The network as seen from `address`, where others reach it from now on.
    pub fn port(&self, address: &str) -> Port {
        let (arrive, arriving) = mpsc::channel(limits::ARRIVALS_MAX);
        self.state.lock().listeners.insert(address.to_owned(), arrive);
        let arriving = Arc::new(tokio::sync::Mutex::new(arriving));
        Port { memory: self.clone(), address: address.to_owned(), arriving }
    }

    /// Nobody listens at `address` any more.
    pub fn unplug(&self, address: &str) {
        self.state.lock().listeners.remove(address);
    }

    /// From now on bytes take so long from one address to another.
    pub fn delay(&self, from: &str, to: &str, by: Duration) {
        let way = (from.to_owned(), to.to_owned());
        let mut state = self.state.lock();
        state.on(from, to).for_each(|pipe| pipe.delay(by));
        state.delays.insert(way, by);
    }

    /// From now on nothing gets from one address to another, and neither side is told.
    pub fn silence(&self, from: &str, to: &str) {
        let mut state = self.state.lock();
        state.on(from, to).for_each(|pipe| pipe.silence(true));
        state.silent.push((from.to_owned(), to.to_owned()));
    }

    /// Lets pass again what is between two addresses. What was lost since is lost; on a connection
    /// that lost some nothing arrives any more.
    pub fn heal(&self, one: &str, other: &str) {
        let mut state = self.state.lock();
        state.silent.retain(|(from, to)| {
            ![(one, other), (other, one)].contains(&(from.as_str(), to.as_str()))
        });
        for (from, to) in [(one, other), (other, one)] {
            state.on(from, to).for_each(|pipe| pipe.silence(false));
        }
    }

    /// Breaks all connections between two addresses, in both directions.
    pub fn cut(&self, one: &str, other: &str) {
        let mut state = self.state.lock();
        for (from, to) in [(one, other), (other, one)] {
            state.on(from, to).for_each(|pipe| pipe.cut());
        }
        state.pipes.retain(|laid| !laid.pipe.is_cut());
    }

    /// How many connections there are from one address to another, by whomever they were made.
    pub fn connections(&self, from: &str, to: &str) -> usize {
        self.state.lock().on(from, to).filter(|pipe| !pipe.is_cut()).count()
    }

    /// How many writes there were from one address to another on the connections that are there.
    pub fn writes(&self, from: &str, to: &str) -> usize {
        self.state.lock().on(from, to).map(|pipe| pipe.writes()).sum()
    }
}

impl State {
    fn on<'a>(&'a self, from: &'a str, to: &'a str) -> impl Iterator<Item = &'a Arc<Pipe>> {
        let pipes = self.pipes.iter().filter(move |laid| laid.from == from && laid.to == to);
        pipes.map(|laid| &laid.pipe)
    }

    fn is_silent(&self, from: &str, to: &str) -> bool {
        self.silent.iter().any(|(a, b)| a == from && b == to)
    }

    /// Lays one direction of a connection.
    fn lay(&mut self, from: &str, to: &str) -> (pipe::Reader, pipe::Writer) {
        let delay = self.delays.get(&(from.to_owned(), to.to_owned())).copied();
        let (pipe, reader, writer) = Pipe::lay(delay.unwrap_or_default());
        pipe.silence(self.is_silent(from, to));
        self.pipes.retain(|laid| !laid.pipe.is_cut());
        self.pipes.push(Laid { from: from.to_owned(), to: to.to_owned(), pipe });
        (reader, writer)
    }
}

impl Net for Port {
    fn accept(&self) -> Later<'_, io::Result<Later<'static, io::Result<Wire>>>> {
        Box::pin(async {
            let wire = self.arriving.lock().await.recv().await;
            let wire = wire.ok_or_else(|| io::Error::other("unplugged"))?;
            Ok(Box::pin(std::future::ready(Ok(wire))) as Later<'static, io::Result<Wire>>)
        })
    }

    fn connect(&self, address: String, _: String) -> Later<'_, io::Result<Wire>> {
        Box::pin(async move {
            let silent = {
                let state = self.memory.state.lock();
                state.is_silent(&self.address, &address) || state.is_silent(&address, &self.address)
            };
            if silent {
                // As one waits for somebody who does not answer.
                std::future::pending::<()>().await;
            }
            let mut state = self.memory.state.lock();
            let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
            let listener = state.listeners.get(&address).cloned().ok_or_else(refused)?;
            let (their_reader, our_writer) = state.lay(&self.address, &address);
            let (our_reader, their_writer) = state.lay(&address, &self.address);
            state.connected += 1;
            let number = state.connected;
            let wire = |reader, writer| Wire {
                reader: Box::new(reader),
                writer: Box::new(writer),
                proof: Box::new(Numbered(number)),
            };
            listener.try_send(wire(their_reader, their_writer)).map_err(|_| refused())?;
            Ok(wire(our_reader, our_writer))
        })
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port").field("address", &self.address).finish_non_exhaustive()
    }
}
