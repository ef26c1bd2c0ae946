//! A client of the drill: some callers who call rooms by way of any node, and write down what came
//! of it.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use innkeeper_judge::records::{Call, Outcome};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::dice::Dice;
use crate::line::{self, Question};
use crate::log::Log;
use crate::{Error, clock};

/// How a client is started.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ClientArgs {
    /// Its name.
    #[arg(long)]
    pub(crate) name: String,
    /// Which of the clients it is.
    #[arg(long)]
    pub(crate) number: u64,
    /// The nodes, by name: `n1=10.77.0.11:7100`.
    #[arg(long, value_delimiter = ',', value_parser = node)]
    pub(crate) nodes: Vec<(String, SocketAddr)>,
    /// How many rooms there are.
    #[arg(long)]
    pub(crate) keys: u64,
    /// How many call at once.
    #[arg(long)]
    pub(crate) callers: u64,
    /// How long a caller waits between two calls, at most.
    #[arg(long)]
    pub(crate) pause_ms: u64,
    /// How long the calls take.
    #[arg(long)]
    pub(crate) takes: Takes,
    /// Which rooms a caller calls.
    #[arg(long)]
    pub(crate) rooms: Rooms,
    /// Where it writes down what happens.
    #[arg(long)]
    pub(crate) folder: PathBuf,
}

/// How long user code takes for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Takes {
    /// No time.
    None,
    /// Some a while.
    Some,
    /// Many long.
    Long,
}

impl Takes {
    /// As it is called.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Takes::None => "none",
            Takes::Some => "some",
            Takes::Long => "long",
        }
    }
}

/// Which rooms a caller calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Rooms {
    /// Now this and now that.
    Any,
    /// One of its own.
    Own,
    /// Those that fall to it, once each, and that is all.
    Once,
}

impl Rooms {
    /// As it is called.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Rooms::Any => "any",
            Rooms::Own => "own",
            Rooms::Once => "once",
        }
    }
}

fn node(text: &str) -> Result<(String, SocketAddr), String> {
    let (name, address) = text.split_once('=').ok_or("expected NAME=ADDRESS")?;
    let address = address.parse().map_err(|error| format!("{address}: {error}"))?;
    Ok((name.to_owned(), address))
}

/// How long most calls may take: longer than a session lasts.
const PATIENT: Duration = Duration::from_secs(8);

/// How much longer than a call may take its answer is waited for.
const LATE: Duration = Duration::from_secs(2);

/// How long a caller who has other rooms to call tries to connect.
const CONNECT: Duration = Duration::from_millis(500);

/// Calls until it is told to end; what was asked is waited for.
pub(crate) async fn run(args: ClientArgs) -> Result<(), Error> {
    let log = Arc::new(Log::open(&args.folder.join(format!("client-{}.jsonl", args.name)))?);
    let mut end = signal(SignalKind::terminate())?;
    let (ends, ending) = watch::channel(false);
    let mut callers = JoinSet::new();
    for number in 0..args.callers {
        let dice = Dice::new(args.number << 32 | number << 8);
        // No two calls of a drill have the same number.
        let next = args.number << 48 | number << 32;
        let connections = HashMap::new();
        let caller = Caller { args: args.clone(), log: log.clone(), dice, next, connections };
        if args.rooms == Rooms::Once {
            callers.spawn(caller.call_once(number));
        } else {
            callers.spawn(caller.call(number, ending.clone()));
        }
    }
    if args.rooms != Rooms::Once {
        end.recv().await;
        ends.send_replace(true);
    }
    callers.join_all().await;
    Ok(())
}

struct Caller {
    args: ClientArgs,
    log: Arc<Log>,
    dice: Dice,
    /// The number of the next call.
    next: u64,
    connections: HashMap<usize, BufReader<TcpStream>>,
}

impl Caller {
    async fn call(mut self, own: u64, ending: watch::Receiver<bool>) {
        let mut at = self.any();
        while !*ending.borrow() {
            sleep(self.dice.ms(0, self.args.pause_ms)).await;
            if self.dice.one_in(16) {
                at = self.any();
            }
            let room = match self.args.rooms {
                Rooms::Own => own,
                _ => self.dice.below(self.args.keys),
            };
            if !self.call_room(at, room).await {
                at = self.any();
            }
        }
    }

    /// Calls the rooms that fall to this caller.
    async fn call_once(mut self, number: u64) {
        let (keys, callers) = (self.args.keys, self.args.callers as usize);
        for room in (number..keys).step_by(callers) {
            let at = self.any();
            // It counts from when it is there: very many connect at once.
            if let Some(connection) = self.connect(at).await {
                self.connections.insert(at, connection);
            }
            self.call_room(at, room).await;
        }
    }

    /// Whether it was answered.
    async fn call_room(&mut self, at: usize, room: u64) -> bool {
        let question = self.question(room);
        let (call, key) = (question.call, question.key.clone());
        let began = clock::now();
        let outcome = self.ask(at, question).await;
        let node = self.args.nodes[at].0.clone();
        let is_ok = matches!(outcome, Outcome::Ok { .. });
        self.log.note(&Call { call, key, node, began, ended: clock::now(), outcome });
        is_ok
    }

    fn any(&mut self) -> usize {
        self.dice.below(self.args.nodes.len() as u64) as usize
    }

    fn question(&mut self, room: u64) -> Question {
        let (dice, of) = (&mut self.dice, self.args.takes);
        let takes = match dice.below(100) {
            0..50 if of == Takes::Long => dice.ms(200, 1_000),
            0 if of != Takes::None => dice.ms(100, 1_000),
            1..8 if of != Takes::None => dice.ms(1, 50),
            _ => Duration::ZERO,
        };
        let within =
            if of != Takes::None && dice.one_in(10) { dice.ms(200, 2_000) } else { PATIENT };
        let key = format!("room-{room}");
        self.next += 1;
        Question { call: self.next, key, takes, within }
    }

    async fn ask(&mut self, at: usize, question: Question) -> Outcome {
        let Some(mut connection) = self.connect(at).await else {
            return Outcome::NotDelivered { why: "client: no connection".to_owned() };
        };
        let unknown = |why: &str| Outcome::Unknown { why: format!("client: {why}") };
        let mut said = String::new();
        let answered = timeout(question.within + LATE, async {
            connection.write_all(question.write().as_bytes()).await?;
            connection.read_line(&mut said).await
        });
        match answered.await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return unknown("the connection broke"),
            Err(_) => return unknown("no answer"),
        }
        match line::outcome(question.call, &said) {
            Some(outcome) => {
                self.connections.insert(at, connection);
                outcome
            }
            None => unknown("the connection ended"),
        }
    }

    /// Takes the connection to a node, or a new one: it is put back once it has answered.
    async fn connect(&mut self, at: usize) -> Option<BufReader<TcpStream>> {
        if let Some(connection) = self.connections.remove(&at) {
            // One that the node has ended meanwhile reads as its end.
            let state = connection.get_ref().try_read(&mut [0]);
            if state.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                return Some(connection);
            }
        }
        let stream =
            timeout(CONNECT, TcpStream::connect(self.args.nodes[at].1)).await.ok()?.ok()?;
        stream.set_nodelay(true).ok()?;
        Some(BufReader::new(stream))
    }
}
