//! The names of scopes, by which nodes know which process is meant.

use innkeeper::{ChildSpec, Keyed, StartChildError, StartError, Supervisor};

use crate::nodes::{Node, SECOND, World};

struct Inn(u64);

#[innkeeper::process(remote)]
impl Inn {
    async fn init() -> Result<Self, StartError> {
        Ok(Inn(0))
    }

    #[call]
    fn enter(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

type Inns = Keyed<String, Inn>;

async fn inns(node: &Node, under: &Supervisor) -> Result<Inns, StartChildError> {
    let inns = Keyed::<String, Inn>::with_args(ChildSpec::new(), |_| ());
    inns.placed_by(&node.cluster).start(under).await
}

/// P1, C2: each would have a process of a key.
#[tokio::test(start_paused = true)]
async fn a_second_scope_of_a_name_is_refused_on_a_node_for_as_long_as_there_is_the_first() {
    let world = World::new();
    let [a, b] = world.nodes::<2>().await;
    let supervisor = Supervisor::new().start().await.unwrap();
    let first = inns(&a, &supervisor).await.unwrap();
    let there = inns(&b, &b.supervisor).await.unwrap();
    let key = a.key();
    assert_eq!(there.via(&key).enter().await.unwrap(), 1);
    let other = Supervisor::new().start().await.unwrap();
    let refused = inns(&a, &other).await.unwrap_err();
    assert_eq!(refused, StartChildError::AlreadyPlaced { name: "Inn".to_owned() });
    let text = "scope `Inn`: one of that name is placed there already; \
                give each a name of its own, the same on every node";
    assert_eq!(refused.to_string(), text);
    for scope in [&there, &first] {
        assert!(scope.via(&key).enter().await.unwrap() > 1, "the first goes on");
    }
    // When it is gone its name is free.
    let _ = supervisor.shutdown(SECOND).await;
    drop((first, supervisor));
    let next = inns(&a, &other).await.unwrap();
    assert_eq!(there.via(&key).enter().await.unwrap(), 1);
    assert_eq!(next.via(&key).enter().await.unwrap(), 2);
}
