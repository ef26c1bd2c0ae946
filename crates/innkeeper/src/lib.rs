//! One key, one process: supervised processes, found or started by key, never two for one key.

#[cfg(panic = "abort")]
compile_error!(
    "innkeeper contains the panics of each process, which `panic = \"abort\"` makes impossible: \
     remove it from the profile"
);

mod agent;
mod call;
mod cell;
mod child_spec;
mod clock;
mod context;
mod dynamic_supervisor;
mod error;
mod exit;
mod gathered;
mod groups;
mod guard;
mod incarnation;
mod keyed;
pub mod limits;
mod mailbox;
mod monitor;
mod node;
mod observe;
mod owner;
pub mod placement;
mod process;
mod process_ref;
mod rate;
mod registry;
mod runner;
mod seam;
mod solo;
mod subscriber;
mod supervisor;
mod target;
mod task;
pub mod testing;
pub mod trace;
mod wait_for;

pub use innkeeper_macros::process;

pub use agent::{Agent, AgentInit, AgentMessage, AgentProcess};
pub use call::{Call, Cast, ReplyTo};
pub use child_spec::{BadSpec, ChildSpec, Restart, RestartBudget, Shutdown};
pub use context::{Context, Timer, TooManyTimers};
pub use dynamic_supervisor::{DynamicSupervisor, DynamicSupervisorBuilder};
pub use error::{
    Away, CallError, CastError, Cycle, GetError, NotDelivered, Ran, StopError, Unknown,
};
pub use exit::ExitReason;
pub use gathered::{Gathered, Missing, NoAnswer};
pub use groups::{Groups, Lagged, Published};
pub use incarnation::Incarnation;
pub use keyed::{
    ArgsPolicy, Everywhere, GetOrStart, Heard, Hearing, Key, KeyRange, Keyed, KeyedBuilder,
    NodeCount, Outcome, Page, Row, StartKeyError, Stop, Tidings, Via, ViaCall, ViaCast,
};
pub use monitor::{Down, LinkExit, MonitorId};
pub use observe::{Counters, Event, ProcessInfo, START_SECONDS, What};
pub use process::{Message, Process, StartError};
pub use process_ref::ProcessRef;
pub use rate::StartRate;
pub use registry::slot::{Exit, State};
pub use registry::{
    Duplicate, KeyLock, Keys, LockError, RegisterError, Registry, RegistryEvent, Unique,
};
pub use solo::start;
pub use subscriber::{PushError, Sink, Subscriber, Subscription, Unsubscribed};
pub use supervisor::{
    AutoShutdown, ChildCount, DeleteError, Kind, Names, RestartError, ShutdownReport,
    StartChildError, Strategy, Supervisor, SupervisorBuilder, TreeNode, TreePage,
};
pub use target::Target;
pub use task::{
    StreamError, Task, TaskError, TaskMessage, TaskProcess, TaskStream, TaskSupervisor,
    TaskSupervisorBuilder, TaskWork, Waited,
};

/// The first screen of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
