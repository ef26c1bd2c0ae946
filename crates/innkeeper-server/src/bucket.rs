//! A bucket: keys and values in memory, and those who want to hear of changes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use innkeeper::{ProcessRef, StartError, process};
use innkeeper_api::RoomKey;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::limits;

/// Where the changes of a bucket go, a line each.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) sender: mpsc::Sender<Arc<str>>,
    /// Set when the subscriber is dropped because it does not keep up.
    pub(crate) slow: Arc<AtomicBool>,
}

/// The address of a bucket.
pub(crate) type BucketRef = ProcessRef<BucketMessage>;

/// Why a bucket does not take something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BucketFull;

pub(crate) struct Bucket {
    values: HashMap<String, String>,
    bytes: usize,
    subscribers: Vec<Lines>,
}

#[process]
impl Bucket {
    async fn init(_key: &RoomKey) -> Result<Self, StartError> {
        Ok(Bucket { values: HashMap::new(), bytes: 0, subscribers: Vec::new() })
    }

    #[call]
    pub(crate) fn get(&mut self, key: String) -> Option<String> {
        self.values.get(&key).cloned()
    }

    #[call]
    pub(crate) fn put(&mut self, key: String, value: String) -> Result<(), BucketFull> {
        let old = self.values.get(&key).map(|old| key.len() + old.len());
        let new = key.len() + value.len();
        let bytes = self.bytes - old.unwrap_or(0) + new;
        let keys = self.values.len() + usize::from(old.is_none());
        if bytes > limits::BUCKET_BYTES || keys > limits::BUCKET_KEYS {
            return Err(BucketFull);
        }
        self.bytes = bytes;
        self.tell(format!("{key} SET TO {value}\r\n"));
        self.values.insert(key, value);
        Ok(())
    }

    /// Deletes a key. Subscribers hear of it also if it was not there, as in the guide.
    #[call]
    pub(crate) fn delete(&mut self, key: String) {
        if let Some(old) = self.values.remove(&key) {
            self.bytes -= key.len() + old.len();
        }
        self.tell(format!("{key} DELETED\r\n"));
    }

    #[call]
    pub(crate) fn subscribe(&mut self, lines: Lines) -> Result<(), BucketFull> {
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

    async fn idle(&mut self) -> bool {
        false
    }

    fn tell(&mut self, line: String) {
        if self.subscribers.is_empty() {
            return;
        }
        let line: Arc<str> = line.into();
        // Whoever is dropped here sees the end of its lines.
        self.subscribers.retain(|lines| match lines.sender.try_send(line.clone()) {
            Ok(()) => true,
            Err(TrySendError::Closed(_)) => false,
            Err(TrySendError::Full(_)) => {
                lines.slow.store(true, Ordering::Release);
                false
            }
        });
    }

    fn forget_closed(&mut self) {
        self.subscribers.retain(|lines| !lines.sender.is_closed());
    }
}
