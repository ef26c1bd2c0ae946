//! The `#[process]` sugar.
