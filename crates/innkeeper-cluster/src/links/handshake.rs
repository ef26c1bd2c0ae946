//! How the two ends of a connection learn who the other is, before anything else is said.

use std::fmt;
use std::io;
use std::ops::RangeInclusive;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Core;
use super::standing::Standing;
use crate::frame::{self, BadFrame, Frame, Hello, LENGTH_BYTES, MAGIC, Refusal, Welcome};
use crate::limits;
use crate::net::{Proof, Wire};
use crate::ownership::link::{Link, Nonce};
use crate::ownership::record::Session;

/// Why there is no link.
#[derive(Debug)]
pub(crate) enum NoLink {
    /// The other side does not talk to this one.
    Refused(Refusal),
    /// This side does not talk to the other.
    Refusing(Refusal),
    /// What came is no beginning of a link.
    Bad(BadFrame),
    /// It did not begin as links do.
    NotOurs,
    /// The connection broke, or was never made.
    Broken(io::Error),
}

impl fmt::Display for NoLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoLink::Refused(refusal) => write!(f, "refused: {refusal}"),
            NoLink::Refusing(refusal) => write!(f, "refusing: {refusal}"),
            NoLink::Bad(bad) => bad.fmt(f),
            NoLink::NotOurs => f.write_str("it does not speak the protocol of innkeeper"),
            NoLink::Broken(error) => error.fmt(f),
        }
    }
}

impl From<io::Error> for NoLink {
    fn from(error: io::Error) -> NoLink {
        NoLink::Broken(error)
    }
}

impl From<BadFrame> for NoLink {
    fn from(bad: BadFrame) -> NoLink {
        NoLink::Bad(bad)
    }
}

/// What a node says of itself to every other.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) cluster: String,
    pub(crate) name: String,
    pub(crate) versions: RangeInclusive<u64>,
}

/// What a link begins with.
pub(crate) struct Begun {
    pub(crate) to: Session,
    pub(crate) proof: Link,
    /// What the other side has asked already.
    pub(crate) asked: Option<Nonce>,
}

impl Identity {
    fn versions(&self) -> (u64, u64) {
        (*self.versions.start(), *self.versions.end())
    }

    /// As the one who connected.
    pub(crate) async fn dial(
        &self,
        wire: &mut Wire,
        to: Session,
        standing: &dyn Standing,
    ) -> Result<Begun, NoLink> {
        let mut proof = Link::default();
        let nonce = proof.ask(standing.now());
        let hello = Hello {
            versions: self.versions(),
            cluster: self.cluster.clone(),
            name: self.name.clone(),
            session: frame::pair(standing.session()),
            to: frame::pair(to),
            nonce,
        };
        let mut bytes = MAGIC.to_vec();
        frame::encode(&Frame::Hello(hello), &mut bytes)?;
        send(&mut wire.writer, &bytes).await?;
        match receive(&mut wire.reader).await? {
            Frame::Welcome(Welcome { version, remaining, nonce: asked })
                if self.versions.contains(&version) =>
            {
                proof.told(nonce, remaining);
                Ok(Begun { to, proof, asked: Some(asked) })
            }
            Frame::Refused(refusal) => Err(NoLink::Refused(refusal)),
            _ => Err(NoLink::NotOurs),
        }
    }

    /// As the one that somebody connected to.
    pub(crate) async fn welcome(&self, wire: &mut Wire, core: &Core) -> Result<Begun, NoLink> {
        let standing = &*core.standing;
        let mut magic = [0; MAGIC.len()];
        wire.reader.read_exact(&mut magic).await?;
        if magic != MAGIC {
            return Err(NoLink::NotOurs);
        }
        let Frame::Hello(hello) = receive(&mut wire.reader).await? else {
            return Err(NoLink::NotOurs);
        };
        let mut bytes = Vec::new();
        if let Err(refusal) = self.check(&hello, &*wire.proof, standing) {
            frame::encode(&Frame::Refused(refusal.clone()), &mut bytes)?;
            send(&mut wire.writer, &bytes).await?;
            wire.writer.shutdown().await?;
            return Err(NoLink::Refusing(refusal));
        }
        let mut proof = Link::default();
        let nonce = proof.ask(standing.now());
        let remaining = core.promise();
        let version = (*self.versions.end()).min(hello.versions.1);
        frame::encode(&Frame::Welcome(Welcome { version, remaining, nonce }), &mut bytes)?;
        send(&mut wire.writer, &bytes).await?;
        Ok(Begun { to: frame::session(hello.session), proof, asked: None })
    }

    /// Whether whoever connected may stay.
    fn check(
        &self,
        hello: &Hello,
        proof: &dyn Proof,
        standing: &dyn Standing,
    ) -> Result<(), Refusal> {
        let (here, there) = (self.versions(), hello.versions);
        if there.0 > here.1 || there.1 < here.0 {
            return Err(Refusal::Versions { here, there });
        }
        if hello.cluster != self.cluster {
            let (here, there) = (self.cluster.clone(), hello.cluster.clone());
            return Err(Refusal::Cluster { here, there });
        }
        if frame::session(hello.to) != standing.session() {
            return Err(Refusal::Elsewhere);
        }
        if !proof.is_named(&hello.name) {
            return Err(Refusal::Name { name: hello.name.clone() });
        }
        match standing.member(frame::session(hello.session)) {
            None => Err(Refusal::Stranger),
            Some(member) if member.name != hello.name => {
                Err(Refusal::Name { name: hello.name.clone() })
            }
            Some(_) => Ok(()),
        }
    }
}

async fn send(writer: &mut (dyn AsyncWrite + Send + Unpin), bytes: &[u8]) -> io::Result<()> {
    writer.write_all(bytes).await?;
    writer.flush().await
}

/// Reads one frame, and nothing behind it.
async fn receive(reader: &mut (dyn AsyncRead + Send + Unpin)) -> Result<Frame, NoLink> {
    let mut head = [0; LENGTH_BYTES];
    reader.read_exact(&mut head).await?;
    let length = frame::length(&head, limits::HELLO_BYTES_MAX)?.unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await?;
    Ok(frame::decode(&Bytes::from(body))?)
}
