//! `innkeeper check`: a census over all servers. A key with two open gates breaks the promise.

use std::collections::VecDeque;

use hyper::Method;
use innkeeper_api::{Code, RoomInfo, RoomsPage};
use serde::Serialize;

use crate::args::CheckArgs;
use crate::client::{Client, Refused};
use crate::error::Failure;
use crate::exit::Exit;
use crate::output;

/// What the census showed.
#[derive(Debug, Serialize)]
struct Report {
    servers: usize,
    rooms: u64,
    alive_twice: Vec<Twice>,
}

/// A key that is alive more than once.
#[derive(Debug, Serialize)]
struct Twice {
    room: String,
    incarnations: Vec<Found>,
}

/// One of its incarnations.
#[derive(Clone, Debug, Serialize)]
struct Found {
    url: String,
    node: String,
    incarnation: String,
    epoch: u64,
}

pub(crate) fn run(args: &CheckArgs) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let report = runtime.map_err(Failure::new)?.block_on(census(args))?;
    let mut cells =
        vec![("servers", report.servers.to_string()), ("rooms", report.rooms.to_string())];
    for twice in &report.alive_twice {
        let found = twice.incarnations.iter();
        let found = found.map(|at| format!("{} on {} ({})", at.incarnation, at.node, at.url));
        let found: Vec<_> = found.collect();
        cells.push(("ALIVE TWICE", format!("{}: {}", twice.room, found.join("; "))));
    }
    let is_kept = report.alive_twice.is_empty();
    if is_kept {
        cells.push(("promise", "kept: no key is alive twice".to_owned()));
    }
    output::one(args.format, &report, &cells);
    Ok(is_kept.into())
}

/// Goes through the lists of all servers side by side, in the order of their keys.
async fn census(args: &CheckArgs) -> Result<Report, Failure> {
    let lists = args.url.iter().map(|url| {
        Ok(List {
            client: Client::at(url, args.token.as_deref(), &args.trust)?,
            url: url.clone(),
            rooms: VecDeque::new(),
            next: Next::First,
        })
    });
    let mut lists = lists.collect::<Result<Vec<_>, Failure>>()?;
    let mut report = Report { servers: lists.len(), rooms: 0, alive_twice: Vec::new() };
    loop {
        for list in &mut lists {
            list.fill().await?;
        }
        let first = lists.iter().filter_map(|list| list.rooms.front()).map(|room| &room.room).min();
        let Some(key) = first.cloned() else { return Ok(report) };
        report.rooms += 1;
        let mut found = Vec::new();
        for list in &mut lists {
            let same = list.rooms.iter().take_while(|room| room.room == key).count();
            for room in list.rooms.drain(..same) {
                note(&mut found, &list.url, room);
            }
        }
        if found.len() > 1 {
            report.alive_twice.extend(again(&lists, &key).await?);
        }
    }
}

/// Reads a suspect again: between two lists it may have ended here and begun there.
async fn again(lists: &[List], key: &str) -> Result<Option<Twice>, Failure> {
    let mut found = Vec::new();
    for list in lists {
        match list.client.ask::<RoomInfo>(Method::GET, &Client::room(key), &[]).await {
            Ok(room) => note(&mut found, &list.url, room),
            Err(Refused::Problem(problem)) if problem.code == Code::NotFound => {}
            Err(refused) => return Err(refused.into()),
        }
    }
    Ok((found.len() > 1).then(|| Twice { room: key.to_owned(), incarnations: found }))
}

/// Counts an incarnation whose gate is open, once, whoever tells of it.
fn note(found: &mut Vec<Found>, url: &str, room: RoomInfo) {
    let is_open = room.state == "live";
    if is_open && !found.iter().any(|other| other.incarnation == room.incarnation) {
        let (node, incarnation, epoch) = (room.node, room.incarnation, room.epoch);
        found.push(Found { url: url.to_owned(), node, incarnation, epoch });
    }
}

/// The list of one server, as far as it was read.
struct List {
    client: Client,
    url: String,
    rooms: VecDeque<RoomInfo>,
    next: Next,
}

enum Next {
    First,
    After(String),
    Nothing,
}

impl List {
    /// Reads on, if all that was read is used up.
    async fn fill(&mut self) -> Result<(), Failure> {
        while self.rooms.is_empty() {
            let after = match &self.next {
                Next::First => None,
                Next::After(key) => Some(("after", key.as_str())),
                Next::Nothing => return Ok(()),
            };
            let query: Vec<_> = after.into_iter().collect();
            let page: RoomsPage = self.client.ask(Method::GET, "/api/rooms", &query).await?;
            if let Some(part) = page.missing.first() {
                let part = output::printable(part);
                let what = format_args!("{}: not all rooms can be looked at: {part}", self.url);
                return Err(Failure::new(what).try_next("again, once that node answers or is gone"));
            }
            self.rooms = page.rooms.into();
            self.next = page.next.map_or(Next::Nothing, Next::After);
        }
        Ok(())
    }
}
