//! Connections: a line in, an answer out; and those that only listen.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use innkeeper::{
    ChildSpec, Context, DynamicSupervisor, ExitReason, GetError, Keyed, Lagged, ProcessRef,
    Restart, StartError, TaskSupervisor, process,
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::kv_guide::Subscribers;
use crate::kv_guide::bucket::{Bucket, BucketApi, BucketMessage};

/// A subscriber that takes longer than this for a line has gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a connection needs; the guide's `KV.Server` and `KV.Command`.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) buckets: Keyed<String, Bucket>,
    pub(crate) subscribers: Subscribers,
    pub(crate) listeners: DynamicSupervisor,
    pub(crate) connections: TaskSupervisor,
}

/// How a command went.
enum Answer {
    Text(String),
    /// From now on the connection only listens to this bucket.
    Listen(String),
}

/// Why a command has no answer of its own.
enum Refusal {
    UnknownCommand,
    NotFound,
    Failed(String),
}

impl Server {
    /// Takes connections, each a task of its own.
    pub(crate) async fn accept(self, listener: Arc<TcpListener>) {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let server = self.clone();
            // Dropped, and so closed, when as many run as may.
            if let Ok(task) = self.connections.start(server.serve(stream)).await {
                task.detach();
            }
        }
    }

    async fn serve(self, stream: TcpStream) {
        // A client that goes away in the midst of something is no failure of ours.
        let _ = self.converse(stream).await;
    }

    async fn converse(&self, stream: TcpStream) -> io::Result<()> {
        let (input, mut output) = stream.into_split();
        let mut lines = BufReader::new(input).lines();
        while let Some(line) = lines.next_line().await? {
            let answer = match self.run(&line).await {
                Ok(Answer::Text(text)) => text,
                Ok(Answer::Listen(bucket)) => return self.listen(bucket, lines, output).await,
                Err(Refusal::UnknownCommand) => "UNKNOWN COMMAND\r\n".to_owned(),
                Err(Refusal::NotFound) => "NOT FOUND\r\n".to_owned(),
                Err(Refusal::Failed(why)) => format!("ERROR {why}\r\n"),
            };
            output.write_all(answer.as_bytes()).await?;
        }
        Ok(())
    }

    async fn run(&self, line: &str) -> Result<Answer, Refusal> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let text = match words[..] {
            ["CREATE", bucket] => {
                // Unlike the guide's, this can say that it failed.
                let created = self.buckets.get_or_start(&bucket.to_owned()).await;
                created.map_err(|error| Refusal::Failed(error.to_string()))?.process()?;
                "OK\r\n".to_owned()
            }
            ["PUT", bucket, key, value] => {
                self.bucket(bucket).await?.put(key.to_owned(), value.to_owned()).await?;
                "OK\r\n".to_owned()
            }
            ["GET", bucket, key] => {
                let value = self.bucket(bucket).await?.get(key.to_owned()).await?;
                format!("{}\r\nOK\r\n", value.unwrap_or_default())
            }
            ["DELETE", bucket, key] => {
                self.bucket(bucket).await?.delete(key.to_owned()).await?;
                "OK\r\n".to_owned()
            }
            ["SUBSCRIBE", bucket] => {
                self.bucket(bucket).await?;
                return Ok(Answer::Listen(bucket.to_owned()));
            }
            ["COUNT", "SUBSCRIPTIONS", bucket] => {
                self.bucket(bucket).await?;
                let count = self.subscribers.members(&bucket.to_owned()).len();
                format!("{count}\r\nOK\r\n")
            }
            _ => return Err(Refusal::UnknownCommand),
        };
        Ok(Answer::Text(text))
    }

    /// A bucket that exists; waits for one that is being restarted.
    async fn bucket(&self, name: &str) -> Result<ProcessRef<BucketMessage>, Refusal> {
        Ok(self.buckets.get(&name.to_owned()).await?.process()?)
    }

    /// Passes changes on until the client closes. What it sends is read and thrown away.
    async fn listen(
        &self,
        bucket: String,
        input: Lines<BufReader<OwnedReadHalf>>,
        output: OwnedWriteHalf,
    ) -> io::Result<()> {
        let spec = ChildSpec::new().restart(Restart::Temporary);
        let args = SubscriberArgs {
            bucket,
            subscribers: self.subscribers.clone(),
            output: Mutex::new(Some(output)),
        };
        let started = self.listeners.start_child::<Subscriber>(args, spec).await;
        let subscriber = started.map_err(io::Error::other)?;
        let mut rest = input.into_inner().into_inner();
        let mut ignored = [0; 1024];
        loop {
            tokio::select! {
                read = rest.read(&mut ignored) => if !matches!(read, Ok(1..)) { break },
                _ = subscriber.ended() => break,
            }
        }
        // It may have ended already.
        let _ = self.listeners.terminate_child(&subscriber).await;
        Ok(())
    }
}

/// A connection that listens: a process, so that a bucket can tell it things and need not wait.
#[derive(Debug)]
pub struct Subscriber {
    output: OwnedWriteHalf,
}

/// What a subscriber is started with.
#[derive(Debug)]
pub struct SubscriberArgs {
    bucket: String,
    subscribers: Subscribers,
    output: Mutex<Option<OwnedWriteHalf>>,
}

#[process]
impl Subscriber {
    async fn init(args: &SubscriberArgs, ctx: &mut Context<Self>) -> Result<Self, StartError> {
        let output = args.output.lock().unwrap_or_else(PoisonError::into_inner).take();
        // From here on nothing is missed. The membership ends with this process.
        args.subscribers.join(args.bucket.clone(), &ctx.process())?;
        Ok(Subscriber { output: output.ok_or_else(|| StartError::failed("started twice"))? })
    }

    /// Passes a line on.
    #[cast]
    pub async fn line(&mut self, line: String, ctx: &mut Context<Self>) {
        self.write(&line, ctx).await;
    }

    /// The guide's subscribers pile up messages without a bound; these are told.
    async fn lagged(&mut self, _lagged: Lagged, ctx: &mut Context<Self>) {
        self.write("ERROR slow_consumer", ctx).await;
        ctx.stop(ExitReason::Normal);
    }

    async fn write(&mut self, line: &str, ctx: &mut Context<Self>) {
        let line = format!("{line}\r\n");
        let writing = tokio::time::timeout(WRITE_TIMEOUT, self.output.write_all(line.as_bytes()));
        if !matches!(writing.await, Ok(Ok(()))) {
            ctx.stop(ExitReason::Normal);
        }
    }
}

impl From<GetError> for Refusal {
    fn from(error: GetError) -> Self {
        match error {
            GetError::NotFound => Refusal::NotFound,
            error => Refusal::Failed(error.to_string()),
        }
    }
}

impl From<innkeeper::CallError<BucketMessage>> for Refusal {
    fn from(error: innkeeper::CallError<BucketMessage>) -> Self {
        Refusal::Failed(error.to_string())
    }
}
