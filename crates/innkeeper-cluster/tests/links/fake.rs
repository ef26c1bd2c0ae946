//! Somebody who speaks the protocol by hand, and not always well.

use std::sync::Arc;

use bytes::Bytes;
use innkeeper_cluster::frame::{self, Frame, Hello, LENGTH_BYTES, MAGIC, Welcome};
use innkeeper_cluster::net::memory::{Memory, Port};
use innkeeper_cluster::net::{Net, Wire};
use innkeeper_cluster::ownership::record::Session;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::nodes::{Node, SECOND, World};

/// Somebody who listens at an address.
pub(crate) struct Fake {
    pub(crate) session: Session,
    port: Port,
}

/// One connection of theirs.
pub(crate) struct Raw(Wire);

impl Fake {
    pub(crate) fn listen(world: &World, memory: &Memory, number: u64, address: &str) -> Fake {
        Fake { session: world.enter(number, address), port: memory.port(address) }
    }

    /// Takes a connection, and reads no more of it than the greeting.
    pub(crate) async fn greet(&self) -> Raw {
        let wire = self.port.accept().await.unwrap().await.unwrap();
        let mut raw = Raw(wire);
        let mut magic = [0; 8];
        raw.0.reader.read_exact(&mut magic).await.unwrap();
        assert_eq!(magic, MAGIC);
        let Frame::Hello(hello) = raw.hear().await else { panic!("it does not greet") };
        assert_eq!(hello.to, (self.session.node.0, self.session.created));
        let remaining = 60 * SECOND.as_nanos() as u64;
        raw.say(&Frame::Welcome(Welcome { version: 1, remaining, nonce: 0 })).await;
        raw
    }
}

impl Raw {
    /// Connects to an address, and says nothing yet.
    pub(crate) async fn connect(memory: &Memory, address: &str) -> Raw {
        let port = Arc::new(memory.port("fake"));
        Raw(port.connect(address.to_owned(), String::new()).await.unwrap())
    }

    pub(crate) async fn say(&mut self, frame: &Frame) {
        let mut bytes = Vec::new();
        frame::encode(frame, &mut bytes).unwrap();
        self.say_bytes(&bytes).await;
    }

    pub(crate) async fn say_bytes(&mut self, bytes: &[u8]) {
        self.try_say_bytes(bytes).await.unwrap();
    }

    pub(crate) async fn try_say_bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.writer.write_all(bytes).await
    }

    pub(crate) async fn hear(&mut self) -> Frame {
        self.try_hear().await.expect("it is closed")
    }

    /// `None`: it was closed.
    pub(crate) async fn try_hear(&mut self) -> Option<Frame> {
        let mut length = [0; LENGTH_BYTES];
        self.0.reader.read_exact(&mut length).await.ok()?;
        let mut body = vec![0; u32::from_le_bytes(length) as usize];
        self.0.reader.read_exact(&mut body).await.ok()?;
        Some(frame::decode(&Bytes::from(body)).unwrap())
    }

    /// Reads at least so many bytes.
    pub(crate) async fn read_all(&mut self, mut bytes: usize) {
        let mut chunk = vec![0; 64 << 10];
        while bytes > 0 {
            bytes = bytes.saturating_sub(self.0.reader.read(&mut chunk).await.unwrap());
        }
    }

    /// Greets as `me`, and is welcome. What it is asked is answered with so much.
    pub(crate) async fn begin(&mut self, me: Session, to: &Node, remaining: u64) {
        self.say_bytes(&MAGIC).await;
        self.say(&Frame::Hello(hello(me, to))).await;
        let Frame::Welcome(Welcome { nonce, .. }) = self.hear().await else { panic!("refused") };
        self.say(&Frame::Told { nonce, remaining }).await;
    }
}

pub(crate) fn hello(me: Session, to: &Node) -> Hello {
    Hello {
        versions: (1, 1),
        cluster: "test".to_owned(),
        name: format!("node-{}", me.node.0),
        session: (me.node.0, me.created),
        to: (to.session.node.0, to.session.created),
        nonce: 0,
    }
}
