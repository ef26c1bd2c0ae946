//! The control: ownership as it is often built, by keys under a lease of etcd, for as long as etcd
//! said last that the lease lives. The judge has to find what is wrong with it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, ConnectOptions, Error as EtcdError, GetOptions, PutOptions, Txn,
    TxnOp,
};
use innkeeper_judge::records::{Noted, Outcome};
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::line::{self, Question};
use crate::log::Log;
use crate::node::{Answers, NodeArgs};
use crate::{Error, clock};

/// Where the shards are, each with the address of who holds it.
const PREFIX: &str = "/lease/";

/// How long one request to etcd may take.
const TRY: Duration = Duration::from_secs(1);

/// From one look at the shards to the next.
const LOOK: Duration = Duration::from_millis(200);

/// How many looks a shard may be free before anybody takes it.
const PATIENCE: u32 = 5;

/// How many nodes share the shards at first.
const NODES: u64 = 4;

pub(crate) struct Held {
    args: NodeArgs,
    log: Arc<Log>,
    /// Of the first member alone.
    etcd: Client,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lease: Option<i64>,
    /// Until when it lives, by the last that etcd said.
    until: u64,
    /// What is held here, and since which revision.
    shards: HashMap<u64, u64>,
    /// Who holds the others.
    owners: HashMap<u64, String>,
    rooms: HashMap<(String, u64), Arc<tokio::sync::Mutex<u64>>>,
}

impl Held {
    pub(crate) async fn new(args: &NodeArgs, log: Arc<Log>) -> Result<Arc<Held>, Error> {
        let options = ConnectOptions::new().with_timeout(TRY);
        let etcd = Client::connect(&args.etcd[..1], Some(options)).await?;
        Ok(Arc::new(Held { args: args.clone(), log, etcd, state: Mutex::default() }))
    }

    /// Keeps a lease alive, and takes shards under it. Never ends.
    pub(crate) async fn keep(&self) {
        tokio::join!(self.live(), self.take());
    }

    async fn live(&self) {
        loop {
            let _ = self.live_once().await;
            self.lose();
            sleep(LOOK).await;
        }
    }

    fn lose(&self) {
        let mut state = self.state.lock();
        (state.lease, state.until) = (None, 0);
        state.shards.clear();
    }

    /// One lease, until it is over.
    async fn live_once(&self) -> Result<(), EtcdError> {
        let ttl = i64::try_from(self.args.session_ms / 1_000).unwrap_or(i64::MAX);
        let lease = self.etcd.lease_client().grant(ttl, None).await?.id();
        let every = Duration::from_millis(self.args.session_ms / 5);
        let (mut keeper, mut answers) = self.etcd.lease_client().keep_alive(lease).await?;
        loop {
            keeper.keep_alive().await?;
            if let Ok(answer) = timeout(TRY, answers.message()).await
                && let Some(answer) = answer?
            {
                let Ok(seconds @ 1..) = u64::try_from(answer.ttl()) else { return Ok(()) };
                let mut state = self.state.lock();
                state.lease = Some(lease);
                // As etcd's own client does: from when the answer came.
                state.until = clock::now() + seconds * 1_000_000_000;
            }
            if self.state.lock().until < clock::now() {
                return Ok(());
            }
            sleep(every).await;
        }
    }

    /// Takes shards that nobody holds. Never ends.
    async fn take(&self) {
        let mut free: HashMap<u64, u32> = HashMap::new();
        loop {
            sleep(LOOK).await;
            let Ok(owners) = self.owners().await else { continue };
            self.state.lock().owners = owners.clone();
            for shard in 0..u64::from(self.args.shards) {
                if owners.contains_key(&shard) {
                    free.remove(&shard);
                    continue;
                }
                let looks = free.entry(shard).or_default();
                *looks += 1;
                let number = self.args.name.trim_start_matches('n').parse().unwrap_or(0_u64);
                if shard % NODES == number % NODES || *looks > PATIENCE {
                    let _ = self.claim(shard).await;
                }
            }
        }
    }

    async fn owners(&self) -> Result<HashMap<u64, String>, EtcdError> {
        let all = Some(GetOptions::new().with_prefix());
        let found = self.etcd.kv_client().get(PREFIX, all).await?;
        let owner = |kv: &etcd_client::KeyValue| {
            let shard = kv.key_str().ok()?.strip_prefix(PREFIX)?.parse().ok()?;
            Some((shard, kv.value_str().ok()?.to_owned()))
        };
        Ok(found.kvs().iter().filter_map(owner).collect())
    }

    async fn claim(&self, shard: u64) -> Result<(), EtcdError> {
        let Some(lease) = self.state.lock().lease else { return Ok(()) };
        let key = format!("{PREFIX}{shard}");
        let options = PutOptions::new().with_lease(lease);
        let put = TxnOp::put(key.clone(), self.args.clients.to_string(), Some(options));
        let free = Compare::create_revision(key, CompareOp::Equal, 0);
        let answer = self.etcd.kv_client().txn(Txn::new().when([free]).and_then([put])).await?;
        if let (true, Some(header)) = (answer.succeeded(), answer.header()) {
            let epoch = u64::try_from(header.revision()).unwrap_or_default();
            self.state.lock().shards.insert(shard, epoch);
        }
        Ok(())
    }

    fn shard(&self, key: &str) -> u64 {
        let number: u64 = key.trim_start_matches("room-").parse().unwrap_or_default();
        number % u64::from(self.args.shards)
    }

    /// Under which epoch a shard is held here now.
    fn epoch(&self, shard: u64) -> Option<u64> {
        let state = self.state.lock();
        (clock::now() < state.until).then(|| state.shards.get(&shard).copied())?
    }

    async fn run(&self, question: Question, shard: u64, epoch: u64) -> Outcome {
        let Question { call, key, takes, .. } = question;
        let room = self.state.lock().rooms.entry((key.clone(), epoch)).or_default().clone();
        let mut count = room.lock().await;
        let incarnation = 0;
        if self.epoch(shard) != Some(epoch) {
            return Outcome::NotDelivered { why: "the lease is over".to_owned() };
        }
        let at = clock::now();
        self.log.note(&Noted::Began { call, key: key.clone(), epoch, incarnation, at });
        sleep(takes).await;
        *count += 1;
        let (count, ended) = (*count, clock::now());
        if self.epoch(shard) != Some(epoch) {
            return Outcome::Unknown { why: "the lease is over".to_owned() };
        }
        let at = clock::now();
        self.log.note(&Noted::Released { call, key, epoch, incarnation, count, ended, at });
        Outcome::Ok { epoch, incarnation, count }
    }
}

impl Answers for Held {
    async fn answer(&self, question: Question) -> Outcome {
        let shard = self.shard(&question.key);
        if let Some(epoch) = self.epoch(shard) {
            return self.run(question, shard, epoch).await;
        }
        let owner = self.state.lock().owners.get(&shard).cloned();
        match owner {
            Some(owner) if owner != self.args.clients.to_string() => {
                pass_on(question, &owner).await
            }
            _ => Outcome::NotDelivered { why: "nobody holds it".to_owned() },
        }
    }
}

/// Has another node answer.
async fn pass_on(question: Question, owner: &str) -> Outcome {
    let call = question.call;
    let asked = timeout(question.within, async {
        let mut stream = BufReader::new(TcpStream::connect(owner).await?);
        stream.write_all(question.write().as_bytes()).await?;
        let mut said = String::new();
        stream.read_line(&mut said).await?;
        std::io::Result::Ok(said)
    });
    let said = asked.await.ok().and_then(Result::ok);
    let outcome = said.and_then(|said| line::outcome(call, &said));
    outcome.unwrap_or_else(|| Outcome::Unknown { why: "the other node did not say".to_owned() })
}
