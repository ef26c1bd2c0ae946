#![allow(unused_imports)]

use innkeeper::{Context, StartError, process};

struct Room;

struct Shelf<T>(T);

#[process]
impl<T> Shelf<T> {
    async fn init() -> Result<Self, StartError> {
        Err(StartError::ignore())
    }
}

fn main() {}
