//! What the director asks of etcd: who leads, who is there, and all that was ever written.

use std::collections::HashMap;
use std::time::Duration;

use etcd_client::{
    Client, ConnectOptions, EventType, GetOptions, KeyValue, WatchOptions, WatchResponse,
};
use innkeeper_judge::records::Record;
use tokio::time::{sleep, timeout};

use crate::Error;

/// How long one request may take.
const TRY: Duration = Duration::from_secs(1);

/// How long whatever is waited for may take.
const WAIT: Duration = Duration::from_secs(30);

pub(crate) struct Store {
    members: Vec<Client>,
    /// What the cluster's records begin with.
    pub(crate) prefix: String,
}

impl Store {
    pub(crate) async fn new(members: &[String], prefix: String) -> Result<Store, Error> {
        let mut clients = Vec::new();
        for member in members {
            let options = ConnectOptions::new().with_timeout(TRY);
            clients.push(Client::connect([member], Some(options)).await?);
        }
        Ok(Store { members: clients, prefix })
    }

    /// Which member leads, and says so itself.
    pub(crate) async fn leader(&self) -> Result<usize, Error> {
        let asked = async {
            loop {
                for (at, client) in self.members.iter().enumerate() {
                    if let Ok(Ok(status)) = timeout(TRY, client.maintenance_client().status()).await
                        && let Some(header) = status.header()
                        && status.leader() == header.member_id()
                    {
                        return at;
                    }
                }
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(WAIT, asked).await.map_err(|_| "etcd has no leader".into())
    }

    /// The version that a member says it has.
    pub(crate) async fn version(&self) -> Result<String, Error> {
        Ok(self.members[0].maintenance_client().status().await?.version().to_owned())
    }

    /// Writes something of no meaning, by way of a member, and waits for nothing.
    pub(crate) async fn touch(&self, member: usize) {
        let mut etcd = self.members[member].kv_client();
        let _ = timeout(Duration::from_millis(100), etcd.put("/touched", "", None)).await;
    }

    /// The sessions that are there, by the names of their nodes; those on their way out are not.
    pub(crate) async fn sessions(&self) -> Result<HashMap<String, String>, Error> {
        let found = self.list("node/").await?;
        let session = |kv: &KeyValue| {
            let text = kv.value_str().ok()?;
            let is_here = field(text, "draining") != Some("true");
            let id = kv.key_str().ok()?.rsplit('/').next()?.to_owned();
            is_here.then_some((field(text, "name")?.to_owned(), id))
        };
        Ok(found.iter().filter_map(session).collect())
    }

    /// How many shards have an owner.
    pub(crate) async fn shards(&self) -> Result<usize, Error> {
        Ok(self.list("shard/").await?.len())
    }

    async fn list(&self, what: &str) -> Result<Vec<KeyValue>, Error> {
        let key = format!("{}{what}", self.prefix);
        let mut last = None;
        for client in &self.members {
            let all = Some(GetOptions::new().with_prefix());
            match timeout(TRY, client.kv_client().get(key.clone(), all)).await {
                Ok(Ok(mut found)) => return Ok(found.take_kvs()),
                Ok(Err(error)) => last = Some(error.to_string()),
                Err(_) => last = Some("no answer".to_owned()),
            }
        }
        Err(last.unwrap_or_default().into())
    }

    /// All that was ever written about sessions and shards, in order.
    pub(crate) async fn history(&self) -> Result<Vec<Record>, Error> {
        let (client, end) = (&self.members[0], format!("{}end", self.prefix));
        let _ = client.kv_client().put(end.clone(), "", None).await?;
        let all = WatchOptions::new().with_prefix().with_start_revision(1);
        let mut changes = client.watch_client().watch(self.prefix.clone(), Some(all)).await?;
        let mut records = Vec::new();
        loop {
            let message = timeout(WAIT, changes.message()).await??;
            let message = message.ok_or("the history of etcd broke off")?;
            if message.canceled() || message.compact_revision() > 0 {
                return Err("etcd has forgotten what was written first".into());
            }
            if self.take(&message, &end, &mut records) {
                return Ok(records);
            }
        }
    }

    /// Whether that was all.
    fn take(&self, message: &WatchResponse, end: &str, records: &mut Vec<Record>) -> bool {
        for event in message.events() {
            let Some(kv) = event.kv() else { continue };
            let Ok(key) = kv.key_str() else { continue };
            if key == end {
                return true;
            }
            let is_gone = event.event_type() == EventType::Delete;
            let text = kv.value_str().unwrap_or_default();
            let record = match key.strip_prefix(&self.prefix).and_then(|it| it.split_once('/')) {
                Some(("node", id)) if is_gone => Record::Gone { id: id.to_owned() },
                Some(("node", id)) => Record::Session { id: id.to_owned() },
                Some(("shard", shard)) => {
                    let epoch = field(text, "epoch").and_then(|it| it.parse().ok());
                    let owner = field(text, "owner").unwrap_or_default().to_owned();
                    let (shard, epoch) = (shard.to_owned(), epoch.unwrap_or_default());
                    Record::Shard { shard, epoch, owner }
                }
                _ => continue,
            };
            records.push(record);
        }
        false
    }
}

/// A field of a record.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}
