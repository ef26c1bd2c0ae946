//! What a process has to be for others to talk to it from another node.

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
}
