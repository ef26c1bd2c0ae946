//! What a process tells those who listen to it: an end to push events into, which travels in a
//! message, and an end to hear them from.

use std::fmt;
use std::sync::{Arc, OnceLock};

use tokio::sync::{SetOnce, mpsc};

use crate::exit::ExitReason;
use crate::limits;
use crate::placement::Later;
use crate::seam::Mutex;

/// Where a process tells somebody what happens, event by event: given to it in a message, and told
/// by [`Context::push`](crate::Context::push). Clones are the same subscriber.
///
/// # Guarantees
/// Pushing never waits. Who listens hears every event once, in the order of the pushes, until the
/// subscription ends; that it has ended is heard, with the reason. On a cluster the other end may
/// be on another node.
///
/// # Differences from OTP
/// There a process keeps the pid of a subscriber, monitors it, and sends to it without a bound.
/// Here who falls behind is let go.
pub struct Subscriber<E> {
    sink: Arc<dyn Sink<E>>,
}

/// What is behind a [`Subscriber`], for those who listen otherwise than by a [`Subscription`].
pub trait Sink<E>: Send + Sync + 'static {
    /// Takes an event, behind all that it took before. Must not wait.
    ///
    /// # Errors
    /// [`PushError`]; it was not taken, and nothing will be any more.
    fn push(&self, event: E) -> Result<(), PushError>;

    /// Nothing more will be pushed. The first time counts.
    fn end(&self, why: Unsubscribed);

    /// Whether it listens on another node: it may be gone without a word.
    fn is_distant(&self) -> bool {
        false
    }

    /// Whether it does not listen any more.
    fn is_over(&self) -> bool;

    /// Waits until it does not listen any more.
    fn over(&self) -> Later<'_, ()>;
}

/// Why an event was not taken. The subscription is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushError {
    /// Nobody listens any more.
    Over,
    /// Who listens has fallen behind further than it may, and is told so.
    Overflow,
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PushError::Over => "nobody listens any more",
            PushError::Overflow => "who listens has fallen behind",
        })
    }
}

impl std::error::Error for PushError {}

/// Why nothing more is heard of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unsubscribed {
    /// The process said so.
    Ended(ExitReason),
    /// The process has let it go without a word: most often it has ended.
    Dropped,
    /// More happened than could wait.
    Overflow,
    /// The node it ran on does not act for its key any more, or could not be sure for too long.
    Lost,
    /// The node it ran on cannot be heard of any more, or was not reached.
    Unreachable,
}

impl fmt::Display for Unsubscribed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unsubscribed::Ended(reason) => write!(f, "the process ended it: {reason}"),
            Unsubscribed::Dropped => f.write_str("the process has let it go; subscribe again"),
            Unsubscribed::Overflow => {
                f.write_str("more happened than could wait; subscribe again, and take it faster")
            }
            Unsubscribed::Lost => {
                f.write_str("its node does not act for it any more; subscribe again")
            }
            Unsubscribed::Unreachable => {
                f.write_str("its node cannot be heard of any more; subscribe again")
            }
        }
    }
}

impl std::error::Error for Unsubscribed {}

/// What a process tells, in order and without gaps, until it ends: the other end of a
/// [`Subscriber`]. Dropped, nobody listens any more.
///
/// # Examples
/// ```
/// use innkeeper::{Context, StartError, Subscriber, Subscription, process};
///
/// #[derive(Default)]
/// struct Room(Vec<Subscriber<String>>);
///
/// #[process]
/// impl Room {
///     async fn init() -> Result<Self, StartError> {
///         Ok(Room::default())
///     }
///
///     #[call]
///     fn listen(&mut self, who: Subscriber<String>) {
///         self.0.push(who);
///     }
///
///     #[cast]
///     fn say(&mut self, line: String, ctx: &mut Context<Self>) {
///         // Who does not listen any more, or too slowly, is let go.
///         self.0.retain(|who| ctx.push(who, line.clone()).is_ok());
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let room = innkeeper::start::<Room>((), Default::default()).await?;
/// let (who, mut lines) = Subscription::new();
/// room.listen(who).await?;
/// room.say("good evening".into()).await?;
/// assert_eq!(lines.next().await, Ok("good evening".to_owned()));
/// # Ok(())
/// # }
/// ```
pub struct Subscription<E> {
    events: mpsc::Receiver<E>,
    end: Arc<End>,
}

/// How a subscription ends, for both ends of it.
#[derive(Default)]
struct End {
    why: OnceLock<Unsubscribed>,
    over: SetOnce<()>,
}

impl End {
    /// The first time counts.
    fn set(&self, why: Unsubscribed) {
        let _ = self.why.set(why);
        let _ = self.over.set(());
    }
}

impl<E: Send + 'static> Subscription<E> {
    /// A subscriber to give away, and where to hear what it is told. So many events may wait as
    /// [`limits::SUBSCRIPTION_EVENTS`] says.
    pub fn new() -> (Subscriber<E>, Subscription<E>) {
        Subscription::with_capacity(limits::SUBSCRIPTION_EVENTS)
    }

    /// As [`new`](Self::new); so many events may wait, at least one.
    pub fn with_capacity(capacity: usize) -> (Subscriber<E>, Subscription<E>) {
        let (sender, events) = mpsc::channel(capacity.max(1));
        let end = Arc::new(End::default());
        let queue = Queue { sender: Mutex::new(Some(sender)), end: end.clone() };
        (Subscriber::to(Arc::new(queue)), Subscription { events, end })
    }

    /// The next event, once there is one.
    ///
    /// # Errors
    /// [`Unsubscribed`]: it is over, and everything before was answered. It stays so.
    ///
    /// # Cancel safety
    /// No event is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<E, Unsubscribed> {
        match self.events.recv().await {
            Some(event) => Ok(event),
            None => Err(self.end.why.get().cloned().unwrap_or(Unsubscribed::Dropped)),
        }
    }
}

impl<E: 'static> Subscriber<E> {
    /// One that tells this sink.
    pub fn to(sink: Arc<dyn Sink<E>>) -> Self {
        Subscriber { sink }
    }

    /// Ends the subscription in order, with the reason. On a cluster too this is at once: that
    /// there is nothing more to hear is true of whoever has lost its key.
    pub fn end(&self, reason: ExitReason) {
        self.sink.end(Unsubscribed::Ended(reason));
    }

    /// Whether it listens on another node: it may be gone without a word.
    pub fn is_distant(&self) -> bool {
        self.sink.is_distant()
    }

    /// Whether nobody listens any more.
    pub fn is_over(&self) -> bool {
        self.sink.is_over()
    }

    /// Waits until nobody listens any more.
    ///
    /// # Cancel safety
    /// Dropping the future does nothing.
    pub async fn over(&self) {
        self.sink.over().await;
    }

    /// What it tells, for whoever carries it to another node.
    pub fn sink(&self) -> &Arc<dyn Sink<E>> {
        &self.sink
    }
}

/// The sink of a [`Subscription`].
struct Queue<E> {
    /// None once it is over.
    sender: Mutex<Option<mpsc::Sender<E>>>,
    end: Arc<End>,
}

impl<E> Drop for Subscription<E> {
    fn drop(&mut self) {
        self.end.set(Unsubscribed::Dropped);
    }
}

impl<E: Send + 'static> Sink<E> for Queue<E> {
    fn push(&self, event: E) -> Result<(), PushError> {
        let mut place = self.sender.lock();
        let Some(sender) = &*place else { return Err(PushError::Over) };
        match sender.try_send(event) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(PushError::Over),
            Err(mpsc::error::TrySendError::Full(_)) => {
                // Before the queue is closed, so that whoever sees that sees why.
                self.end.set(Unsubscribed::Overflow);
                *place = None;
                Err(PushError::Overflow)
            }
        }
    }

    fn end(&self, why: Unsubscribed) {
        let mut place = self.sender.lock();
        self.end.set(why);
        *place = None;
    }

    fn is_over(&self) -> bool {
        self.end.over.get().is_some()
    }

    fn over(&self) -> Later<'_, ()> {
        Box::pin(async {
            self.end.over.wait().await;
        })
    }
}

impl<E> Clone for Subscriber<E> {
    fn clone(&self) -> Self {
        Subscriber { sink: self.sink.clone() }
    }
}

impl<E> fmt::Debug for Subscriber<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber").finish_non_exhaustive()
    }
}

impl<E> fmt::Debug for Subscription<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("waiting", &self.events.len()).finish_non_exhaustive()
    }
}
