//! The changes as etcd tells them.

use etcd_client::{EventType, WatchOptions, WatchResponse, WatchStream};
use innkeeper_cluster::coordinator::{CoordinatorError, Entry, Later, Revision, Watch};

use crate::hedge::Outcome;
use crate::member::{Member, describe};
use crate::request::{entry, failed, number, signed, unused};

pub(crate) struct Changes {
    stream: WatchStream,
    /// What all keys begin with.
    root: String,
}

/// Watches by way of one member.
pub(crate) async fn open(
    member: &Member,
    root: &str,
    prefix: &str,
    after: Revision,
) -> Outcome<Changes> {
    let client = match member.client().await {
        Ok(client) => client,
        Err(refused) => return Outcome::NotDone(unused(member, refused)),
    };
    let options = WatchOptions::new().with_prefix().with_start_revision(signed(after + 1));
    match client.watch_client().watch(format!("{root}{prefix}"), Some(options)).await {
        Ok(stream) => Outcome::Done(Changes { stream, root: root.to_owned() }),
        Err(error) => failed(member, &error),
    }
}

impl Watch for Changes {
    fn next(&mut self) -> Later<'_, Result<Vec<Entry>, CoordinatorError>> {
        Box::pin(async {
            loop {
                let broken = |why| Err(CoordinatorError::NotDone(why));
                match self.stream.message().await {
                    Ok(Some(message)) => {
                        let entries = read(&self.root, &message)?;
                        if !entries.is_empty() {
                            return Ok(entries);
                        }
                    }
                    Ok(None) => return broken("the watch ended".to_owned()),
                    Err(error) => return broken(describe(&error)),
                }
            }
        })
    }
}

fn read(root: &str, message: &WatchResponse) -> Result<Vec<Entry>, CoordinatorError> {
    if message.compact_revision() > 0 {
        return Err(CoordinatorError::Compacted { oldest: number(message.compact_revision()) });
    }
    if message.canceled() {
        let why = format!("the watch was cancelled: {}", message.cancel_reason());
        return Err(CoordinatorError::NotDone(why));
    }
    let events = message.events().iter();
    let entries = events.filter_map(|event| {
        let is_deleted = event.event_type() == EventType::Delete;
        entry(root, event.kv()?, is_deleted)
    });
    Ok(entries.collect())
}
