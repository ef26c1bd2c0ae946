use innkeeper::{Duplicate, Message, ProcessRef, Registry};

fn change<M: Message>(floors: &Registry<u32, M, u32, Duplicate>, process: &ProcessRef<M>) {
    floors.update_value(&1, process, |value| value + 1);
}

fn main() {}
