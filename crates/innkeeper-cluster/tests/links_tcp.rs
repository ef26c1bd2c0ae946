//! Links over TCP on this machine: in the clear, and with certificates of the tests' own.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Tests assert, and run tasks.

#[path = "links/authority.rs"]
mod authority;
#[allow(dead_code)] // Shared with tests that hold more in their hands.
#[path = "links/nodes.rs"]
mod nodes;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use innkeeper_cluster::VERSIONS;
use innkeeper_cluster::frame::{self, Frame, Hello, LENGTH_BYTES, MAGIC, Refusal, Welcome};
use innkeeper_cluster::links::{Failed, NotExecuted, Origin};
use innkeeper_cluster::net::{BindError, Net, Tcp, Tls, TlsError, Wire};
use innkeeper_cluster::ownership::record::Member;
use innkeeper_cluster::start_key::{End, StartKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use authority::{Authority, Given};
use nodes::{Node, SECOND, World, call, message, nobody};

const HERE: &str = "127.0.0.1:0";

async fn insecure() -> Tcp {
    Tcp::bind_insecure(HERE.parse().unwrap()).await.unwrap()
}

async fn secure(given: &Given) -> Tcp {
    let tls = Tls::from_pem(&given.certificate, &given.key, &given.authority).unwrap();
    Tcp::bind(HERE.parse().unwrap(), &tls).await.unwrap()
}

fn node(world: &World, number: u64, tcp: Tcp) -> (Node, SocketAddr) {
    let address = tcp.address().unwrap();
    (world.node(Arc::new(tcp), number, &address.to_string()), address)
}

/// What a call from one node to another comes to, where one of them is not as it should be.
async fn call_between(from: &Given, to: &Given) -> Result<(), NotExecuted> {
    let world = World::new();
    let (a, _) = node(&world, 1, secure(from).await);
    let (b, _) = node(&world, 2, secure(to).await);
    match a.links.request(b.session, nobody(), call("!"), 5 * SECOND).await {
        Ok(_) => Ok(()),
        Err(Failed::NotExecuted(why)) => {
            assert!(b.heard.calls.lock().is_empty());
            Err(why)
        }
        Err(unknown) => panic!("{unknown}"),
    }
}

fn unreachable(result: Result<(), NotExecuted>) -> String {
    match result {
        Err(NotExecuted::Unreachable { why }) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nodes_with_certificates_of_one_authority_talk() {
    let authority = Authority::new();
    call_between(&authority.give("node-1"), &authority.give("node-2")).await.unwrap();
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_on_both_sides() {
    let authority = Authority::new();
    let (one, two) = (authority.give("node-1"), authority.give("node-2"));
    let why = unreachable(call_between(&one, &authority.give("node-3")).await);
    assert!(why.contains("not valid for name"), "{why}");
    let refused = call_between(&authority.give("node-3"), &two).await.unwrap_err();
    let text = "the other node refused: the name `node-1` is not proven: use a certificate with it \
                as a subject alternative name";
    assert_eq!(refused.to_string(), text);
}

#[tokio::test]
async fn a_certificate_of_a_foreign_authority_is_refused_on_both_sides() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let (one, two) = (authority.give("node-1"), authority.give("node-2"));
    let why = unreachable(call_between(&one, &foreign.give("node-2")).await);
    assert!(why.contains("UnknownIssuer") || why.contains("BadSignature"), "{why}");
    // Believes whom it should, and is not believed itself.
    let pretender = Given { authority: authority.pem(), ..foreign.give("node-1") };
    unreachable(call_between(&pretender, &two).await);
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_refused_on_both_sides() {
    let authority = Authority::new();
    let (one, two) = (authority.give("node-1"), authority.give("node-2"));
    let why = unreachable(call_between(&one, &authority.give_expired("node-2")).await);
    assert!(why.contains("expired") || why.contains("Expired"), "{why}");
    unreachable(call_between(&authority.give_expired("node-1"), &two).await);
}

#[tokio::test]
async fn a_node_without_a_certificate_is_not_heard() {
    let authority = Authority::new();
    let world = World::new();
    let (a, _) = node(&world, 1, insecure().await);
    let (b, _) = node(&world, 2, secure(&authority.give("node-2")).await);
    let result = a.links.request(b.session, nobody(), call("!"), 2 * SECOND).await;
    assert!(matches!(result, Err(Failed::NotExecuted(_))), "{result:?}");
    assert!(b.heard.calls.lock().is_empty());
}

/// A12: whoever has a copy of a node's certificate, and knows its session, is not its program.
#[tokio::test]
async fn a_certificate_without_the_key_of_the_start_is_refused_on_both_sides() {
    let authority = Authority::new();
    let (one, two) = (authority.give("node-1"), authority.give("node-2"));
    let world = World::new();
    let (a, _) = node(&world, 1, secure(&one).await);
    let (b, _) = node(&world, 2, secure(&two).await);
    a.links.request(b.session, nobody(), call("!"), 10 * SECOND).await.unwrap();
    // It is where another session is looked for that has the same name, and that it may be.
    let other = StartKey::new().unwrap();
    let of_another = |key: &StartKey| {
        let public = key.public();
        move |member: &mut Member| member.key = Some(public)
    };
    let tcp = secure(&one).await;
    let address = tcp.address().unwrap().to_string();
    let copy = world.node_with(Arc::new(tcp), world.enter(1, &address), &world.settings(1));
    world.describe(copy.session, of_another(&other));
    let refused = copy.links.request(b.session, nobody(), call("?"), 10 * SECOND).await;
    let text = "not delivered: the other node refused: node `node-1`: the connection is not signed \
                by the key of that start of its program; look for another program with its \
                certificate";
    assert_eq!(refused.unwrap_err().to_string(), text);
    let (c, _) = node(&world, 3, secure(&authority.give("node-3")).await);
    let unreached = c.links.request(copy.session, nobody(), call("?"), 3 * SECOND).await;
    let text = unreached.unwrap_err().to_string();
    assert!(text.contains("refusing: node `node-1`: the connection is not signed"), "{text}");
    assert!(copy.heard.calls.lock().is_empty());
}

/// A12
#[tokio::test]
async fn a_greeting_that_was_heard_on_another_connection_is_refused() {
    let authority = Authority::new();
    let world = World::new();
    let (b, address) = node(&world, 2, secure(&authority.give("node-2")).await);
    let (tcp, me) = (secure(&authority.give("node-1")).await, world.enter(1, "nowhere"));
    let key = StartKey::new().unwrap();
    world.describe(me, |member| {
        (member.versions, member.key) = (VERSIONS, Some(key.public()));
    });
    let greet = async |signature: Option<Bytes>, end: End| {
        let mut wire = tcp.connect(address.to_string(), "node-2".to_owned()).await.unwrap();
        let binding = wire.proof.binding().expect("it is over TLS");
        let signature = signature.unwrap_or_else(|| key.sign(end, &binding).into());
        let hello = Hello {
            versions: (VERSIONS.oldest, VERSIONS.newest),
            cluster: "test".to_owned(),
            name: "node-1".to_owned(),
            session: (me.node.0, me.created),
            to: (b.session.node.0, b.session.created),
            nonce: 0,
        };
        let mut bytes = MAGIC.to_vec();
        frame::encode(&Frame::Hello(hello), &mut bytes).unwrap();
        frame::encode(&Frame::Signed { signature: signature.clone() }, &mut bytes).unwrap();
        wire.writer.write_all(&bytes).await.unwrap();
        wire.writer.flush().await.unwrap();
        (hear(&mut wire).await, hear(&mut wire).await, signature)
    };
    let (first, second, signature) = greet(None, End::Dialled).await;
    assert!(matches!(first, Some(Frame::Welcome(Welcome { version: 2, .. }))), "{first:?}");
    let Some(Frame::Signed { signature: theirs }) = second else { panic!("{second:?}") };
    let refused = Some(Frame::Refused(Refusal::Start { name: "node-1".to_owned() }));
    for (signature, end) in [
        (Some(signature), End::Dialled),
        (Some(theirs), End::Dialled),
        (None, End::Answered),
        (Some(Bytes::new()), End::Dialled),
    ] {
        let (answer, then, _) = greet(signature, end).await;
        assert_eq!((answer, then), (refused.clone(), None));
    }
}

/// A frame. `None`: the connection was closed.
async fn hear(wire: &mut Wire) -> Option<Frame> {
    let mut length = [0; LENGTH_BYTES];
    wire.reader.read_exact(&mut length).await.ok()?;
    let mut body = vec![0; u32::from_le_bytes(length) as usize];
    wire.reader.read_exact(&mut body).await.ok()?;
    Some(frame::decode(&Bytes::from(body)).unwrap())
}

#[tokio::test]
async fn without_tls_only_this_machine_is_listened_to_and_spoken_to() {
    let error = Tcp::bind_insecure("0.0.0.0:0".parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, BindError::NotLoopback { .. }));
    let text = "an insecure cluster: expected a loopback address, got 0.0.0.0:0; give the node a \
                certificate, or let it listen at 127.0.0.1";
    assert_eq!(error.to_string(), text);
    let tcp = insecure().await;
    let error = tcp.connect("192.0.2.1:7".to_owned(), "b".to_owned()).await.unwrap_err();
    assert_eq!(error.to_string(), "an insecure cluster: 192.0.2.1:7 is not on this machine");
}

#[tokio::test]
async fn a_name_that_no_certificate_can_be_for_is_said_so() {
    let tcp = secure(&Authority::new().give("node-1")).await;
    let error = tcp.connect(HERE.to_owned(), "a b".to_owned()).await.unwrap_err();
    assert_eq!(error.to_string(), "no certificate can be for `a b`: expected a DNS name");
}

#[test]
fn what_is_no_certificate_is_refused_by_what_it_should_be() {
    let given = Authority::new().give("node-1");
    let other = Authority::new().give("node-1");
    let Given { certificate, key, authority } = &given;
    let text = |result: Result<Tls, TlsError>| result.unwrap_err().to_string();
    assert!(text(Tls::from_pem("", key, authority)).starts_with("certificate: expected PEM"));
    assert!(text(Tls::from_pem(certificate, "", authority)).starts_with("key: expected PEM"));
    assert!(text(Tls::from_pem(certificate, key, "x")).starts_with("authority: expected PEM"));
    let mixed = text(Tls::from_pem(certificate, &other.key, authority));
    assert!(mixed.starts_with("certificate, key and authority:"), "{mixed}");
    let tls = Tls::from_pem(certificate, key, authority).unwrap();
    assert_eq!(format!("{tls:?}"), "Tls { .. }", "no key is shown");
}

#[test]
fn a_certificate_that_nobody_would_believe_is_known_before_it_is_shown() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let check = |given: &Given, name: &str| {
        let tls = Tls::from_pem(&given.certificate, &given.key, &given.authority).unwrap();
        tls.check(name).map_err(|error| error.to_string())
    };
    assert_eq!(check(&authority.give("node-1"), "node-1"), Ok(()));
    let pretender = Given { authority: authority.pem(), ..foreign.give("node-1") };
    for (given, name, why) in [
        (authority.give("node-1"), "node-2", "not valid for name"),
        (authority.give_expired("node-1"), "node-1", "expired"),
        (pretender, "node-1", "invalid peer certificate"),
        (authority.give("node-1"), "a b", "dns name"),
    ] {
        let text = check(&given, name).unwrap_err();
        let begin = format!("no node would believe the certificate of `{name}`: ");
        assert!(text.starts_with(&begin) && text.contains(why), "{text}");
    }
}

#[tokio::test]
async fn garbage_at_the_port_of_the_nodes_harms_nobody() {
    let authority = Authority::new();
    for (one, two) in [
        (insecure().await, insecure().await),
        (secure(&authority.give("node-1")).await, secure(&authority.give("node-2")).await),
    ] {
        let world = World::new();
        let (a, _) = node(&world, 1, one);
        let (b, address) = node(&world, 2, two);
        for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 100], &[255; 100], &[]] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(garbage).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut answer = Vec::new();
            // An alert of TLS at most; a reset is as good.
            let _ = stream.read_to_end(&mut answer).await;
            assert!(answer.len() < 100, "{answer:?}");
        }
        a.links.request(b.session, nobody(), call("!"), 10 * SECOND).await.unwrap();
    }
}

#[tokio::test]
async fn many_casts_arrive_in_order_over_tcp_and_tls() {
    const CASTS: u32 = 20_000;
    let authority = Authority::new();
    for (one, two) in [
        (insecure().await, insecure().await),
        (secure(&authority.give("node-1")).await, secure(&authority.give("node-2")).await),
    ] {
        let world = World::new();
        let (a, _) = node(&world, 1, one);
        let (b, _) = node(&world, 2, two);
        for number in 0..CASTS {
            let mut body = number.to_le_bytes().to_vec();
            body.resize(64, 0);
            let origin = Origin { sender: u64::from(number % 4), under: None };
            while a.links.send(b.session, origin, message(body.clone())).is_err() {
                tokio::task::yield_now().await;
            }
        }
        b.heard.until(|heard| heard.casts.lock().len() == CASTS as usize).await;
        let bodies = b.heard.bodies();
        let numbers = bodies.iter().map(|body| u32::from_le_bytes(body[..4].try_into().unwrap()));
        for sender in 0..4 {
            let of_sender: Vec<_> = numbers.clone().filter(|n| n % 4 == sender).collect();
            assert!(of_sender.is_sorted() && of_sender.len() == CASTS as usize / 4);
        }
        let response = a.links.request(b.session, nobody(), call(vec![7; 900_000]), 10 * SECOND);
        assert_eq!(response.await.unwrap().body.len(), 900_000);
    }
}

#[tokio::test]
async fn a_node_whose_program_dies_leaves_what_was_sent_unknown() {
    let authority = Authority::new();
    for (one, two) in [
        (insecure().await, insecure().await),
        (secure(&authority.give("node-1")).await, secure(&authority.give("node-2")).await),
    ] {
        let world = World::new();
        let (a, _) = node(&world, 1, one);
        let (b, _) = node(&world, 2, two);
        *b.heard.keeps.lock() = true;
        let (heard, session) = (b.heard.clone(), b.session);
        let die = async {
            heard.until(|heard| heard.calls.lock().len() == 1).await;
            b.die().await;
        };
        let (result, ()) =
            tokio::join!(a.links.request(session, nobody(), call("?"), 60 * SECOND), die);
        assert!(matches!(result, Err(Failed::Unknown(_))), "{result:?}");
    }
}
