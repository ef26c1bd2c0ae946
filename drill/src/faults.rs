//! What can be done to a cluster, and how it is undone.

use innkeeper_judge::records::Staged;
use tokio::time::{Duration, sleep};

use crate::director::{Cluster, Node};
use crate::{Error, clock};

/// What is done, and to which nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A node's cable is out.
    Cut(usize),
    /// What is sent to a node is lost.
    OneWayIn(usize),
    /// What a node sends is lost.
    OneWayOut(usize),
    /// Two nodes do not reach each other.
    Pair(usize, usize),
    /// A node stands still.
    Stop(usize),
    /// A node is killed, and started again at once.
    Kill(usize),
    /// The leader of etcd stands still.
    EtcdStop,
    /// The disk of the leader of etcd is frozen.
    EtcdFreeze,
    /// A node leaves in order and is started again.
    Restart(usize),
    /// One more node comes and leaves.
    JoinLeave(usize),
}

impl Fault {
    /// As the judge calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Fault::Cut(_) => "cut",
            Fault::OneWayIn(_) => "one way in",
            Fault::OneWayOut(_) => "one way out",
            Fault::Pair(..) => "pair",
            Fault::Stop(_) => innkeeper_judge::records::STOP,
            Fault::Kill(_) => "kill",
            Fault::EtcdStop => "etcd leader stopped",
            Fault::EtcdFreeze => "etcd disk frozen",
            Fault::Restart(_) => "restart",
            Fault::JoinLeave(_) => "join and leave",
        }
    }
}

/// How long one more node stays: long enough to be given shards.
const STAY: Duration = Duration::from_secs(5);

impl Cluster {
    /// Does something and undoes it, some time later where it lasts.
    pub(crate) async fn stage(&self, fault: Fault, lasts: Duration) -> Result<(), Error> {
        let began = clock::now();
        let target = self.carry_out(fault, lasts).await?;
        let kind = fault.name().to_owned();
        let ended = clock::now();
        println!("{:>6} ms  {kind} {target}", (ended - began) / 1_000_000);
        self.note(&Staged::Fault { kind, target, began, ended });
        Ok(())
    }

    /// Answers to whom it was done.
    async fn carry_out(&self, fault: Fault, lasts: Duration) -> Result<String, Error> {
        let network = &self.network;
        match fault {
            Fault::Cut(at) => {
                network.unplug(self.nodes[at].host)?;
                sleep(lasts).await;
                network.plug(self.nodes[at].host)?;
                Ok(self.name(at))
            }
            Fault::OneWayIn(at) => {
                network.set_in(self.nodes[at].host, true)?;
                sleep(lasts).await;
                network.set_in(self.nodes[at].host, false)?;
                Ok(self.name(at))
            }
            Fault::OneWayOut(at) => {
                network.set_out(self.nodes[at].host, true)?;
                sleep(lasts).await;
                network.set_out(self.nodes[at].host, false)?;
                Ok(self.name(at))
            }
            Fault::Pair(one, other) => {
                self.set_pair(one, other, true)?;
                sleep(lasts).await;
                self.set_pair(one, other, false)?;
                Ok(format!("{} {}", self.name(one), self.name(other)))
            }
            Fault::Stop(at) => {
                self.nodes[at].stop().await?;
                sleep(lasts).await;
                self.nodes[at].go_on().await?;
                Ok(self.name(at))
            }
            Fault::Kill(at) => self.kill(&self.nodes[at]).await,
            Fault::EtcdStop => {
                let leader = self.store.leader().await?;
                self.members[leader].program.stop()?;
                sleep(lasts).await;
                self.members[leader].program.go_on()?;
                Ok(format!("e{}", leader + 1))
            }
            Fault::EtcdFreeze => {
                let leader = self.store.leader().await?;
                self.members[leader].disk.freeze()?;
                // It is stuck once it has something to write.
                self.store.touch(leader).await;
                sleep(lasts).await;
                self.members[leader].disk.thaw()?;
                Ok(format!("e{}", leader + 1))
            }
            Fault::Restart(at) => {
                let node = &self.nodes[at];
                node.leave().await?;
                self.start(node).await?;
                self.joined(node, None).await?;
                Ok(node.name.clone())
            }
            Fault::JoinLeave(at) => {
                let node = &self.nodes[at];
                self.start(node).await?;
                self.joined(node, None).await?;
                sleep(STAY).await;
                node.leave().await?;
                Ok(node.name.clone())
            }
        }
    }

    async fn kill(&self, node: &Node) -> Result<String, Error> {
        let session = self.store.sessions().await?.remove(&node.name);
        node.kill().await?;
        self.start(node).await?;
        self.joined(node, session.as_ref()).await?;
        Ok(node.name.clone())
    }

    fn set_pair(&self, one: usize, other: usize, is_lost: bool) -> Result<(), Error> {
        let (one, other) = (self.nodes[one].host, self.nodes[other].host);
        self.network.set_way(one, other, is_lost)?;
        self.network.set_way(other, one, is_lost)
    }

    fn name(&self, at: usize) -> String {
        self.nodes[at].name.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_judge_knows_every_fault_by_its_name() {
        let all = [
            Fault::Cut(0),
            Fault::OneWayIn(0),
            Fault::OneWayOut(0),
            Fault::Pair(0, 1),
            Fault::Stop(0),
            Fault::Kill(0),
            Fault::EtcdStop,
            Fault::EtcdFreeze,
            Fault::Restart(0),
            Fault::JoinLeave(0),
        ];
        assert_eq!(all.map(Fault::name), innkeeper_judge::records::FAULTS);
    }
}
