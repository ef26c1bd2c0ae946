//! The network of a drill: a host in a namespace for each program, all on one bridge, and ways to
//! cut them off from each other.
//!
//! Hosts know each other's hardware addresses by heart. So one is cut off from another, and only in
//! that direction, by a wrong one: what it sends is lost on the way, and nobody is told.

use crate::Error;
use crate::stage::tool;

/// A host, by the last number of its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Host(pub(crate) u8);

/// An address that nobody has.
const NOWHERE: &str = "02:00:00:00:ff:ff";

pub(crate) struct Network {
    hosts: Vec<Host>,
}

impl Host {
    pub(crate) fn address(self) -> String {
        format!("10.77.0.{}", self.0)
    }

    /// Where its network is to be entered.
    pub(crate) fn namespace(self) -> String {
        format!("/run/netns/h{}", self.0)
    }

    fn hardware(self) -> String {
        format!("02:00:00:00:00:{:02x}", self.0)
    }

    fn name(self) -> String {
        format!("h{}", self.0)
    }

    /// Its end of the bridge.
    fn port(self) -> String {
        format!("p{}", self.0)
    }
}

impl Network {
    /// Within a namespace for the network and one for mounts. The bridge itself is at this end.
    pub(crate) fn make(hosts: &[Host]) -> Result<Network, Error> {
        // What `ip netns` keeps there is not to be seen outside.
        tool(&["mount", "-t", "tmpfs", "tmpfs", "/run"])?;
        tool(&["ip", "link", "set", "lo", "up"])?;
        tool(&["ip", "link", "add", "bridge", "type", "bridge"])?;
        tool(&["ip", "addr", "add", "10.77.0.254/24", "dev", "bridge"])?;
        tool(&["ip", "link", "set", "bridge", "up"])?;
        for host in hosts {
            let (name, port) = (&host.name(), &host.port());
            tool(&["ip", "netns", "add", name])?;
            let ends = ["type", "veth", "peer", "name", "eth0", "netns", name];
            tool(&[&["ip", "link", "add", port][..], &ends].concat())?;
            tool(&["ip", "link", "set", port, "master", "bridge", "up"])?;
            tool(&["ip", "-n", name, "link", "set", "eth0", "address", &host.hardware()])?;
            let address = format!("{}/24", host.address());
            tool(&["ip", "-n", name, "addr", "add", &address, "dev", "eth0"])?;
            tool(&["ip", "-n", name, "link", "set", "eth0", "up"])?;
            tool(&["ip", "-n", name, "link", "set", "lo", "up"])?;
        }
        let network = Network { hosts: hosts.to_vec() };
        for from in hosts {
            network.to_others(*from, |to| network.way(*from, to, &to.hardware()))?;
        }
        Ok(network)
    }

    /// Takes a host's cable out.
    pub(crate) fn unplug(&self, host: Host) -> Result<(), Error> {
        tool(&["ip", "link", "set", &host.port(), "down"])
    }

    pub(crate) fn plug(&self, host: Host) -> Result<(), Error> {
        tool(&["ip", "link", "set", &host.port(), "up"])
    }

    /// What a host sends to any other is lost, or not any more.
    pub(crate) fn set_out(&self, from: Host, is_lost: bool) -> Result<(), Error> {
        self.to_others(from, |to| self.set_way(from, to, is_lost))
    }

    /// What any other sends to a host is lost, or not any more.
    pub(crate) fn set_in(&self, to: Host, is_lost: bool) -> Result<(), Error> {
        self.to_others(to, |from| self.set_way(from, to, is_lost))
    }

    /// What one sends to another is lost, or not any more.
    pub(crate) fn set_way(&self, from: Host, to: Host, is_lost: bool) -> Result<(), Error> {
        if is_lost { self.way(from, to, NOWHERE) } else { self.way(from, to, &to.hardware()) }
    }

    fn to_others(&self, host: Host, each: impl Fn(Host) -> Result<(), Error>) -> Result<(), Error> {
        self.hosts.iter().filter(|other| **other != host).try_for_each(|other| each(*other))
    }

    fn way(&self, from: Host, to: Host, hardware: &str) -> Result<(), Error> {
        let entry = ["lladdr", hardware, "nud", "permanent", "dev", "eth0"];
        let (name, to) = (from.name(), to.address());
        tool(&[&["ip", "-n", &name, "neigh", "replace", &to][..], &entry].concat())
    }
}
