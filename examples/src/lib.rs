//! The larger examples, a module each; each has a program in `src/bin` and a test that runs it.

pub mod kv_guide;
pub mod page_views;
pub mod rooms_in_axum;

/// The programs of the guide, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/GUIDE.md")]
struct Guide;
