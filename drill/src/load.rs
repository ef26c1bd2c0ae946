//! Who calls during a drill, and how much.

use std::time::Duration;

use innkeeper_judge::records::Call;

use crate::Error;
use crate::client::{Rooms, Takes};
use crate::director::Cluster;
use crate::network::Host;
use crate::programs::Program;

/// The hosts of the clients, by the last number of their addresses.
pub(crate) const CLIENTS: [u8; 3] = [21, 22, 23];

/// How long a client may take to end.
const END: Duration = Duration::from_secs(20);

/// How long one may take to call every room once.
const ONCE: Duration = Duration::from_secs(120);

/// What each client does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) keys: u64,
    /// Of each client.
    pub(crate) callers: u64,
    pub(crate) pause_ms: u64,
    pub(crate) takes: Takes,
    pub(crate) rooms: Rooms,
    /// By way of every node but this one, which is about to go.
    pub(crate) except: Option<usize>,
}

/// Clients that call.
pub(crate) struct Clients {
    part: u64,
    programs: Vec<Program>,
}

impl Cluster {
    /// Starts clients, one on each of some hosts. `part`: which of the drill's, from 0.
    pub(crate) fn call(&self, part: u64, load: Load, hosts: &[u8]) -> Result<Clients, Error> {
        let nodes = self.lasting().iter().enumerate();
        let nodes = nodes.filter(|(at, _)| Some(*at) != load.except);
        let nodes: Vec<_> = nodes.map(|(_, node)| node.word()).collect();
        let mut programs = Vec::new();
        for host in hosts {
            let name = name(part, *host);
            let words = vec![
                "client".to_owned(),
                format!("--name={name}"),
                format!("--number={}", part << 8 | u64::from(*host)),
                format!("--nodes={}", nodes.join(",")),
                format!("--keys={}", load.keys),
                format!("--callers={}", load.callers),
                format!("--pause-ms={}", load.pause_ms),
                format!("--takes={}", load.takes.word()),
                format!("--rooms={}", load.rooms.word()),
                format!("--folder={}", self.folder()),
            ];
            programs.push(self.program(&name, Host(*host), &words)?);
        }
        Ok(Clients { part, programs })
    }
}

impl Clients {
    /// Has them end, once what they have asked is answered.
    pub(crate) async fn end(&mut self) -> Result<(), Error> {
        for client in &mut self.programs {
            if !client.end(END).await? {
                return Err("a client did not end".into());
            }
        }
        Ok(())
    }

    /// Waits until they have called every room.
    pub(crate) async fn done(&mut self) -> Result<(), Error> {
        for client in &mut self.programs {
            client.ended(ONCE).await?;
        }
        Ok(())
    }

    /// What they have written down.
    pub(crate) fn calls(&self, cluster: &Cluster) -> Result<Vec<Call>, Error> {
        let mut calls = Vec::new();
        for host in CLIENTS {
            let file = format!("{}/client-{}.jsonl", cluster.folder(), name(self.part, host));
            let Ok(text) = std::fs::read_to_string(file) else { continue };
            for line in text.lines() {
                calls.push(serde_json::from_str(line)?);
            }
        }
        Ok(calls)
    }
}

fn name(part: u64, host: u8) -> String {
    format!("c{}.{part}", host % 10)
}
