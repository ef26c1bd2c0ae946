//! Groups of processes that are told the same things: what OTP's `:pg` is used for.

use std::any::Any;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use tokio::sync::broadcast;

use crate::error::NotDelivered;
use crate::keyed::Key;
use crate::node::Notice;
use crate::process::Message;
use crate::process_ref::ProcessRef;
use crate::registry::{Duplicate, RegisterError, Registry, RegistryEvent};

/// Groups of processes that take messages `M`, on one node: who is in one, and one message for all
/// of them (OTP's `:pg`, and what `Registry.dispatch/3` is used for).
///
/// # Guarantees
/// Publishing waits for nobody. A member whose mailbox is full leaves the group at that moment, and
/// is told by [`Process::lagged`](crate::Process::lagged), beside its mailbox: it has missed
/// something, and may look at what it missed and join again. A member that ends is in no group any
/// more, before anybody can have observed its end. What one publisher says is handled by each
/// member in that order.
///
/// # Differences from OTP
/// `:pg` only knows who is in a group, and a message to one is lost in silence or piles up without
/// a bound. A group is one node's.
///
/// # Examples
/// ```
/// # use innkeeper::{Context, Groups, Message, Process, ReplyTo, StartError};
/// # struct Fan;
/// #[derive(Clone)]
/// enum Say {
///     Goal(u32),
///     Goals,
/// }
/// # impl Message for Say { type Reply = u32; }
/// # impl Process for Fan {
/// #     type Args = ();
/// #     type Message = Say;
/// #     async fn init(_: &(), _: &mut Context<Self>) -> Result<Self, StartError> { Ok(Fan) }
/// #     async fn handle(&mut self, say: Say, reply: ReplyTo<Say>, _: &mut Context<Self>) {
/// #         if let Say::Goals = say { reply.send(1) }
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let fan = innkeeper::start::<Fan>((), Default::default()).await?;
/// let games = Groups::new();
/// games.join("final", &fan)?;
/// let told = games.publish(&"final", &Say::Goal(1));
/// assert_eq!((told.delivered, told.dropped), (1, 0));
/// # Ok(())
/// # }
/// ```
pub struct Groups<G: Key, M: Message> {
    members: Registry<G, M, (), Duplicate>,
}

/// Whom a message for a group reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// Members in whose mailbox it waits.
    pub delivered: usize,
    /// Members that it was one too many for, and that have left the group.
    pub dropped: usize,
}

/// A process has been dropped from a group, because its mailbox was full.
#[derive(Clone)]
pub struct Lagged {
    group: Arc<dyn Any + Send + Sync>,
}

impl Lagged {
    /// Which group, if groups are called by a `G`.
    pub fn group<G: Key>(&self) -> Option<&G> {
        self.group.downcast_ref()
    }
}

impl<G: Key, M: Message> Groups<G, M> {
    /// Groups without members.
    pub fn new() -> Self {
        Groups { members: Registry::duplicate() }
    }

    /// Makes a process a member of a group, until it leaves or ends (`:pg.join/3`). One that joins
    /// twice is told everything twice, and has to leave twice.
    ///
    /// # Errors
    /// [`RegisterError::NoProcess`] if it has ended; [`RegisterError::Full`] at
    /// [`limits::CHILDREN_MAX`](crate::limits::CHILDREN_MAX) memberships.
    pub fn join(
        &self,
        group: G,
        process: &ProcessRef<M>,
    ) -> Result<(), RegisterError<ProcessRef<M>>> {
        self.members.register(group, process, ())
    }

    /// Ends one membership of a process (`:pg.leave/3`). `false` if it had none.
    pub fn leave(&self, group: &G, process: &ProcessRef<M>) -> bool {
        let mut wanted = true;
        self.members.unregister_match(group, process, |()| std::mem::take(&mut wanted)) > 0
    }

    /// The members of a group, those who joined first first (`:pg.get_members/2`).
    pub fn members(&self, group: &G) -> Vec<ProcessRef<M>> {
        self.members.lookup(group).into_iter().map(|(process, ())| process).collect()
    }

    /// The groups of a process, in no order.
    pub fn groups_of(&self, process: &ProcessRef<M>) -> Vec<G> {
        self.members.keys(process)
    }

    /// The groups that have members, in no order (`:pg.which_groups/1`). Looks at every membership.
    pub fn which_groups(&self) -> Vec<G> {
        let all: HashSet<G> =
            self.members.select(|group, _, ()| Some(group.clone())).into_iter().collect();
        all.into_iter().collect()
    }

    /// How many memberships there are.
    pub fn count(&self) -> usize {
        self.members.count()
    }

    /// Says something to every member of a group, the one that says it too if it is one.
    pub fn publish(&self, group: &G, message: &M) -> Published
    where
        M: Clone,
    {
        self.publish_with(group, || message.clone())
    }

    /// As [`publish`](Self::publish), with a message made for each member.
    pub fn publish_with(&self, group: &G, mut make: impl FnMut() -> M) -> Published {
        let mut published = Published::default();
        for member in self.members.entries(group) {
            let process = &member.process;
            match process.cast(make()).send() {
                Ok(()) => published.delivered += 1,
                Err(refused) if matches!(refused.why, NotDelivered::Full { .. }) => {
                    // Of several who publish at once, one is the first to see it.
                    if self.members.remove(&member) {
                        let lagged = Lagged { group: Arc::new(group.clone()) };
                        process.port.notify(process.incarnation, Notice::Lagged(lagged));
                    }
                    published.dropped += 1;
                }
                // It is ending, and so is its membership.
                Err(_) => {}
            }
        }
        published
    }

    /// Who joins and who leaves, from now on (`:pg.monitor/2`). Bounded: a listener that falls
    /// behind is told how much it missed.
    pub fn events(&self) -> broadcast::Receiver<RegistryEvent<G, M, ()>> {
        self.members.events()
    }
}

impl<G: Key, M: Message> Default for Groups<G, M> {
    fn default() -> Self {
        Groups::new()
    }
}

impl<G: Key, M: Message> Clone for Groups<G, M> {
    fn clone(&self) -> Self {
        Groups { members: self.members.clone() }
    }
}

impl<G: Key, M: Message> fmt::Debug for Groups<G, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Groups").field("memberships", &self.count()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Lagged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lagged").finish_non_exhaustive()
    }
}
