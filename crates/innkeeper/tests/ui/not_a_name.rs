#![allow(unused_imports)]

use innkeeper::{Context, StartError, process};

struct Room;

#[process]
impl (Room, Room) {
    async fn init() -> Result<Self, StartError> {
        Ok((Room, Room))
    }
}

fn main() {}
