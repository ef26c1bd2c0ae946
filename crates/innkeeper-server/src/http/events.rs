//! What happens to rooms and buckets on all nodes, and to the nodes, as it happens: server-sent
//! events.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{self, KeepAlive};
use futures_util::stream::{self, Stream};
use innkeeper::{Heard, Hearing, Tidings, What};
use innkeeper_api::{Event, Gap, RoomKey};
use innkeeper_cluster::{Cluster, ClusterEvent};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::app::App;
use crate::limits;

struct Source {
    app: Arc<App>,
    rooms: Hearing<RoomKey>,
    buckets: Hearing<RoomKey>,
    cluster: Option<Receiver<ClusterEvent>>,
}

/// `GET /api/events`
pub(crate) async fn stream(
    State(app): State<Arc<App>>,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let cluster = app.cluster.as_ref().map(Cluster::events);
    let (rooms, buckets) =
        tokio::join!(app.rooms.everywhere().events(), app.buckets.everywhere().events());
    let source = Source { app, rooms, buckets, cluster };
    let events = stream::unfold(source, async |mut source| {
        loop {
            let closing = source.app.closing.clone();
            let said = tokio::select! {
                heard = source.rooms.next() => of_process(&source.app, "room", heard?),
                heard = source.buckets.next() => of_process(&source.app, "bucket", heard?),
                change = next_change(&mut source.cluster) => of_cluster(&source.app, change?),
                () = closing.cancelled() => return None,
            };
            if let Some(said) = said {
                return Some((Ok(said), source));
            }
        }
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(limits::SSE_KEEP_ALIVE))
}

/// What happens to nodes and shards next; on one node, nothing. `None`: nothing any more.
async fn next_change(
    cluster: &mut Option<Receiver<ClusterEvent>>,
) -> Option<Result<ClusterEvent, u64>> {
    let Some(cluster) = cluster else { return std::future::pending().await };
    match cluster.recv().await {
        Ok(change) => Some(Ok(change)),
        Err(RecvError::Lagged(missed)) => Some(Err(missed)),
        Err(RecvError::Closed) => None,
    }
}

/// What is heard of a process, as it is sent; none, where nobody outside needs to know.
fn of_process(app: &App, kind: &str, heard: Heard<RoomKey>) -> Option<sse::Event> {
    let node = heard.node.unwrap_or_else(|| app.node.clone()).to_string();
    let event = match heard.what {
        Tidings::Event(event) => event,
        Tidings::Missed(missed) => return lagged(node, Some(missed)),
        _ => return lagged(node, None),
    };
    let (name, reason) = match &event.what {
        What::Ready { again: false, .. } => ("started", None),
        What::Ready { again: true, .. } => ("restarted", None),
        What::Parked(reason) => ("parked", Some(reason)),
        What::Stopped(reason) => ("stopped", Some(reason)),
        _ => return None,
    };
    send(&Event {
        event: name.to_owned(),
        kind: kind.to_owned(),
        key: event.key.to_string(),
        incarnation: event.incarnation.to_string(),
        node,
        reason: reason.map(ToString::to_string),
    })
}

fn of_cluster(app: &App, change: Result<ClusterEvent, u64>) -> Option<sse::Event> {
    let this = app.node.to_string();
    let change = match change {
        Ok(change) => change,
        Err(missed) => return lagged(this, Some(missed)),
    };
    let of_node = |event, node: String| ("node", event, node.clone(), node, None);
    let (kind, event, key, node, reason) = match change {
        ClusterEvent::Moved { shard, from, to, .. } => {
            let from = from.map(|from| format!("from {from}"));
            ("shard", "moved", shard.to_string(), to.unwrap_or_default(), from)
        }
        ClusterEvent::Evicted { node } => of_node("evicted", node),
        ClusterEvent::Left { node } => of_node("left", node),
        ClusterEvent::Frozen => of_node("frozen", this),
        ClusterEvent::Thawed => of_node("thawed", this),
        ClusterEvent::Stuck { shard, processes } => {
            let reason = format!("waits for {}", processes.join(", "));
            ("shard", "stuck", shard.to_string(), this, Some(reason))
        }
        _ => return None,
    };
    let (event, kind) = (event.to_owned(), kind.to_owned());
    send(&Event { event, kind, key, incarnation: String::new(), node, reason })
}

fn send(event: &Event) -> Option<sse::Event> {
    sse::Event::default().event(&event.event).json_data(event).ok()
}

/// Something is not told.
fn lagged(node: String, missed: Option<u64>) -> Option<sse::Event> {
    sse::Event::default().event("lagged").json_data(Gap { node, missed }).ok()
}
