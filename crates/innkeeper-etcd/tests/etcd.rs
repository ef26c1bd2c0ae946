//! The coordinator on a real etcd, which the tests start themselves on ports of loopback.
//!
//! The program is `etcd`, or what `INNKEEPER_ETCD` names. Without one these tests are skipped with
//! a word about it, except in CI, where that is a failure: `cargo xtask test` installs it.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout)] // A test's ways.

#[path = "etcd/server.rs"]
mod server;

use std::sync::Arc;
use std::time::Duration;

use innkeeper_cluster::clock::Machine;
use innkeeper_cluster::coordinator::{Change, Coordinator, CoordinatorError, Transaction, suite};
use innkeeper_cluster::ownership::timing::FAIL_OVER_DEFAULT;
use innkeeper_cluster::ownership::{Gate, Over};
use innkeeper_cluster::{Node, Settings, VERSIONS};
use innkeeper_etcd::{ConnectError, Etcd, Options};
use server::{Server, Servers};

const WITHIN: Duration = Duration::from_secs(5);

async fn connect(servers: &Servers) -> Etcd {
    let options = Options { endpoints: servers.endpoints(), ..Options::default() };
    Etcd::connect(&options, WITHIN).await.unwrap_or_else(|error| panic!("{error}"))
}

fn settings() -> Settings {
    Settings {
        cluster: "test".to_owned(),
        name: "a".to_owned(),
        address: "127.0.0.1:1".to_owned(),
        weight: 1,
        shards: 16,
        session: Duration::from_secs(5),
        fail_over: FAIL_OVER_DEFAULT,
        versions: VERSIONS,
        starts_at_once: innkeeper_cluster::limits::STARTS_AT_ONCE,
    }
}

fn put(key: &str) -> Transaction {
    let writes = vec![Change::Put(key.to_owned(), b"1".to_vec())];
    Transaction { writes, ..Transaction::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_passes_the_suite_of_the_port() {
    let Some(servers) = Servers::start(1).await else { return };
    suite::all(&connect(&servers).await, "/test/").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_members_pass_it_as_well() {
    let Some(servers) = Servers::start(3).await else { return };
    suite::all(&connect(&servers).await, "/test/").await;
}

/// Two clusters of one name on one etcd, each under a prefix of its own, do not see each other.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_one_prefix_is_not_seen_under_another() {
    let Some(servers) = Servers::start(1).await else { return };
    let under = async |prefix: &str| {
        let (endpoints, prefix) = (servers.endpoints(), prefix.to_owned());
        let options = Options { endpoints, prefix, ..Options::default() };
        Arc::new(Etcd::connect(&options, WITHIN).await.unwrap())
    };
    let (one, other) = (under("/one/").await, under("/other/").await);
    suite::all(&*one, "test/").await;
    let mut nodes = Vec::new();
    for etcd in [&one, &other] {
        // The name of a node is taken once in a cluster.
        let joined = Node::join(etcd.clone(), Arc::new(Machine), &settings()).await;
        let (node, mut orders, session) = joined.unwrap();
        tokio::spawn(async move { while orders.next().await.is_some() {} });
        nodes.push((node, tokio::spawn(session)));
    }
    let all_open = |node: &Node| (0..16).all(|shard| matches!(node.gate(shard), Gate::Open(_)));
    while !nodes.iter().all(|(node, _)| all_open(node)) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for ((node, _), etcd) in nodes.iter().zip([&one, &other]) {
        let seen = etcd.list("test/node/".to_owned(), WITHIN).await.unwrap();
        assert_eq!(seen.entries.len(), 1, "{seen:?}");
        assert_eq!(node.members().len(), 1);
    }
    let all = under("/").await.list(String::new(), WITHIN).await.unwrap();
    let are_known = |key: &str| key.starts_with("one/test/") || key.starts_with("other/test/");
    assert!(all.entries.iter().all(|entry| are_known(&entry.key)), "{all:?}");
    nodes.iter().for_each(|(_, session)| session.abort());
}

/// C8
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_silent_costs_a_part_of_the_time_and_only_once() {
    let Some(servers) = Servers::start(3).await else { return };
    let etcd = connect(&servers).await;
    etcd.commit(put("a"), WITHIN).await.unwrap();
    // The first is asked first. If it led, the others need a moment to choose.
    servers.all[0].stop();
    tokio::time::sleep(Duration::from_secs(3)).await;
    etcd.commit(put("a"), WITHIN).await.unwrap();
    let quick = Duration::from_secs(2);
    for _ in 0..5 {
        etcd.commit(put("a"), quick).await.expect("the second is asked first from now on");
    }
    servers.all[0].go_on();
}

/// C8
#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_is_silent_is_waited_for_until_the_deadline() {
    let Some(servers) = Servers::start(1).await else { return };
    let etcd = connect(&servers).await;
    etcd.commit(put("a"), WITHIN).await.unwrap();
    servers.all[0].stop();
    let within = Duration::from_millis(300);
    let answer = tokio::time::timeout(WITHIN, etcd.commit(put("a"), within)).await.unwrap();
    assert!(matches!(answer, Err(CoordinatorError::Unknown(_))), "{answer:?}");
    servers.all[0].go_on();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_forgot_what_is_asked_for_says_so() {
    let Some(servers) = Servers::start(1).await else { return };
    let etcd = connect(&servers).await;
    let first = etcd.commit(put("a"), WITHIN).await.unwrap().revision;
    let last = etcd.commit(put("a"), WITHIN).await.unwrap().revision;
    servers.compact(last).await;
    let mut watch = etcd.watch("a".to_owned(), first - 1, WITHIN).await.unwrap();
    let news = tokio::time::timeout(WITHIN, watch.next()).await.unwrap();
    assert_eq!(news.unwrap_err(), CoordinatorError::Compacted { oldest: last });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_was_put_back_is_noticed() {
    let Some(mut servers) = Servers::start(1).await else { return };
    let etcd = connect(&servers).await;
    for _ in 0..5 {
        etcd.commit(put("a"), WITHIN).await.unwrap();
    }
    // Another one at the same address, with nothing in it.
    servers.replace().await;
    let error = loop {
        match etcd.commit(put("a"), WITHIN).await {
            Err(error @ CoordinatorError::Rewound(_)) => break error,
            // The connection is made anew.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            Ok(committed) => panic!("{committed:?}"),
        }
    };
    assert!(error.to_string().starts_with("the coordinator was rewound"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_is_not_there_is_an_error_that_names_it() {
    // Nobody listens on the port of discard.
    let endpoints = vec!["http://127.0.0.1:9".to_owned()];
    let options = Options { endpoints, ..Options::default() };
    let error = Etcd::connect(&options, WITHIN).await.unwrap_err();
    assert!(error.to_string().starts_with("no member of etcd answers; http://127.0.0.1:9: "));
    let error = Etcd::connect(&Options::default(), WITHIN).await.unwrap_err();
    assert_eq!(error, ConnectError::NoEndpoints);
    let endpoints = vec!["localhost:2379".to_owned()];
    let error = Etcd::connect(&Options { endpoints, ..Options::default() }, WITHIN).await;
    let text = error.unwrap_err().to_string();
    assert!(text.contains("got localhost:2379: it begins with neither"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_wants_certificates_is_shown_one() {
    let authority = server::Authority::new();
    let Some(server) = Server::with_tls(&authority).await else { return };
    let endpoints = vec![server.endpoint().to_owned()];
    let ours = Options {
        endpoints: endpoints.clone(),
        ca: Some(authority.certificate()),
        identity: Some(authority.issue()),
        ..Options::default()
    };
    let etcd = Etcd::connect(&ours, WITHIN).await.unwrap_or_else(|error| panic!("{error}"));
    etcd.commit(put("a"), WITHIN).await.unwrap();
    // Without one, and with one of another authority.
    let foreign = server::Authority::new();
    for identity in [None, Some(foreign.issue())] {
        let options = Options { identity, ..ours.clone() };
        let error = Etcd::connect(&options, WITHIN).await.unwrap_err();
        assert!(matches!(error, ConnectError::Unreachable(_)), "{error}");
    }
    let options = Options { ca: Some(foreign.certificate()), ..ours };
    assert!(Etcd::connect(&options, WITHIN).await.is_err(), "a foreign server is not spoken to");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_wants_a_password_is_given_one() {
    let Some(servers) = Servers::start(1).await else { return };
    servers.enable_auth("root", "secret").await;
    let endpoints = servers.endpoints();
    let user = |password: &str| Some(("root".to_owned(), password.to_owned()));
    let right =
        Options { endpoints: endpoints.clone(), user: user("secret"), ..Options::default() };
    let etcd = Etcd::connect(&right, WITHIN).await.unwrap_or_else(|error| panic!("{error}"));
    etcd.commit(put("a"), WITHIN).await.unwrap();
    let wrong = Options { user: user("guess"), ..right.clone() };
    let error = Etcd::connect(&wrong, WITHIN).await.unwrap_err().to_string();
    assert!(error.contains("authentication failed"), "{error}");
    let nobody = Options { user: None, ..right };
    let stranger = Etcd::connect(&nobody, WITHIN).await.unwrap();
    let error = stranger.commit(put("a"), WITHIN).await.unwrap_err();
    assert!(matches!(error, CoordinatorError::NotDone(_)), "{error}");
}

/// C2, C9: the real clocks, the real driver, a real etcd that stops for a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_freezes_while_etcd_is_stopped_and_goes_on_with_the_same_epochs() {
    let Some(servers) = Servers::start(1).await else { return };
    let etcd = Arc::new(connect(&servers).await);
    let (node, mut orders, running) =
        Node::join(etcd, Arc::new(Machine), &settings()).await.unwrap();
    let session = tokio::spawn(running);
    tokio::spawn(async move { while orders.next().await.is_some() {} });
    let gates = || (0..16).map(|shard| node.gate(shard)).collect::<Vec<_>>();
    server::until(|| gates().iter().all(|gate| *gate == Gate::Open(1))).await;
    servers.all[0].stop();
    server::until(|| gates().iter().all(|gate| *gate == Gate::Frozen(1))).await;
    servers.all[0].go_on();
    server::until(|| gates().iter().all(|gate| *gate == Gate::Open(1))).await;
    node.leave().await;
    assert_eq!(session.await.unwrap(), Over::Left);
}
