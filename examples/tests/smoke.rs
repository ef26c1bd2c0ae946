//! The programs of the examples, run as people run them.

// What a test unwraps is what it asserts.
#![allow(clippy::unwrap_used)]

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

const SOON: Duration = Duration::from_secs(60);

#[tokio::test]
async fn forum_question_ends_with_one_room_for_each_id() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_forum_question"));
    let output = tokio::time::timeout(SOON, program.output()).await.unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert_eq!(text.matches("opens as").count(), 4, "three, and one anew after its crash: {text}");
    assert!(text.contains("1000 users joined 3 rooms, 3 of them started one"), "{text}");
    assert!(text.contains("the lobby is there again, with 1 user"), "{text}");
    assert!(text.contains("its old address says: not delivered: the process has ended"), "{text}");
    assert!(text.contains("2 rooms are left"), "{text}");
    assert!(text.contains("shut down in order: true"), "{text}");
}

/// Starts a program, waits until it listens, interrupts it, and looks at how it goes.
async fn listens_and_ends(program: &str) {
    let mut program = Command::new(program);
    program.env("PORT", "0").stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = program.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = tokio::time::timeout(SOON, lines.next_line()).await.unwrap().unwrap().unwrap();
    assert!(first.starts_with("listening at 127.0.0.1:"), "{first}");
    let id = child.id().unwrap().to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status().await.unwrap();
    assert!(sent.success());
    let last = tokio::time::timeout(SOON, lines.next_line()).await.unwrap().unwrap().unwrap();
    assert_eq!(last, "shut down in order: true");
    assert!(tokio::time::timeout(SOON, child.wait()).await.unwrap().unwrap().success());
}

#[tokio::test]
async fn kv_guide_listens_and_ends_in_order() {
    listens_and_ends(env!("CARGO_BIN_EXE_kv_guide")).await;
}

#[tokio::test]
async fn embed_in_axum_listens_and_ends_in_order() {
    listens_and_ends(env!("CARGO_BIN_EXE_embed_in_axum")).await;
}
