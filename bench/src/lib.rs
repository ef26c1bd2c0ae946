//! The rooms that are measured, for the programs that measure them.

#![allow(clippy::disallowed_methods)] // A stopwatch.

pub mod room;
