//! A bucket: keys and values in memory, and a word to whoever subscribes.

use std::collections::HashMap;

use innkeeper::{StartError, process};

use crate::kv_guide::Subscribers;
use crate::kv_guide::server::SubscriberMessage;

/// The guide's `KV.Bucket`. After a crash it is there again, and empty.
#[derive(Debug)]
pub struct Bucket {
    name: String,
    values: HashMap<String, String>,
    subscribers: Subscribers,
}

#[process]
impl Bucket {
    async fn init(args: &(String, Subscribers)) -> Result<Self, StartError> {
        let (name, subscribers) = args.clone();
        Ok(Bucket { name, values: HashMap::new(), subscribers })
    }

    /// The value of a key.
    #[call]
    pub fn get(&mut self, key: String) -> Option<String> {
        self.values.get(&key).cloned()
    }

    /// Sets a key. Whoever subscribes has been told when this is answered.
    #[call]
    pub fn put(&mut self, key: String, value: String) {
        self.tell(format!("{key} SET TO {value}"));
        self.values.insert(key, value);
    }

    /// Deletes a key, and answers what it was. Told also if it was not there.
    #[call]
    pub fn delete(&mut self, key: String) -> Option<String> {
        self.tell(format!("{key} DELETED"));
        self.values.remove(&key)
    }

    fn tell(&self, line: String) {
        let line = || SubscriberMessage::Line { line: line.clone() };
        self.subscribers.publish_with(&self.name, line);
    }
}
