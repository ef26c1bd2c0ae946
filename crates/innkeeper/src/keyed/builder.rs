//! How a scope of keyed processes is set up, and how it hangs in a supervision tree.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::child_spec::{ChildSpec, RestartBudget};
use crate::keyed::remembered::{List, Remembering};
use crate::keyed::scope::{ArgsOf, Scope, Shared};
use crate::keyed::sweep::{self, Keeper};
use crate::keyed::{Key, Keyed};
use crate::limits;
use crate::observe::Tally;
use crate::owner::Args;
use crate::placement::{Hosted, Placement, Placer};
use crate::process::Process;
use crate::rate::StartRate;
use crate::registry::slot::Policy;
use crate::registry::table::Table;
use crate::seam::Mutex;
use crate::supervisor::child::{Child, ProcessChild, short_name};
use crate::supervisor::closing::Container;
use crate::supervisor::{StartChildError, Supervisor};

/// What happens when a key is asked for with other arguments than its process was started with.
pub enum ArgsPolicy<A> {
    /// Nothing: the process that runs is the answer. The default.
    Ignore,
    /// The process that runs is the answer, and it is an event. Compared by this fingerprint.
    Report(fn(&A) -> u64),
    /// [`GetError::ArgsDiffer`](crate::GetError::ArgsDiffer). Compared by this fingerprint.
    Refuse(fn(&A) -> u64),
}

impl<A> fmt::Debug for ArgsPolicy<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ArgsPolicy::Ignore => "Ignore",
            ArgsPolicy::Report(_) => "Report",
            ArgsPolicy::Refuse(_) => "Refuse",
        })
    }
}

/// Sets up a scope of keyed processes; made by [`Keyed::new`].
#[must_use = "a scope does nothing until it is started"]
pub struct KeyedBuilder<K: Key, P: Process> {
    name: String,
    spec: ChildSpec,
    budget: RestartBudget,
    park_time: Duration,
    group_budget: Option<RestartBudget>,
    args: ArgsOf<K, P>,
    args_policy: ArgsPolicy<P::Args>,
    max_children: usize,
    idle_after: Option<Duration>,
    start_rate: Option<StartRate>,
    place: Option<Place<K, P>>,
    remembered: Option<List<K>>,
    remembered_rate: NonZeroU32,
    key: PhantomData<fn(&K)>,
}

/// Makes the placement of the scope, by its name.
type Place<K, P> = Box<dyn FnOnce(&str) -> Option<Arc<dyn Placement<K, P>>> + Send>;

impl<K: Key, P: Process> Keyed<K, P> {
    /// Sets up a scope whose processes are started with their key, or a part of it, as arguments.
    #[allow(clippy::new_ret_no_self)] // The scope is made by `start`, under its supervisor.
    pub fn new(spec: ChildSpec) -> KeyedBuilder<K, P>
    where
        K: Borrow<P::Args>,
    {
        KeyedBuilder::new(spec, Box::new(|key| Args::Kept(key.borrow())))
    }

    /// Sets up a scope whose processes are started with what `args` makes of their key.
    pub fn with_args(
        spec: ChildSpec,
        args: impl Fn(&K) -> P::Args + Send + Sync + 'static,
    ) -> KeyedBuilder<K, P> {
        KeyedBuilder::new(spec, Box::new(move |key| Args::Made(args(key))))
    }
}

impl<K: Key, P: Process> KeyedBuilder<K, P> {
    fn new(spec: ChildSpec, args: ArgsOf<K, P>) -> Self {
        KeyedBuilder {
            name: short_name::<P>().to_owned(),
            spec,
            budget: RestartBudget::default(),
            park_time: limits::PARK_TIME,
            group_budget: None,
            args,
            args_policy: ArgsPolicy::Ignore,
            max_children: limits::CHILDREN_MAX,
            idle_after: None,
            start_rate: None,
            place: None,
            remembered: None,
            remembered_rate: limits::REMEMBERED_RATE,
            key: PhantomData,
        }
    }

    /// What the scope is called: its child id under the supervisor. Default: the type of the
    /// process.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How many restarts one key may use up. A key over it is parked; no other key notices.
    /// Default: three in five seconds.
    pub fn restart_budget(mut self, budget: RestartBudget) -> Self {
        self.budget = budget;
        self
    }

    /// How long a key over its budget stays parked: asking for it is an error until then, and
    /// starts it anew after. Default: a minute.
    pub fn park_time(mut self, time: Duration) -> Self {
        self.park_time = time;
        self
    }

    /// A budget that all keys share besides their own: past it no crashed key is restarted, each is
    /// parked. Healthy keys never notice. Default: none.
    pub fn group_budget(mut self, budget: RestartBudget) -> Self {
        self.group_budget = Some(budget);
        self
    }

    /// What happens when a key is asked for with other arguments than it runs with.
    pub fn args_policy(mut self, policy: ArgsPolicy<P::Args>) -> Self {
        self.args_policy = policy;
        self
    }

    /// How many keys may be taken at once. Default: a million. On a cluster that is for each node:
    /// nobody counts over all of them before a start, and keys that come from another node with
    /// what their processes had are let in beyond it.
    pub fn max_children(mut self, max: usize) -> Self {
        self.max_children = max;
        self
    }

    /// After how long without a message a process is asked [`Process::idle`]; it is asked within a
    /// quarter more than that. Default: never.
    pub fn idle_after(mut self, time: Duration) -> Self {
        self.idle_after = Some(time);
        self
    }

    /// How many processes may be started each second, whoever asks. Default: any number. On a
    /// cluster that is for each node, where the process starts, whichever node was asked; one
    /// that goes on where its key has moved is not counted.
    pub fn start_rate(mut self, rate: StartRate) -> Self {
        self.start_rate = Some(rate);
        self
    }

    /// Has the processes run wherever this says: on the nodes of a cluster. The scope has the same
    /// name on each of them, each starts it, and no other scope there has that name.
    ///
    /// The code that asks stays as it is. Which node a key's process runs on is not for it to
    /// know; what may go wrong besides is in [`Away`](crate::Away).
    pub fn placed_by<C>(mut self, cluster: &C) -> Self
    where
        C: Placer<K, P> + Clone + Send + 'static,
    {
        let cluster = cluster.clone();
        self.place = Some(Box::new(move |scope| cluster.placement(scope)));
        self
    }

    /// Has the processes of these keys run without being asked for, from the start of the scope
    /// on. `list` answers up to so many keys that come after the given one, from the first for
    /// `None`, in an order that it keeps to: a page of a table with `where key > $1 order by key
    /// limit $2`. An empty page is the end. Nothing is written down here: who adds a key to the
    /// list asks for it, too.
    ///
    /// # Guarantees
    /// Each key begins once, at a constant rate ([`remembered_rate`](Self::remembered_rate)) and
    /// without counting against [`start_rate`](Self::start_rate); one that runs already is left
    /// as it is, one that declines is not asked again. What fails is tried again, after longer
    /// pauses, twelve times. One that is stopped, or ends by itself, stays so until somebody asks
    /// for it, or the scope starts anew.
    ///
    /// On a cluster the node that begins to serve a shard has the keys of that shard begin, up to
    /// a second later by chance, each time that it does: after the loss of another node, too. Each
    /// node reads the whole list then. A key that was called goes before those that are remembered.
    ///
    /// # Errors
    /// A list that fails, panics, or takes more than ten seconds for a page is a warning in the log
    /// and counted ([`Counters::unlisted`](crate::Counters::unlisted)); it is asked again, after
    /// longer pauses, up to half a minute.
    ///
    /// OTP has no counterpart: its supervisors know their children from the start. Pekko's is
    /// `remember-entities`, which writes each key down by itself.
    pub fn remembering<F, R, E>(mut self, list: F) -> Self
    where
        F: Fn(Option<K>, usize) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Vec<K>, E>> + Send + 'static,
        E: fmt::Display,
    {
        self.remembered = Some(Box::new(move |after, limit| {
            let listed = list(after, limit);
            Box::pin(async move { listed.await.map_err(|error| error.to_string()) })
        }));
        self
    }

    /// How many of them begin each second, on each node. Default: 200.
    pub fn remembered_rate(mut self, per_second: NonZeroU32) -> Self {
        self.remembered_rate = per_second;
        self
    }

    /// Starts the scope as a child of `supervisor`, under its name.
    ///
    /// When the supervisor ends so do all processes of the scope, all at once; when it is
    /// restarted, this same scope opens again, empty.
    ///
    /// # Errors
    /// [`StartChildError`] if the supervisor has a child of that name, or the cluster a scope of
    /// that name on this node, or the supervisor is ending, or if there can be no such scope.
    pub async fn start(self, supervisor: &Supervisor) -> Result<Keyed<K, P>, StartChildError> {
        self.spec.check(false)?;
        for budget in [Some(&self.budget), self.group_budget.as_ref()].into_iter().flatten() {
            budget.check()?;
        }
        let placement = match self.place {
            Some(place) => Some(
                place(&self.name)
                    .ok_or_else(|| StartChildError::AlreadyPlaced { name: self.name.clone() })?,
            ),
            None => None,
        };
        let table = Arc::new(Table::new());
        // Closed until the supervisor starts it.
        table.close();
        let shared = Arc::new(Shared {
            policy: Policy {
                restart: self.spec.restart,
                budget: self.budget,
                park_time: self.park_time,
            },
            name: self.name,
            spec: self.spec,
            args: self.args,
            args_policy: self.args_policy,
            max_children: self.max_children,
            idle_after: self.idle_after,
            start_rate: self.start_rate,
            group: self.group_budget.map(|budget| (Mutex::default(), budget)),
            events: OnceLock::new(),
            tally: Tally::default(),
            closing: supervisor.closing(),
            spawner: OnceLock::new(),
            placement,
            remembering: self
                .remembered
                .map(|list| Arc::new(Remembering::new(list, self.remembered_rate))),
            table: Arc::downgrade(&table),
        });
        let scope = Scope::new(table, shared);
        let (name, args) = (scope.shared.name.clone(), scope.clone());
        let id = name.clone();
        let container: Arc<dyn Container> = scope.clone();
        let make = move |parent| -> Arc<dyn Child> {
            let child = ProcessChild::<Keeper<K, P>>::new(id, args, sweep::SPEC, parent);
            Arc::new(child.of(container))
        };
        supervisor.add(&name, Box::new(make)).await?;
        if let Some(placement) = &scope.shared.placement {
            placement.clone().host(Hosted::new(&scope));
        }
        Ok(Keyed { scope })
    }
}

impl<K: Key, P: Process> fmt::Debug for KeyedBuilder<K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedBuilder")
            .field("name", &self.name)
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}
