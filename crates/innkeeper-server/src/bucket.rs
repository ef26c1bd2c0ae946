//! A bucket: keys and values in memory, and those who want to hear of changes.

use std::collections::HashMap;

use bytes::Bytes;
use innkeeper::{Context, ProcessRef, StartError, Subscriber, process};
use innkeeper_api::RoomKey;
use serde::{Deserialize, Serialize};

use crate::limits;

/// The address of a bucket.
pub(crate) type BucketRef = ProcessRef<BucketMessage>;

/// Why a bucket does not take something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BucketFull;

pub(crate) struct Bucket {
    values: HashMap<String, String>,
    bytes: usize,
    /// Each hears of a change as the line that it is told in.
    subscribers: Vec<Subscriber<Bytes>>,
}

#[process(remote)]
impl Bucket {
    async fn init(_key: &RoomKey, ctx: &mut Context<Self>) -> Result<Self, StartError> {
        let values: HashMap<String, String> = match ctx.handed() {
            Some(packed) => serde_json::from_slice(&packed).map_err(StartError::failed)?,
            None => HashMap::new(),
        };
        let bytes = values.iter().map(|(key, value)| key.len() + value.len()).sum();
        Ok(Bucket { values, bytes, subscribers: Vec::new() })
    }

    #[call]
    pub(crate) fn get(&mut self, key: String) -> Option<String> {
        self.values.get(&key).cloned()
    }

    #[call]
    pub(crate) fn put(
        &mut self,
        key: String,
        value: String,
        ctx: &mut Context<Self>,
    ) -> Result<(), BucketFull> {
        let old = self.values.get(&key).map(|old| key.len() + old.len());
        let new = key.len() + value.len();
        let bytes = self.bytes - old.unwrap_or(0) + new;
        let keys = self.values.len() + usize::from(old.is_none());
        if bytes > limits::BUCKET_BYTES || keys > limits::BUCKET_KEYS {
            return Err(BucketFull);
        }
        self.bytes = bytes;
        self.tell(format!("{key} SET TO {value}\r\n"), ctx);
        self.values.insert(key, value);
        Ok(())
    }

    /// Deletes a key. Subscribers hear of it also if it was not there, as in the guide.
    #[call]
    pub(crate) fn delete(&mut self, key: String, ctx: &mut Context<Self>) {
        if let Some(old) = self.values.remove(&key) {
            self.bytes -= key.len() + old.len();
        }
        self.tell(format!("{key} DELETED\r\n"), ctx);
    }

    #[call]
    pub(crate) fn subscribe(&mut self, lines: Subscriber<Bytes>) -> Result<(), BucketFull> {
        self.forget_closed();
        if self.subscribers.len() >= limits::BUCKET_SUBSCRIBERS {
            return Err(BucketFull);
        }
        self.subscribers.push(lines);
        Ok(())
    }

    #[call]
    pub(crate) fn count_subscriptions(&mut self) -> usize {
        self.forget_closed();
        self.subscribers.len()
    }

    /// The bucket goes on at another node; its subscribers are told to come again.
    async fn on_handoff(&mut self) -> Option<Vec<u8>> {
        // Text can always be written as JSON.
        serde_json::to_vec(&self.values).ok()
    }

    async fn idle(&mut self) -> bool {
        false
    }

    fn tell(&mut self, line: String, ctx: &Context<Self>) {
        if self.subscribers.is_empty() {
            return;
        }
        let line = Bytes::from(line);
        // Whoever does not keep up hears that, and nothing else any more.
        self.subscribers.retain(|lines| ctx.push(lines, line.clone()).is_ok());
    }

    fn forget_closed(&mut self) {
        self.subscribers.retain(|lines| !lines.is_over());
    }
}
