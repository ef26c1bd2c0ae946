//! Rooms in an axum application, by real WebSockets.

// What a test unwraps is what it asserts.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use innkeeper::Supervisor;
use innkeeper_examples::rooms_in_axum;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn next(socket: &mut Socket) -> Option<Message> {
    let next = tokio::time::timeout(Duration::from_secs(60), socket.next());
    next.await.expect("nothing comes").map(Result::unwrap)
}

/// Hears all that is said from when it hears itself.
async fn enter(url: &str, name: &str) -> Socket {
    let (mut socket, _) = connect_async(url).await.unwrap();
    socket.send(Message::text(name)).await.unwrap();
    while next(&mut socket).await != Some(Message::text(name)) {}
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn who_enters_a_room_by_a_socket_is_in_one_process_with_all_others() {
    let supervisor = Supervisor::new().start().await.unwrap();
    let rooms = rooms_in_axum::rooms(&supervisor).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = JoinSet::new();
    let app = rooms_in_axum::app(rooms.clone());
    server.spawn(async move { axum::serve(listener, app).await.unwrap() });

    let lobby = format!("ws://{address}/rooms/lobby");
    let mut ann = enter(&lobby, "ann").await;
    let mut bob = enter(&lobby, "bob").await;
    assert_eq!(next(&mut ann).await, Some(Message::text("bob")));
    bob.send(Message::text("hello")).await.unwrap();
    for socket in [&mut ann, &mut bob] {
        assert_eq!(next(socket).await, Some(Message::text("hello")));
    }
    let _kitchen = enter(&format!("ws://{address}/rooms/kitchen"), "eve").await;
    assert_eq!(rooms.count(), 2);

    // A room that crashes lets its members go; who comes again finds the next one.
    rooms.whereis(&"lobby".to_owned()).unwrap().kill();
    while !matches!(next(&mut ann).await, Some(Message::Close(_)) | None) {}
    let _ann = enter(&lobby, "ann").await;
    assert_eq!(rooms.count(), 2);
    assert!(supervisor.shutdown(Duration::from_secs(60)).await.is_clean());
}
