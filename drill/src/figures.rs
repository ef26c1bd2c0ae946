//! What a cluster takes for what it promises: measured on real processes, on one machine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use innkeeper_judge::records::{Call, Outcome};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::client::{Rooms, Takes};
use crate::director::{Cluster, MEMBERS, NODES};
use crate::load::{CLIENTS, Load};
use crate::{Error, clock};

/// For how long etcd's writes are counted.
const STEADY: Duration = Duration::from_secs(15);

/// After it has come back, a node is given its shards when membership was quiet for 3 s.
const BALANCE: Duration = Duration::from_secs(8);

/// Calls before something is done.
const BEFORE: Duration = Duration::from_secs(3);

const MS: u64 = 1_000_000;

/// Rooms that are each called all the time, by a caller of its own on every client.
const WATCHED: Load = Load {
    keys: 64,
    callers: 64,
    pause_ms: 40,
    takes: Takes::None,
    rooms: Rooms::Own,
    except: None,
};

/// About 2 000 calls a second.
const BUSY: Load = Load {
    keys: 1_000,
    callers: 30,
    pause_ms: 80,
    takes: Takes::None,
    rooms: Rooms::Any,
    except: None,
};

/// Every room once.
const ONCE: Load = Load {
    keys: 100_000,
    callers: 128,
    pause_ms: 0,
    takes: Takes::None,
    rooms: Rooms::Once,
    except: None,
};

pub(crate) async fn measure(cluster: &Cluster) -> Result<(), Error> {
    steady().await?;
    begin(cluster).await?;
    planned(cluster).await?;
    fail_over(cluster, (2, 1), Loss::Killed).await?;
    fail_over(cluster, (3, 2), Loss::Silent).await?;
    fail_over(cluster, (6, 3), Loss::Restarted).await?;
    crowd(cluster).await
}

/// What nodes that nobody calls write to etcd.
async fn steady() -> Result<(), Error> {
    sleep(BALANCE).await;
    let began = clock::now();
    let before = writes().await?;
    sleep(STEADY).await;
    let count = writes().await? - before;
    let seconds = (clock::now() - began) as f64 / 1e9;
    let each = count / seconds / NODES as f64;
    println!("etcd writes, steady: {each:.2} a second for each of {NODES} nodes (goal 1)");
    Ok(())
}

/// What a member of etcd counts.
async fn metrics(member: u8) -> Result<String, Error> {
    let mut stream = TcpStream::connect(format!("10.77.0.{member}:2379")).await?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await?;
    let mut text = String::new();
    timeout(Duration::from_secs(5), stream.read_to_string(&mut text)).await??;
    Ok(text)
}

/// How often something was put, as a member of etcd counts: all apply the same.
async fn writes() -> Result<f64, Error> {
    let text = metrics(1).await?;
    let named =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let puts = named("etcd_mvcc_put_total").or_else(|| named("etcd_debugging_mvcc_put_total"));
    Ok(puts.ok_or("etcd counts no writes")?.trim().parse()?)
}

/// How many writes of a member of etcd to its disk took no longer than so many seconds.
type Syncs = Vec<(f64, f64)>;

/// Those of each member.
async fn syncs() -> Result<Vec<Syncs>, Error> {
    let mut members = Vec::new();
    for member in 1..=MEMBERS {
        let text = metrics(member).await?;
        let buckets = text.lines().filter_map(|line| {
            let bucket = line.strip_prefix("etcd_disk_wal_fsync_duration_seconds_bucket{le=\"")?;
            let (le, count) = bucket.split_once("\"} ")?;
            Some((le.parse().ok()?, count.trim().parse().ok()?))
        });
        members.push(buckets.collect());
    }
    Ok(members)
}

/// Within how many milliseconds 99 of 100 writes were done between the two: the bound of etcd's own
/// bucket.
fn p99(before: &Syncs, after: &Syncs) -> f64 {
    let both = before.iter().zip(after);
    let since: Syncs = both.map(|(before, after)| (after.0, after.1 - before.1)).collect();
    let all = since.last().map_or(0.0, |last| last.1);
    since.iter().find(|bucket| bucket.1 >= 0.99 * all).map_or(0.0, |bucket| bucket.0 * 1e3)
}

/// 100 000 rooms on three nodes.
async fn begin(cluster: &Cluster) -> Result<(), Error> {
    let node = &cluster.nodes[NODES - 1];
    node.leave().await?;
    let load = Load { except: Some(NODES - 1), ..ONCE };
    let mut clients = cluster.call(1, load, &CLIENTS[..1])?;
    clients.done().await?;
    let calls = clients.calls(cluster)?;
    let first = calls.iter().map(|call| call.began).min().unwrap_or_default();
    let last = calls.iter().map(|call| call.ended).max().unwrap_or_default();
    let seconds = (last - first) as f64 / 1e9;
    let ok = calls.iter().filter(|call| is_ok(call)).count();
    println!(
        "start of {} rooms on 3 nodes: {ok} answered in {seconds:.1} s, {:.0} a second; {}",
        load.keys,
        ok as f64 / seconds,
        latency(calls.iter().filter(|call| is_ok(call)))
    );
    cluster.start(node).await?;
    cluster.joined(node, None).await?;
    sleep(BALANCE).await;
    Ok(())
}

/// One node gives all of its shards away, and ends, while it is called.
async fn planned(cluster: &Cluster) -> Result<(), Error> {
    let node = &cluster.nodes[0];
    let load = Load { except: Some(0), ..BUSY };
    let mut clients = cluster.call(4, load, &CLIENTS)?;
    sleep(BEFORE).await;
    let syncs_before = syncs().await?;
    let began = clock::now();
    node.leave().await?;
    let ended = clock::now();
    let syncs_after = syncs().await?;
    let members = syncs_before.iter().zip(&syncs_after);
    let syncs: Vec<_> = members.map(|(before, after)| p99(before, after)).collect();
    sleep(BEFORE).await;
    clients.end().await?;
    let calls = clients.calls(cluster)?;
    let before: Vec<_> = calls.iter().filter(|call| call.ended < began).collect();
    let during: Vec<_> =
        calls.iter().filter(|call| call.began < ended && call.ended > began).collect();
    let seconds = (began - before.iter().map(|call| call.began).min().unwrap_or_default()) as f64;
    println!("planned move under {:.0} calls/s:", before.len() as f64 * 1e9 / seconds);
    println!("  before: {}", latency(before.iter().copied().filter(|call| is_ok(call))));
    let failed = during.iter().filter(|call| !is_ok(call)).count();
    let lasted = (ended - began) / MS;
    println!(
        "  during ({lasted} ms): {} calls, {failed} failed; {}",
        during.len(),
        latency(during.iter().copied().filter(|call| is_ok(call)))
    );
    println!("  etcd's own writes to disk meanwhile, p99 of each member: within {syncs:.0?} ms");
    cluster.start(node).await?;
    cluster.joined(node, None).await?;
    sleep(BALANCE).await;
    Ok(())
}

/// How a node is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// Its program is killed.
    Killed,
    /// Nobody can reach it.
    Silent,
    /// Its program is killed, and started again on its data directory.
    Restarted,
}

impl Loss {
    /// From when it counts, and how long it may take.
    fn goal(self, session: Duration) -> (&'static str, Duration) {
        match self {
            Loss::Killed => ("kill -9", session + Duration::from_secs(1)),
            Loss::Silent => ("silence", session + Duration::from_secs(1)),
            Loss::Restarted => {
                ("kill -9, from its start on its data directory", Duration::from_secs(1))
            }
        }
    }
}

/// How long the rooms of a node that is lost do not answer.
async fn fail_over(cluster: &Cluster, (part, at): (u64, usize), how: Loss) -> Result<(), Error> {
    let node = &cluster.nodes[at];
    let load = Load { except: Some(at), ..WATCHED };
    let mut clients = cluster.call(part, load, &CLIENTS)?;
    sleep(BEFORE).await;
    let mut lost = clock::now();
    match how {
        Loss::Silent => cluster.network.unplug(node.host)?,
        Loss::Killed => node.kill().await?,
        Loss::Restarted => {
            node.kill().await?;
            lost = clock::now();
            cluster.start(node).await?;
        }
    }
    sleep(cluster.session() + 2 * BEFORE).await;
    clients.end().await?;
    let calls = clients.calls(cluster)?;
    // Rooms that answered under a later epoch than before have another owner. Those that were only
    // moved, to make it even, have answered in between.
    let (mut before, mut after) = (BTreeMap::<&str, u64>::new(), BTreeMap::<&str, _>::new());
    let mut ok: Vec<_> = calls.iter().filter(|call| is_ok(call)).collect();
    ok.sort_unstable_by_key(|call| call.ended);
    for call in ok {
        let epoch = epoch(call);
        if call.ended < lost {
            before.insert(&call.key, epoch);
        } else if call.began > lost {
            after.entry(&call.key).or_insert((call.ended - lost, epoch));
        }
    }
    let is_new = |key: &str, epoch: u64| before.get(key).is_some_and(|before| epoch > *before);
    let lost = after.iter().filter(|(key, (_, epoch))| is_new(key, *epoch));
    let times: Vec<_> = lost.map(|(_, (time, _))| *time).collect();
    let (what, goal) = how.goal(cluster.session());
    println!("fail-over after {what}: {} rooms, {} (goal {goal:?})", times.len(), spread(times));
    match how {
        Loss::Silent => cluster.network.plug(node.host)?,
        Loss::Killed => cluster.start(node).await?,
        Loss::Restarted => {}
    }
    cluster.joined(node, None).await?;
    sleep(BALANCE).await;
    Ok(())
}

/// 10 000 rooms are called at once after the loss of a node.
async fn crowd(cluster: &Cluster) -> Result<(), Error> {
    cluster.nodes[1].kill().await?;
    let load = Load { keys: 10_000, callers: 10_000, except: Some(1), ..ONCE };
    let mut clients = cluster.call(5, load, &CLIENTS[..1])?;
    clients.done().await?;
    let calls = clients.calls(cluster)?;
    let keys: BTreeSet<_> = calls.iter().filter(|call| is_ok(call)).map(|it| &it.key).collect();
    println!(
        "{} rooms called at once after kill -9: {} answered; {}",
        load.keys,
        keys.len(),
        latency(calls.iter().filter(|call| is_ok(call)))
    );
    Ok(())
}

fn is_ok(call: &Call) -> bool {
    matches!(call.outcome, Outcome::Ok { .. })
}

fn epoch(call: &Call) -> u64 {
    match call.outcome {
        Outcome::Ok { epoch, .. } => epoch,
        Outcome::NotDelivered { .. } | Outcome::Unknown { .. } => 0,
    }
}

fn latency<'a>(calls: impl Iterator<Item = &'a Call>) -> String {
    spread(calls.map(|call| call.ended - call.began).collect())
}

/// Half of them, nearly all, the longest.
fn spread(mut times: Vec<u64>) -> String {
    times.sort_unstable();
    let ms = |part: usize| {
        let at = (times.len() * part / 100).min(times.len().saturating_sub(1));
        times.get(at).copied().unwrap_or_default() as f64 / 1e6
    };
    format!("p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms", ms(50), ms(99), ms(100))
}
