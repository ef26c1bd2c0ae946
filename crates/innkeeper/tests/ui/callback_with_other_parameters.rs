#![allow(unused_imports)]

use innkeeper::{Context, StartError, process};

struct Room;

#[process]
impl Room {
    async fn init() -> Result<Self, StartError> {
        Ok(Room)
    }

    fn idle(&mut self, why: u32) -> bool {
        true
    }
}

fn main() {}
