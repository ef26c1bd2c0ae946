//! The holes of the answers that Elixir has to "found or started by key", each as a test of what is
//! right instead.

mod recommended;
mod v1;
mod v2;
