#![allow(unused_imports)]

use innkeeper::{Context, StartError, process};

struct Room;

#[process]
impl Room {
    async fn init(size: usize) -> Result<Self, StartError> {
        Ok(Room)
    }
}

fn main() {}
