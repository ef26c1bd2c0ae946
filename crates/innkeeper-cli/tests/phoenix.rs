//! JavaScript clients against the program: the published npm package `phoenix`, unmodified, and
//! the one of the rooms page.

#![allow(clippy::unwrap_used)]

#[path = "support/missing.rs"]
mod missing;
#[path = "support/script.rs"]
mod script;
#[path = "support/server.rs"]
mod server;

use server::Server;

/// The client of the page.
const CHANNEL_JS: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../innkeeper-server/src/page/channel.js");

#[test]
fn the_published_phoenix_client_talks_to_the_server_unmodified() {
    run_script("test.mjs", 12);
}

#[test]
fn the_client_of_the_page_survives_bad_days() {
    run_script("page.mjs", 6);
}

fn run_script(name: &str, tests: usize) {
    let Some(()) = missing::or_skip(&format!("the test phoenix/{name}"), script::install()) else {
        return;
    };
    let mut server = Server::start();
    let url = server.url.clone();
    let variables = [("INNKEEPER_URL", url.as_str()), ("INNKEEPER_CHANNEL_JS", CHANNEL_JS)];
    script::run(name, tests, &variables, |what| {
        assert_eq!(what, "restart the server");
        server.restart();
    });
}
