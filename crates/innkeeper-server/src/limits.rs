//! Every bound of the server that is no setting, by name.

use std::time::Duration;

use innkeeper_cluster::ownership::timing::EFFECTS;

/// Lines of talk that a room remembers.
pub const HISTORY: usize = 100;

/// Members whom a room names to whoever looks at it.
pub const MEMBERS_NAMED: usize = 100;

/// The longest name of a user, in bytes.
pub const USER_BYTES_MAX: usize = 64;

/// Frames that may wait for one socket; past it its members are dropped as slow consumers.
pub const OUTBOX_FRAMES: usize = 512;

/// Bytes that may wait for one socket, likewise.
pub const OUTBOX_BYTES: usize = 1 << 20;

/// Members that a room writes to itself, one after the other. The sockets of the others do it, on
/// all threads: a room of many is not to keep a thread for itself.
pub const WRITTEN_BY_ROOM: usize = 1000;

/// Rooms that one socket may be in.
pub const TOPICS_PER_SOCKET: usize = 256;

/// Pushes of one socket that may be under way; past it the socket is not read.
pub const PUSHES_PER_SOCKET: usize = 64;

/// Frames that make no sense, after which a socket is closed.
pub const BAD_FRAMES: u32 = 20;

/// How long a socket may be silent (Phoenix: 60 s; its client sends a heartbeat every 30 s).
pub const SOCKET_SILENCE: Duration = Duration::from_secs(60);

/// How long one write to a socket may take before it counts as dead.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the closing handshake of a socket may take.
pub const GOODBYE: Duration = Duration::from_secs(2);

/// What a frame may have beside the text of a message: references, topic and names.
pub const FRAME_OVERHEAD: usize = 16 * 1024;

/// How long a room may take to answer a push, a join or a request.
pub const ROOM_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a socket that closes tries to tell a room whose mailbox is full.
pub const LEAVE_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest line of the key-value protocol, in bytes.
pub const KV_LINE_BYTES: usize = 64 * 1024;

/// Lines that may wait for one subscriber of a bucket.
pub const KV_LINES: usize = 1024;

/// Keys that one bucket may hold, and bytes in all.
pub const BUCKET_KEYS: usize = 1_000_000;
/// See [`BUCKET_KEYS`].
pub const BUCKET_BYTES: usize = 256 << 20;

/// Subscribers that one bucket may have.
pub const BUCKET_SUBSCRIBERS: usize = 10_000;

/// How long the headers of a request may take, and the handshake of TLS before them.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// How many headers a request may have, and how long they may be in all, in bytes.
pub const HEADERS: usize = 64;
/// See [`HEADERS`].
pub const HEADER_BYTES: usize = 32 * 1024;

/// How long the body of a request may take.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What a body may have beside the text of a message, in bytes.
pub const BODY_OVERHEAD: usize = 16 * 1024;

/// Connections open at once, of each protocol.
pub const CONNECTIONS: usize = 1 << 20;

/// Clients whose rate of starts is remembered.
pub const CLIENTS: usize = 65_536;

/// Rooms in one page of the list, unless it asks for fewer.
pub const PAGE: usize = 1000;

/// How long a look at all rooms is fresh, and for how many times as long as it took.
pub const CENSUS_EVERY: Duration = Duration::from_secs(2);
/// See [`CENSUS_EVERY`].
pub const CENSUS_REST: u32 = 20;

/// How long the other nodes may take to say how many rooms they have.
pub const COUNT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a start or a stop takes before somebody should look at it.
pub const SLOW: Duration = Duration::from_secs(10);

/// More restarts than this within [`RESTARTS_WITHIN`] are often.
pub const RESTARTS_OFTEN: u64 = 5;
/// See [`RESTARTS_OFTEN`].
pub const RESTARTS_WITHIN: Duration = Duration::from_secs(60);

/// Rooms whose restarts are compared between two looks.
pub const RESTARTING_ROOMS: usize = 10_000;

/// Rooms that are named where something is wrong with more.
pub const LINT_ROOMS: usize = 5;

/// How long an event stream is silent before it says that it is still there.
pub const SSE_KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How long a room of so many members collects who has come and gone before it tells all of them:
/// none for a small one, a tenth of a second from 5 000 on (Phoenix: 1.5 s for any).
pub(crate) fn presence_wait(members: usize) -> Duration {
    Duration::from_millis((members / 50).min(100) as u64)
}

/// When a room whose mailbox is full tries again to tell who has come and gone.
pub const PRESENCE_RETRY: Duration = Duration::from_millis(100);

/// How often something is said to the next process of a key because the last one ended meanwhile.
pub const TRIES: u32 = 10;

/// How long, and for how many bytes, the rest of a line that was too long is read and thrown away,
/// so that its sender sees why it is cut off.
pub const LINGER: Duration = Duration::from_secs(5);
/// See [`LINGER`].
pub const LINGER_BYTES: u64 = 64 << 20;

/// How long a request to stop a room waits for its end.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// What is read of a socket at once, in bytes. Kept for as long as it is open.
pub const SOCKET_BUFFER: usize = 1024;

/// What rooms get to end in, even if the connections have used up the drain timeout.
pub const LAST_MOMENT: Duration = Duration::from_millis(500);

/// In a drain: how long a socket has to be silent before it is closed, so that whoever is answered
/// `draining` has time to stop.
pub const QUIET: Duration = Duration::from_millis(50);

/// In a drain: how long one that is not silent is answered.
pub const REFUSING: Duration = Duration::from_secs(1);

/// How long the end of a session may take: until nothing is taken any more that its rooms have
/// sent, and then as long as etcd may need to find a new leader.
pub const FAREWELL: Duration = EFFECTS.saturating_add(Duration::from_millis(2_500));

/// How long gates may be shut before whoever is in a room of this node is let go.
pub const FROZEN_AFTER: Duration = Duration::from_secs(1);

/// How often that is looked at.
pub const FROZEN_LOOK: Duration = Duration::from_millis(50);

/// How often a node that drains looks whether there is anybody to take what it has.
pub const TAKERS_LOOK: Duration = Duration::from_millis(200);

/// How long is waited before a cluster is joined once more.
pub const REJOIN_PAUSE: Duration = Duration::from_secs(1);

/// How long what is left may take to end when a session is over: others act for it already.
pub const SESSION_END: Duration = Duration::from_secs(5);

/// How long is waited before a question is put again that no node was there to answer.
pub const AWAY_PAUSE: Duration = Duration::from_millis(50);
