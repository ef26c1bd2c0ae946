//! Decides whether etcd is still the one that it was, and no younger.

use parking_lot::Mutex;

use innkeeper_cluster::coordinator::{CoordinatorError, Revision};

/// What is known of the etcd that this program began with.
#[derive(Debug, Default)]
pub(crate) struct Pin(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    cluster: Option<u64>,
    revision: Revision,
}

impl Pin {
    /// The highest revision so far. Whatever is asked from now on has to be answered at it or
    /// later.
    pub(crate) fn floor(&self) -> Revision {
        self.0.lock().revision
    }

    /// An answer to a transaction that was sent after `floor` was read.
    pub(crate) fn check(
        &self,
        cluster: u64,
        revision: Revision,
        floor: Revision,
    ) -> Result<(), CoordinatorError> {
        self.check_cluster(cluster)?;
        if revision < floor {
            return Err(CoordinatorError::Rewound(format!(
                "etcd is at revision {revision} and has been at {floor}: it was restored from an \
                 older snapshot; stop all nodes, begin a new generation (innkeeper cluster \
                 new-generation), and start them"
            )));
        }
        let mut known = self.0.lock();
        known.revision = known.revision.max(revision);
        Ok(())
    }

    pub(crate) fn check_cluster(&self, cluster: u64) -> Result<(), CoordinatorError> {
        let known = *self.0.lock().cluster.get_or_insert(cluster);
        if known == cluster {
            return Ok(());
        }
        Err(CoordinatorError::Rewound(format!(
            "this is etcd cluster {cluster:x}, and it was {known:x} at the start; if it is to take \
             the place of that one, stop all nodes, and start them"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_state_and_another_cluster_are_noticed() {
        let pin = Pin::default();
        assert!(pin.check(7, 10, 0).is_ok());
        // Sent before the other was answered, and carried out before it.
        assert!(pin.check(7, 9, 0).is_ok());
        assert_eq!(pin.floor(), 10);
        let rewound = pin.check(7, 9, 10).unwrap_err().to_string();
        assert!(rewound.contains("at revision 9 and has been at 10"), "{rewound}");
        let other = pin.check_cluster(8).unwrap_err().to_string();
        assert!(other.contains("cluster 8, and it was 7"), "{other}");
    }
}
