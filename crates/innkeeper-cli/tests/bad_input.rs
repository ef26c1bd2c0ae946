//! The program as a node of a cluster that is told what does not fit, on a real etcd that is full,
//! gone, or put back: what it says, and that nobody acts twice.

#![cfg(feature = "cluster")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Tests.

#[path = "../../innkeeper-cluster/tests/links/authority.rs"]
mod authority;
#[path = "support/etcd.rs"]
mod etcd;
#[path = "support/missing.rs"]
mod missing;
#[path = "bad_input/nodes.rs"]
mod nodes;
#[path = "support/program.rs"]
mod program;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use authority::{Authority, Given};
use etcd::{Etcd, free_port};
use nodes::{
    SESSION, ask, copy, operator, owners, put, refused, serve, until, until_dealt, until_serving,
    write,
};

fn etcd(flags: &[&str]) -> Option<Etcd> {
    missing::or_skip("a test of bad input", Etcd::start_with(flags))
}

/// A14, A6, A11, A13: each is refused at the start, says which value, and what to do.
#[test]
fn what_does_not_fit_the_cluster_is_refused_with_what_to_do() {
    let Some(etcd) = etcd(&[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (in_use, of_another) = (path("a"), path("b"));
    let node = serve(&etcd, "a", &[("--data-dir", &in_use)]);
    until_serving(&node);
    let before = owners(&node);
    write(&etcd, "/innkeeper/garbled/cfg", "shards=many\n");
    let later = "protocol=7\nshards=8\nsession_ms=3000\nfailover_ms=1000\ngeneration=1\nmark=1\n";
    write(&etcd, "/innkeeper/later/cfg", later);
    let other = serve(&etcd, "b", &[("--cluster", "other"), ("--data-dir", &of_another)]);
    until_serving(&other);
    drop(other);
    let down = format!("http://127.0.0.1:{}", free_port());
    let table = [
        (
            vec![("--shards", "16")],
            "the cluster was not joined: shards: the cluster has 8, this node 16; start it with 8, \
             or stop all nodes and reconfigure the cluster",
        ),
        (
            vec![("--session-length", "9s")],
            "session length: the cluster has 3000 ms, this node 9000 ms; start it with 3000 ms, or \
             stop all nodes and reconfigure the cluster",
        ),
        (
            vec![("--etcd-failover", "1500ms")],
            "etcd fail-over: the cluster has 1000 ms, this node 1500 ms; start it with 1000 ms",
        ),
        (
            vec![("--etcd-failover", "2500ms")],
            "session length: expected at least 5000 ms, got 3000 ms; etcd may take 2500 ms to find \
             a new leader (etcd fail-over)",
        ),
        (vec![("--session-length", "2s")], "session length: expected at least 3000 ms, got 2000"),
        (
            vec![("--node", "a")],
            "node name in use: `a` is alive; give this node a name of its own, or stop that one",
        ),
        (vec![("--node", "local")], "each node of a cluster has a name of its own, which stays"),
        (vec![("--cluster", "")], "expected 1 to 255 characters without control characters"),
        (vec![("--cluster", "garbled")], "garbled/cfg cannot be read"),
        (
            vec![("--cluster", "later")],
            "protocol: the cluster needs version 7, this program speaks 1 to 2; use a release that \
             speaks version 7",
        ),
        (vec![("--data-dir", &in_use)], "--data-dir: "),
        (
            vec![("--data-dir", &of_another)],
            "a node of cluster `other` used it, not of `test`; correct the name",
        ),
        (vec![("--etcd", &down)], "(--etcd): no member of etcd answers; "),
        (vec![("--etcd", &down)], "try: whether etcd runs there: etcdctl --endpoints URL endpoint"),
        (vec![("--listen", "0.0.0.0:0")], "an insecure cluster: expected a loopback address"),
        (vec![("--listen", "here")], "expected IP:PORT, got \"here\" (--listen)"),
    ];
    for (flags, text) in table {
        let said = refused(&etcd, &flags);
        assert!(said.starts_with("error: ") && said.contains(text), "{flags:?}: {said}");
    }
    for words in [&["new-generation"][..], &["upgrade"], &["upgrade", "--finalize"]] {
        let (is_done, said) = operator(&etcd, "tset", words);
        assert!(!is_done && said.contains("there is no cluster `tset`; its first node"), "{said}");
    }
    // The one that was there has not noticed.
    until_serving(&node);
    assert_eq!(owners(&node), before);
}

/// A13: as an operator does it.
#[test]
fn an_upgrade_is_shown_and_finalized_by_hand() {
    let Some(etcd) = etcd(&[]) else { return };
    let node = serve(&etcd, "a", &[]);
    until_serving(&node);
    let (is_done, said) = operator(&etcd, "test", &["upgrade"]);
    assert!(is_done, "{said}");
    assert_eq!(
        said,
        "node a: speaks 1 to 2\ncluster test: every node speaks version 2; this program speaks 1 \
         to 2\n"
    );
    // What a node of the release before has written of itself.
    let old = "name=old\naddress=127.0.0.1:1\nweight=1\ndraining=false\n";
    write(&etcd, "/innkeeper/test/node/0000000000000009", old);
    let (is_done, said) = operator(&etcd, "test", &["upgrade", "--finalize"]);
    let text = "error: version 2 of the protocol: node `old` speaks 1; start them with a release \
                that speaks it, and finalize then\n";
    assert_eq!((is_done, said.as_str()), (false, text));
}

/// A12
#[test]
fn a_certificate_that_no_other_node_would_believe_is_refused_at_the_start() {
    let Some(etcd) = etcd(&[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (ours, foreign) = (Authority::new(), Authority::new());
    let foreign = Given { authority: ours.pem(), ..foreign.give("a") };
    let said = |given: &Given| {
        let path = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let certificate = path("certificate", &given.certificate);
        let (key, authority) = (path("key", &given.key), path("authority", &given.authority));
        let flags = [
            ("--node", "a"),
            ("--insecure-cluster", "false"),
            ("--tls-cert", certificate.as_str()),
            ("--tls-key", &key),
            ("--tls-ca", &authority),
        ];
        refused(&etcd, &flags)
    };
    let begin = "(--tls-cert): no node would believe the certificate of `a`: ";
    for (given, why) in [
        (ours.give_expired("a"), "expired"),
        (ours.give("b"), "not valid for name"),
        (foreign, "invalid peer certificate"),
    ] {
        let said = said(&given);
        assert!(said.contains(begin) && said.contains(why), "{said}");
    }
    let mixed = Given { key: ours.give("a").key, ..ours.give("a") };
    let said = said(&mixed);
    assert!(said.contains("(--tls-cert): certificate, key and authority: "), "{said}");
}

#[test]
fn garbage_at_the_port_for_nodes_harms_nobody() {
    let Some(etcd) = etcd(&[]) else { return };
    let port = format!("127.0.0.1:{}", free_port());
    let (a, b) = (serve(&etcd, "a", &[("--listen", &port)]), serve(&etcd, "b", &[]));
    until_dealt(&a, &b);
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 100], &[255; 5_000], b"innkeep\n", &[]] {
        let mut stream = TcpStream::connect(&port).unwrap();
        stream.set_read_timeout(Some(SESSION)).unwrap();
        stream.write_all(garbage).unwrap();
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty(), "{answer:?}");
    }
    for number in 0..20 {
        put(&b, &format!("bucket-{number}"));
    }
    let said = |program: program::Program| {
        program.signal("TERM");
        program.ended()
    };
    let (status, _) = said(b);
    assert!(status.success(), "{status}");
    let (status, words) = said(a);
    assert!(status.success() && !words.contains("panicked"), "{status}\n{words}");
}

/// C9, E15: heartbeats cannot be written, so the gates shut; nothing is lost and nobody takes over.
#[test]
fn a_node_on_an_etcd_that_is_full_freezes_says_so_and_goes_on_with_its_state() {
    let Some(etcd) = etcd(&["--quota-backend-bytes=1048576"]) else { return };
    let (a, b) = (serve(&etcd, "a", &[]), serve(&etcd, "b", &[]));
    until_dealt(&a, &b);
    let before = (owners(&a), put(&a, "kept"));
    nodes::fill(&etcd);
    until(|| ask(&a, "/readyz").0 == 503 && ask(&b, "/readyz").0 == 503, "both are frozen");
    let said = refused(&etcd, &[("--node", "c")]);
    let what = "etcd is full: compact and defragment it, or give it a larger \
                --quota-backend-bytes, and end its alarm (etcdctl alarm disarm)";
    assert!(said.contains("database space exceeded") && said.contains(what), "{said}");
    nodes::make_room(&etcd);
    until_serving(&a);
    until_serving(&b);
    assert_eq!((owners(&a), nodes::get(&a, "kept")), before);
    a.signal("TERM");
    let (_, words) = a.ended();
    assert!(words.contains("does not do what it is asked") && words.contains(what), "{words}");
    assert!(words.contains("the coordinator answers again"), "{words}");
}

/// A10: the runbook of a restore.
#[test]
fn a_node_on_an_etcd_that_was_put_back_ends_until_a_new_generation_begins() {
    let Some(mut etcd) = etcd(&[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let first = serve(&etcd, "a", &[]);
    until_serving(&first);
    first.signal("TERM");
    assert!(first.ended().0.success());
    etcd.stop();
    copy(&etcd.data(), &folder.path().join("snapshot"));
    etcd.start_again();
    let node = serve(&etcd, "a", &[]);
    until_serving(&node);
    put(&node, "kept");
    etcd.stop();
    std::fs::remove_dir_all(etcd.data()).unwrap();
    copy(&folder.path().join("snapshot"), &etcd.data());
    etcd.start_again();
    let (status, words) = node.ended();
    assert_eq!(status.code(), Some(2), "{words}");
    let text = "it was restored from an older snapshot; stop all nodes, begin a new generation \
                (innkeeper cluster new-generation), and start them";
    assert!(words.contains("coordinator_rewound") && words.contains(text), "{words}");
    let (is_done, said) = operator(&etcd, "test", &["new-generation"]);
    assert_eq!((is_done, said.as_str()), (true, "cluster test: generation 2; start its nodes\n"));
    let node = serve(&etcd, "a", &[]);
    until_serving(&node);
    // Above whatever was given in the past that was lost.
    assert!(owners(&node).iter().all(|(_, epoch)| *epoch > 1 << 40), "{:?}", owners(&node));
}

/// A6: what a copied directory proves.
#[test]
fn a_node_that_is_started_on_a_copy_of_its_directory_waits_for_its_old_session() {
    let Some(etcd) = etcd(&[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (original, copied) = (folder.path().join("a"), folder.path().join("copy"));
    let at = |path: &Path| path.display().to_string();
    let node = serve(&etcd, "a", &[("--data-dir", &at(&original))]);
    until_serving(&node);
    copy(&original, &copied);
    node.signal("KILL");
    let killed = Instant::now();
    drop(node);
    let node = serve(&etcd, "a", &[("--data-dir", &at(&copied))]);
    until_serving(&node);
    let took = killed.elapsed();
    // All of a session but what had passed since the last heartbeat.
    assert!(took > SESSION - Duration::from_secs(1), "it was believed to be dead: {took:?}");
}
