//! What Prometheus reads. Nothing is counted here: it asks those who count anyway.

use std::fmt::{self, Error};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use innkeeper::{Counters, START_SECONDS};
use innkeeper_cluster::Node;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::app::App;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `GET /metrics`: OpenMetrics for whoever asks for it, else the classic text format.
pub(crate) async fn show(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Everything(app)));
    let mut text = String::new();
    if let Err(error) = encode(&mut text, &registry) {
        return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response();
    }
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("application/openmetrics-text")) {
        return ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response();
    }
    ([(CONTENT_TYPE, CLASSIC)], classic(&text)).into_response()
}

/// The classic format of what is OpenMetrics: there the name of a counter has its `_total` in its
/// description too, and there are no units and no end mark.
fn classic(open_metrics: &str) -> String {
    let mut counters = Vec::new();
    for line in open_metrics.lines() {
        if let Some(("# TYPE", name)) = line.strip_suffix(" counter").and_then(split_description) {
            counters.push(name);
        }
    }
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        match split_description(line) {
            Some(("# UNIT" | "# EOF", _)) => continue,
            Some((kind, rest)) => {
                let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                let total = if counters.contains(&name) { "_total" } else { "" };
                text += &format!("{kind} {name}{total} {rest}\n");
            }
            None => {
                text += line;
                text.push('\n');
            }
        }
    }
    text
}

/// `# HELP name ...` -> (`# HELP`, `name ...`)
fn split_description(line: &str) -> Option<(&str, &str)> {
    let rest = line.strip_prefix("# ")?;
    let kind = rest.find(' ').map_or(line.len(), |at| at + 2);
    Some((&line[..kind], line[kind..].trim_start()))
}

struct Everything(Arc<App>);

impl fmt::Debug for Everything {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Everything")
    }
}

type Labels = [(&'static str, &'static str); 1];

impl Collector for Everything {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> Result<(), Error> {
        let app = &self.0;
        let (rooms, buckets) = (app.rooms.counters(), app.buckets.counters());
        processes(&mut to, app, &rooms, &buckets)?;
        start_times(&mut to, &rooms, &buckets)?;
        calls(&mut to, app)?;
        let open = [
            ("websocket", &app.tally.web_sockets),
            ("http", &app.tally.http_connections),
            ("kv", &app.tally.kv_connections),
        ];
        let open = open.map(|(name, gauge)| ([("protocol", name)], get(gauge)));
        gauges(&mut to, "innkeeper_connections", "Open connections", &open)?;
        if let Some(cluster) = &app.cluster {
            ownership(&mut to, cluster.node())?;
        }
        let version = [([("version", env!("CARGO_PKG_VERSION"))], 1)];
        gauges(&mut to, "innkeeper_build_info", "What this program is; always 1", &version)
    }
}

fn processes(
    to: &mut DescriptorEncoder<'_>,
    app: &App,
    rooms: &Counters,
    buckets: &Counters,
) -> Result<(), Error> {
    let alive = [
        ([("kind", "room")], app.rooms.count() as u64),
        ([("kind", "bucket")], app.buckets.count() as u64),
    ];
    gauges(to, "innkeeper_processes", "Processes that there are", &alive)?;
    let starts = [
        ([("outcome", "started")], rooms.started + buckets.started),
        ([("outcome", "failed")], rooms.failed + buckets.failed),
        ([("outcome", "declined")], rooms.declined + buckets.declined),
    ];
    counters(to, "innkeeper_starts", "Starts of processes, restarts included", &starts)?;
    let exits: Vec<(Labels, u64)> = rooms
        .exits
        .iter()
        .zip(&buckets.exits)
        .map(|((kind, a), (_, b))| ([("reason", *kind)], a + b))
        .collect();
    counters(to, "innkeeper_exits", "Processes that ended for good", &exits)?;
    let restarts = rooms.restarts + buckets.restarts;
    counter(to, "innkeeper_restarts", "Restarts after a crash", restarts)?;
    let full = rooms.mailbox_full + buckets.mailbox_full;
    counter(to, "innkeeper_mailbox_full", "Messages refused by a full mailbox", full)
}

fn start_times(
    to: &mut DescriptorEncoder<'_>,
    rooms: &Counters,
    buckets: &Counters,
) -> Result<(), Error> {
    let counts = rooms.start_buckets.iter().zip(&buckets.start_buckets).map(|(a, b)| a + b);
    let parts: Vec<(f64, u64)> = START_SECONDS.into_iter().zip(counts).collect();
    let count = parts.iter().map(|(_, count)| count).sum();
    let sum = (rooms.start_time + buckets.start_time).as_secs_f64();
    let mut times = to.encode_descriptor(
        "innkeeper_start_duration",
        "How long the init of a process took",
        Some(&Unit::Seconds),
        MetricType::Histogram,
    )?;
    times.encode_histogram::<[(&str, &str); 0]>(sum, count, &parts, None)
}

fn calls(to: &mut DescriptorEncoder<'_>, app: &App) -> Result<(), Error> {
    let mut calls = to.encode_descriptor(
        "innkeeper_calls",
        "Calls to rooms and buckets, by outcome",
        None,
        MetricType::Counter,
    )?;
    for (path, of) in [("local", &app.tally.calls), ("remote", &app.tally.calls_away)] {
        let outcomes =
            [("ok", &of.ok), ("not_delivered", &of.not_delivered), ("unknown", &of.unknown)];
        for (result, counter) in outcomes {
            let labels = [("result", result), ("path", path)];
            ConstCounter::new(get(counter)).encode(calls.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn ownership(to: &mut DescriptorEncoder<'_>, node: &Node) -> Result<(), Error> {
    let me = node.session();
    let owned = node.owners().into_iter().flatten().filter(|owned| owned.owner == me).count();
    let family = to.encode_descriptor(
        "innkeeper_shards_owned",
        "Shards that this node owns",
        None,
        MetricType::Gauge,
    )?;
    ConstGauge::new(owned as u64).encode(family)?;
    let family = to.encode_descriptor(
        "innkeeper_session_remaining",
        "For how long the session can be proven without another heartbeat",
        Some(&Unit::Seconds),
        MetricType::Gauge,
    )?;
    ConstGauge::new(node.remaining().as_secs_f64()).encode(family)?;
    let help = "How often all gates have shut because the session could not be proven";
    counter(to, "innkeeper_gate_shut", help, node.times_shut())
}

fn counters(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: &[(Labels, u64)],
) -> Result<(), Error> {
    let mut family = to.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in values {
        ConstCounter::new(*value).encode(family.encode_family(labels)?)?;
    }
    Ok(())
}

fn counter(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> Result<(), Error> {
    let family = to.encode_descriptor(name, help, None, MetricType::Counter)?;
    ConstCounter::new(value).encode(family)
}

fn gauges(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: &[(Labels, u64)],
) -> Result<(), Error> {
    let mut family = to.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        ConstGauge::new(*value).encode(family.encode_family(labels)?)?;
    }
    Ok(())
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_classic_format_names_counters_in_full() {
        let open = "# HELP a_starts Starts.\n# TYPE a_starts counter\na_starts_total{b=\"c\"} 3\n\
                    # HELP a_time_seconds T.\n# TYPE a_time_seconds histogram\n\
                    # UNIT a_time_seconds seconds\na_time_seconds_sum 1.0\n# EOF\n";
        let classic = classic(open);
        assert_eq!(
            classic,
            "# HELP a_starts_total Starts.\n# TYPE a_starts_total counter\n\
             a_starts_total{b=\"c\"} 3\n# HELP a_time_seconds T.\n\
             # TYPE a_time_seconds histogram\na_time_seconds_sum 1.0\n"
        );
    }
}
