//! Black-box tests of the one-node core. Names are sentences; each test that guards a line of the
//! contract carries its number.

mod scripted;
mod support;

mod calls;
mod cancel;
mod cycles;
mod idle;
mod keyed;
mod keys;
mod otp_holes;
mod process_macro;
mod registry;
mod residue;
mod restart;
mod rust_peers;
mod stop;
mod stress;
mod supervisor;
