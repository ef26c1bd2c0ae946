//! An outbox over a real connection with small buffers.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::*;
use crate::channels::wire::Wire;

/// An outbox, and the other end of it.
async fn connected() -> (Arc<Outbox>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpSocket::new_v4().unwrap();
    client.set_recv_buffer_size(4096).unwrap();
    let client = client.connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    server.writable().await.unwrap();
    let (_, outgoing) = server.halves();
    (Arc::new(Outbox::new(outgoing)), client)
}

/// Pushes frames that are told apart by their letters, until one has to wait; all that was pushed.
fn fill(outbox: &Outbox) -> Vec<u8> {
    let mut pushed = Vec::new();
    for letter in (b'a'..=b'z').cycle() {
        let frame = Bytes::from(vec![letter; 10_000]);
        pushed.extend_from_slice(&frame);
        outbox.push(frame, By::Caller).unwrap();
        if !outbox.is_empty() {
            break;
        }
    }
    pushed
}

async fn read(client: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let mut read = vec![0; bytes];
    let reading = client.read_exact(&mut read);
    tokio::time::timeout(Duration::from_secs(20), reading).await.unwrap().unwrap();
    read
}

async fn write_all(outbox: &Outbox) {
    while !outbox.is_empty() {
        outbox.write().await.unwrap();
    }
}

#[tokio::test]
async fn what_the_system_takes_does_not_wait() {
    let (outbox, mut client) = connected().await;
    outbox.push("said".into(), By::Caller).unwrap();
    outbox.answer(["reply".into()]);
    assert!(outbox.is_empty());
    assert!(outbox.waiting().now_or_never().is_none());
    assert_eq!(read(&mut client, 9).await, b"saidreply");
}

#[tokio::test]
async fn what_is_left_to_the_task_waits_for_it_and_so_does_what_comes_behind() {
    let (outbox, mut client) = connected().await;
    let (waiting, woken) = (outbox.waiting(), Waker::noop());
    tokio::pin!(waiting);
    assert!(waiting.as_mut().poll(&mut Context::from_waker(woken)).is_pending());
    assert!(outbox.state.lock().waker.is_some());
    outbox.push("said".into(), By::Task).unwrap();
    assert!(outbox.state.lock().waker.is_none(), "the task is not woken");
    waiting.await;
    outbox.answer(["reply".into()]);
    assert_eq!(outbox.state.lock().frames.len(), 2);
    outbox.write().await.unwrap();
    assert!(outbox.is_empty());
    assert_eq!(read(&mut client, 9).await, b"saidreply");
}

#[tokio::test]
async fn a_frame_that_was_taken_in_part_is_gone_on_with_in_order() {
    let (outbox, mut client) = connected().await;
    let mut pushed = fill(&outbox);
    for letter in b'A'..=b'Z' {
        pushed.extend_from_slice(&[letter; 3]);
        outbox.push(Bytes::from(vec![letter; 3]), By::Caller).unwrap();
    }
    let (got, ()) = tokio::join!(read(&mut client, pushed.len()), write_all(&outbox));
    assert!(got == pushed, "another order, or other bytes");
    assert_eq!(outbox.state.lock().bytes, 0);
}

#[tokio::test]
async fn the_parts_of_an_answer_are_sent_as_one() {
    let (outbox, mut client) = connected().await;
    outbox.answer(["he".into(), "ad".into()]);
    assert!(outbox.is_empty());
    assert_eq!(read(&mut client, 4).await, b"head");
    let mut pushed = fill(&outbox);
    outbox.answer(["he".into(), "ad".into()]);
    outbox.push("said".into(), By::Caller).unwrap();
    pushed.extend_from_slice(b"headsaid");
    let (got, ()) = tokio::join!(read(&mut client, pushed.len()), write_all(&outbox));
    assert!(got == pushed, "another order, or other bytes");
}

#[tokio::test]
async fn a_full_outbox_refuses_talk_and_takes_answers() {
    let (outbox, _client) = connected().await;
    for _ in 0..limits::OUTBOX_FRAMES {
        assert_eq!(outbox.push("said".into(), By::Task), Ok(()));
    }
    assert_eq!(outbox.push("said".into(), By::Caller), Err(Refused::Full));
    outbox.answer(["reply".into()]);
    assert_eq!(outbox.state.lock().frames.len(), limits::OUTBOX_FRAMES + 1);
    write_all(&outbox).await;
    assert_eq!(outbox.push("said".into(), By::Task), Ok(()));
}

#[tokio::test]
async fn bytes_count_too() {
    let (outbox, _client) = connected().await;
    let large = Bytes::from("x".repeat(limits::OUTBOX_BYTES));
    assert_eq!(outbox.push(large, By::Task), Ok(()));
    assert_eq!(outbox.push("x".into(), By::Task), Err(Refused::Full));
}

#[tokio::test]
async fn a_sealed_outbox_takes_the_goodbye_only() {
    let (outbox, mut client) = connected().await;
    outbox.push("said".into(), By::Task).unwrap();
    outbox.seal();
    assert_eq!(outbox.push("late".into(), By::Caller), Err(Refused::Closed));
    outbox.answer(["late".into()]);
    outbox.control("bye".into());
    write_all(&outbox).await;
    assert_eq!(read(&mut client, 7).await, b"saidbye");
}

#[tokio::test]
async fn a_closed_outbox_keeps_nothing_and_ends_the_connection() {
    let (outbox, mut client) = connected().await;
    outbox.push("said".into(), By::Task).unwrap();
    outbox.close();
    assert_eq!(outbox.push("late".into(), By::Caller), Err(Refused::Closed));
    outbox.control("bye".into());
    assert!(outbox.is_empty());
    assert!(outbox.write().await.is_ok(), "nothing is to be written");
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
}
