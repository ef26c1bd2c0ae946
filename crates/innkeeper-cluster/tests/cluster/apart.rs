//! Two clusters in one program: what is said by a process of one to a process of the other.

// With the calls of `Tally`.
use super::*;

/// A process of one cluster that asks one of the other.
struct Asker {
    tallies: Keyed<String, Tally>,
}

#[innkeeper::process(remote)]
impl Asker {
    async fn init(args: &Keyed<String, Tally>) -> Result<Self, StartError> {
        Ok(Asker { tallies: args.clone() })
    }

    /// What became of it.
    #[call]
    async fn ask(&mut self, key: String) -> Result<u64, String> {
        self.tallies.via(&key).add(1).await.map_err(|error| error.to_string())
    }
}

/// C3: the rights of two clusters have the same numbers, and nothing to do with each other.
#[tokio::test(start_paused = true)]
async fn what_a_process_says_to_one_of_another_cluster_is_not_said_under_a_right_there() {
    let (here, there) = (World::new(), World::new());
    let [alone] = here.nodes::<1>().await;
    let [near, far] = there.nodes::<2>().await;
    let tallies = Keyed::<String, Tally>::with_args(ChildSpec::new(), |_| ());
    let tallies = tallies.placed_by(&near.cluster).start(&near.supervisor).await.unwrap();
    let others = Keyed::<String, Tally>::with_args(ChildSpec::new(), |_| ());
    let _others = others.placed_by(&far.cluster).start(&far.supervisor).await.unwrap();
    let given = tallies.clone();
    let askers = Keyed::<String, Asker>::with_args(ChildSpec::new(), move |_| given.clone());
    let askers = askers.placed_by(&alone.cluster).start(&alone.supervisor).await.unwrap();
    assert_eq!(alone.open(), usize::from(SHARDS));
    // It runs under a right whose numbers stand, in the other cluster, for what another node has.
    let mut keys = (0..10_000).map(|number| format!("key-{number}"));
    let asker = keys.find(|key| far.has(key)).unwrap();
    let told = askers.via(&asker).ask(far.key()).await.unwrap();
    assert_eq!(told, Ok(1));
}
