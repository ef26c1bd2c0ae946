#![allow(unused_imports)]

use innkeeper::{Context, StartError, process};

struct Room;

#[process]
impl Default for Room {
    fn default() -> Self {
        Room
    }
}

fn main() {}
