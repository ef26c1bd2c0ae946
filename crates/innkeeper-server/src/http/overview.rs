//! What a screen shows of this server: counters, limits, and what is wrong in words.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Json;
use axum::extract::State;
use innkeeper::Counters;
use innkeeper_api::{EverywhereInfo, Level, Lint, Overview};

use crate::app::{App, Calls, Tally};
use crate::memory;

/// `GET /api/overview`
pub(crate) async fn show(State(app): State<Arc<App>>) -> Json<Overview> {
    let (look, everywhere) = tokio::join!(app.census.latest(&app.rooms), everywhere(&app));
    let mut lints = look.lints();
    lints.extend(full_house(app.rooms.count(), app.config.max_rooms));
    let draining = app.intake.is_draining();
    Json(Overview {
        node: app.node.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        state: if draining { "draining" } else { "serving" }.to_owned(),
        uptime_ms: app.uptime_ms(),
        allow_actions: app.config.allow_actions,
        now: now(&app),
        total: total(&app),
        limits: named([
            ("rooms", app.config.max_rooms as u64),
            ("members", app.config.max_members as u64),
            ("mailbox", u64::from(innkeeper::limits::MAILBOX_CAPACITY)),
        ]),
        census: look.info(),
        lints,
        everywhere,
    })
}

async fn everywhere(app: &App) -> Option<EverywhereInfo> {
    let (cluster, joining) = (app.cluster.as_ref()?, app.config.cluster.as_ref()?);
    let counts = app.census.counts(&app.rooms).await;
    Some(EverywhereInfo {
        cluster: joining.settings.cluster.clone(),
        nodes: cluster.nodes().len() as u64,
        rooms: counts.value.iter().map(|count| count.keys as u64).sum(),
        missing: counts.missing.iter().map(ToString::to_string).collect(),
    })
}

/// Before the bound on rooms is met, somebody should know.
fn full_house(rooms: usize, max: usize) -> Option<Lint> {
    let percent = rooms.saturating_mul(100).checked_div(max)?;
    let level = match percent {
        100.. => Level::Bad,
        90.. => Level::Warn,
        _ => return None,
    };
    let text = format!("{percent} % of the rooms that --max-rooms allows are taken.");
    Some(Lint { code: "max_rooms".to_owned(), level, text, rooms: Vec::new() })
}

fn named<const N: usize>(values: [(&str, u64); N]) -> BTreeMap<String, u64> {
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn now(app: &App) -> BTreeMap<String, u64> {
    let open = |gauge: &std::sync::atomic::AtomicU64| gauge.load(Ordering::Relaxed);
    let mut now = named([
        ("rooms", app.rooms.count() as u64),
        ("buckets", app.buckets.count() as u64),
        ("websocket_connections", open(&app.tally.web_sockets)),
        ("http_connections", open(&app.tally.http_connections)),
        ("kv_connections", open(&app.tally.kv_connections)),
    ]);
    if let Some(bytes) = memory::resident_bytes() {
        now.insert("memory_bytes".to_owned(), bytes);
    }
    now
}

fn total(app: &App) -> BTreeMap<String, u64> {
    let (rooms, buckets) = (app.rooms.counters(), app.buckets.counters());
    let both = |of: fn(&Counters) -> u64| of(&rooms) + of(&buckets);
    let ended = |counters: &Counters| -> u64 { counters.exits.iter().map(|(_, n)| n).sum() };
    let calls = |of: fn(&Calls) -> &AtomicU64| {
        let Tally { calls, calls_away, .. } = &app.tally;
        of(calls).load(Ordering::Relaxed) + of(calls_away).load(Ordering::Relaxed)
    };
    named([
        ("starts", both(|counters| counters.started)),
        ("starts_failed", both(|counters| counters.failed)),
        ("restarts", both(|counters| counters.restarts)),
        ("parked", both(|counters| counters.parked)),
        ("ended", ended(&rooms) + ended(&buckets)),
        ("casts_lost", both(|counters| counters.casts_lost)),
        ("mailbox_full", both(|counters| counters.mailbox_full)),
        ("calls_ok", calls(|calls| &calls.ok)),
        ("calls_not_delivered", calls(|calls| &calls.not_delivered)),
        ("calls_unknown", calls(|calls| &calls.unknown)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_house_that_fills_up_is_told_of_before_it_is_full() {
        assert_eq!(full_house(89, 100), None);
        assert_eq!(full_house(90, 100).unwrap().level, Level::Warn);
        assert_eq!(full_house(100, 100).unwrap().level, Level::Bad);
        assert_eq!(full_house(0, 0), None);
    }
}
