#![allow(unused_imports)]

use innkeeper::{Context, StartError, process};

struct Room;

#[process(remote)]
impl Room {
    async fn init() -> Result<Self, StartError> {
        Ok(Room)
    }
}

fn main() {}
