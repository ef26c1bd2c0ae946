//! What a process has to be for others to talk to it from another node.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use innkeeper::{Message, Process};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A process that may run on another node than those who talk to it: what can be said to it, and
/// what it answers, can be written down.
///
/// `#[process(remote)]` implements it, and derives serde for the messages it makes; by hand it is a
/// name.
///
/// ```
/// use innkeeper::{Context, Message, Process, ReplyTo, StartError};
/// use innkeeper_cluster::Remote;
///
/// struct Counter(u64);
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Add(u64);
///
/// impl Message for Add {
///     type Reply = u64;
/// }
///
/// impl Process for Counter {
///     type Args = String;
///     type Message = Add;
///
///     async fn init(_: &String, _: &mut Context<Self>) -> Result<Self, StartError> {
///         Ok(Counter(0))
///     }
///
///     async fn handle(&mut self, add: Add, reply: ReplyTo<Add>, _: &mut Context<Self>) {
///         self.0 += add.0;
///         reply.send(self.0);
///     }
/// }
///
/// impl Remote for Counter {
///     const NAME: &'static str = "counter";
/// }
/// ```
///
/// A process that does not say so cannot be placed by a cluster:
///
/// ```compile_fail,E0277
/// use innkeeper::{ChildSpec, Context, Keyed, Message, Process, ReplyTo, StartError};
/// use innkeeper_cluster::Cluster;
///
/// struct Counter;
/// struct Add;
///
/// impl Message for Add {
///     type Reply = u64;
/// }
///
/// impl Process for Counter {
///     type Args = String;
///     type Message = Add;
///
///     async fn init(_: &String, _: &mut Context<Self>) -> Result<Self, StartError> {
///         Ok(Counter)
///     }
///
///     async fn handle(&mut self, _: Add, reply: ReplyTo<Add>, _: &mut Context<Self>) {
///         reply.send(1);
///     }
/// }
///
/// fn place(cluster: &Cluster) {
///     let _ = Keyed::<String, Counter>::new(ChildSpec::new()).placed_by(cluster);
/// }
/// ```
pub trait Remote:
    Process<Message: Serialize + DeserializeOwned + Message<Reply: Serialize + DeserializeOwned>>
{
    /// What kind of process it is, the same in every version of the program.
    const NAME: &'static str;

    /// The version of what can be said to it, of its answers, and of the state that it hands over.
    /// Nodes whose versions differ do not talk to each other's processes; raise it when the
    /// change cannot be read by the others.
    const VERSION: u32 = 1;

    /// The type of what it [exposes](innkeeper::Context::expose), if that can be seen from other
    /// nodes too: [`Exposes::of`] that type. With the macro, `#[process(remote, exposes = Gauge)]`.
    const EXPOSES: Option<Exposes> = None;
}

/// How what a process exposes is shown to other nodes: written down there at the instant of each
/// snapshot, and read here, so that [`ProcessInfo::exposed`](innkeeper::ProcessInfo::exposed)
/// answers the same type wherever the process runs. It is a copy, and does not change any more.
///
/// Up to [`EXPOSED_BYTES_MAX`](crate::limits::EXPOSED_BYTES_MAX) bytes; of more, nothing is shown.
#[derive(Clone, Copy)]
pub struct Exposes {
    write: fn(&dyn Any) -> Option<Vec<u8>>,
    read: fn(&[u8]) -> Option<Arc<dyn Any + Send + Sync>>,
}

impl Exposes {
    /// A process that exposes a `T`. Atomics derive serde like any number.
    pub const fn of<T: Any + Send + Sync + Serialize + DeserializeOwned>() -> Self {
        Exposes {
            write: |exposed| postcard::to_allocvec(exposed.downcast_ref::<T>()?).ok(),
            read: |bytes| Some(Arc::new(postcard::from_bytes::<T>(bytes).ok()?)),
        }
    }

    pub(crate) fn write(self, exposed: &(dyn Any + Send + Sync)) -> Option<Vec<u8>> {
        (self.write)(exposed)
    }

    pub(crate) fn read(self, bytes: &[u8]) -> Option<Arc<dyn Any + Send + Sync>> {
        (self.read)(bytes)
    }
}

impl fmt::Debug for Exposes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exposes").finish_non_exhaustive()
    }
}
