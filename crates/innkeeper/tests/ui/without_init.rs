#![allow(unused_imports)]

use innkeeper::{Context, StartError, process};

struct Room;

#[process]
impl Room {
    #[call]
    fn size(&self) -> usize {
        0
    }
}

fn main() {}
