//! What links ask of the node that they belong to.

use std::time::Duration;

use tokio::sync::watch;

use crate::frame::Under;
use crate::ownership::Release;
use crate::ownership::record::{Member, Session};
use crate::ownership::timing::Now;

/// What the node knows that links rest on. All of it is asked often, and answers at once.
pub trait Standing: Send + Sync + 'static {
    /// This node's session.
    fn session(&self) -> Session;

    /// What the node's own clocks show.
    fn now(&self) -> Now;

    /// For how long this node can prove its session.
    fn remaining(&self) -> Duration;

    /// What the node of a session says of itself. `None`: it is not known, or over.
    fn member(&self, session: Session) -> Option<Member>;

    /// Changes whenever a session has come or gone.
    fn membership(&self) -> watch::Receiver<u64>;

    /// Whether something that was made under this ownership may leave now. Asked as the frame is
    /// put among the bytes of the next write; after [`Release::Now`] it counts as leaving until
    /// [`left`](Self::left).
    ///
    /// A shard is not given away while something of it is leaving.
    fn leave(&self, under: Under) -> Release;

    /// What was about to leave is with the operating system, or its link has broken.
    fn left(&self, under: Under);
}
