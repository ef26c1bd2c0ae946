//! Carries out what the machine of ownership says: the one task of a node's session.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::codec::Prefix;
use crate::configuration::{News, Written};
use crate::coordinator::{
    Committed, Coordinator, CoordinatorError, Entry, Later, Listing, Revision, Transaction, Watch,
};
use crate::limits;
use crate::node::Shared;
use crate::ownership::record::Versions;
use crate::ownership::{Answer, Command, Event, Over, RequestId};

/// One session, from its registration until it is over.
pub(crate) struct Driver {
    pub(crate) shared: Arc<Shared>,
    pub(crate) coordinator: Arc<dyn Coordinator>,
    pub(crate) prefix: Prefix,
    /// What the session was made under, or what that was raised to.
    pub(crate) agreed: Written,
    pub(crate) versions: Versions,
    pub(crate) reports: mpsc::Receiver<Event>,
    pub(crate) orders: mpsc::Sender<Command>,
    /// Orders that nobody has taken yet. A shard has one or two at most: each is given only after
    /// the one before was reported on, or after a transaction.
    pub(crate) waiting: VecDeque<Command>,
    pub(crate) asked: JoinSet<Told>,
    pub(crate) is_listing: bool,
    /// Whether what it was asked last was not answered.
    pub(crate) is_silent: bool,
}

/// What the coordinator said.
pub(crate) enum Told {
    Answer(RequestId, Answer),
    /// There was none.
    Silence(RequestId, String),
    List(Result<(Listing, Box<dyn Watch>), CoordinatorError>),
    Rewound(String),
}

impl Driver {
    /// Runs the session. Ends when it is over.
    pub(crate) async fn run(mut self) -> Over {
        let (beat, list_every) = {
            let timing = self.shared.timing();
            (Duration::from_nanos(timing.heartbeat), 2 * Duration::from_nanos(timing.session))
        };
        let mut ticks = tokio::time::interval(beat / limits::TICKS_PER_HEARTBEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut lists = tokio::time::interval(list_every);
        lists.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watch: Option<Box<dyn Watch>> = None;
        let orders = self.orders.clone();
        loop {
            if let Some(over) = self.shared.over() {
                return over;
            }
            tokio::select! {
                // In this order, so that a run can be repeated. Nothing starves: ticks and lists
                // are rare, and reports and answers follow what was ordered and asked.
                biased;
                _ = ticks.tick() => self.tell(Event::Tick),
                _ = lists.tick() => self.list(),
                Some(event) = self.reports.recv() => self.tell(event),
                Some(told) = self.asked.join_next(), if !self.asked.is_empty() => {
                    // A task of ours neither panics nor is aborted while we are here.
                    let Ok(told) = told else { continue };
                    if let Some(fresh) = self.hear(told) {
                        watch = Some(fresh);
                    }
                }
                seen = next(&mut watch) => {
                    if self.see(seen).is_err() {
                        watch = None;
                    }
                }
                permit = orders.reserve(), if !self.waiting.is_empty() => {
                    match (permit, self.waiting.pop_front()) {
                        (Ok(permit), Some(order)) => permit.send(order),
                        // Nobody is left to run anything: the session has no purpose.
                        (Err(_), _) => self.tell(Event::Leave),
                        (Ok(_), None) => {}
                    }
                }
            }
        }
    }

    fn tell(&mut self, event: Event) {
        for command in self.shared.apply(event) {
            match command {
                Command::Send { request, txn } => {
                    self.send(request, self.prefix.transaction(&txn));
                }
                Command::List => self.list(),
                order => self.waiting.push_back(order),
            }
        }
        // What ends the session is told even though nothing is waited for any more.
        if self.shared.over().is_some() {
            while let Some(order) = self.waiting.pop_front() {
                if self.orders.try_send(order).is_err() {
                    break;
                }
            }
        }
    }

    fn send(&mut self, request: RequestId, transaction: Transaction) {
        let within = self.shared.request_time();
        let asking = Asking {
            coordinator: self.coordinator.clone(),
            prefix: self.prefix.clone(),
            agreed: self.agreed.clone(),
            versions: self.versions,
            within,
        };
        self.asked.spawn(async move {
            // The implementation keeps to the deadline; this one is for those that do not.
            let commit = tokio::time::timeout(2 * within, asking.commit(transaction));
            match commit.await {
                Ok(Ok(committed)) if committed.done => {
                    Told::Answer(request, Answer::Done(committed.revision))
                }
                Ok(Ok(_)) => Told::Answer(request, Answer::Refused),
                Ok(Err(CoordinatorError::Rewound(why))) => Told::Rewound(why),
                Ok(Err(error)) => Told::Silence(request, error.to_string()),
                Err(_) => Told::Silence(request, "no answer in time".to_owned()),
            }
        });
    }

    /// Reads everything, and watches from there on.
    fn list(&mut self) {
        if self.is_listing {
            return;
        }
        self.is_listing = true;
        let (coordinator, all) = (self.coordinator.clone(), self.prefix.all());
        let within = self.shared.request_time();
        self.asked.spawn(async move {
            let both = async {
                let listing = coordinator.list(all.clone(), within).await?;
                let after: Revision = listing.revision;
                let watch = coordinator.watch(all, after, within).await?;
                Ok((listing, watch))
            };
            let late = || CoordinatorError::NotDone("not listed in time".to_owned());
            let result = tokio::time::timeout(2 * within, both).await;
            match result.unwrap_or_else(|_| Err(late())) {
                Err(CoordinatorError::Rewound(why)) => Told::Rewound(why),
                result => Told::List(result),
            }
        });
    }

    /// The watch to go on with, if there is a new one.
    fn hear(&mut self, told: Told) -> Option<Box<dyn Watch>> {
        match told {
            Told::Answer(request, answer) => {
                if std::mem::take(&mut self.is_silent) {
                    tracing::info!("the coordinator answers again");
                }
                self.tell(Event::Answered { request, answer });
            }
            Told::Silence(request, why) => {
                // Once: it is asked several times a second.
                if !std::mem::replace(&mut self.is_silent, true) {
                    tracing::warn!(why, "the coordinator does not do what it is asked");
                }
                self.tell(Event::Answered { request, answer: Answer::Unknown });
            }
            Told::List(Ok((listing, watch))) => {
                self.is_listing = false;
                self.look(&listing.entries);
                let revision = listing.revision;
                let records = listing.entries.iter();
                let records = records.filter_map(|entry| self.prefix.record(entry)).collect();
                self.tell(Event::Listed { revision, records });
                return Some(watch);
            }
            Told::List(Err(error)) => {
                self.is_listing = false;
                tracing::debug!(%error, "could not list");
            }
            Told::Rewound(why) => {
                tracing::error!(why, "coordinator_rewound");
                self.tell(Event::Rewound);
            }
        }
        None
    }

    /// Whether the cluster was configured anew. A hint, for the next heartbeat is refused as well;
    /// but it knows the reason.
    fn look(&mut self, entries: &[Entry]) {
        for entry in entries {
            match self.agreed.news(&self.prefix, entry) {
                News::None => {}
                News::Raised(raised) if speaks(self.versions, &raised) => self.agreed = raised,
                News::Raised(_) | News::Replaced => {
                    self.hear(Told::Rewound("the cluster was configured anew".to_owned()));
                }
            }
        }
    }

    fn see(&mut self, seen: Result<Vec<Entry>, CoordinatorError>) -> Result<(), ()> {
        match seen {
            Ok(entries) => {
                self.look(&entries);
                let records = entries.iter().filter_map(|entry| self.prefix.record(entry));
                let records: Vec<_> = records.collect();
                records.into_iter().for_each(|record| self.tell(Event::Seen(record)));
                Ok(())
            }
            Err(CoordinatorError::Rewound(why)) => {
                self.hear(Told::Rewound(why));
                Err(())
            }
            Err(error) => {
                tracing::debug!(%error, "the watch ended");
                self.list();
                Err(())
            }
        }
    }
}

/// Who asks the coordinator for one transaction.
struct Asking {
    coordinator: Arc<dyn Coordinator>,
    prefix: Prefix,
    agreed: Written,
    versions: Versions,
    within: Duration,
}

impl Asking {
    /// Carries it out under what the session was made under, or under what that was raised to
    /// meanwhile: it was refused for sure then, so it can be asked for again.
    async fn commit(mut self, transaction: Transaction) -> Result<Committed, CoordinatorError> {
        loop {
            let mut asked = transaction.clone();
            // Whatever revisions say: in another past of the coordinator it is nobody's session.
            asked.compares.push(self.agreed.compare(&self.prefix));
            let committed = self.coordinator.commit(asked, self.within).await?;
            if committed.done {
                return Ok(committed);
            }
            let listing = self.coordinator.list(self.prefix.agreed(), self.within).await?;
            let mut news = listing.entries.iter().map(|it| self.agreed.news(&self.prefix, it));
            let raised = news.find_map(|news| match news {
                News::Raised(raised) if speaks(self.versions, &raised) => Some(raised),
                _ => None,
            });
            match raised {
                Some(raised) => self.agreed = raised,
                None => return Ok(committed),
            }
        }
    }
}

fn speaks(versions: Versions, agreed: &Written) -> bool {
    versions.contains(agreed.configuration.protocol)
}

/// What the watch says next; without one, nothing.
fn next(watch: &mut Option<Box<dyn Watch>>) -> Later<'_, Result<Vec<Entry>, CoordinatorError>> {
    match watch {
        Some(watch) => watch.next(),
        None => Box::pin(std::future::pending()),
    }
}
