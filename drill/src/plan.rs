//! What happens in a drill, and in which order: faults one at a time, and two at once on different
//! programs; then all is well for a while, and everything has to answer.

use std::time::Duration;

use innkeeper_judge::records::Staged;
use tokio::time::sleep;

use crate::dice::Dice;
use crate::director::{Cluster, NODES};
use crate::faults::Fault;
use crate::{Error, clock};

/// How often a long drill goes round: as often as the judge wants to see each fault.
const ROUNDS: u64 = 20;

/// In how many rounds of so many all nodes are restarted one after the other.
const RESTARTS_EVERY: u64 = 3;

/// From the end of one fault to the next.
const PAUSE: Duration = Duration::from_secs(1);

/// What is too short for a session to end.
const BRIEF: Duration = Duration::from_millis(2_500);

/// How often a control is tried.
const TRIES: usize = 4;

/// Something of everything.
pub(crate) async fn short(cluster: &Cluster) -> Result<(), Error> {
    mixed(cluster, 0).await?;
    restarts(cluster).await?;
    quiet(cluster).await
}

/// Everything, as often as it takes.
pub(crate) async fn long(cluster: &Cluster, minutes: u64) -> Result<(), Error> {
    let (began, mut dice) = (clock::now(), Dice::new(1));
    let mut round = 0;
    while round < ROUNDS || clock::now() - began < minutes * 60_000_000_000 {
        println!("round {}", round + 1);
        if round % 2 == 0 {
            alone(cluster, &mut dice).await?;
        } else {
            mixed(cluster, dice.below(NODES as u64) as usize).await?;
        }
        if round % RESTARTS_EVERY == 0 {
            restarts(cluster).await?;
        }
        quiet(cluster).await?;
        round += 1;
    }
    Ok(())
}

/// What shows that outputs are not checked.
pub(crate) async fn stopped(cluster: &Cluster) -> Result<(), Error> {
    for at in 0..TRIES {
        cluster.stage(Fault::Stop(at % NODES), over(cluster)).await?;
        sleep(PAUSE).await;
    }
    Ok(())
}

/// What shows that leases of etcd are no ownership.
pub(crate) async fn frozen(cluster: &Cluster) -> Result<(), Error> {
    for _ in 0..TRIES {
        // The new leader gives every lease its whole time again.
        cluster.stage(Fault::EtcdFreeze, 2 * over(cluster)).await?;
        sleep(cluster.session()).await;
    }
    Ok(())
}

/// Each fault by itself.
async fn alone(cluster: &Cluster, dice: &mut Dice) -> Result<(), Error> {
    let over = over(cluster);
    let mut node = || dice.below(NODES as u64) as usize;
    let (one, other) = (node(), node());
    let other = if one == other { (one + 1) % NODES } else { other };
    for (fault, lasts) in [
        (Fault::Cut(node()), over),
        (Fault::OneWayIn(node()), BRIEF),
        (Fault::OneWayOut(node()), over),
        (Fault::Pair(one, other), BRIEF),
        (Fault::Stop(node()), over),
        (Fault::Kill(node()), over),
        (Fault::EtcdStop, BRIEF),
        (Fault::EtcdFreeze, over),
        (Fault::JoinLeave(NODES), over),
    ] {
        cluster.stage(fault, lasts).await?;
        sleep(PAUSE).await;
    }
    Ok(())
}

/// Two at once, each to another node, counted on from that one.
async fn mixed(cluster: &Cluster, first: usize) -> Result<(), Error> {
    let over = over(cluster);
    let node = |number: usize| (first + number) % NODES;
    for (one, other) in [
        ((Fault::Cut(node(0)), over), (Fault::EtcdStop, BRIEF)),
        ((Fault::OneWayOut(node(1)), over), (Fault::EtcdFreeze, over)),
        ((Fault::Stop(node(2)), over), (Fault::Pair(node(3), node(0)), over)),
        ((Fault::Kill(node(3)), over), (Fault::OneWayIn(node(1)), over)),
        ((Fault::JoinLeave(NODES), over), (Fault::Stop(node(0)), BRIEF)),
    ] {
        let (one, other) =
            tokio::join!(cluster.stage(one.0, one.1), cluster.stage(other.0, other.1));
        one.and(other)?;
        sleep(PAUSE).await;
    }
    cluster.stage(Fault::Cut(node(1)), BRIEF).await?;
    sleep(PAUSE).await;
    Ok(())
}

/// A rolling restart.
async fn restarts(cluster: &Cluster) -> Result<(), Error> {
    for at in 0..NODES {
        cluster.stage(Fault::Restart(at), Duration::ZERO).await?;
    }
    Ok(())
}

/// All is well.
async fn quiet(cluster: &Cluster) -> Result<(), Error> {
    let from = clock::now();
    // A second more than every key may take to answer.
    sleep(cluster.session() + Duration::from_secs(3)).await;
    let until = clock::now();
    println!("{:>6} ms  quiet", (until - from) / 1_000_000);
    cluster.note(&Staged::Quiet { from, until });
    Ok(())
}

/// What is long enough for a session to end, and for its shards to be had by others.
fn over(cluster: &Cluster) -> Duration {
    cluster.session() + Duration::from_millis(1_500)
}
