//! The list of rooms: searched, ordered and cut into pages here, so that a screen asks for what it
//! shows. Of all nodes, it is in the order of the keys alone.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Bound;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use innkeeper::{Gathered, ProcessInfo};
use innkeeper_api::{Code, RoomKey, RoomsPage};
use serde::Deserialize;

use crate::app::App;
use crate::error::ApiError;
use crate::http::extract::QueryOf;
use crate::http::rooms::{room_info, state_word};
use crate::limits;
use crate::room::Gauge;

/// What part of the list is wanted, and in which order.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    #[serde(default)]
    prefix: String,
    /// Somewhere in the key, in large or small letters.
    #[serde(default)]
    contains: String,
    state: Option<String>,
    #[serde(default)]
    sort: Sort,
    /// Only rooms of this node.
    #[serde(default)]
    here: bool,
    after: Option<RoomKey>,
    /// What the last row of the page before was ordered by.
    after_value: Option<u64>,
    limit: Option<usize>,
}

/// What the rows are ordered by: keys as they are written, anything else with the most first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sort {
    #[default]
    Key,
    Members,
    Messages,
    Mailbox,
    Restarts,
    Oldest,
    Newest,
}

/// A room and its place. The order of places is that of the rows.
struct Ranked {
    place: Place,
    info: ProcessInfo,
}

/// More comes before less, and what is equal in the order of the keys.
type Place = (Reverse<u64>, RoomKey);

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.place.cmp(&other.place)
    }
}

/// `GET /api/rooms`
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    QueryOf(part): QueryOf<Part>,
) -> Result<Json<RoomsPage>, ApiError> {
    let limit = part.limit.unwrap_or(limits::PAGE);
    if limit == 0 || limit > limits::PAGE {
        let detail = format_args!("expected a limit of 1 to {}, got {limit}", limits::PAGE);
        return Err(ApiError::new(Code::BadRequest, detail));
    }
    if app.cluster.is_some() && !part.here {
        return everywhere(&app, &part, limit).await.map(Json);
    }
    if part.sort == Sort::Key && part.state.is_none() {
        return Ok(Json(by_key(&app, &part, limit).await));
    }
    Ok(Json(by_value(&app, &part, limit).await))
}

/// Asks every node for the first of its own. Keys that begin alike are next to each other.
async fn everywhere(app: &App, part: &Part, limit: usize) -> Result<RoomsPage, ApiError> {
    if !part.contains.is_empty() || part.state.is_some() || part.sort != Sort::Key {
        let detail = "rooms of all nodes are listed by key, from a prefix on: contains, state and \
                      sort go with here=true, which is this node alone";
        return Err(ApiError::new(Code::BadRequest, detail));
    }
    let prefix = part.prefix.as_str();
    let from = match &part.after {
        Some(after) if after.as_str() >= prefix => Bound::Excluded(after.clone()),
        _ if prefix.is_empty() => Bound::Unbounded,
        _ => Bound::Included(prefix.parse()?),
    };
    let Gathered { value: mut page, missing } =
        app.rooms.everywhere().page((from, Bound::Unbounded), limit).await;
    let all = page.rows.len();
    page.rows.retain(|row| row.key.as_str().starts_with(prefix));
    // Behind the first key that begins otherwise there is none.
    let next = page.next.filter(|_| page.rows.len() == all);
    Ok(RoomsPage {
        rooms: page.rows.iter().map(|row| room_info(app, &row.key, &row.info)).collect(),
        next: next.map(|key| key.to_string()),
        next_value: None,
        missing: missing.iter().map(ToString::to_string).collect(),
    })
}

/// Looks at keys alone, and only at those rooms that it shows.
async fn by_key(app: &App, part: &Part, limit: usize) -> RoomsPage {
    // One more than asked for tells whether there is a next page.
    let mut rows = app.rooms.page(part.after.as_ref(), limit + 1, part.wanted()).await;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|row| row.key.to_string());
    let rooms = rows.iter().map(|row| room_info(app, &row.key, &row.info)).collect();
    RoomsPage { rooms, next, next_value: None, missing: Vec::new() }
}

/// Looks at every room that the search leaves, and keeps the first of them.
async fn by_value(app: &App, part: &Part, limit: usize) -> RoomsPage {
    let after: Option<Place> =
        part.after.clone().map(|key| (Reverse(part.after_value.unwrap_or(0)), key));
    let mut wanted = part.wanted();
    let mut page: BinaryHeap<Ranked> = BinaryHeap::new();
    app.rooms
        .visit(|key, info| {
            if !wanted(key) {
                return;
            }
            let info = info();
            let is_state = part.state.as_ref().is_none_or(|state| state_word(&info) == *state);
            if info.state.is_none() || !is_state {
                return;
            }
            let value = Reverse(part.sort.value(&info));
            let full = page.len() > limit;
            if full && page.peek().is_some_and(|last| (value, key) >= (last.place.0, &last.place.1))
            {
                return;
            }
            let place = (value, key.clone());
            if after.as_ref().is_none_or(|after| *after < place) {
                page.push(Ranked { place, info });
                if full {
                    page.pop();
                }
            }
        })
        .await;
    let mut rows = page.into_sorted_vec();
    let more = rows.len() > limit;
    rows.truncate(limit);
    let last = rows.last().filter(|_| more);
    RoomsPage {
        next: last.map(|row| row.place.1.to_string()),
        next_value: last.map(|row| row.place.0.0),
        rooms: rows.iter().map(|row| room_info(app, &row.place.1, &row.info)).collect(),
        missing: Vec::new(),
    }
}

impl Part {
    fn wanted(&self) -> impl FnMut(&RoomKey) -> bool {
        let contains = self.contains.to_lowercase();
        move |key| key.as_str().starts_with(&self.prefix) && has(key.as_str(), &contains)
    }
}

/// Whether a text has in it, in large or small letters, what is given in small ones. It is asked of
/// every key there is: one of ASCII, as most are, is not copied for it.
fn has(text: &str, small: &str) -> bool {
    if small.is_empty() {
        return true;
    }
    if text.is_ascii() {
        let mut places = text.as_bytes().windows(small.len());
        return places.any(|place| place.eq_ignore_ascii_case(small.as_bytes()));
    }
    text.to_lowercase().contains(small)
}

impl Sort {
    /// What a room is ordered by. Of ages the number of the incarnation counts: it grows with each
    /// start, and unlike an age it does not change between two pages.
    fn value(self, info: &ProcessInfo) -> u64 {
        let gauge = |of: fn(&Gauge) -> u64| info.exposed::<Gauge>().map_or(0, |gauge| of(&gauge));
        match self {
            Sort::Key => 0,
            Sort::Members => gauge(Gauge::members),
            Sort::Messages => gauge(Gauge::messages),
            Sort::Mailbox => info.mailbox_len as u64,
            Sort::Restarts => info.restarts,
            Sort::Newest => info.incarnation.number(),
            // As far as a JavaScript number goes.
            Sort::Oldest => ((1 << 53) - 1_u64).saturating_sub(info.incarnation.number()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_key_is_found_in_large_and_small_letters() {
        for (text, part) in
            [("Table-7", "table-7"), ("Table-7", "LE-"), ("GROẞE Halle", "große"), ("会議室", "議")]
        {
            assert!(has(text, &part.to_lowercase()), "{text} {part}");
        }
        for (text, part) in [("Table-7", "table-8"), ("a", "longer"), ("strasse", "straße")] {
            assert!(!has(text, part), "{text} {part}");
        }
        assert!(has("", "") && has("a", "") && !has("", "a"));
    }
}
