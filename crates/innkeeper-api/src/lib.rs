//! The JSON shapes that the server writes and its clients read: plain data, and nothing else.

mod key;
mod node;
mod overview;
mod problem;
mod room;

pub use key::{BadKey, RoomKey};
pub use node::{NodeInfo, ShardInfo};
pub use overview::{CensusInfo, EverywhereInfo, Level, Lint, Overview, TreeInfo};
pub use problem::{Code, Problem, Ran};
pub use room::{
    Event, ExitInfo, Gap, Line, MemberInfo, MembersPage, NewMessage, Posted, RoomInfo, RoomsPage,
    StartOutcome, StartedRoom,
};
