//! One name of one process, with its value.

use std::sync::Arc;

use crate::keyed::Key;
use crate::process::Message;
use crate::process_ref::ProcessRef;
use crate::registry::table::Row;
use crate::seam::Mutex;

/// What a registry keeps of one registration.
#[derive(Debug)]
pub struct Entry<K, M: Message, V> {
    pub(crate) key: K,
    pub(crate) hash: u64,
    /// Tells it from every other entry of its registry, and says in which order they came.
    pub(crate) number: u64,
    pub(crate) process: ProcessRef<M>,
    /// With how often it was changed.
    value: Mutex<(u64, V)>,
}

impl<K: Key, M: Message, V: Clone + Send + 'static> Entry<K, M, V> {
    pub(crate) fn new(
        key: K,
        hash: u64,
        number: u64,
        process: ProcessRef<M>,
        value: V,
    ) -> Arc<Self> {
        Arc::new(Entry { key, hash, number, process, value: Mutex::new((0, value)) })
    }

    pub(crate) fn value(&self) -> V {
        self.value.lock().1.clone()
    }

    /// Changes the value, and answers the new and the old one. No lock is held while `change` runs,
    /// which is called again if somebody else was faster.
    pub(crate) fn update(&self, mut change: impl FnMut(V) -> V) -> (V, V) {
        loop {
            let (version, old) = self.value.lock().clone();
            let new = change(old);
            let mut kept = new.clone();
            let mut value = self.value.lock();
            if value.0 == version {
                value.0 += 1;
                std::mem::swap(&mut value.1, &mut kept);
                drop(value);
                return (new, kept);
            }
        }
    }

    /// Whether its process is no more, though nobody has noticed.
    pub(crate) fn has_ended(&self) -> bool {
        self.process.port.end_of(self.process.incarnation).is_err()
    }

    pub(crate) fn pair(&self) -> (ProcessRef<M>, V) {
        (self.process.clone(), self.value())
    }
}

impl<K: Key, M: Message, V: Clone + Send + 'static> Row for Entry<K, M, V> {
    fn hash(&self) -> u64 {
        self.hash
    }
}
