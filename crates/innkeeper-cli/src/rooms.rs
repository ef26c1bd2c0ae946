//! `innkeeper rooms`: list, show and stop.

use std::collections::BTreeSet;

use hyper::Method;
use innkeeper_api::{Code, RoomInfo, RoomsPage};
use serde::Serialize;

use crate::args::{Format, RoomsArgs, RoomsCommand};
use crate::client::{Client, Refused};
use crate::error::Failure;
use crate::exit::Exit;
use crate::output;

const HEAD: [&str; 7] = ["room", "state", "members", "messages", "restarts", "uptime", "node"];

pub(crate) fn run(args: &RoomsArgs) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Failure::new)?.block_on(carry_out(args))
}

async fn carry_out(args: &RoomsArgs) -> Result<Exit, Failure> {
    let client = Client::new(&args.server)?;
    let format = args.server.format;
    let done = match &args.command {
        RoomsCommand::List { prefix, limit } => list(&client, format, prefix, *limit).await,
        RoomsCommand::Show { key } => show(&client, format, key).await,
        RoomsCommand::Stop { key } => stop(&client, format, key).await,
    };
    match done {
        Ok(()) => Ok(Exit::Yes),
        Err(Refused::Problem(problem)) if problem.code == Code::NotFound => {
            output::talk(&problem.detail);
            Ok(Exit::No)
        }
        Err(refused) => Err(refused.into()),
    }
}

async fn list(client: &Client, format: Format, prefix: &str, limit: usize) -> Result<(), Refused> {
    let (mut rooms, mut after): (Vec<RoomInfo>, Option<String>) = (Vec::new(), None);
    let mut missing = BTreeSet::new();
    loop {
        let part = (limit - rooms.len()).min(innkeeper_server::limits::PAGE).to_string();
        let mut query = vec![("prefix", prefix), ("limit", &part)];
        if let Some(after) = &after {
            query.push(("after", after));
        }
        let page: RoomsPage = client.ask(Method::GET, "/api/rooms", &query).await?;
        rooms.extend(page.rooms);
        missing.extend(page.missing);
        after = page.next;
        if after.is_none() || rooms.len() >= limit {
            break;
        }
    }
    let rows: Vec<_> = rooms
        .into_iter()
        .map(|room| {
            let cells = vec![
                room.room.clone(),
                room.state.clone(),
                room.members.to_string(),
                room.messages.to_string(),
                room.restarts.to_string(),
                uptime(room.uptime_ms),
                output::printable(&room.node),
            ];
            (room, cells)
        })
        .collect();
    output::rows(format, &HEAD, &rows);
    for part in missing {
        output::talk(&format!("rooms are missing: {}", output::printable(&part)));
    }
    if after.is_some() {
        output::talk(&format!("there are more; --limit {limit} was reached"));
    }
    Ok(())
}

async fn show(client: &Client, format: Format, key: &str) -> Result<(), Refused> {
    let room: RoomInfo = client.ask(Method::GET, &Client::room(key), &[]).await?;
    let cells = [
        ("room", room.room.clone()),
        ("state", room.state.clone()),
        ("incarnation", room.incarnation.clone()),
        ("epoch", room.epoch.to_string()),
        ("node", room.node.clone()),
        ("members", room.members.to_string()),
        ("messages", room.messages.to_string()),
        ("restarts", room.restarts.to_string()),
        ("uptime", uptime(room.uptime_ms)),
        ("mailbox", room.mailbox_len.to_string()),
    ]
    .into_iter()
    .chain(room.exits.iter().map(|exit| ("crashed", output::printable(&exit.reason))));
    let cells: Vec<_> = cells.collect();
    output::one(format, &room, &cells);
    Ok(())
}

async fn stop(client: &Client, format: Format, key: &str) -> Result<(), Refused> {
    client.order(Method::DELETE, &Client::room(key)).await?;
    match format {
        Format::Json => output::one(format, &Stopped { room: key, stopped: true }, &[]),
        Format::Table | Format::Plain => {
            output::talk(&format!("stopped {key:?}: the key is free"));
        }
    }
    Ok(())
}

/// A stop has nothing to tell but that it is done.
#[derive(Serialize)]
struct Stopped<'a> {
    room: &'a str,
    stopped: bool,
}

/// For people: the two largest units.
pub(crate) fn uptime(millis: u64) -> String {
    let secs = millis / 1000;
    let (days, hours, minutes) = (secs / 86_400, secs / 3600 % 24, secs / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{}.{}s", secs, millis % 1000 / 100),
        (0, 0, _) => format!("{minutes}m {}s", secs % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uptime_shows_its_two_largest_units() {
        let shown = [0, 1234, 61_000, 3_660_000, 90_000_000].map(uptime);
        assert_eq!(shown, ["0.0s", "1.2s", "1m 1s", "1h 1m", "1d 1h"]);
    }
}
