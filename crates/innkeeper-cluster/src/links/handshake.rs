//! How the two ends of a connection learn who the other is, before anything else is said.

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Core;
use super::standing::Standing;
use crate::frame::{self, BadFrame, Frame, Hello, LENGTH_BYTES, MAGIC, Refusal, Welcome};
use crate::limits;
use crate::net::{Proof, Wire};
use crate::ownership::link::{Link, Nonce};
use crate::ownership::record::{Member, Session, Versions};
use crate::start_key::{Binding, End, SIGNED_SINCE, StartKey, is_signed};

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
    pub(crate) versions: Versions,
    pub(crate) key: Arc<StartKey>,
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
        (self.versions.oldest, self.versions.newest)
    }

    /// As the one who connected.
    pub(crate) async fn dial(
        &self,
        wire: &mut Wire,
        (to, member): (Session, &Member),
        standing: &dyn Standing,
    ) -> Result<Begun, NoLink> {
        // Both know beforehand what will be spoken. If it is nothing, the other says so.
        let common = self.versions.common(member.versions);
        let signed = common.and_then(|version| signed(version, &*wire.proof));
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
        if let Some(binding) = &signed {
            self.sign(End::Dialled, binding, &mut bytes)?;
        }
        send(&mut wire.writer, &bytes).await?;
        let welcome = match receive(&mut wire.reader).await? {
            Frame::Welcome(welcome) if Some(welcome.version) == common => welcome,
            Frame::Refused(refusal) => return Err(NoLink::Refused(refusal)),
            _ => return Err(NoLink::NotOurs),
        };
        if let Some(binding) = &signed {
            verify(member, End::Answered, binding, wire).await?;
        }
        proof.told(nonce, welcome.remaining);
        Ok(Begun { to, proof, asked: Some(welcome.nonce) })
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
        let (version, signed) = match self.admit(&hello, wire, standing).await {
            Ok(admitted) => admitted,
            Err(NoLink::Refusing(refusal)) => return Err(refuse(wire, refusal).await?),
            Err(no_link) => return Err(no_link),
        };
        let mut proof = Link::default();
        let nonce = proof.ask(standing.now());
        let remaining = core.promise();
        let mut bytes = Vec::new();
        frame::encode(&Frame::Welcome(Welcome { version, remaining, nonce }), &mut bytes)?;
        if let Some(binding) = &signed {
            self.sign(End::Answered, binding, &mut bytes)?;
        }
        send(&mut wire.writer, &bytes).await?;
        Ok(Begun { to: frame::session(hello.session), proof, asked: None })
    }

    /// The version that is spoken with whoever connected, and what is signed, if they may stay.
    async fn admit(
        &self,
        hello: &Hello,
        wire: &mut Wire,
        standing: &dyn Standing,
    ) -> Result<(u64, Option<Binding>), NoLink> {
        let checked = self.check(hello, &*wire.proof, standing);
        let (version, member) = checked.map_err(NoLink::Refusing)?;
        let signed = signed(version, &*wire.proof);
        if let Some(binding) = &signed {
            verify(&member, End::Dialled, binding, wire).await?;
        }
        Ok((version, signed))
    }

    fn sign(&self, end: End, binding: &Binding, bytes: &mut Vec<u8>) -> Result<(), BadFrame> {
        let signature = Bytes::from(self.key.sign(end, binding));
        frame::encode(&Frame::Signed { signature }, bytes)
    }

    /// Whether whoever connected is who they say, and in which version to talk to them.
    fn check(
        &self,
        hello: &Hello,
        proof: &dyn Proof,
        standing: &dyn Standing,
    ) -> Result<(u64, Member), Refusal> {
        let (here, there) = (self.versions(), hello.versions);
        let versions = Versions { oldest: there.0, newest: there.1 };
        let common = self.versions.common(versions);
        let version = common.ok_or(Refusal::Versions { here, there })?;
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
            // Or somebody could do without a signature by saying to speak less.
            Some(member) if member.versions != versions => {
                Err(Refusal::Start { name: member.name })
            }
            Some(member) => Ok((version, member)),
        }
    }
}

/// What is signed on a connection, if anything is.
fn signed(version: u64, proof: &dyn Proof) -> Option<Binding> {
    (version >= SIGNED_SINCE).then(|| proof.binding()).flatten()
}

/// Reads the signature of the other side, and whether it is that of this member.
async fn verify(
    member: &Member,
    end: End,
    binding: &Binding,
    wire: &mut Wire,
) -> Result<(), NoLink> {
    let Frame::Signed { signature } = receive(&mut wire.reader).await? else {
        return Err(NoLink::NotOurs);
    };
    let is_theirs = member.key.is_some_and(|key| is_signed(&key, end, binding, &signature));
    let refusal = || NoLink::Refusing(Refusal::Start { name: member.name.clone() });
    is_theirs.then_some(()).ok_or_else(refusal)
}

/// Tells the other side why it is not taken.
async fn refuse(wire: &mut Wire, refusal: Refusal) -> Result<NoLink, NoLink> {
    let mut bytes = Vec::new();
    frame::encode(&Frame::Refused(refusal.clone()), &mut bytes)?;
    send(&mut wire.writer, &bytes).await?;
    wire.writer.shutdown().await?;
    // What comes behind a greeting is read as well: a connection that is closed with something
    // unread may lose what was said last.
    let mut rest = (&mut wire.reader).take(limits::HELLO_BYTES_MAX as u64);
    let _ = rest.read_to_end(&mut bytes).await;
    Ok(NoLink::Refusing(refusal))
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
