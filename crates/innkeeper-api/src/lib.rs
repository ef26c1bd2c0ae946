//! The JSON shapes that the server writes and its clients read: plain data, and nothing else.

mod key;
mod overview;
mod problem;
mod room;

pub use key::{BadKey, RoomKey};
pub use overview::{CensusInfo, Level, Lint, Overview, TreeInfo};
pub use problem::{Code, Problem, Ran};
pub use room::{
    Event, ExitInfo, Line, NewMessage, NodeInfo, Posted, RoomInfo, RoomsPage, ShardInfo,
    StartOutcome, StartedRoom,
};
