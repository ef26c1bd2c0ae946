//! One connection of the key-value protocol.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use innkeeper::{Subscription, Unsubscribed};
use innkeeper_api::{Code, RoomKey};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::app::{App, Open};
use crate::bucket::{BucketApi, BucketFull, BucketMessage, BucketRef};
use crate::error::ApiError;
use crate::kv::command::Command;
use crate::kv::line::{self, Line};
use crate::limits;

struct Connection {
    app: Arc<App>,
    peer: SocketAddr,
    output: OwnedWriteHalf,
}

/// What a command leads to.
enum Next {
    /// This answer.
    Answer(String),
    /// Changes of a bucket, until the end.
    Listen(Subscription<Bytes>),
}

/// Serves a connection until its client or the server closes it.
pub(crate) async fn run(stream: TcpStream, peer: SocketAddr, app: Arc<App>) {
    let _open = Open::count(&app.tally.kv_connections);
    let (input, output) = stream.into_split();
    let mut connection = Connection { app: app.clone(), peer, output };
    // A client that goes away in the middle is no failure of ours.
    if let Err(error) = connection.serve(BufReader::new(input)).await {
        tracing::debug!(%peer, %error, "key-value connection ended");
    }
}

impl Connection {
    async fn serve(&mut self, mut input: BufReader<OwnedReadHalf>) -> io::Result<()> {
        let closing = self.app.closing.clone();
        let mut bytes = Vec::new();
        loop {
            let read = tokio::select! {
                biased;
                read = line::read(&mut input, &mut bytes, limits::KV_LINE_BYTES) => read?,
                () = closing.cancelled() => return self.output.shutdown().await,
            };
            match read {
                Line::End => return self.output.shutdown().await,
                Line::TooLong => return self.refuse_line(input).await,
                Line::Whole => {}
            }
            match self.carry_out(&bytes).await {
                Next::Answer(answer) => self.write(answer.as_bytes()).await?,
                Next::Listen(lines) => return self.listen(input, lines).await,
            }
            // One large line does not make the connection large for ever.
            bytes.shrink_to(4096);
        }
    }

    async fn carry_out(&self, bytes: &[u8]) -> Next {
        let Ok(line) = std::str::from_utf8(bytes) else {
            return Next::Answer(error_line(Code::BadRequest));
        };
        let Some(command) = Command::parse(line) else {
            return Next::Answer("UNKNOWN COMMAND\r\n".to_owned());
        };
        self.run(command).await.unwrap_or_else(|error| {
            Next::Answer(match error.code {
                Code::NotFound => "NOT FOUND\r\n".to_owned(),
                code => error_line(code),
            })
        })
    }

    async fn run(&self, command: Command<'_>) -> Result<Next, ApiError> {
        let _work = self.app.intake.enter()?;
        let answer = match command {
            Command::Create { bucket } => self.create(bucket).await?,
            Command::Put { bucket, key, value } => {
                let put = |bucket: BucketRef| {
                    let (key, value) = (key.to_owned(), value.to_owned());
                    async move { bucket.put(key, value).await }
                };
                self.on(bucket, put).await?.map_err(full)?;
                "OK\r\n".to_owned()
            }
            Command::Get { bucket, key } => {
                let get = |bucket: BucketRef| {
                    let key = key.to_owned();
                    async move { bucket.get(key).await }
                };
                let value = self.on(bucket, get).await?.unwrap_or_default();
                format!("{value}\r\nOK\r\n")
            }
            Command::Delete { bucket, key } => {
                let delete = |bucket: BucketRef| {
                    let key = key.to_owned();
                    async move { bucket.delete(key).await }
                };
                self.on(bucket, delete).await?;
                "OK\r\n".to_owned()
            }
            Command::CountSubscriptions { bucket } => {
                let count = |bucket: BucketRef| async move { bucket.count_subscriptions().await };
                format!("{}\r\nOK\r\n", self.on(bucket, count).await?)
            }
            Command::Subscribe { bucket } => return self.subscribe(bucket).await,
        };
        Ok(Next::Answer(answer))
    }

    async fn create(&self, bucket: &str) -> Result<String, ApiError> {
        let key: RoomKey = bucket.parse()?;
        let get = self.app.buckets.get_or_start(&key).timeout(limits::ROOM_TIMEOUT);
        let rate = self.app.clients.rate(self.peer.ip());
        let created = match &rate {
            Some(rate) => get.limited_by(rate).await,
            None => get.await,
        };
        created.and_then(innkeeper::Outcome::process)?;
        Ok("OK\r\n".to_owned())
    }

    async fn subscribe(&self, bucket: &str) -> Result<Next, ApiError> {
        let mut listening = None;
        let subscribe = |bucket: BucketRef| {
            let (who, lines) = Subscription::with_capacity(limits::KV_LINES);
            listening = Some(lines);
            async move { bucket.subscribe(who).await }
        };
        self.on(bucket, subscribe).await?.map_err(full)?;
        match listening {
            Some(lines) => Ok(Next::Listen(lines)),
            None => Err(ApiError::new(Code::NotDelivered, "not subscribed")),
        }
    }

    /// Says something to a bucket that exists.
    async fn on<T, F>(&self, bucket: &str, say: impl FnMut(BucketRef) -> F) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, innkeeper::CallError<BucketMessage>>>,
    {
        // A name that no bucket can have is the name of none.
        let key = bucket.parse().map_err(|_| ApiError::new(Code::NotFound, "no such bucket"))?;
        self.app.ask(&self.app.buckets, &key, None, say).await
    }

    /// Passes changes on. What the client sends is read and thrown away.
    async fn listen(
        &mut self,
        mut input: BufReader<OwnedReadHalf>,
        mut lines: Subscription<Bytes>,
    ) -> io::Result<()> {
        let closing = self.app.closing.clone();
        let mut ignored = [0; 1024];
        let why = loop {
            let line = tokio::select! {
                line = lines.next() => line,
                read = input.read(&mut ignored) => match read? {
                    0 => return self.output.shutdown().await,
                    _ => continue,
                },
                () = closing.cancelled() => return self.output.shutdown().await,
            };
            match line {
                Ok(line) => self.write(&line).await?,
                Err(why) => break why,
            }
        };
        let end = match why {
            Unsubscribed::Overflow => error_line(Code::SlowConsumer),
            _ => "ERROR restarted\r\n".into(),
        };
        self.write(end.as_bytes()).await?;
        self.linger(input).await
    }

    async fn refuse_line(&mut self, input: BufReader<OwnedReadHalf>) -> io::Result<()> {
        self.write(b"ERROR line_too_long\r\n").await?;
        self.linger(input).await
    }

    /// Ends our side and reads on for a while: a connection that is closed with input unread is
    /// reset, and its client may lose the last answer.
    async fn linger(&mut self, input: impl AsyncRead + Unpin) -> io::Result<()> {
        self.output.shutdown().await?;
        let mut rest = input.take(limits::LINGER_BYTES);
        let mut nowhere = tokio::io::sink();
        let reading = tokio::io::copy(&mut rest, &mut nowhere);
        let _ = tokio::time::timeout(limits::LINGER, reading).await;
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = tokio::time::timeout(limits::WRITE_TIMEOUT, self.output.write_all(bytes));
        written.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}

fn full(BucketFull: BucketFull) -> ApiError {
    ApiError::new(Code::PayloadTooLarge, "the bucket is full")
}

pub(super) fn error_line(code: Code) -> String {
    format!("ERROR {}\r\n", code.word())
}
