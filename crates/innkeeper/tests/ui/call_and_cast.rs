#![allow(unused_imports)]

use innkeeper::{Context, StartError, process};

struct Room;

#[process]
impl Room {
    async fn init() -> Result<Self, StartError> {
        Ok(Room)
    }

    #[call]
    #[cast]
    fn size(&self) -> usize {
        0
    }
}

fn main() {}
