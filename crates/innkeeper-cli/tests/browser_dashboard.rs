//! The dashboard, in a real browser: every page with many rooms, by keyboard, and who may do what.

// It reports what it measures.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)]

#[cfg(feature = "cluster")]
#[path = "support/etcd.rs"]
mod etcd;
#[path = "support/guest.rs"]
mod guest;
#[path = "support/member.rs"]
mod member;
#[path = "support/missing.rs"]
mod missing;
#[path = "support/server.rs"]
mod server;

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use guest::{Guest, House};
use member::Member;
use serde_json::json;
use server::Server;

/// A server and a browser; `None` where there is no browser.
async fn open(test: &str, flags: &[&str]) -> Option<(Server, House)> {
    let program = missing::or_skip(test, guest::installed())?;
    Some((Server::with(flags), House::open(&program).await))
}

/// Opens rooms, many at once; the first ones have something said in them.
async fn fill(server: &Server, rooms: usize) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let started = stream::iter(0..rooms).map(|n| {
        let url = format!("{}/api/rooms/table-{n:06}", server.url);
        let post = match n {
            0..100 => client
                .post(format!("{url}/messages"))
                .json(&json!({"user": "ann", "text": format!("line {n}")})),
            _ => client.post(url),
        };
        async move { assert_eq!(post.send().await.unwrap().status(), 200) }
    });
    started.buffer_unordered(64).collect::<Vec<()>>().await;
}

async fn goes(guest: &Guest, place: &str) {
    let place = serde_json::to_string(place).unwrap();
    guest.value(&format!("location.hash = {place}")).await;
}

fn shows(text: &str) -> String {
    let text = serde_json::to_string(text).unwrap();
    format!("document.getElementById('main').innerText.includes({text})")
}

/// When the page first painted, and the longest it kept the browser from anything else, in ms.
async fn measured(guest: &Guest) -> (f64, f64) {
    let paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? -1";
    let longest = "new Promise((resolve) => {
        const tasks = [0];
        new PerformanceObserver((list) => {
            tasks.push(...list.getEntries().map((entry) => entry.duration));
        }).observe({ type: 'longtask', buffered: true });
        setTimeout(() => resolve(Math.max(...tasks)), 300);
    })";
    let (paint, longest) = (guest.value(paint).await, guest.value(longest).await);
    (paint.parse().unwrap(), longest.parse().unwrap())
}

/// In light and dark, wide and narrow; nothing is wider than the screen.
async fn pictures(guest: &Guest, name: &str) {
    for scheme in ["light", "dark"] {
        guest.scheme(scheme).await;
        for (size, width, height) in [("wide", 1280, 860), ("narrow", 360, 740)] {
            guest.size(width, height).await;
            let fits = "document.documentElement.scrollWidth <= innerWidth";
            assert_eq!(guest.value(fits).await, "true", "{name} {size}");
            // Nor is a table wider than its place: what is beyond it on a phone is not seen.
            let cut = "[...document.querySelectorAll('.scroll')]\
                .filter((place) => place.scrollWidth > place.clientWidth).length";
            assert_eq!(guest.value(cut).await, "0", "{name} {size}");
            guest.picture(&format!("dashboard-{name}-{scheme}-{size}")).await;
        }
    }
}

/// `INNKEEPER_DASHBOARD_ROOMS` sets how many rooms there are.
#[tokio::test]
async fn every_page_is_there_soon_however_many_rooms_there_are() {
    let flags = ["--starts-per-second", "0", "--starts-per-client", "0"];
    let test = "the test of the dashboard in a browser";
    let Some((server, mut house)) = open(test, &flags).await else { return };
    let rooms = std::env::var("INNKEEPER_DASHBOARD_ROOMS").ok();
    let rooms = rooms.map_or(5_000, |rooms| rooms.parse().unwrap());
    fill(&server, rooms).await;
    let address = server.url.trim_start_matches("http://");
    let mut members = Vec::new();
    for name in ["ann", "bob", "bob", "<b>carol</b>\u{202e}"] {
        let name = name.replace('<', "%3C").replace('>', "%3E").replace('\u{202e}', "%E2%80%AE");
        let mut member = Member::connect(address, &name).await;
        member.join("room:table-000007").await;
        members.push(member);
    }
    let all = format!("{} rooms are open.", thousands(rooms));
    let pages = [
        ("home", "#/home", all.as_str()),
        ("rooms", "#/rooms", "table-000049"),
        ("sorted", "#/rooms?sort=newest&contains=table", "1 to 50"),
        ("room", "#/room?key=table-000007", "It has not crashed."),
        ("tree", "#/tree", "a process for each key"),
        ("nodes", "#/nodes", "the whole key space is one shard"),
        ("events", "#/events", "Nothing has happened since."),
        ("metrics", "#/metrics", "innkeeper_processes"),
    ];
    for (name, place, text) in pages {
        let guest = house.guest(&format!("{}/dashboard{place}", server.url)).await;
        match name {
            "events" => guest.until("document.querySelector('.events')?.matches(':empty')").await,
            _ => guest.until(&shows(text)).await,
        }
        let (paint, longest) = measured(&guest).await;
        println!("{name}: {rooms} rooms, first paint {paint:.0} ms, longest task {longest:.0} ms");
        if name == "room" {
            guest.until(&shows("bob ×2")).await;
            guest.until(&shows("<b>carol</b>")).await;
            assert_eq!(guest.value("document.querySelectorAll('main b').length").await, "0");
        }
        if name == "home" {
            // Two looks make a rate.
            guest.until(&format!("!{}", shows("–"))).await;
        }
        pictures(&guest, name).await;
        assert_eq!(guest.complaints(), Vec::<String>::new(), "{name}");
        guest.closes().await;
    }
    house.close().await;
}

/// As the page writes numbers.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().collect();
    String::from_utf8(groups.join(&b',')).unwrap()
}

/// The share of one processor that the server takes within a while, in percent.
async fn busy(server: &Server) -> u64 {
    let before = server.cpu_ticks();
    tokio::time::sleep(MEASURED).await;
    (server.cpu_ticks() - before) * 100 / (MEASURED.as_millis() as u64 / 10)
}

const MEASURED: Duration = Duration::from_secs(4);

#[tokio::test]
async fn a_dashboard_that_nobody_looks_at_costs_nothing() {
    let test = "the test of an unwatched dashboard";
    let Some((server, mut house)) = open(test, &["--starts-per-client", "0"]).await else { return };
    fill(&server, 2_000).await;
    let guest = house.guest(&format!("{}/dashboard#/home", server.url)).await;
    guest.until(&shows("2,000 rooms are open.")).await;
    let watched = busy(&server).await;
    goes(&guest, "#/events").await;
    guest.until(&shows("Listening from now on.")).await;
    guest.closes().await;
    let unwatched = busy(&server).await;
    println!("watched: {watched} %, unwatched: {unwatched} % of one processor");
    // Its own processor time: a machine that is busy with others does not count.
    assert!(unwatched <= 1, "{unwatched} %");
    house.close().await;
}

#[tokio::test]
async fn rooms_are_searched_ordered_and_paged_by_keyboard() {
    let Some((server, mut house)) = open("the test of the list in a browser", &[]).await else {
        return;
    };
    fill(&server, 120).await;
    let guest = house.guest(&format!("{}/dashboard#/rooms", server.url)).await;
    let names =
        "[...document.querySelectorAll('.rows tbody .room-name')].map((a) => a.textContent)";
    guest.until(&format!("{names}.length === 50")).await;
    guest.until(&shows("1 to 50 of 120 in all")).await;
    for (first, words) in [("table-000050", "51 to 100"), ("table-000100", "101 to 120")] {
        guest.value("[...document.querySelectorAll('.pager button')].at(-1).focus()").await;
        guest.presses("Enter").await;
        guest.until(&format!("{names}[0] === '{first}'")).await;
        guest.until(&shows(words)).await;
    }
    assert_eq!(guest.value("document.querySelectorAll('.pager button')[1].disabled").await, "true");
    // The search is one key away, from anywhere.
    guest.value("document.activeElement.blur()").await;
    guest.presses("/").await;
    assert_eq!(guest.value("document.activeElement.id").await, "contains");
    guest.types("-00011").await;
    guest.until(&format!("{names}.length === 10 && {names}[0] === 'table-000110'")).await;
    guest.until("location.hash === '#/rooms?contains=-00011'").await;
    // Ordered by another column: the most first.
    let button = "[...document.querySelectorAll('.rows thead button')].find((b) => \
        b.textContent.startsWith('Messages'))";
    guest.clears().await;
    guest.types("table-0000").await;
    guest.value(&format!("{button}.focus()")).await;
    guest.presses("Enter").await;
    guest.until("document.querySelector('[aria-sort]')?.textContent === 'Messages ↓'").await;
    guest.until(&format!("{names}.length === 50 && {names}[0] === 'table-000000'")).await;
    // A room is a link; its page has it.
    guest.value("document.querySelector('.rows tbody a').focus()").await;
    guest.presses("Enter").await;
    guest.until(&shows("It has not crashed.")).await;
    assert_eq!(guest.value("document.querySelector('h1').textContent").await, "table-000000");
    assert_eq!(guest.complaints(), Vec::<String>::new());
    house.close().await;
}

#[cfg(feature = "cluster")]
#[tokio::test]
async fn each_shard_of_a_cluster_is_told_in_words_with_its_node_and_its_epoch() {
    let test = "the test of shards in a browser";
    let Some(etcd) = missing::or_skip(test, etcd::Etcd::start()) else { return };
    let etcd = format!("--etcd={}", etcd.url);
    let flags = ["--cluster=test", "--insecure-cluster", "--listen=127.0.0.1:0", "--node=a"];
    let flags = [&flags[..], &["--shards=16", &etcd]].concat();
    let Some((server, mut house)) = open(test, &flags).await else { return };
    let guest = house.guest(&format!("{}/dashboard#/nodes", server.url)).await;
    guest.until(&shows("spread over 16 shards")).await;
    guest.value("document.querySelector('.by-number summary').focus()").await;
    guest.presses("Enter").await;
    let rows = "[...document.querySelectorAll('.by-number tbody tr')]\
        .map((row) => row.innerText.trim().split(/\\s+/).join(' '))";
    guest.until(&format!("{rows}.length === 16")).await;
    // Each is claimed once, and so of the first epoch.
    guest.until(&format!("{rows}.every((row, n) => row === `${{n}} serving a 1`)")).await;
    pictures(&guest, "shards").await;
    assert_eq!(guest.complaints(), Vec::<String>::new());
    house.close().await;
}

#[tokio::test]
async fn it_is_read_only_unless_it_was_allowed_to_act() {
    let Some((server, mut house)) = open("the test of a read-only dashboard", &[]).await else {
        return;
    };
    fill(&server, 1).await;
    let guest = house.guest(&format!("{}/dashboard#/room?key=table-000000", server.url)).await;
    guest.until(&shows("Go in")).await;
    assert_eq!(guest.value("document.querySelectorAll('.actions button').length").await, "0");
    assert_eq!(guest.complaints(), Vec::<String>::new());
    house.close().await;
}

#[tokio::test]
async fn with_the_token_a_room_is_restarted_and_stopped_and_its_members_see_it() {
    let flags = ["--admin-token", "brass", "--allow-actions"];
    let Some((server, mut house)) = open("the test of actions in a browser", &flags).await else {
        return;
    };
    let ann = house.guest(&format!("{}/#inn", server.url)).await;
    ann.until("!document.getElementById('desk').hidden").await;
    ann.types("ann").await;
    ann.presses("Enter").await;
    ann.until("document.getElementById('state-word').textContent === 'connected'").await;
    ann.says("Before").await;

    let keeper = house.guest(&format!("{}/dashboard#/room?key=inn", server.url)).await;
    for (token, problem) in [("iron", ""), ("brass", "That is not the token.")] {
        let asked = "document.getElementById('token').open && document.activeElement.id === \
            'token-text' && document.activeElement.value === ''";
        keeper.until(asked).await;
        let text = "document.getElementById('token-problem').textContent";
        keeper.until(&format!("{text} === '{problem}'")).await;
        keeper.types(token).await;
        keeper.presses("Enter").await;
    }
    keeper.until(&shows("live for")).await;

    act(&keeper, "restart").await;
    keeper.until(&shows("killed")).await;
    ann.until("document.getElementById('notice').innerText.includes('Room restarted')").await;
    ann.until("document.getElementById('state-word').textContent === 'connected'").await;
    ann.says("After").await;
    ann.until("document.querySelector('#log .line:not(.past) .text')?.textContent === 'After'")
        .await;

    act(&keeper, "stop").await;
    keeper.until(&shows("No room runs under this key.")).await;
    ann.until("document.getElementById('notice').innerText.includes('The room was stopped')").await;
    pictures(&keeper, "stopped").await;
    assert_eq!(ann.complaints(), Vec::<String>::new());
    // The browser itself reports each refusal.
    let mut others = keeper.complaints();
    others
        .retain(|complaint| !complaint.contains("status of 401") && !complaint.contains("of 404"));
    assert_eq!(others, Vec::<String>::new());
    house.close().await;
}

/// Presses a button by keyboard, and says yes.
async fn act(keeper: &Guest, id: &str) {
    keeper.until(&format!("document.getElementById('{id}')")).await;
    keeper.value(&format!("document.getElementById('{id}').focus()")).await;
    keeper.presses("Enter").await;
    keeper.until("document.getElementById('sure').open").await;
    keeper.value("document.getElementById('sure-yes').focus()").await;
    keeper.presses("Enter").await;
}

#[tokio::test]
async fn events_come_as_they_happen_and_hostile_keys_are_text() {
    let Some((server, mut house)) = open("the test of events in a browser", &[]).await else {
        return;
    };
    let guest = house.guest(&format!("{}/dashboard#/events", server.url)).await;
    guest.until(&shows("Listening from now on.")).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let key = "%3Cimg%20src=x%20onerror=alert(1)%3E%E2%80%AE";
    let url = format!("{}/api/rooms/{key}", server.url);
    // The page may not listen yet when the first one starts.
    let heard = "document.querySelectorAll('.event').length > 0";
    while guest.value(heard).await != "true" {
        assert_eq!(client.post(&url).send().await.unwrap().status(), 200);
        assert_eq!(client.delete(&url).send().await.unwrap().status(), 204);
    }
    guest.until(&shows("started")).await;
    guest.until(&shows("stopped")).await;
    guest.until(&shows("<img src=x onerror=alert(1)>")).await;
    assert_eq!(guest.value("document.querySelectorAll('main img').length").await, "0");
    pictures(&guest, "events-heard").await;
    goes(&guest, "#/rooms").await;
    guest.until(&shows("No room is open.")).await;
    assert_eq!(guest.complaints(), Vec::<String>::new());
    house.close().await;
}
