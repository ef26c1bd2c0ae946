#![allow(unused_imports)]

use innkeeper::{Context, StartError, process};

struct Room;

#[process(distant)]
impl Room {
    async fn init() -> Result<Self, StartError> {
        Ok(Room)
    }
}

fn main() {}
