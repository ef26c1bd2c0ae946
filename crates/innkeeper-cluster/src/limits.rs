//! Every bound and default wait of the cluster, by name.

use std::num::NonZeroUsize;
use std::time::Duration;

/// How many changes the coordinator within one process remembers for those who watch.
pub const HISTORY_MAX: usize = 65_536;

/// How long each step of joining may take.
pub const JOIN_WAIT: Duration = Duration::from_secs(2);

/// How often joining is tried anew when what was seen has changed meanwhile.
pub const JOIN_TRIES: u32 = 4;

/// How long a name, of a cluster or of a node, and an address may be, in characters.
pub const NAME_MAX: usize = 255;

/// How many starts of a program its data directory remembers until one of them has a session.
pub const STARTS_MAX: usize = 16;

/// How many shards one transaction claims: etcd takes 128 comparisons and 128 writes by default.
pub const CLAIMS_MAX: usize = 120;

/// How many shards of one node may be on the move at once.
pub const MOVES_MAX: usize = 8;

/// How often the machine is asked what is due, for each heartbeat.
pub const TICKS_PER_HEARTBEAT: u32 = 10;

/// How many reports on orders may wait.
pub const REPORTS_MAX: usize = 1_024;

/// How many orders may wait for whoever carries them out, before they wait at the driver.
pub const ORDERS_MAX: usize = 1_024;

/// How many bytes one frame between nodes may have. What is longer has to be sent in parts.
pub const FRAME_BYTES_MAX: usize = 1 << 20;

/// How many bytes the first frame of a connection may have, from somebody who is not known yet.
pub const HELLO_BYTES_MAX: usize = 4_096;

/// How many lanes what waits for a link is kept in: a sender has one, and each gets its turn.
pub const LANES: usize = 16;

/// How many bytes may wait in one lane of a link.
pub const LANE_BYTES_MAX: usize = 2 << 20;

/// How many frames may wait in one lane of a link.
pub const LANE_FRAMES_MAX: usize = 16_384;

/// How many bytes of one lane go before the next has its turn.
pub const TURN_BYTES: usize = 16 << 10;

/// How many bytes are put together for one write to a link.
pub const WRITE_BYTES: usize = 64 << 10;

/// How often, at most, all other tasks have their turn before a write that may become longer by
/// that.
pub const GATHER_TURNS: usize = 4;

/// How many bytes are asked for in one read from a link.
pub const READ_BYTES: usize = 64 << 10;

/// How many bytes a W3C `traceparent` may have; those of today have 55.
pub const TRACEPARENT_MAX: usize = 128;

/// How many requests of one node may be under way here.
pub const REQUESTS_MAX: usize = 16_384;

/// How many subscriptions one node may have here.
pub const SUBSCRIPTIONS_MAX: usize = 65_536;

/// How many events of a subscription may wait for whoever subscribed.
pub const EVENTS_MAX: usize = 1_024;

/// How long another node may take to begin to tell what happens there, before it is said that it is
/// not heard.
pub const HEARING_WAIT: Duration = Duration::from_secs(5);

/// How many changes of nodes and shards are kept for whoever listens and has fallen behind.
pub const CHANGES: usize = 2_048;

/// How many connections may be about to be made by others.
pub const ARRIVALS_MAX: usize = 256;

/// How many nodes may be newly called while their links are not begun.
pub const PEERS_MAX: usize = 1_024;

/// How long it may take to connect to a node and to learn who it is, or that of somebody who
/// connects.
pub const CONNECT_WAIT: Duration = Duration::from_secs(2);

/// How long a node that could not be reached is left alone at first. Each time it is twice as long,
/// less up to half of it, by chance.
pub const BACKOFF: Duration = Duration::from_millis(50);

/// How long at most.
pub const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// How long another node may be unable to prove its session before whoever listens to it is told.
pub const DOUBT_WAIT: Duration = Duration::from_secs(1);

/// How long a link is kept that nobody uses.
pub const IDLE_WAIT: Duration = Duration::from_secs(30);

/// How long an output is held before it is asked again whether it may leave.
pub const HOLD_WAIT: Duration = Duration::from_millis(10);

/// How many nodes are asked at once for their part of an answer about all keys.
pub const LOOKS_AT_ONCE: usize = 64;

/// How many bytes of a page one node sends; what is beyond is for the next page.
pub const PAGE_BYTES: usize = 512 << 10;

/// How many bytes of what a process exposes are shown to other nodes; of more, none is.
pub const EXPOSED_BYTES_MAX: usize = 4 << 10;

/// How long a call to an incarnation on another node is waited for there, whatever its caller says;
/// one that names a key is waited for as long as its caller does.
pub const CALL_TIME_MAX: Duration = Duration::from_secs(600);

/// How long is waited before a question is put again that nobody was there to answer. Each time it
/// is twice as long, less up to half of it, by chance.
pub const RETRY_WAIT: Duration = Duration::from_millis(10);

/// How long at most.
pub const RETRY_WAIT_MAX: Duration = Duration::from_millis(250);

/// How long a question waits at a node for a shard that is about to leave or to arrive there,
/// before it is to be put again.
pub const TURN_WAIT: Duration = Duration::from_millis(250);

/// How long a shard that is to go waits for its processes before it is told who does not end, and
/// then again.
pub const STUCK_AFTER: Duration = Duration::from_secs(10);

/// How many of those are named.
pub const STUCK_NAMED: usize = 16;

/// How many processes of keys begin at once on a node: after the loss of another, what an `init`
/// reads from is not to be asked for all of its keys at the same instant.
pub const STARTS_AT_ONCE: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// How many processes begin at once with what was handed over with their shard.
pub const REVIVALS_AT_ONCE: usize = 64;

/// How often each of them is tried, before it waits until it is asked for.
pub const REVIVE_TRIES: u32 = 12;

/// How long before the first that failed are tried again; doubled each time.
pub const REVIVE_WAIT: Duration = Duration::from_millis(250);

/// How long at most.
pub const REVIVE_WAIT_MAX: Duration = Duration::from_secs(30);

/// How many bytes of a shard's state are sent at once.
pub const PART_BYTES: usize = 256 << 10;

/// How many bytes may be at a node that arrived with shards which are not its own yet. A shard that
/// would be more stays where it is; later there may be room.
pub const ARRIVING_BYTES_MAX: usize = 256 << 20;

/// How long such bytes are kept at least, from the last that came: by then it is long decided
/// whether the shard goes along.
pub const ARRIVING_WAIT: Duration = Duration::from_secs(60);

/// How long one part may take.
pub const PART_WAIT: Duration = Duration::from_secs(2);
