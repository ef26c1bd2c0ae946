//! What happens to rooms and buckets, as it happens: server-sent events.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{self, KeepAlive};
use futures_util::stream::{self, Stream};
use innkeeper::{Key, What};
use innkeeper_api::Event;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::app::App;
use crate::limits;

type Of<K> = innkeeper::Event<K>;

struct Source<K> {
    app: Arc<App>,
    rooms: Receiver<Of<K>>,
    buckets: Receiver<Of<K>>,
}

/// `GET /api/events`
pub(crate) async fn stream(
    State(app): State<Arc<App>>,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let (rooms, buckets) = (app.rooms.events(), app.buckets.events());
    let source = Source { app, rooms, buckets };
    let events = stream::unfold(source, async |mut source| {
        loop {
            let closing = source.app.closing.clone();
            let (kind, event) = tokio::select! {
                event = source.rooms.recv() => ("room", event),
                event = source.buckets.recv() => ("bucket", event),
                () = closing.cancelled() => return None,
            };
            let said = match event {
                Ok(event) => tell(&source.app, kind, &event),
                Err(RecvError::Lagged(missed)) => {
                    let data = format!("{{\"missed\":{missed}}}");
                    Some(sse::Event::default().event("lagged").data(data))
                }
                Err(RecvError::Closed) => return None,
            };
            if let Some(said) = said {
                return Some((Ok(said), source));
            }
        }
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(limits::SSE_KEEP_ALIVE))
}

/// An event as it is sent; none, where nobody outside needs to know.
fn tell<K: Key + std::fmt::Display>(app: &App, kind: &str, event: &Of<K>) -> Option<sse::Event> {
    let (name, reason) = match &event.what {
        What::Ready { again: false, .. } => ("started", None),
        What::Ready { again: true, .. } => ("restarted", None),
        What::Parked(reason) => ("parked", Some(reason)),
        What::Stopped(reason) => ("stopped", Some(reason)),
        _ => return None,
    };
    let data = Event {
        event: name.to_owned(),
        kind: kind.to_owned(),
        key: event.key.to_string(),
        incarnation: event.incarnation.to_string(),
        node: app.node.to_string(),
        reason: reason.map(ToString::to_string),
    };
    sse::Event::default().event(name).json_data(data).ok()
}
