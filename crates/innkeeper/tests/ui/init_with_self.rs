#![allow(unused_imports)]

use innkeeper::{Context, StartError, process};

struct Room;

#[process]
impl Room {
    async fn init(&self) -> Result<Self, StartError> {
        Ok(Room)
    }
}

fn main() {}
