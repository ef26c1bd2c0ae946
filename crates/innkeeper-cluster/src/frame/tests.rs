//! Every frame there and back, and bytes that are none.

use proptest::prelude::*;

use super::*;
use crate::limits;

const UNDER: Under = Under { shard: 300, epoch: u64::MAX };

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn message() -> Message {
    Message {
        shard: u16::MAX,
        epoch: 1 << 40,
        scope: bytes("rooms"),
        key: bytes("lobby"),
        body: bytes("hello"),
    }
}

/// One of each kind, and of each kind within.
fn all() -> Vec<Frame> {
    let (id, under) = (u64::MAX, Some(UNDER));
    let hello = Hello {
        versions: (1, u64::MAX),
        cluster: "c".to_owned(),
        name: "n".to_owned(),
        session: (1, 2),
        to: (3, 4),
        nonce: 5,
    };
    let part =
        Part { under: UNDER, attempt: u64::MAX, number: 1, count: u32::MAX, body: bytes("state") };
    let request = |request| Frame::Request { id, wait_ms: u32::MAX, under, request };
    let reply = |outcome| Frame::Reply { id, under, outcome };
    let down = |reason| Frame::Down { id, reason };
    let mut all = vec![
        Frame::Hello(hello),
        Frame::Welcome(Welcome { version: 1, remaining: u64::MAX, nonce: 9 }),
        Frame::Refused(Refusal::Versions { here: (1, 2), there: (3, 4) }),
        Frame::Refused(Refusal::Cluster { here: "a".to_owned(), there: "b".to_owned() }),
        Frame::Refused(Refusal::Name { name: "a".to_owned() }),
        Frame::Refused(Refusal::Elsewhere),
        Frame::Refused(Refusal::Stranger),
        Frame::Refused(Refusal::Start { name: "a".to_owned() }),
        Frame::Signed { signature: bytes("by me") },
        Frame::Ask { nonce: 1 },
        Frame::Told { nonce: 1, remaining: 2 },
        request(Request::Call(message())),
        request(Request::Prepare(part)),
        Frame::Cast { under: None, message: message() },
        reply(Outcome::Done(bytes("yes"))),
        reply(Outcome::Declined(bytes("no"))),
        Frame::Subscribe { id, under, message: message() },
        Frame::Unsubscribe { id },
        Frame::Event { id, also: Vec::new(), under, body: bytes("tick") },
        Frame::Event { id, also: vec![0, u64::MAX], under, body: bytes("tick") },
        down(Ended::Said(bytes("bye"))),
        down(Ended::Dropped),
        down(Ended::Overflow),
        down(Ended::Disowned),
    ];
    for why in [NotTaken::Full, NotTaken::Unproven, NotTaken::Closed] {
        all.extend([reply(Outcome::NotTaken(why)), down(Ended::NotTaken(why))]);
    }
    for why in [Lost::Unanswered, Lost::Disowned, Lost::TooLarge] {
        all.push(reply(Outcome::Unknown(why)));
    }
    all
}

fn written(frame: &Frame) -> Bytes {
    let mut bytes = Vec::new();
    encode(frame, &mut bytes).unwrap();
    let body = length(&bytes, limits::FRAME_BYTES_MAX).unwrap().unwrap();
    assert_eq!(bytes.len(), LENGTH_BYTES + body);
    Bytes::from(bytes).slice(LENGTH_BYTES..)
}

#[test]
fn every_frame_that_is_written_is_read_again() {
    for frame in all() {
        assert_eq!(decode(&written(&frame)), Ok(frame));
    }
}

#[test]
fn the_beginnings_of_all_versions_are_written_alike() {
    // What a node of another version has to understand: these bytes never change.
    let hello = Hello {
        versions: (1, 2),
        cluster: "c".to_owned(),
        name: "n".to_owned(),
        session: (3, 4),
        to: (5, 6),
        nonce: 7,
    };
    let welcome = Welcome { version: 1, remaining: 2, nonce: 3 };
    let refusal = Refusal::Versions { here: (1, 2), there: (3, 4) };
    assert_eq!(MAGIC, *b"innkeep\n");
    for (frame, expected) in [
        (Frame::Hello(hello), &[0, 1, 2, 1, b'c', 1, b'n', 3, 4, 5, 6, 7][..]),
        (Frame::Welcome(welcome), &[1, 1, 2, 3]),
        (Frame::Refused(refusal), &[2, 0, 1, 2, 3, 4]),
    ] {
        assert_eq!(written(&frame), expected);
    }
}

#[test]
fn what_is_opaque_is_not_copied() {
    let body = written(&Frame::Cast { under: None, message: message() });
    let Ok(Frame::Cast { message, .. }) = decode(&body) else { panic!() };
    let within = body.as_ptr_range();
    for part in [message.scope, message.key, message.body] {
        assert!(within.contains(&part.as_ptr()));
    }
}

#[test]
fn a_frame_that_ends_early_is_none() {
    for frame in all() {
        let whole = written(&frame);
        for end in 0..whole.len() {
            assert_eq!(decode(&whole.slice(..end)), Err(BadFrame::Unreadable), "{frame:?}");
        }
    }
}

/// A13
#[test]
fn what_a_later_release_adds_behind_a_frame_is_skipped() {
    for frame in all() {
        let mut longer = written(&frame).to_vec();
        longer.extend([7; 9]);
        assert_eq!(decode(&longer.into()), Ok(frame));
    }
}

#[test]
fn a_length_is_believed_only_up_to_the_bound() {
    let max = limits::FRAME_BYTES_MAX;
    let of = |length: u32| super::length(&length.to_le_bytes(), max);
    assert_eq!(of(0), Ok(Some(0)));
    assert_eq!(of(max as u32), Ok(Some(max)));
    assert_eq!(of(max as u32 + 1), Err(BadFrame::TooLarge { bytes: max + 1, max }));
    assert!(of(u32::MAX).is_err());
    assert_eq!(super::length(&[1, 2, 3], max), Ok(None));
}

#[test]
fn a_frame_that_is_too_long_is_not_written() {
    let mut bytes = vec![1, 2, 3];
    let body = vec![0; limits::FRAME_BYTES_MAX].into();
    let error = encode(&Frame::Event { id: 1, also: Vec::new(), under: None, body }, &mut bytes)
        .unwrap_err();
    assert!(matches!(error, BadFrame::TooLarge { .. }), "{error}");
    assert_eq!(bytes, [1, 2, 3]);
}

#[test]
fn no_frame_is_longer_than_what_it_is_counted_as() {
    for frame in all() {
        let weight = crate::links::weight(&frame);
        // Greetings are not queued, and have their own bound.
        if !matches!(frame, Frame::Hello(_) | Frame::Refused(_)) {
            assert!(written(&frame).len() <= weight, "{frame:?}");
        }
    }
}

proptest! {
    #[test]
    fn bytes_that_anybody_may_send_are_a_frame_or_refused(body: Vec<u8>) {
        let body = Bytes::from(body);
        if let Ok(frame) = decode(&body) {
            // Whatever is read can be said again, and means the same.
            prop_assert_eq!(decode(&written(&frame)), Ok(frame));
        }
    }

    #[test]
    fn a_frame_with_bytes_that_have_changed_is_a_frame_or_refused(
        which in 0..all().len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut body = written(&all()[which]).to_vec();
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        if let Ok(frame) = decode(&Bytes::from(body)) {
            prop_assert_eq!(decode(&written(&frame)), Ok(frame));
        }
    }

    #[test]
    fn whatever_is_said_arrives_as_it_was_said(
        shard: u16, epoch: u64, key: Vec<u8>, body: Vec<u8>,
    ) {
        let (scope, key, body) = (bytes("rooms"), key.into(), body.into());
        let message = Message { shard, epoch, scope, key, body };
        let frame = Frame::Cast { under: Some(Under { shard, epoch }), message };
        prop_assert_eq!(decode(&written(&frame)), Ok(frame));
    }
}
