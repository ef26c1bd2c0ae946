//! What happens to the processes of a scope, on whatever nodes they run, as one node hears it.

use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};

use crate::observe::Event;

/// What happens to the processes of all nodes, from an instant on. Made by
/// [`Everywhere::events`](crate::Everywhere::events).
#[derive(Debug)]
pub struct Hearing<K>(From<K>);

#[derive(Debug)]
enum From<K> {
    Here(broadcast::Receiver<Event<K>>),
    Everywhere(mpsc::Receiver<Heard<K>>),
}

/// Something that is heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard<K> {
    /// The node that it is heard of, by name; `None` if it is the one that listens.
    pub node: Option<Arc<str>>,
    /// What.
    pub what: Tidings<K>,
}

/// What is heard of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tidings<K> {
    /// Something happened there.
    Event(Event<K>),
    /// So many events are not heard: they came faster than they were taken.
    Missed(u64),
    /// Nobody knows how many are not heard: the node could not be listened to for a while.
    Deaf,
}

impl<K: Clone> Hearing<K> {
    pub(crate) fn here(events: broadcast::Receiver<Event<K>>) -> Self {
        Hearing(From::Here(events))
    }

    /// What was put together from all nodes.
    pub fn everywhere(heard: mpsc::Receiver<Heard<K>>) -> Self {
        Hearing(From::Everywhere(heard))
    }

    /// What is heard next; those of one node in the order in which they happened. `None`: the scope
    /// has ended here.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Heard<K>> {
        match &mut self.0 {
            From::Everywhere(heard) => heard.recv().await,
            From::Here(events) => {
                let what = match events.recv().await {
                    Ok(event) => Tidings::Event(event),
                    Err(RecvError::Lagged(missed)) => Tidings::Missed(missed),
                    Err(RecvError::Closed) => return None,
                };
                Some(Heard { node: None, what })
            }
        }
    }
}
