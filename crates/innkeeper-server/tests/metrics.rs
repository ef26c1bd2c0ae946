//! `/metrics` as a linter of Prometheus looks at it: names, units, descriptions, histograms.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Tests.

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/server.rs"]
mod server;

use std::collections::{BTreeMap, BTreeSet};

use cluster::{DEALT, World};
use server::Server;

/// What is wrong with a text in the classic format, as `promtool check metrics` would say.
fn lint(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mut help, mut kinds) = (BTreeMap::new(), BTreeMap::new());
    let (mut series, mut buckets) = (BTreeSet::new(), BTreeMap::<String, Vec<f64>>::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, words) = rest.split_once(' ').unwrap_or((rest, ""));
            if words.trim().is_empty() || help.insert(name, words).is_some() {
                wrong.push(format!("{name}: expected one HELP with words in it"));
            }
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, ""));
            kinds.insert(name, kind);
            wrong.extend(name_lint(name, kind));
        } else {
            let (id, value) = line.rsplit_once(' ').unwrap_or((line, ""));
            let sample = id.split('{').next().unwrap_or_default();
            let family = ["_bucket", "_count", "_sum"].iter().find_map(|end| {
                let family = sample.strip_suffix(end)?;
                (kinds.get(family) == Some(&"histogram")).then_some(family)
            });
            let family = family.unwrap_or(sample);
            if !kinds.contains_key(family) || !help.contains_key(family) {
                wrong.push(format!("{id}: no HELP and TYPE before it"));
            }
            if !series.insert(id.to_owned()) {
                wrong.push(format!("{id}: twice"));
            }
            match value.parse::<f64>() {
                Ok(value) if sample.ends_with("_bucket") => {
                    buckets.entry(family.to_owned()).or_default().push(value);
                }
                Ok(_) => {}
                Err(_) => wrong.push(format!("{id}: {value:?} is no number")),
            }
        }
    }
    // Buckets hold all that is below them, and the last one everything.
    for (family, values) in buckets {
        let counted = text.lines().find_map(|line| line.strip_prefix(&format!("{family}_count ")));
        let counted = counted.and_then(|count| count.parse::<f64>().ok());
        if !values.is_sorted() || counted != values.last().copied() {
            wrong.push(format!("{family}: its buckets do not add up to its count"));
        }
        if !text.contains(&format!("{family}_bucket{{le=\"+Inf\"}}")) {
            wrong.push(format!("{family}: no bucket for everything"));
        }
    }
    wrong
}

fn name_lint(name: &str, kind: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let is_plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !is_plain || !name.starts_with("innkeeper_") {
        wrong.push(format!("{name}: expected innkeeper_ and small letters"));
    }
    if (kind == "counter") != name.ends_with("_total") {
        wrong.push(format!("{name}: counters, and they alone, end in _total"));
    }
    let words: Vec<_> = name.split('_').collect();
    for bad in ["ms", "us", "milliseconds", "minutes", "kb", "kilobytes", "percent"] {
        if words.contains(&bad) {
            wrong.push(format!("{name}: {bad} is no base unit"));
        }
    }
    if words.iter().any(|word| ["gauge", "counter", "histogram", "summary"].contains(word)) {
        wrong.push(format!("{name}: says in its name what TYPE says"));
    }
    if kind == "histogram" && !["seconds", "bytes"].contains(words.last().unwrap()) {
        wrong.push(format!("{name}: expected a unit"));
    }
    if !["counter", "gauge", "histogram"].contains(&kind) {
        wrong.push(format!("{name}: {kind:?} is no type of ours"));
    }
    wrong
}

#[tokio::test]
async fn metrics_are_as_prometheus_wants_them() {
    let server = Server::start().await;
    for n in 0..10 {
        let url = server.url(&format!("/api/rooms/r{n}"));
        assert!(reqwest::Client::new().post(url).send().await.unwrap().status().is_success());
    }
    let text = reqwest::get(server.url("/metrics")).await.unwrap().text().await.unwrap();
    assert_eq!(lint(&text), Vec::<String>::new());
    let buckets = text.lines().filter(|line| line.contains("_bucket{"));
    let counts: Vec<u64> =
        buckets.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    assert!(counts.is_sorted() && counts.last() == Some(&10), "{counts:?}");
}

#[tokio::test]
async fn a_node_of_a_cluster_says_what_it_owns_and_how_sure_it_is() {
    let (a, _b) = World::default().pair().await;
    let text = reqwest::get(a.url("/metrics")).await.unwrap().text().await.unwrap();
    assert_eq!(lint(&text), Vec::<String>::new());
    let value = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("{name}: {text}")).parse().unwrap()
    };
    assert_eq!(value("innkeeper_shards_owned"), f64::from(DEALT.0));
    assert!(value("innkeeper_session_remaining_seconds") > 0.0);
    assert_eq!(value("innkeeper_gate_shut_total"), 0.0);
}

#[tokio::test]
async fn calls_to_rooms_on_other_nodes_are_counted_as_such() {
    let (a, _b) = World::default().pair().await;
    let (client, mut away) = (reqwest::Client::builder().no_proxy().build().unwrap(), 0);
    for n in 0..20 {
        let url = a.url(&format!("/api/rooms/r{n}"));
        let started: serde_json::Value =
            client.post(&url).send().await.unwrap().json().await.unwrap();
        away += usize::from(started["node"] == "b");
        let line = serde_json::json!({"user": "ann", "text": "hello"});
        let said = client.post(url + "/messages").json(&line).send().await.unwrap();
        assert_eq!(said.status(), 200);
    }
    let text = reqwest::get(a.url("/metrics")).await.unwrap().text().await.unwrap();
    let calls = |path: &str| -> usize {
        let name = format!("innkeeper_calls_total{{result=\"ok\",path=\"{path}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
    };
    assert!(away > 0);
    assert_eq!((calls("remote"), calls("local")), (away, 20 - away));
}

#[test]
fn the_linter_sees_what_is_wrong() {
    let head = |name: &str, kind: &str| format!("# HELP {name} Words.\n# TYPE {name} {kind}\n");
    assert_eq!(lint(&(head("innkeeper_a_total", "counter") + "innkeeper_a_total 1\n")), [""; 0]);
    for bad in [
        head("innkeeper_a", "counter"),
        head("innkeeper_a_total", "gauge"),
        head("innkeeper_wait_ms", "gauge"),
        head("a_total", "counter"),
        head("innkeeper_waits", "histogram"),
        "# HELP innkeeper_a \n# TYPE innkeeper_a gauge\n".to_owned(),
        "innkeeper_a 1\n".to_owned(),
        head("innkeeper_a", "gauge") + "innkeeper_a 1\ninnkeeper_a 1\n",
        head("innkeeper_a", "gauge") + "innkeeper_a one\n",
        head("innkeeper_a_seconds", "histogram")
            + "innkeeper_a_seconds_bucket{le=\"+Inf\"} 3\ninnkeeper_a_seconds_count 4\n",
    ] {
        assert_ne!(lint(&bad), [""; 0], "{bad}");
    }
}
