//! A placement of one node, under rights that the test gives and takes.

use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::Duration;

use innkeeper::placement::{
    Admission, Failed, Hosted, Kept, Later, Placement, Placer, Standing, Tenure,
};
use innkeeper::{
    Away, ExitReason, Gathered, GetError, Hearing, KeyRange, Missing, NoAnswer, NodeCount,
    NotDelivered, Outcome, Page, ProcessInfo, ProcessRef, StopError,
};
use tokio::sync::watch;

use crate::support::Key;

/// A right that the test gives and takes.
pub(crate) struct Right {
    epoch: u64,
    /// Of the node that has it.
    admission: Option<Admission>,
    standing: Mutex<(Standing, Vec<Waker>)>,
    /// The mistake: what a handler has brought about leaves unchecked.
    unchecked: bool,
}

impl Right {
    pub(crate) fn new(epoch: u64) -> Arc<Right> {
        Arc::new(Right::of(epoch, None))
    }

    /// On a node that lets so many processes begin at once.
    pub(crate) fn admitting(admission: &Admission) -> Arc<Right> {
        Arc::new(Right::of(1, Some(admission.clone())))
    }

    /// The mistake.
    pub(super) fn unchecked() -> Right {
        Right { unchecked: true, ..Right::of(1, None) }
    }

    fn of(epoch: u64, admission: Option<Admission>) -> Right {
        let standing = Mutex::new((Standing::Yes, Vec::new()));
        Right { epoch, admission, standing, unchecked: false }
    }

    pub(crate) fn set(&self, standing: Standing) {
        let mut now = self.standing.lock().unwrap();
        now.0 = standing;
        let woken = std::mem::take(&mut now.1);
        drop(now);
        woken.into_iter().for_each(Waker::wake);
    }
}

impl Tenure for Right {
    /// Every key is of the same.
    fn shard(&self) -> u64 {
        0
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn node(&self) -> Option<&str> {
        Some("here")
    }

    fn admission(&self) -> Option<&Admission> {
        self.admission.as_ref()
    }

    fn begin(&self) -> Standing {
        self.standing.lock().unwrap().0
    }

    fn release(&self) -> Standing {
        if self.unchecked { Standing::Yes } else { self.begin() }
    }

    fn wake_on_change(&self, waker: &Waker) {
        self.standing.lock().unwrap().1.push(waker.clone());
    }
}

/// A cluster of one node: every key is here under the right that the test has given, or nowhere.
pub(crate) struct Here<P: innkeeper::Process> {
    right: Mutex<Option<Arc<Right>>>,
    hosted: Mutex<Option<Hosted<Key, P>>>,
    /// What the first process under the second right is handed.
    pub(super) handed: Mutex<Option<Vec<u8>>>,
    given: watch::Sender<()>,
}

impl<P: innkeeper::Process> Here<P> {
    pub(super) fn give(&self, right: Option<&Arc<Right>>) {
        *self.right.lock().unwrap() = right.cloned();
        self.given.send_replace(());
    }

    pub(super) fn hosted(&self) -> Hosted<Key, P> {
        self.hosted.lock().unwrap().clone().unwrap()
    }
}

pub(crate) struct Cluster<P: innkeeper::Process>(pub(super) Arc<Here<P>>);

impl<P: innkeeper::Process> Cluster<P> {
    pub(crate) fn new(right: &Arc<Right>) -> Self {
        let right = Mutex::new(Some(right.clone()));
        let (hosted, handed) = (Mutex::default(), Mutex::default());
        Cluster(Arc::new(Here { right, hosted, handed, given: watch::Sender::new(()) }))
    }
}

impl<P: innkeeper::Process> Cluster<P> {
    pub(crate) fn give(&self, right: Option<&Arc<Right>>) {
        self.0.give(right);
    }

    pub(crate) async fn end_lost(&self) {
        self.0.hosted().end_lost().await;
    }
}

impl<P: innkeeper::Process> Clone for Cluster<P> {
    fn clone(&self) -> Self {
        Cluster(self.0.clone())
    }
}

impl<P: innkeeper::Process> Placer<Key, P> for Cluster<P> {
    fn placement(&self, _: &str) -> Option<Arc<dyn Placement<Key, P>>> {
        Some(self.0.clone())
    }
}

pub(super) const NOBODY: Away = Away::NotOwner;

impl<P: innkeeper::Process> Placement<Key, P> for Here<P> {
    fn host(self: Arc<Self>, here: Hosted<Key, P>) {
        *self.hosted.lock().unwrap() = Some(here);
    }

    fn here(&self, _: &Key) -> Option<Arc<dyn Tenure>> {
        let right = self.right.lock().unwrap().clone()?;
        Some(right)
    }

    fn kept(&self, key: &Key, tenure: &dyn Tenure) -> Option<Kept> {
        self.handed(key, tenure).map(|_| -> Kept { Box::new(|| true) })
    }

    fn handed(&self, _: &Key, tenure: &dyn Tenure) -> Option<Vec<u8>> {
        self.handed.lock().unwrap().clone().filter(|_| tenure.epoch() == 2)
    }

    fn settled(&self, _: &Key, _: &dyn Tenure) -> Vec<P::Message> {
        *self.handed.lock().unwrap() = None;
        Vec::new()
    }

    fn get(
        &self,
        _: &Key,
        _: bool,
        _: Duration,
    ) -> Later<'static, Result<Outcome<ProcessRef<P::Message>>, GetError>> {
        Box::pin(async { Err(GetError::Away(NOBODY)) })
    }

    fn call(
        &self,
        _: &Key,
        _: &P::Message,
        _: Duration,
    ) -> Later<'static, Result<<P::Message as innkeeper::Message>::Reply, Failed>> {
        Box::pin(async { Err(Failed::NotDelivered(NotDelivered::Away(NOBODY))) })
    }

    fn cast(
        &self,
        _: &Key,
        _: &P::Message,
        _: Duration,
    ) -> Later<'static, Result<(), NotDelivered>> {
        Box::pin(async { Err(NotDelivered::Away(NOBODY)) })
    }

    fn stop(&self, _: &Key, _: ExitReason, _: Duration) -> Later<'static, Result<(), StopError>> {
        Box::pin(async { Err(StopError::Away(NOBODY)) })
    }

    fn info(&self, _: &Key, _: Duration) -> Later<'static, Result<Option<ProcessInfo>, NoAnswer>> {
        Box::pin(async { Err(NoAnswer::Away(NOBODY)) })
    }

    /// Of those that run under the right that it has now.
    fn count(&self, _: Duration) -> Later<'static, Gathered<Vec<NodeCount>>> {
        let (here, right) = (self.hosted(), self.right.lock().unwrap().clone());
        Box::pin(async move {
            let Some(right) = right else {
                let missing = vec![Missing::Nobody { parts: 1, of: 1 }];
                return Gathered { value: Vec::new(), missing };
            };
            let mut count = 0;
            here.visit(|tenure| count += usize::from(tenure.epoch() == right.epoch)).await;
            Gathered::whole(vec![NodeCount { node: None, keys: count }])
        })
    }

    fn page(
        &self,
        range: KeyRange<Key>,
        limit: usize,
        _: Duration,
    ) -> Later<'static, Gathered<Page<Key>>> {
        let (here, right) = (self.hosted(), self.right.lock().unwrap().clone());
        Box::pin(async move {
            let is_now = |tenure: &dyn Tenure| {
                right.as_ref().is_some_and(|right| right.epoch == tenure.epoch())
            };
            Gathered::whole(here.page(&range, limit, is_now).await)
        })
    }

    fn tenures(&self) -> Vec<Arc<dyn Tenure>> {
        let right = self.right.lock().unwrap().clone();
        right.into_iter().map(|right| -> Arc<dyn Tenure> { right }).collect()
    }

    fn news(&self) -> watch::Receiver<()> {
        self.given.subscribe()
    }

    /// Nobody is heard: whoever listens hears nothing.
    fn events(&self) -> Later<'static, Hearing<Key>> {
        let (_, heard) = tokio::sync::mpsc::channel(1);
        Box::pin(async { Hearing::everywhere(heard) })
    }

    fn stop_all(&self, _: Duration) -> Later<'static, Gathered<usize>> {
        let here = self.hosted();
        Box::pin(async move {
            let ending = here.end_all(|tenure| tenure.epoch() == 2).await;
            let told = ending.told();
            ending.wait().await;
            Gathered::whole(told)
        })
    }

    fn pause(&self, _: &Key, _: u32) -> Later<'static, ()> {
        Box::pin(tokio::time::sleep(Duration::from_millis(50)))
    }
}
