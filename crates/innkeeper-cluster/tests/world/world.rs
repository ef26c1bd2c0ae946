//! The world that simulated clusters are in: machines that stop, sleep and die, and a coordinator
//! that is late, lossy or out of reach, all by a seed, in virtual time.

pub(crate) mod counts;
pub(crate) mod dice;
pub(crate) mod faults;
pub(crate) mod host;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use counts::Sum;
use dice::Dice;
use faults::{Faults, Network};
use host::Host;

pub(crate) const NODES: usize = 3;
pub(crate) const SHARDS: u16 = 8;
const FAULTY: Duration = Duration::from_secs(100);
/// For how long all is well after that.
pub(crate) const QUIET: Duration = Duration::from_secs(20);

/// A world.
pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) network: Network,
    pub(crate) hosts: Vec<Arc<Host>>,
}

impl World {
    /// `is_slow`: the clocks of one machine run at half speed.
    pub(crate) fn new(seed: u64, is_slow: bool) -> World {
        let dice = Dice::new(seed);
        let network = Network::new(dice.fork());
        let host = |at| Arc::new(Host::new(at, &dice, is_slow && at == 0));
        let hosts = (0..NODES).map(host).collect();
        World { dice, network, hosts }
    }

    /// Lets things go wrong for a while, and besides something else, which does not end by itself.
    /// Then all is well, but for what that left behind.
    pub(crate) async fn suffer<F: Future<Output = Infallible>>(
        &self,
        besides: impl FnOnce(Dice) -> F,
    ) {
        let (dice, network) = (self.dice.fork(), self.network.clone());
        let faults = Faults { dice, network, hosts: self.hosts.clone() };
        let besides = besides(self.dice.fork());
        let wrong = async { tokio::join!(faults.run(), besides) };
        tokio::time::timeout(FAULTY, wrong).await.unwrap_err();
        self.network.heal();
        self.hosts.iter().for_each(|host| host.heal());
    }
}

/// Runs what takes virtual time only.
pub(crate) fn in_virtual_time<T>(what: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(what)
}

/// Runs one seed after the other: the one that `INNKEEPER_SEED` names, or as many as
/// `INNKEEPER_SEEDS` says, or so many. Each has to hold, and in `enough` of them everything has to
/// occur that is counted.
#[allow(clippy::print_stdout)] // What a run has seen is half of what it shows.
pub(crate) fn all_hold<C: Sum>(default: u64, enough: u64, run: impl Fn(u64) -> Result<C, String>) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("INNKEEPER_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("INNKEEPER_SEEDS").unwrap_or(default),
    };
    let count = seeds.end - seeds.start;
    let (mut all, mut wrong) = (C::default(), Vec::new());
    for seed in seeds {
        match run(seed) {
            Ok(counts) => all.add(&counts),
            Err(what) => wrong.push(format!("INNKEEPER_SEED={seed}: {what}")),
        }
    }
    println!("{count} seeds: {all:?}");
    assert!(wrong.is_empty(), "{} of {count} seeds:\n{}", wrong.len(), wrong.join("\n"));
    if count >= enough {
        assert_eq!(all.missing(), [""; 0], "no seed had any");
    }
}
