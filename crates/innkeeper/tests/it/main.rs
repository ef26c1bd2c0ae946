//! Black-box tests of the one-node core. Names are sentences; each test that guards a line of the
//! contract carries its number.

// What a test unwraps is what it asserts, and the clock that it reads is one that it holds.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod scripted;
mod support;

mod admission;
mod agent;
mod bounds;
mod calls;
mod cancel;
mod cycles;
mod dynamic;
mod everywhere;
mod groups;
mod idle;
mod introspection;
mod keyed;
mod keys;
mod otp_holes;
mod placed;
mod process_macro;
mod processes;
mod registry;
mod remembered;
mod restart;
mod rust_peers;
mod shutdown;
mod stop;
mod strategies;
mod stress;
mod subscribe;
mod supervisor;
mod task;
mod timers;
mod traces;
mod trees;
mod watch;
