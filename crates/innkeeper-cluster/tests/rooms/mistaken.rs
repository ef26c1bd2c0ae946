//! A cluster that forgets one of its checks.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use innkeeper::placement::{Failed, Hosted, Kept, Later, Placement, Placer, Standing, Tenure};
use innkeeper::{
    ExitReason, Gathered, GetError, Hearing, KeyRange, NoAnswer, NodeCount, NotDelivered, Outcome,
    Page, ProcessInfo, ProcessRef, StopError,
};
use innkeeper_cluster::Cluster;
use tokio::sync::watch;

use crate::Mistake;
use crate::program::{Add, Added, Room};

/// A cluster that makes a mistake about its own processes.
#[derive(Clone)]
pub(crate) struct Mistaken {
    pub(crate) cluster: Cluster,
    pub(crate) mistake: Mistake,
}

struct Placing {
    real: Arc<dyn Placement<String, Room>>,
    mistake: Mistake,
}

struct Right {
    real: Arc<dyn Tenure>,
    mistake: Mistake,
}

impl Tenure for Right {
    fn shard(&self) -> u64 {
        self.real.shard()
    }

    fn epoch(&self) -> u64 {
        self.real.epoch()
    }

    fn begin(&self) -> Standing {
        match self.real.begin() {
            Standing::NotNow if self.mistake == Mistake::NoFirstCheck => Standing::Yes,
            standing => standing,
        }
    }

    fn release(&self) -> Standing {
        match self.mistake {
            // What is begun unchecked would be held.
            Mistake::NoFirstCheck => Standing::Yes,
            _ => self.real.release(),
        }
    }

    fn wake_on_change(&self, waker: &Waker) {
        self.real.wake_on_change(waker);
    }
}

impl Placer<String, Room> for Mistaken {
    fn placement(&self, scope: &str) -> Option<Arc<dyn Placement<String, Room>>> {
        let real = self.cluster.placement(scope)?;
        Some(Arc::new(Placing { real, mistake: self.mistake }))
    }
}

impl Placement<String, Room> for Placing {
    fn host(self: Arc<Self>, here: Hosted<String, Room>) {
        self.real.clone().host(here);
    }

    fn here(&self, key: &String) -> Option<Arc<dyn Tenure>> {
        let real = self.real.here(key)?;
        Some(Arc::new(Right { real, mistake: self.mistake }))
    }

    fn kept(&self, key: &String, tenure: &dyn Tenure) -> Option<Kept> {
        self.real.kept(key, tenure)
    }

    fn handed(&self, key: &String, tenure: &dyn Tenure) -> Option<Vec<u8>> {
        self.real.handed(key, tenure)
    }

    fn settled(&self, key: &String, tenure: &dyn Tenure) -> Vec<Add> {
        self.real.settled(key, tenure)
    }

    fn get(
        &self,
        key: &String,
        starts: bool,
        within: Duration,
    ) -> Later<'static, Result<Outcome<ProcessRef<Add>>, GetError>> {
        self.real.get(key, starts, within)
    }

    fn call(
        &self,
        key: &String,
        message: &Add,
        within: Duration,
    ) -> Later<'static, Result<Added, Failed>> {
        self.real.call(key, message, within)
    }

    fn cast(
        &self,
        key: &String,
        message: &Add,
        within: Duration,
    ) -> Later<'static, Result<(), NotDelivered>> {
        self.real.cast(key, message, within)
    }

    fn stop(
        &self,
        key: &String,
        reason: ExitReason,
        within: Duration,
    ) -> Later<'static, Result<(), StopError>> {
        self.real.stop(key, reason, within)
    }

    fn info(
        &self,
        key: &String,
        within: Duration,
    ) -> Later<'static, Result<Option<ProcessInfo>, NoAnswer>> {
        self.real.info(key, within)
    }

    fn count(&self, within: Duration) -> Later<'static, Gathered<Vec<NodeCount>>> {
        self.real.count(within)
    }

    fn page(
        &self,
        range: KeyRange<String>,
        limit: usize,
        within: Duration,
    ) -> Later<'static, Gathered<Page<String>>> {
        self.real.page(range, limit, within)
    }

    fn tenures(&self) -> Vec<Arc<dyn Tenure>> {
        let right = |real| -> Arc<dyn Tenure> { Arc::new(Right { real, mistake: self.mistake }) };
        self.real.tenures().into_iter().map(right).collect()
    }

    fn news(&self) -> watch::Receiver<()> {
        self.real.news()
    }

    fn events(&self) -> Later<'static, Hearing<String>> {
        self.real.events()
    }

    fn stop_all(&self, within: Duration) -> Later<'static, Gathered<usize>> {
        self.real.stop_all(within)
    }

    fn pause(&self, key: &String, tries: u32) -> Later<'static, ()> {
        self.real.pause(key, tries)
    }
}
