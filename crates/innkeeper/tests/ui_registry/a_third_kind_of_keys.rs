use innkeeper::{Message, Registry};

struct Triplicate;

fn with<M: Message>(_: &Registry<u32, M, u32, Triplicate>) {}

fn main() {}
