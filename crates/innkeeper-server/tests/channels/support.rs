//! A server on a free port, and a client that speaks Channels V2 frame by frame.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use innkeeper_server::{Config, Drained, Listeners};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// How long anything may take that is not under test for its time.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A server. Ends when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    run: JoinSet<Drained>,
}

impl Server {
    pub(crate) async fn start() -> Server {
        Server::with(|_| {}).await
    }

    pub(crate) async fn with(set: impl FnOnce(&mut Config)) -> Server {
        Server::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), set)
    }

    /// One whose kernel buffers are as small as they may be.
    pub(crate) async fn with_small_buffers() -> Server {
        let socket = TcpSocket::new_v4().unwrap();
        // Accepted connections inherit it.
        socket.set_send_buffer_size(4096).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Server::on(socket.listen(1024).unwrap(), |_| {})
    }

    fn on(listener: TcpListener, set: impl FnOnce(&mut Config)) -> Server {
        let address = listener.local_addr().unwrap();
        let mut config = Config::default();
        set(&mut config);
        let (stop, stopped) = oneshot::channel();
        let mut run = JoinSet::new();
        run.spawn(async move {
            let listeners = Listeners { http: listener, kv: None };
            let shutdown = async {
                // Also when the test has dropped it.
                let _ = stopped.await;
            };
            innkeeper_server::run(listeners, config, shutdown, || {}).await.unwrap()
        });
        Server { address, stop, run }
    }

    /// Begins the drain; what it returns is done when the server has ended.
    pub(crate) fn drain(self) -> impl Future<Output = Drained> {
        let Server { stop, mut run, .. } = self;
        stop.send(()).unwrap();
        async move { within(run.join_next()).await.unwrap().unwrap() }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Asks the API; the status and the JSON, or null.
    pub(crate) async fn http(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let method = method.parse().unwrap();
        let mut request = reqwest::Client::new().request(method, self.url(path));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = within(request.send()).await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or(Value::Null))
    }
}

/// Waits, but not for ever.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.expect("it takes too long")
}

/// A frame of Channels V2.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Frame {
    pub(crate) join_ref: Option<String>,
    pub(crate) reference: Option<String>,
    pub(crate) topic: String,
    pub(crate) event: String,
    pub(crate) payload: Value,
}

impl Frame {
    fn parse(text: &str) -> Frame {
        let (join_ref, reference, topic, event, payload) = serde_json::from_str(text).unwrap();
        Frame { join_ref, reference, topic, event, payload }
    }

    pub(crate) fn is(&self, event: &str) -> bool {
        self.event == event
    }

    /// The answer in a reply; panics if it is another than expected.
    pub(crate) fn ok(&self) -> &Value {
        assert_eq!(self.payload["status"], "ok", "{self:?}");
        &self.payload["response"]
    }

    /// Code, message and whether it ran of a refusal.
    pub(crate) fn refusal(&self) -> (&str, &str, &str) {
        assert_eq!(self.payload["status"], "error", "{self:?}");
        let text = |name: &str| self.payload["response"][name].as_str().unwrap_or("missing");
        (text("code"), text("message"), text("ran"))
    }

    pub(crate) fn seq(&self) -> u64 {
        self.payload["seq"].as_u64().unwrap()
    }
}

/// How a socket ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With this code and these words.
    Close(u16, String),
    /// Without a close frame.
    Cut,
}

/// A client of one socket.
pub(crate) struct Client {
    socket: WebSocketStream<TcpStream>,
    /// Read, but not yet asked for.
    pub(crate) passed: VecDeque<Frame>,
    refs: u64,
}

impl Client {
    pub(crate) async fn connect(server: &Server, user: &str) -> Client {
        let stream = TcpStream::connect(server.address).await.unwrap();
        Client::over(stream, &format!("?vsn=2.0.0&user={user}")).await.unwrap()
    }

    /// One that the kernel buffers as little for as it can.
    pub(crate) async fn with_small_buffers(server: &Server, user: &str) -> Client {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = socket.connect(server.address).await.unwrap();
        Client::over(stream, &format!("?vsn=2.0.0&user={user}")).await.unwrap()
    }

    pub(crate) async fn over(stream: TcpStream, query: &str) -> Result<Client, tungstenite::Error> {
        let address = stream.peer_addr().unwrap();
        let url = format!("ws://{address}/socket/websocket{query}");
        // Frames go out at once, as the tests mean them to.
        let config = WebSocketConfig::default().write_buffer_size(0);
        let (socket, _) = within(client_async_with_config(url, stream, Some(config))).await?;
        Ok(Client { socket, passed: VecDeque::new(), refs: 0 })
    }

    fn next_ref(&mut self) -> String {
        self.refs += 1;
        self.refs.to_string()
    }

    /// Sends several frames in one write, so that they arrive together.
    pub(crate) async fn send_together(&mut self, frames: &[Value]) {
        for frame in frames {
            self.socket.feed(Message::text(frame.to_string())).await.unwrap();
        }
        within(self.socket.flush()).await.unwrap();
    }

    /// Sends something that the server may have hung up on already; whether it went out.
    pub(crate) async fn try_send(&mut self, message: Message) -> bool {
        within(self.socket.send(message)).await.is_ok()
    }

    /// For paused time.
    pub(crate) async fn send_in_any_time(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// Sends a frame; its reference.
    pub(crate) async fn send(
        &mut self,
        join_ref: Option<&str>,
        topic: &str,
        event: &str,
        payload: Value,
    ) -> String {
        let reference = self.next_ref();
        let frame = json!([join_ref, reference, topic, event, payload]);
        self.send_raw(Message::text(frame.to_string())).await;
        reference
    }

    pub(crate) async fn send_raw(&mut self, message: Message) {
        within(self.socket.send(message)).await.unwrap();
    }

    /// Begins a join; its reference, which is the join's.
    pub(crate) async fn begin_join(&mut self, topic: &str) -> String {
        let reference = self.next_ref();
        let frame = json!([reference, reference, topic, "phx_join", {}]);
        self.send_raw(Message::text(frame.to_string())).await;
        reference
    }

    /// Joins; the join's reference and the welcome.
    pub(crate) async fn join(&mut self, topic: &str) -> (String, Value) {
        let join = self.begin_join(topic).await;
        let reply = self.reply(&join).await;
        (join, reply.ok().clone())
    }

    /// Says something; the reply.
    pub(crate) async fn say(&mut self, join: &str, topic: &str, text: &str) -> Frame {
        let reference = self.begin_say(join, topic, text).await;
        self.reply(&reference).await
    }

    pub(crate) async fn begin_say(&mut self, join: &str, topic: &str, text: &str) -> String {
        self.send(Some(join), topic, "say", json!({ "text": text })).await
    }

    pub(crate) async fn leave(&mut self, join: &str, topic: &str) -> Frame {
        let reference = self.send(Some(join), topic, "phx_leave", json!({})).await;
        self.reply(&reference).await
    }

    /// The answer to a push; what comes before it is kept.
    pub(crate) async fn reply(&mut self, reference: &str) -> Frame {
        self.take(|frame| frame.is("phx_reply") && frame.reference.as_deref() == Some(reference))
            .await
    }

    /// The next frame of this event; what comes before it is kept.
    pub(crate) async fn event(&mut self, event: &str) -> Frame {
        self.take(|frame| frame.is(event)).await
    }

    pub(crate) async fn take(&mut self, wanted: impl Fn(&Frame) -> bool) -> Frame {
        if let Some(at) = self.passed.iter().position(&wanted) {
            return self.passed.remove(at).unwrap();
        }
        loop {
            let frame = self.read().await.unwrap_or_else(|end| panic!("the socket ended: {end:?}"));
            if wanted(&frame) {
                return frame;
            }
            self.passed.push_back(frame);
        }
    }

    /// The next frame, in the order in which they came.
    pub(crate) async fn next(&mut self) -> Result<Frame, End> {
        match self.passed.pop_front() {
            Some(frame) => Ok(frame),
            None => self.read().await,
        }
    }

    async fn read(&mut self) -> Result<Frame, End> {
        within(self.read_in_any_time()).await
    }

    /// For paused time, in which a deadline would come at once.
    pub(crate) async fn read_in_any_time(&mut self) -> Result<Frame, End> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(Frame::parse(&text)),
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Err(End::Close(frame.code.into(), frame.reason.to_string()));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(other)) => panic!("unexpected: {other:?}"),
                Some(Err(_)) | None => return Err(End::Cut),
            }
        }
    }

    /// Reads on until the socket ends: everything that came, and how it ended.
    pub(crate) async fn rest(&mut self) -> (Vec<Frame>, End) {
        let mut frames = Vec::new();
        loop {
            match self.next().await {
                Ok(frame) => frames.push(frame),
                Err(end) => return (frames, end),
            }
        }
    }

    /// Everything that came before this: asks for a heartbeat, and reads up to its answer.
    pub(crate) async fn so_far(&mut self) -> Vec<Frame> {
        let beat = self.send(None, "phoenix", "heartbeat", json!({})).await;
        let reply = self.reply(&beat).await;
        assert_eq!(reply.ok(), &json!({}));
        self.passed.drain(..).collect()
    }

    /// The stream below, to do to it what a client should not.
    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        self.socket.get_mut()
    }
}
