#![allow(unused_imports)]

use innkeeper::{Context, StartError, process};

struct Room;

#[process]
impl Room {
    async fn init() -> Result<Self, StartError> {
        Ok(Room)
    }

    #[cast]
    fn say(&mut self, line: &str) {}
}

fn main() {}
