//! How a [`Subscriber`](innkeeper::Subscriber) travels in a message to another node: not as bytes,
//! but as a subscription that is made along with the message.
//!
//! `#[process(remote)]` writes an argument of that type down like this; a message that is made by
//! hand names the module:
//!
//! ```
//! use innkeeper::Subscriber;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! enum Say {
//!     Listen {
//!         #[serde(with = "innkeeper_cluster::subscriber")]
//!         who: Subscriber<String>,
//!     },
//! }
//! ```
//!
//! A message can bring one subscriber, and only a message that is said to a process can: anything
//! else that it is part of is refused when it is written down.

use std::any::Any;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Arc;

use innkeeper::placement::Later;
use innkeeper::{PushError, Sink, Unsubscribed};
use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::cluster::asked::{self, Exit, Fed};
use crate::frame::Under;
use crate::links;

/// Who listens on this node to what a process on another one tells.
pub(crate) trait Listening: Send + Sync {
    /// Tells it what came, behind all that came before.
    fn push(&self, event: &[u8]) -> Result<(), PushError>;

    fn end(&self, why: Unsubscribed);

    fn over(&self) -> Later<'_, ()>;

    /// The subscriber itself, for a message that comes back.
    fn subscriber(&self) -> Box<dyn Any>;
}

/// Where the subscriber of a message that is read comes from.
pub(crate) enum Origin {
    /// Another node.
    Distant(Arc<links::Subscriber>, Under),
    /// Here: the message was not delivered.
    Back(Arc<dyn Listening>),
}

/// A message that is being written down.
#[derive(Default)]
enum Outgoing {
    /// None may bring a subscriber now.
    #[default]
    Closed,
    Open(Option<Arc<dyn Listening>>),
}

thread_local! {
    static OUTGOING: RefCell<Outgoing> = const { RefCell::new(Outgoing::Closed) };
    static INCOMING: RefCell<Option<Origin>> = const { RefCell::new(None) };
}

/// Runs this, which writes a message down, and answers with the subscriber that it brings.
pub(crate) fn outgoing<T>(write: impl FnOnce() -> T) -> (T, Option<Arc<dyn Listening>>) {
    OUTGOING.set(Outgoing::Open(None));
    let written = write();
    match OUTGOING.take() {
        Outgoing::Open(brought) => (written, brought),
        Outgoing::Closed => (written, None),
    }
}

/// Runs this, which reads a message whose subscriber comes from there.
pub(crate) fn incoming<T>(origin: Origin, read: impl FnOnce() -> T) -> T {
    INCOMING.set(Some(origin));
    let done = read();
    // What it brought and was not read is over.
    drop(INCOMING.take());
    done
}

/// For `#[serde(with = "innkeeper_cluster::subscriber")]`.
///
/// # Errors
/// It is not part of a message that is said to a process, or there is one in it already.
pub fn serialize<E, S>(
    subscriber: &innkeeper::Subscriber<E>,
    serializer: S,
) -> Result<S::Ok, S::Error>
where
    E: DeserializeOwned + Send + 'static,
    S: Serializer,
{
    let here: Arc<dyn Listening> = Arc::new(Here(subscriber.clone()));
    OUTGOING.with_borrow_mut(|outgoing| match outgoing {
        Outgoing::Open(place @ None) => {
            *place = Some(here);
            Ok(())
        }
        Outgoing::Open(Some(_)) => Err(S::Error::custom("a message can bring one subscriber")),
        Outgoing::Closed => Err(S::Error::custom(
            "a subscriber can be written down only as part of a message to a process",
        )),
    })?;
    serializer.serialize_unit()
}

/// For `#[serde(with = "innkeeper_cluster::subscriber")]`.
///
/// # Errors
/// As [`serialize`].
pub fn deserialize<'de, E, D>(deserializer: D) -> Result<innkeeper::Subscriber<E>, D::Error>
where
    E: Serialize + Send + 'static,
    D: Deserializer<'de>,
{
    <()>::deserialize(deserializer)?;
    match INCOMING.take() {
        Some(Origin::Distant(to, under)) => {
            let there = There { to, under, events: PhantomData };
            Ok(innkeeper::Subscriber::to(Arc::new(there)))
        }
        Some(Origin::Back(here)) => {
            let back = here.subscriber().downcast::<innkeeper::Subscriber<E>>();
            back.map(|back| *back).map_err(|_| D::Error::custom("another subscriber came back"))
        }
        None => Err(D::Error::custom("no subscriber came with this message")),
    }
}

/// A subscriber on this node.
struct Here<E>(innkeeper::Subscriber<E>);

impl<E: DeserializeOwned + Send + 'static> Listening for Here<E> {
    fn push(&self, event: &[u8]) -> Result<(), PushError> {
        match asked::read(event) {
            Some(event) => self.0.sink().push(event),
            None => {
                tracing::error!("an event from another node cannot be read; listening ends");
                self.end(Unsubscribed::Unreachable);
                Err(PushError::Over)
            }
        }
    }

    fn end(&self, why: Unsubscribed) {
        self.0.sink().end(why);
    }

    fn over(&self) -> Later<'_, ()> {
        self.0.sink().over()
    }

    fn subscriber(&self) -> Box<dyn Any> {
        Box::new(self.0.clone())
    }
}

/// A subscriber on another node.
struct There<E> {
    to: Arc<links::Subscriber>,
    under: Under,
    events: PhantomData<fn(E)>,
}

impl<E: Serialize + Send + 'static> Sink<E> for There<E> {
    fn push(&self, event: E) -> Result<(), PushError> {
        let Some(body) = asked::write(&Fed::Event(event)) else {
            self.to.drop_out();
            return Err(PushError::Over);
        };
        self.to.push(Some(self.under), body).map_err(|error| match error {
            links::PushError::Over => PushError::Over,
            links::PushError::TooLarge { .. } => {
                tracing::error!(%error, "an event was not told; listening ends");
                self.to.drop_out();
                PushError::Overflow
            }
        })
    }

    fn end(&self, why: Unsubscribed) {
        match why {
            Unsubscribed::Ended(reason) => match asked::write(&Exit::from(reason)) {
                Some(why) => self.to.end(why),
                None => self.to.drop_out(),
            },
            _ => self.to.drop_out(),
        }
    }

    fn is_distant(&self) -> bool {
        true
    }

    fn is_over(&self) -> bool {
        self.to.is_over()
    }

    fn over(&self) -> Later<'_, ()> {
        Box::pin(self.to.over())
    }
}
