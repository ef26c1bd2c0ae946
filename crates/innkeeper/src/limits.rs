//! Every bound and every default wait of the crate, by name.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

/// Messages that may wait in one mailbox, unless its child spec says otherwise.
pub const MAILBOX_CAPACITY: u32 = 1024;

/// Messages that an idle mailbox keeps the memory for, until nothing has come for a while.
pub const MAILBOX_KEPT: usize = 1024;

/// How long a call waits for its reply, unless it says otherwise (OTP's `GenServer.call`: 5 s).
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long asking for a key, or for its end, waits, unless the caller says otherwise.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a look at all processes, wherever they run, may take, unless the caller says otherwise.
pub const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// How much a process may take along to another node, in bytes.
pub const HANDOFF_BYTES_MAX: usize = 64 << 20;

/// How long `init` may take, unless the child spec says otherwise.
pub const START_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a supervisor may take to start: each of its children has its own limit.
pub const TREE_START_TIMEOUT: Duration = Duration::from_secs(86_400);

/// How long a process may take to end after it was told to (OTP's `shutdown`: 5 s for workers).
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Restarts allowed within [`RESTART_WINDOW`] (OTP's `max_restarts`: 3 in 5 s).
pub const RESTARTS_MAX: u32 = 3;

/// The sliding window in which restarts are counted.
pub const RESTART_WINDOW: Duration = Duration::from_secs(5);

/// The most restarts a budget may allow in its window; it remembers one instant for each.
pub const RESTARTS_REMEMBERED: u32 = 10_000;

/// The wait before the second restart in a window; it doubles from there.
pub const BACKOFF_MIN: Duration = Duration::from_millis(50);

/// The longest wait between two restarts.
pub const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// How long a key over its restart budget stays parked.
pub const PARK_TIME: Duration = Duration::from_secs(60);

/// Processes that one scope may hold, unless it says otherwise.
pub const CHILDREN_MAX: usize = 1_000_000;

/// Children that one `Supervisor` may have: they are looked through at every restart.
pub const SIBLINGS_MAX: usize = 10_000;

/// Events kept for a slow subscriber before it is told that it lagged.
pub const EVENTS: usize = 1024;

/// Events that may wait for whoever has subscribed, where nothing else is said.
pub const SUBSCRIPTION_EVENTS: usize = 1024;

/// Exits that a key remembers for whoever asks why it is restarting.
pub const EXITS_REMEMBERED: usize = 3;

/// Messages handled before a busy process lets others run.
pub const MESSAGES_PER_TURN: u32 = 128;

/// Monitors and links that one process may have on it at once.
pub const WATCHERS_MAX: usize = 1 << 20;

/// Who may hold or wait for the lock of one key of a registry at once.
pub const LOCK_USERS_MAX: usize = 10_000;

/// Processes looked at when a wait is checked for a cycle; longer chains are refused.
pub const WAIT_CHAIN_MAX: usize = 256;

/// Names listed in the result of a shutdown; more are counted only.
pub const NAMES_REPORTED: usize = 100;

/// Keys returned in one page.
pub const PAGE_MAX: usize = 10_000;

/// Keys that are looked at, of all there are, before others run.
pub const VISIT_CHUNK: usize = 1024;

/// Outputs of one placed process that are kept while its node cannot prove that it may act.
pub const OUTPUTS_HELD: usize = 1024;

/// Remembered keys that begin each second, of a scope on a node, unless it says otherwise.
pub const REMEMBERED_RATE: NonZeroU32 = NonZeroU32::new(200).unwrap();

/// Remembered keys that begin at once on one node; on a cluster, as many as its nodes let in.
pub const REMEMBERED_AT_ONCE: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// Remembered keys asked for in one page.
pub const REMEMBERED_PAGE: usize = 1_000;

/// How long a page of them may take.
pub const REMEMBERED_LIST_WAIT: Duration = Duration::from_secs(10);

/// How long at most after a shard is served its remembered keys are listed, by chance.
pub const REMEMBERED_JITTER: Duration = Duration::from_secs(1);

/// Remembered keys that wait to begin, or to be tried again, before the list is read on.
pub const REMEMBERED_WAITING: usize = 10_000;

/// How often each of them is tried before it waits until it is asked for.
pub const REMEMBERED_TRIES: u32 = 12;

/// How long before one that failed is tried again, or a page that was not listed; doubled each
/// time.
pub const REMEMBERED_WAIT: Duration = Duration::from_millis(250);

/// How long at most.
pub const REMEMBERED_WAIT_MAX: Duration = Duration::from_secs(30);

/// Keys that were stopped while remembered ones are still to begin, and that are not to begin
/// again; what is beyond is not known to have been stopped.
pub const REMEMBERED_ENDS: usize = 65_536;

/// Levels of a supervision tree shown at once.
pub const TREE_DEPTH_MAX: usize = 32;

/// Characters of a panic message or error kept in an exit reason.
pub const REASON_CHARS: usize = 512;

/// Tables a scope's keys are spread over; a power of two.
pub const SHARDS: usize = 64;

/// How long after its kill a process that has not come to an await point counts as stuck.
pub const STUCK_AFTER: Duration = Duration::from_secs(1);

/// Timers that one process may have.
pub const TIMERS_MAX: usize = 65_536;

/// The longest time a timer may be set to.
pub const TIMER_MAX: Duration = Duration::from_secs(365 * 86_400);

/// The shortest and the longest time between two looks at the idle and parked keys of a scope.
pub const SWEEP_MIN: Duration = Duration::from_millis(5);
/// See [`SWEEP_MIN`].
pub const SWEEP_MAX: Duration = Duration::from_secs(60);
