//! The rooms page, in a real browser.

#![allow(clippy::unwrap_used)]

#[path = "support/guest.rs"]
mod guest;
#[path = "support/missing.rs"]
mod missing;
#[path = "support/server.rs"]
mod server;

use guest::{Guest, House};
use server::Server;

/// A server and a browser; `None` where there is no browser.
async fn open(test: &str) -> Option<(Server, House)> {
    let program = missing::or_skip(test, guest::installed())?;
    Some((Server::start(), House::open(&program).await))
}

/// Somebody enters a room by the keyboard alone.
async fn enter(house: &mut House, server: &Server, name: &str, room: &str) -> Guest {
    let guest = house.guest(&format!("{}/", server.url)).await;
    guest.until("!document.getElementById('desk').hidden").await;
    // The focus is in the first field that is empty, or in the room's.
    if guest.value("document.activeElement.id").await == "room" {
        guest.value("document.getElementById('name').focus()").await;
    }
    guest.clears().await;
    guest.types(name).await;
    guest.presses("Tab").await;
    assert_eq!(guest.value("document.activeElement.id").await, "room");
    guest.clears().await;
    guest.types(room).await;
    guest.presses("Enter").await;
    guest.until(&is_in()).await;
    assert_eq!(guest.value("document.activeElement.id").await, "text");
    guest
}

fn is_in() -> String {
    "document.getElementById('state').dataset.kind === 'on' && \
     document.getElementById('state-word').textContent === 'connected'"
        .to_owned()
}

/// The lines of the incarnation that is now, as `SEQ NAME: TEXT`.
const LINES: &str = "[...document.querySelectorAll('#log .line:not(.past)')].map((line) => \
    `${line.querySelector('.seq').textContent} ${line.querySelector('.from').textContent}: \
    ${line.querySelector('.text').textContent}`).join('|')";

const PEOPLE: &str = "[...document.querySelectorAll('#people li')]\
    .map((person) => person.innerText.replace(/\\s+/g, ' ').trim()).join('|')";

async fn incarnation(guest: &Guest) -> String {
    guest.value("document.getElementById('incarnation').textContent").await
}

async fn shows(guest: &Guest, lines: &str) {
    guest.until(&format!("{LINES} === {}", serde_json::to_string(lines).unwrap())).await;
}

async fn sees(guest: &Guest, people: &str) {
    guest.until(&format!("{PEOPLE} === {}", serde_json::to_string(people).unwrap())).await;
}

async fn is_told(guest: &Guest, words: &str) {
    let words = serde_json::to_string(words).unwrap();
    let notice = "document.getElementById('notice')";
    guest.until(&format!("!{notice}.hidden && {notice}.innerText.includes({words})")).await;
}

async fn stop(server: &Server, room: &str) {
    let request = reqwest::Client::new().delete(format!("{}/api/rooms/{room}", server.url));
    assert_eq!(request.send().await.unwrap().status(), 204);
}

#[tokio::test]
async fn two_people_see_the_same_talk_each_other_and_the_same_incarnation() {
    let Some((server, mut house)) = open("the test of two people in a browser").await else {
        return;
    };
    let ann = enter(&mut house, &server, "ann", "the garden").await;
    let bob = enter(&mut house, &server, "bob", "the garden").await;
    assert_eq!(ann.value("location.hash").await, "#the%20garden");
    assert_eq!(incarnation(&ann).await, incarnation(&bob).await);
    assert_eq!(incarnation(&ann).await.len(), 16);
    sees(&ann, "ann you|bob").await;
    sees(&bob, "bob you|ann").await;

    ann.says("Good morning! Is this the same room?").await;
    shows(&bob, "1 ann: Good morning! Is this the same room?").await;
    bob.says("It is: one process, however many ask.").await;
    ann.says("Two lines in a row").await;
    let talk = "1 ann: Good morning! Is this the same room?\
        |2 bob: It is: one process, however many ask.|3 ann: Two lines in a row";
    shows(&ann, talk).await;
    shows(&bob, talk).await;

    // A reload stays in the room under the same name, and finds the talk in its history.
    bob.reloads().await;
    bob.until(&is_in()).await;
    shows(&bob, talk).await;
    sees(&bob, "bob you|ann").await;
    sees(&ann, "ann you|bob").await;

    // A second tab of the same person is another connection, not another person.
    let again = enter(&mut house, &server, "bob", "the garden").await;
    sees(&ann, "ann you|bob ×2 connections").await;
    again.clicks("#leave").await;
    sees(&ann, "ann you|bob").await;
    assert_eq!(again.value("document.activeElement.id").await, "room");

    pictures(&ann, "talk").await;
    pictures(&again, "desk").await;
    for guest in [&ann, &bob, &again] {
        assert_eq!(guest.complaints(), Vec::<String>::new());
    }
    house.close().await;
}

/// In light and dark, wide and narrow.
async fn pictures(guest: &Guest, name: &str) {
    for scheme in ["light", "dark"] {
        guest.scheme(scheme).await;
        for (size, width, height) in [("wide", 1280, 800), ("narrow", 360, 740)] {
            guest.size(width, height).await;
            let fits = "document.documentElement.scrollWidth <= innerWidth";
            assert_eq!(guest.value(fits).await, "true", "{name} {size}");
            guest.picture(&format!("{name}-{scheme}-{size}")).await;
        }
    }
}

#[tokio::test]
async fn a_room_that_was_stopped_is_said_to_be_and_can_be_opened_anew() {
    let Some((server, mut house)) = open("the test of a stopped room in a browser").await else {
        return;
    };
    let ann = enter(&mut house, &server, "ann", "lobby").await;
    let bob = enter(&mut house, &server, "bob", "lobby").await;
    ann.says("Soon gone").await;
    shows(&bob, "1 ann: Soon gone").await;
    let first = incarnation(&ann).await;
    stop(&server, "lobby").await;
    for guest in [&ann, &bob] {
        is_told(guest, "The room was stopped").await;
        guest.until("document.getElementById('state-word').textContent === 'room stopped'").await;
        shows(guest, "").await;
    }
    ann.picture("stopped").await;
    ann.clicks("#notice-act").await;
    ann.until(&is_in()).await;
    is_told(&ann, "Room restarted: new incarnation, history gone.").await;
    assert_ne!(incarnation(&ann).await, first);
    ann.says("A new beginning").await;
    shows(&ann, "1 ann: A new beginning").await;
    // Nobody is brought back who did not ask for it.
    shows(&bob, "").await;
    bob.clicks("#notice-act").await;
    shows(&bob, "1 ann: A new beginning").await;
    assert_eq!(incarnation(&ann).await, incarnation(&bob).await);
    assert_eq!(ann.complaints(), Vec::<String>::new());
    house.close().await;
}

#[tokio::test]
async fn both_pages_come_back_to_a_new_incarnation_when_the_server_restarts() {
    let Some((mut server, mut house)) = open("the test of a restart in a browser").await else {
        return;
    };
    let ann = enter(&mut house, &server, "ann", "lobby").await;
    let bob = enter(&mut house, &server, "bob", "lobby").await;
    ann.says("Before").await;
    shows(&bob, "1 ann: Before").await;
    let first = incarnation(&ann).await;
    server.restart();
    for guest in [&ann, &bob] {
        guest.until("document.querySelectorAll('#log .line.past').length === 1").await;
        guest.until(&is_in()).await;
        is_told(guest, "Room restarted: new incarnation, history gone.").await;
    }
    assert_ne!(incarnation(&ann).await, first);
    assert_eq!(incarnation(&ann).await, incarnation(&bob).await);
    sees(&ann, "ann you|bob").await;
    bob.says("After").await;
    shows(&ann, "1 bob: After").await;
    ann.picture("restarted").await;
    for guest in [&ann, &bob] {
        // The browser itself reports each try that found nobody.
        let mut others = guest.complaints();
        others.retain(|complaint| !complaint.contains("ERR_CONNECTION_REFUSED"));
        assert_eq!(others, Vec::<String>::new());
    }
    house.close().await;
}

#[tokio::test]
async fn hostile_text_is_shown_as_text_and_breaks_nothing() {
    let Some((server, mut house)) = open("the test of hostile text in a browser").await else {
        return;
    };
    let name = "<b>ann</b>\u{202e}";
    let room = "<img src=x onerror=alert(1)>";
    let ann = enter(&mut house, &server, name, room).await;
    let bob = enter(&mut house, &server, "bob", room).await;
    let texts = [
        "<img src=x onerror=alert(2)>",
        "<script>alert(3)</script><style>*{display:none}</style>",
        "\u{202e}backwards\u{2066} and \u{200f}مرحبا שלום",
        "__proto__ constructor javascript:alert(4)",
        &"long".repeat(900),
    ];
    for (n, text) in texts.iter().enumerate() {
        ann.says(text).await;
        bob.until(&format!("document.querySelectorAll('#log .line').length === {}", n + 1)).await;
    }
    let expected: Vec<_> =
        texts.iter().enumerate().map(|(n, text)| format!("{} {name}: {text}", n + 1)).collect();
    shows(&bob, &expected.join("|")).await;
    bob.size(360, 740).await;
    bob.picture("hostile-narrow").await;
    for guest in [&ann, &bob] {
        let elements =
            "document.querySelectorAll('main img, main script, main style, main b').length";
        assert_eq!(guest.value(elements).await, "0");
        assert_eq!(guest.value("document.documentElement.scrollWidth <= innerWidth").await, "true");
        assert_eq!(guest.value("document.getElementById('room-name').textContent").await, room);
        assert_eq!(guest.complaints(), Vec::<String>::new());
    }
    house.close().await;
}

#[tokio::test]
async fn what_is_refused_is_explained_and_the_text_is_kept() {
    let Some((server, mut house)) = open("the test of refusals in a browser").await else {
        return;
    };
    let ann = enter(&mut house, &server, "ann", "lobby").await;
    let left = "document.getElementById('left').textContent";
    ann.types(&"x".repeat(4000)).await;
    assert_eq!(ann.value(left).await, "96 bytes left");
    ann.types(&"é".repeat(50)).await;
    assert_eq!(ann.value(left).await, "4 bytes too many");
    ann.presses("Enter").await;
    is_told(&ann, "payload_too_large").await;
    is_told(&ann, "Shorten it").await;
    ann.until("document.getElementById('text').value.length === 4050").await;
    ann.clears().await;
    ann.says("short").await;
    shows(&ann, "1 ann: short").await;
    ann.until("document.getElementById('notice').hidden").await;

    // The desk refuses what the server would, before it is asked.
    let desk = house.guest(&format!("{}/#{}", server.url, "x".repeat(256))).await;
    desk.until("!document.getElementById('desk').hidden").await;
    desk.presses("Enter").await;
    let problem = "document.getElementById('desk-problem').textContent";
    desk.until(&format!("{problem} === 'The room may have 255 bytes, this has 256. Shorten it.'"))
        .await;
    assert_eq!(desk.value("document.activeElement.id").await, "room");
    for guest in [&ann, &desk] {
        assert_eq!(guest.complaints(), Vec::<String>::new());
    }
    house.close().await;
}

/// A token of a server that has [`SECRET`], for a name and for rooms.
fn token(user: &str, rooms: &str) -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET);
    let claims = serde_json::json!({ "sub": user, "rooms": [rooms] });
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

const SECRET: &[u8] = b"a secret of thirty-two bytes or more";

#[tokio::test]
async fn where_names_are_signed_the_page_shows_a_token_and_keeps_it_in_its_tab() {
    let test = "the test of tokens in a browser";
    let Some(program) = missing::or_skip(test, guest::installed()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, SECRET).unwrap();
    let server = Server::with(&["--auth-key", key.to_str().unwrap()]);
    let mut house = House::open(&program).await;
    let ann = house.guest(&format!("{}/#team-1", server.url)).await;
    ann.until("!document.getElementById('proof').hidden").await;
    // The name is in the token, and is not asked for twice.
    assert_eq!(ann.value("document.activeElement.id").await, "name");
    ann.presses("Tab").await;
    assert_eq!(ann.value("document.activeElement.id").await, "token");
    ann.presses("Enter").await;
    let problem = "document.getElementById('desk-problem').textContent";
    assert_eq!(ann.value(problem).await, "Your name is missing.");
    ann.value("document.getElementById('token').focus()").await;
    let good = token("ann", "team-*");
    ann.types(&good).await;
    assert_eq!(ann.value("document.getElementById('name').value").await, "ann");
    pictures(&ann, "desk-token").await;
    ann.presses("Enter").await;
    ann.until(&is_in()).await;
    ann.says("signed").await;
    shows(&ann, "1 ann: signed").await;
    // It is with the tab, through a reload, and nowhere else.
    ann.reloads().await;
    ann.until(&is_in()).await;
    shows(&ann, "1 ann: signed").await;
    let everywhere = "location.href + document.documentElement.outerHTML + \
        JSON.stringify(localStorage) + document.cookie + JSON.stringify(history.state)";
    assert!(!ann.value(everywhere).await.contains(&good));
    assert!(ann.value("JSON.stringify(sessionStorage)").await.contains(&good));
    let others = "performance.getEntriesByType('resource').map((entry) => entry.name).join(' ')";
    assert!(!ann.value(others).await.contains(&good), "it was sent where it is not needed");

    // A room that it is not for.
    ann.value("location.hash = '#other'").await;
    is_told(&ann, "The room cannot be joined").await;
    is_told(&ann, "Choose another room, or leave and show another token.").await;

    // Somebody else's name.
    let bob = house.guest(&format!("{}/#team-1", server.url)).await;
    bob.until("!document.getElementById('proof').hidden").await;
    bob.value("document.getElementById('token').focus()").await;
    bob.types(&good).await;
    bob.value("document.getElementById('name').focus()").await;
    bob.clears().await;
    bob.types("bob").await;
    bob.presses("Enter").await;
    is_told(&bob, "The server does not take this name").await;
    bob.until("document.getElementById('state-word').textContent === 'not let in'").await;
    bob.picture("token-refused").await;
    bob.clicks("#notice-act").await;
    bob.until("!document.getElementById('desk').hidden").await;
    assert_eq!(
        bob.value("document.activeElement.id + document.getElementById('token').value").await,
        "token"
    );
    bob.types(&token("bob", "*")).await;
    bob.presses("Enter").await;
    bob.until(&is_in()).await;
    house.close().await;
}

#[tokio::test]
async fn a_page_stays_small_however_much_is_said() {
    let Some((server, mut house)) = open("the test of much talk in a browser").await else {
        return;
    };
    let ann = enter(&mut house, &server, "ann", "lobby").await;
    let client = reqwest::Client::new();
    let url = format!("{}/api/rooms/lobby/messages", server.url);
    for n in 1..=1_200 {
        let message = serde_json::json!({ "user": "clerk", "text": format!("line {n}") });
        let sent = client.post(&url).json(&message).send().await.unwrap();
        assert_eq!(sent.status(), 200);
    }
    ann.until("document.querySelector('#log .line:last-child .seq').textContent === '1200'").await;
    assert_eq!(ann.value("document.querySelectorAll('#log > *').length").await, "500");
    let log = "document.getElementById('log')";
    let at_end = format!("{log}.scrollHeight - {log}.scrollTop - {log}.clientHeight < 2");
    assert_eq!(ann.value(&at_end).await, "true");

    // Whoever reads further up is not pulled away, and is told of what is new.
    ann.value(&format!("{log}.scrollTop = 100")).await;
    ann.until(&format!("{log}.scrollTop < 200")).await;
    let message = serde_json::json!({ "user": "clerk", "text": "the last one" });
    client.post(&url).json(&message).send().await.unwrap();
    ann.until("document.getElementById('newer').innerText === '1 new line below'").await;
    assert_eq!(ann.value(&at_end).await, "false");
    ann.clicks("#newer").await;
    ann.until(&at_end).await;
    assert_eq!(ann.complaints(), Vec::<String>::new());
    house.close().await;
}
