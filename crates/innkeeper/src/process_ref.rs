//! The address of one incarnation of a process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::call::{Answer, Call, Cast};
use crate::clock;
use crate::error::{Away, NotDelivered, StopError};
use crate::exit::ExitReason;
use crate::incarnation::Incarnation;
use crate::node::Node;
use crate::observe::ProcessInfo;
use crate::process::Message;
use crate::registry::slot::Signal;
use crate::wait_for;

/// A process that takes messages of one type.
pub(crate) trait Port<M: Message>: Node {
    /// Puts a message into the mailbox: for one incarnation, or, for [`Incarnation::NONE`], for
    /// whichever is next.
    ///
    /// # Errors
    /// Why it was refused; then the message stays where it is.
    fn deliver(
        &self,
        to: Incarnation,
        message: &mut Option<M>,
        answer: Option<&Arc<Answer<M>>>,
    ) -> Result<(), Refused>;

    /// Takes a call back that has not been begun.
    fn withdraw(&self, answer: &Arc<Answer<M>>) -> Option<M>;
}

/// Why a mailbox does not take a message.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refused {
    Full { capacity: u32 },
    Ended,
    Stopping,
    Away(Away),
}

impl From<Refused> for NotDelivered {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full { capacity } => NotDelivered::Full { capacity },
            Refused::Ended => NotDelivered::Ended,
            Refused::Stopping => NotDelivered::Stopping,
            Refused::Away(away) => NotDelivered::Away(away),
        }
    }
}

/// The address of one incarnation of a process (OTP's pid), typed by what can be said to it.
///
/// # Guarantees
/// It names one incarnation, for ever: after its end every message is refused as
/// [`NotDelivered::Ended`], also when the process was restarted or the key started anew. To name
/// whichever incarnation there is, use [`Keyed::via`](crate::Keyed::via).
pub struct ProcessRef<M: Message> {
    pub(crate) port: Arc<dyn Port<M>>,
    pub(crate) incarnation: Incarnation,
}

impl<M: Message> ProcessRef<M> {
    #[inline]
    pub(crate) fn new(port: Arc<dyn Port<M>>, incarnation: Incarnation) -> Self {
        ProcessRef { port, incarnation }
    }

    /// The address of whichever incarnation there is: for messages that name the key.
    pub(crate) fn whichever(port: Arc<dyn Port<M>>) -> Self {
        ProcessRef { port, incarnation: Incarnation::NONE }
    }

    /// Which incarnation it names.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The fencing token of the ownership that it runs under; 0 on one node. See
    /// [`Context::epoch`](crate::Context::epoch).
    pub fn epoch(&self) -> u64 {
        self.port.epoch()
    }

    /// Whether it runs on another node.
    pub fn is_distant(&self) -> bool {
        self.port.is_distant()
    }

    /// Whether that incarnation handles messages now, as far as is known here. It may have ended
    /// when the answer is read.
    pub fn is_alive(&self) -> bool {
        self.port.is_live(self.incarnation)
    }

    /// Says something and waits for the reply (OTP's `GenServer.call/3`).
    ///
    /// # Guarantees
    /// Messages of one sender to one incarnation are handled in the order they were sent.
    ///
    /// # Errors
    /// - [`CallError::NotDelivered`](crate::CallError::NotDelivered): it did not run; the message
    ///   is handed back.
    /// - [`CallError::Unknown`](crate::CallError::Unknown): it may have run.
    pub fn call(&self, message: M) -> Call<'_, M> {
        Call::new(self, message, std::convert::identity)
    }

    /// Says something and goes on (OTP's `GenServer.cast/2`, except that a message which cannot be
    /// accepted is an error and not lost in silence).
    ///
    /// # Errors
    /// [`CastError`](crate::CastError): it was not accepted; the message is handed back.
    pub fn cast(&self, message: M) -> Cast<'_, M> {
        Cast::new(self, message)
    }

    /// Waits for the incarnation to end, and answers why it did. At once if it has, with
    /// [`ExitReason::NoProcess`] where the reason is no longer known.
    ///
    /// # Cancel safety
    /// Dropping the future does nothing.
    pub async fn ended(&self) -> ExitReason {
        match self.port.end_of(self.incarnation) {
            Ok(end) => end.wait().await.clone(),
            Err(reason) => reason,
        }
    }

    /// Tells the incarnation to stop, and waits until it has ended (OTP's `GenServer.stop/3`).
    ///
    /// As in OTP this is an exit like any other: a supervised process is restarted after it if its
    /// child spec says so. To end a child for good, ask its supervisor or scope.
    ///
    /// # Errors
    /// - [`StopError::NotFound`]: it had ended before.
    /// - [`StopError::StillStopping`]: not within `timeout`; it goes on ending.
    /// - [`StopError::Cycle`]: a process cannot wait for its own end; see
    ///   [`Context::stop`](crate::Context::stop).
    ///
    /// # Cancel safety
    /// The order stands when the future is dropped.
    pub async fn stop(&self, reason: ExitReason, timeout: Duration) -> Result<(), StopError> {
        let _wait = wait_for::wait_for(&*self.port).map_err(StopError::Cycle)?;
        let Ok(end) = self.port.end_of(self.incarnation) else {
            return Err(StopError::NotFound);
        };
        self.port.exit(self.incarnation, Signal::Stop(reason));
        let began = clock::now();
        tokio::select! {
            biased;
            _ = end.wait() => Ok(()),
            () = clock::alarm(began.after(timeout)) => {
                Err(StopError::StillStopping { age: clock::now().since(began) })
            }
        }
    }

    /// Ends the incarnation at its next await point, without `terminate` (OTP's
    /// `Process.exit(pid, :kill)`): a crash, after which a supervised process is restarted if its
    /// child spec says so. Returns at once.
    pub fn kill(&self) {
        self.port.exit(self.incarnation, Signal::Kill(ExitReason::Killed));
    }

    /// A snapshot of the process. Never waits for it.
    pub fn info(&self) -> ProcessInfo {
        self.port.info()
    }
}

impl<M: Message> Clone for ProcessRef<M> {
    fn clone(&self) -> Self {
        ProcessRef { port: self.port.clone(), incarnation: self.incarnation }
    }
}

impl<M: Message> PartialEq for ProcessRef<M> {
    /// Whether both name the same incarnation.
    fn eq(&self, other: &Self) -> bool {
        self.incarnation == other.incarnation
    }
}

impl<M: Message> Eq for ProcessRef<M> {}

impl<M: Message> fmt::Debug for ProcessRef<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ProcessRef").field(&self.incarnation).finish()
    }
}
