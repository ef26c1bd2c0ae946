//! Listening, from one node, to a process that runs on another.

use std::time::Duration;

use innkeeper::{
    CallError, ChildSpec, Context, ExitReason, Keyed, NotDelivered, ProcessRef, PushError,
    StartError, Subscriber, Subscription, Unknown, Unsubscribed,
};
use tokio::time::timeout;

use crate::nodes::{Node, SECOND, World, until};

/// Tells everybody numbers.
#[derive(Default)]
struct Radio {
    listeners: Vec<Subscriber<u64>>,
    gone: Vec<String>,
}

#[innkeeper::process(remote)]
impl Radio {
    async fn init() -> Result<Self, StartError> {
        Ok(Radio::default())
    }

    /// Answers with how many listen.
    #[call]
    fn listen(&mut self, who: Subscriber<u64>, ctx: &mut Context<Self>) -> usize {
        if who.is_distant() {
            let (who, me) = (who.clone(), ctx.process());
            ctx.spawn(async move {
                who.over().await;
                let _ = me.gone("over".to_owned()).await;
            });
        }
        // Before the answer, and heard before it.
        let _ = ctx.push(&who, 0);
        self.listeners.push(who);
        self.listeners.len()
    }

    #[cast]
    fn gone(&mut self, how: String) {
        self.gone.push(how);
    }

    #[call]
    fn tell(&mut self, number: u64, ctx: &mut Context<Self>) -> Vec<String> {
        self.listeners.retain(|who| match ctx.push(who, number) {
            Ok(()) => true,
            Err(PushError::Over) => false,
            Err(PushError::Overflow) => {
                self.gone.push("overflow".to_owned());
                false
            }
        });
        self.gone.clone()
    }

    #[call]
    fn sign_off(&mut self) {
        self.listeners.iter().for_each(|who| who.end(ExitReason::Idle));
    }

    #[cast]
    fn crash(&mut self) {
        panic!("told to");
    }
}

type Radios = Keyed<String, Radio>;

async fn radios(nodes: &[Node]) -> Vec<Radios> {
    let mut scopes = Vec::new();
    for node in nodes {
        let radios = Keyed::<String, Radio>::with_args(ChildSpec::new(), |_| ()).name("radios");
        scopes.push(radios.placed_by(&node.cluster).start(&node.supervisor).await.unwrap());
    }
    scopes
}

async fn radio(radios: &Radios, key: &str) -> ProcessRef<RadioMessage> {
    radios.get_or_start(&key.to_owned()).await.unwrap().process().unwrap()
}

/// C5, P11: and who is slow costs the others nothing.
#[tokio::test(start_paused = true)]
async fn what_is_told_to_many_on_one_node_goes_there_once() {
    const TOLD: u64 = 200;
    let world = World::new();
    let nodes = world.nodes::<3>().await;
    let (scopes, key) = (radios(&nodes).await, nodes[0].key());
    let mut all = Vec::new();
    for number in 0..100 {
        let (who, heard) = Subscription::new();
        scopes[1 + number % 2].via(&key).listen(who).await.unwrap();
        all.push(heard);
    }
    let (who, mut slow) = Subscription::with_capacity(4);
    scopes[1].via(&key).listen(who).await.unwrap();
    let told = || nodes[0].cluster.traffic().told;
    for number in 1..=TOLD {
        let before = told();
        scopes[0].via(&key).tell(number).await.unwrap();
        // What is told leaves by itself.
        until(|| told() >= before + 2).await;
        assert_eq!(told(), before + 2, "101 listen, on two nodes");
    }
    for heard in &mut all {
        for number in 0..=TOLD {
            assert_eq!(heard.next().await, Ok(number));
        }
    }
    for number in 0..4 {
        assert_eq!(slow.next().await, Ok(number));
    }
    assert_eq!(slow.next().await, Err(Unsubscribed::Overflow));
}

/// C1
#[tokio::test(start_paused = true)]
async fn who_listens_on_another_node_hears_everything_in_order_and_why_it_ends() {
    let world = World::new();
    let nodes = world.nodes::<3>().await;
    let (scopes, key) = (radios(&nodes).await, nodes[0].key());
    let mut all = Vec::new();
    for (count, scope) in (1..).zip(&scopes) {
        let (who, heard) = Subscription::new();
        // By address, and by name.
        let listens = match count {
            2 => radio(scope, &key).await.listen(who).await.unwrap(),
            _ => scope.via(&key).listen(who).await.unwrap(),
        };
        assert_eq!(listens, count);
        all.push(heard);
    }
    for number in 1..500 {
        assert!(scopes[1].via(&key).tell(number).await.unwrap().is_empty());
    }
    scopes[2].via(&key).sign_off().await.unwrap();
    for heard in &mut all {
        for number in 0..500 {
            assert_eq!(heard.next().await, Ok(number));
        }
        assert_eq!(heard.next().await, Err(Unsubscribed::Ended(ExitReason::Idle)));
    }
}

/// C1
#[tokio::test(start_paused = true)]
async fn who_listens_to_a_process_elsewhere_that_crashes_hears_that_it_is_over() {
    let world = World::new();
    let nodes = world.nodes::<2>().await;
    let (scopes, key) = (radios(&nodes).await, nodes[0].key());
    let (who, mut heard) = Subscription::new();
    scopes[1].via(&key).listen(who).await.unwrap();
    scopes[1].via(&key).crash().await.unwrap();
    assert_eq!(heard.next().await, Ok(0));
    assert_eq!(heard.next().await, Err(Unsubscribed::Dropped));
}

/// A12
#[tokio::test(start_paused = true)]
async fn a_process_learns_that_who_listens_elsewhere_is_gone() {
    let world = World::new();
    let nodes = world.nodes::<3>().await;
    let (scopes, key) = (radios(&nodes).await, nodes[0].key());
    let (leaves, heard) = Subscription::new();
    scopes[1].via(&key).listen(leaves).await.unwrap();
    let (dies, _heard) = Subscription::new();
    scopes[2].via(&key).listen(dies).await.unwrap();
    drop(heard);
    tokio::time::sleep(SECOND / 10).await;
    assert_eq!(scopes[0].via(&key).tell(1).await.unwrap(), ["over"]);
    let [_a, _b, dead] = nodes;
    dead.die().await;
    // D, and what it takes to find out.
    tokio::time::sleep(7 * SECOND).await;
    assert_eq!(scopes[0].via(&key).tell(1).await.unwrap(), ["over", "over"]);
}

/// C3
#[tokio::test(start_paused = true)]
async fn who_listens_to_a_node_that_falls_silent_hears_that_it_is_over() {
    let world = World::new();
    let nodes = world.nodes::<3>().await;
    let (scopes, key) = (radios(&nodes).await, nodes[0].key());
    let (who, mut heard) = Subscription::new();
    scopes[1].via(&key).listen(who).await.unwrap();
    assert_eq!(heard.next().await, Ok(0));
    let [dead, ..] = nodes;
    dead.die().await;
    let over = timeout(6 * SECOND, heard.next()).await.unwrap();
    assert_eq!(over, Err(Unsubscribed::Unreachable));
}

/// C6
#[tokio::test(start_paused = true)]
async fn who_listens_to_a_process_that_moves_hears_that_it_is_over_and_listens_again() {
    let world = World::new();
    let nodes = world.nodes::<3>().await;
    let (scopes, key) = (radios(&nodes).await, nodes[0].key());
    let (who, mut heard) = Subscription::new();
    scopes[1].via(&key).listen(who).await.unwrap();
    nodes[0].cluster.node().drain().await;
    assert_eq!(heard.next().await, Ok(0));
    let over = timeout(10 * SECOND, heard.next()).await.unwrap();
    assert!(over.is_err(), "{over:?}");
    let (who, mut heard) = Subscription::new();
    assert_eq!(scopes[1].via(&key).listen(who).await.unwrap(), 1);
    assert_eq!(heard.next().await, Ok(0));
}

/// P9
#[tokio::test(start_paused = true)]
async fn a_message_that_was_not_delivered_elsewhere_brings_its_subscriber_back() {
    let world = World::new();
    let nodes = world.nodes::<2>().await;
    let (scopes, key) = (radios(&nodes).await, nodes[0].key());
    let ended = radio(&scopes[1], &key).await;
    scopes[1].stop(&key).await.unwrap();
    let (who, mut heard) = Subscription::new();
    let listened = ended.listen(who).await;
    let Err(CallError::NotDelivered { message: RadioMessage::Listen { who }, why }) = listened
    else {
        panic!("expected it back, got {listened:?}")
    };
    assert_eq!(why, NotDelivered::Ended);
    assert_eq!(scopes[1].via(&key).listen(who).await.unwrap(), 1);
    assert_eq!(heard.next().await, Ok(0));
}

/// P11
#[tokio::test(start_paused = true)]
async fn who_listens_elsewhere_and_falls_behind_is_told_so() {
    let world = World::new();
    let nodes = world.nodes::<2>().await;
    let (scopes, key) = (radios(&nodes).await, nodes[0].key());
    let (who, mut heard) = Subscription::with_capacity(8);
    scopes[1].via(&key).listen(who).await.unwrap();
    for number in 1..100 {
        scopes[1].via(&key).tell(number).await.unwrap();
    }
    for number in 0..8 {
        assert_eq!(heard.next().await, Ok(number));
    }
    assert_eq!(heard.next().await, Err(Unsubscribed::Overflow));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(scopes[1].via(&key).tell(100).await.unwrap(), ["over"]);
}

/// P9, P6: nothing of it is left that could be sent later.
#[tokio::test(start_paused = true)]
async fn a_message_with_a_subscriber_that_never_left_is_not_delivered_and_does_not_leave_later() {
    let world = World::new();
    let nodes = world.nodes::<2>().await;
    let (scopes, key) = (radios(&nodes).await, nodes[0].key());
    world.wires.silence("node-1:1", "node-0:1");
    world.wires.cut("node-0:1", "node-1:1");
    let (who, mut heard) = Subscription::new();
    let listened = scopes[1].via(&key).listen(who).timeout(SECOND).await;
    let Err(CallError::NotDelivered { message: RadioMessage::Listen { who }, .. }) = listened
    else {
        panic!("expected it back, got {listened:?}")
    };
    let (dropped, _heard) = Subscription::new();
    let via = scopes[1].via(&key);
    let listens = via.listen(dropped).timeout(60 * SECOND);
    assert!(timeout(SECOND, listens).await.is_err());
    world.wires.heal("node-1:1", "node-0:1");
    // As long as it takes to connect again, and more.
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(scopes[1].via(&key).listen(who).await.unwrap(), 1, "others listen");
    assert_eq!(heard.next().await, Ok(0));
}

/// P9: whoever was told that it is unknown is not told more.
#[tokio::test(start_paused = true)]
async fn a_process_learns_that_who_brought_a_subscriber_and_waits_no_longer_is_gone() {
    let world = World::new();
    let nodes = world.nodes::<2>().await;
    let (scopes, key) = (radios(&nodes).await, nodes[0].key());
    assert!(scopes[1].via(&key).tell(0).await.unwrap().is_empty());
    world.wires.delay("node-0:1", "node-1:1", SECOND);
    let (who, mut heard) = Subscription::new();
    let late = scopes[1].via(&key).listen(who).timeout(SECOND / 2).await;
    assert!(matches!(late, Err(CallError::Unknown(Unknown::Timeout))), "{late:?}");
    assert_eq!(heard.next().await, Err(Unsubscribed::Dropped));
    tokio::time::sleep(SECOND).await;
    assert_eq!(scopes[0].via(&key).tell(1).await.unwrap(), ["over"]);
}
