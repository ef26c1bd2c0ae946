//! Rooms on several nodes of one machine: what it takes to start and to talk to one on another
//! node. Each node is a program of its own, on loopback, beside a real etcd.

mod nodes;

use std::hint::black_box;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use innkeeper::{CallError, CastError, Outcome, ProcessRef};

use crate::lanes;
use crate::measure::{figure, size};
use nodes::{FAR, Far, Nodes};

pub(crate) use nodes::serve;

type RoomRef = ProcessRef<Far>;

/// Runs one of the two workloads; of the second one variant, if one is named.
pub(crate) async fn run(workload: &str, variant: &str) -> io::Result<()> {
    if workload == "global" { global().await } else { remote(variant).await }
}

/// New keys over three nodes. Each is a room that is started, at whichever node it belongs.
async fn global() -> io::Result<()> {
    let nodes = Arc::new(Nodes::start(3).await?);
    let n = size("BENCH_GLOBAL_OPS", 500);
    let start = |keys: Vec<String>, callers: usize| {
        let (nodes, keys) = (nodes.clone(), Arc::new(keys));
        async move {
            let all = keys.len();
            let wall = lanes::run(callers, |lane| {
                let (nodes, keys) = (nodes.clone(), keys.clone());
                async move {
                    for key in keys.iter().skip(lane).step_by(callers) {
                        let outcome = nodes.rooms.get_or_start(key).await.expect("a room");
                        assert!(matches!(outcome, Outcome::Started(_)), "{key} was there");
                    }
                }
            });
            (wall.await.as_nanos() as f64, all as f64)
        }
    };
    let keys = |name: &'static str, n: usize| (0..n).map(move |i| format!("{name}:{i:06}"));
    // Links are made when there is something to say first.
    start(keys("warm", 100).collect(), 1).await;
    let (wall, all) = start(keys("one", n).collect(), 1).await;
    figure("global", "register-3-nodes-c1", wall / all / 1000.0, "us/op");
    let (wall, all) = start(keys("many", n * 64).collect(), 64).await;
    figure("global", "register-3-nodes-c64", all * 1e9 / wall, "ops/s");
    let elsewhere = keys("away", n * 8).filter(|key| nodes.is_far(key)).take(n).collect();
    let (wall, all) = start(elsewhere, 1).await;
    figure("global", "start-child-3-nodes", wall / all / 1000.0, "us/op");
    let here = keys("one", n).find(|key| !nodes.is_far(key)).expect("some keys belong here");
    let looks = 500_000;
    let wall = lanes::run(1, |_| {
        let (nodes, here) = (nodes.clone(), here.clone());
        async move {
            for _ in 0..looks {
                black_box(nodes.rooms.whereis(&here).expect("it is here"));
            }
        }
    })
    .await;
    figure("global", "whereis", wall.as_nanos() as f64 / f64::from(looks), "ns/op");
    Ok(())
}

/// Calls and casts to a room on the other one of two nodes.
async fn remote(only: &str) -> io::Result<()> {
    let nodes = Nodes::start(2).await?;
    let key = (0..).map(|i| format!("far:{i}")).find(|key| nodes.is_far(key));
    let key = key.expect("there are keys without end");
    let room = nodes.rooms.get_or_start(&key).await.and_then(Outcome::process).expect("a room");
    let n = size("BENCH_REMOTE_OPS", 10_000);
    add(&room, 0).await;
    let is_wanted = |variant: &str| only.is_empty() || only == variant;
    for (variant, callers, each) in [("call-1to1", 1, n), ("call-64to1", 64, n * 4 / 64)] {
        if !is_wanted(variant) {
            continue;
        }
        let wall = lanes::run(callers, |_| {
            let room = room.clone();
            async move {
                for _ in 0..each {
                    black_box(add(&room, 1).await);
                }
            }
        });
        let (wall, all) = (wall.await.as_nanos() as f64, (each * callers) as f64);
        match callers {
            1 => figure("remote", variant, wall / all / 1000.0, "us/op"),
            _ => figure("remote", variant, all * 1e9 / wall, "ops/s"),
        }
    }
    for (variant, bytes, m) in [("cast-64B", 64, n * 20), ("cast-1KiB", 1024, n * 10)] {
        if !is_wanted(variant) {
            continue;
        }
        let data = Bytes::from(vec![1; bytes]);
        let wall = lanes::run(1, |_| {
            let (room, data) = (room.clone(), data.clone());
            async move {
                let before = add(&room, 0).await;
                for _ in 0..m {
                    cast(&room, Far::Data(data.clone())).await;
                }
                assert_eq!(add(&room, 0).await, before + m as u64, "{FAR} lost some");
            }
        });
        figure("remote", variant, m as f64 * 1e9 / wall.await.as_nanos() as f64, "ops/s");
    }
    Ok(())
}

async fn add(room: &RoomRef, n: u64) -> u64 {
    let added: Result<u64, CallError<Far>> = room.call(Far::Add(n)).without_timeout().await;
    added.expect("a sum")
}

/// Says it; waits a moment where the way to the other node is full, which is what a bound is for.
async fn cast(room: &RoomRef, message: Far) {
    let mut message = Some(message);
    while let Some(said) = message.take() {
        if let Err(CastError { message: back, .. }) = room.cast(said).await {
            message = Some(back);
            tokio::task::yield_now().await;
        }
    }
}
