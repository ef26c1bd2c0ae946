//! The `#[process]` sugar of innkeeper: methods in, message enum, trait implementation and typed
//! methods on references out.
//!
//! Use it through `innkeeper::process`, where it is documented.

mod expand;
mod parse;

use proc_macro::TokenStream;

/// Makes a process of an `impl` block.
///
/// - `async fn init(args: &Args, ctx: &mut Context<Self>) -> Result<Self, StartError>` makes the
///   state; both parameters may be left out.
/// - `#[call] fn` answers with what it returns; `#[cast] fn` answers nothing. Both may be `async`,
///   take `&mut self` or `&self`, owned arguments, and at the end `ctx: &mut Context<Self>`.
/// - `terminate`, `down`, `link_exit`, `lagged`, `idle` and `on_handoff` are as in
///   `innkeeper::Process`.
/// - All else stays as it is.
///
/// For `impl Room` it makes `RoomMessage`, `RoomReply` and the trait `RoomApi`, whose methods talk
/// to any `innkeeper::Target<RoomMessage>`: a process reference or a key. They are as visible as
/// the first `#[call]` or `#[cast]` method; where there is none, as `init`.
///
/// With `#[process(remote)]` others may talk to it from another node: it is made an
/// `innkeeper_cluster::Remote` under its own name, version 1, and its messages derive serde. So
/// have the types of its arguments and answers to, and the crate needs `innkeeper-cluster`. With
/// `#[process(remote, exposes = Gauge)]` the `Gauge` that it exposes is seen from other nodes too.
#[proc_macro_attribute]
pub fn process(options: TokenStream, block: TokenStream) -> TokenStream {
    let made = syn::parse(options)
        .and_then(|options| parse::process(syn::parse(block)?, options))
        .map(|process| expand::process(&process));
    made.unwrap_or_else(|error| error.to_compile_error()).into()
}
