//! The program as three nodes of a cluster on a real etcd, with the published npm package
//! `phoenix` as their client, while nodes are ended, killed and stopped.

#![cfg(feature = "cluster")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Tests.

#[path = "support/etcd.rs"]
mod etcd;
#[path = "support/missing.rs"]
mod missing;
#[path = "support/program.rs"]
mod program;
#[path = "support/script.rs"]
mod script;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use etcd::{Etcd, free_port};
use program::Program;

/// The nodes of a cluster, by name.
struct Nodes {
    etcd: Etcd,
    /// Where each serves HTTP, whether it runs or not.
    places: HashMap<String, String>,
    running: HashMap<String, Program>,
}

impl Nodes {
    fn start(etcd: Etcd, names: &[&str]) -> Nodes {
        let place = |name: &&str| ((*name).to_owned(), format!("127.0.0.1:{}", free_port()));
        let places = names.iter().map(place).collect();
        let mut nodes = Nodes { etcd, places, running: HashMap::new() };
        for name in names {
            nodes.run(name);
        }
        nodes
    }

    fn run(&mut self, name: &str) {
        let mut flags = vec!["--cluster=test", "--insecure-cluster", "--listen=127.0.0.1:0"];
        let (node, etcd) = (format!("--node={name}"), format!("--etcd={}", self.etcd.url));
        flags.extend([node.as_str(), &etcd, "--shards=32"]);
        let program = Program::on(&self.places[name], &flags);
        let _ = self.running.insert(name.to_owned(), program);
    }

    /// Does what a script asks for: `SIGNAL NODE`, `SIGNAL etcd`, or `start NODE`.
    fn please(&mut self, what: &str) {
        let (what, name) = what.split_once(' ').unwrap();
        match what {
            "start" => {
                if let Some(old) = self.running.remove(name) {
                    let (status, said) = old.ended();
                    // Killed, or with all its shards given away.
                    assert!(status.code().is_none_or(|code| code == 0), "{status}\n{said}");
                }
                self.run(name);
            }
            signal if name == "etcd" => self.etcd.signal(signal),
            signal => self.running[name].signal(signal),
        }
    }

    /// All drain at once, with nobody to give anything to: none waits for the others.
    fn all_end(self) {
        for node in self.running.values() {
            node.signal("TERM");
        }
        let began = Instant::now();
        for (name, node) in self.running {
            let (status, said) = node.ended();
            assert!(status.success(), "{name} ended with {status}\n{said}");
        }
        let took = began.elapsed();
        assert!(took < Duration::from_secs(20), "they waited for each other: {took:?}");
    }

    fn json(&self) -> String {
        let node = |(name, place): (&String, &String)| {
            format!(r#"{{"name":"{name}","url":"http://{place}"}}"#)
        };
        let nodes: Vec<_> = self.places.iter().map(node).collect();
        format!("[{}]", nodes.join(","))
    }
}

/// NEW-18
#[test]
fn the_published_phoenix_client_is_in_one_room_whatever_happens_to_its_nodes() {
    let found = script::install().and_then(|()| Etcd::start());
    let Some(etcd) = missing::or_skip("the test phoenix/cluster.mjs", found) else { return };
    let mut nodes = Nodes::start(etcd, &["a", "b", "c"]);
    let json = nodes.json();
    let variables = [("INNKEEPER_URL", "none"), ("INNKEEPER_NODES", json.as_str())];
    script::run("cluster.mjs", 7, &variables, |what| nodes.please(what));
    nodes.all_end();
}
