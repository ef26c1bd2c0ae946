//! The user code of the drill: a room that counts, and writes down when it began and when what it
//! had to say got out.

use std::sync::Arc;
use std::time::Duration;

use innkeeper::{Context, Message, Process, ReplyTo, StartError};
use innkeeper_cluster::Remote;
use innkeeper_judge::records::Noted;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::clock;
use crate::log::Log;

/// What a room is started with.
#[derive(Clone)]
pub(crate) struct Args {
    pub(crate) key: String,
    pub(crate) log: Arc<Log>,
    /// What it has to say gets out at once, by no way that is checked: the mistake that the judge
    /// has to find.
    pub(crate) is_unchecked: bool,
}

pub(crate) struct Room {
    args: Args,
    count: u64,
}

/// Adds one, after a while.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Add {
    pub(crate) call: u64,
    pub(crate) takes: Duration,
}

/// What the counter says.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Added {
    pub(crate) epoch: u64,
    pub(crate) incarnation: u64,
    pub(crate) count: u64,
}

impl Message for Add {
    type Reply = Added;
}

impl Remote for Room {
    const NAME: &'static str = "drill-room";
}

impl Process for Room {
    type Args = Args;
    type Message = Add;

    async fn init(args: &Args, ctx: &mut Context<Self>) -> Result<Self, StartError> {
        let handed = ctx.handed().and_then(|handed| read(&handed));
        if let Some((from, count)) = handed {
            let (key, epoch) = (args.key.clone(), ctx.epoch());
            let (incarnation, at) = (ctx.incarnation().to_bits(), clock::now());
            args.log.note(&Noted::Handed { key, epoch, incarnation, from, count, at });
        }
        let count = handed.map_or(0, |(_, count)| count);
        Ok(Room { args: args.clone(), count })
    }

    async fn handle(&mut self, add: Add, reply: ReplyTo<Add>, ctx: &mut Context<Self>) {
        let (log, key, call) = (self.args.log.clone(), self.args.key.clone(), add.call);
        let (epoch, incarnation) = (ctx.epoch(), ctx.incarnation().to_bits());
        let at = clock::now();
        log.note(&Noted::Began { call, key: key.clone(), epoch, incarnation, at });
        if !add.takes.is_zero() {
            sleep(add.takes).await;
        }
        self.count += 1;
        let (count, ended) = (self.count, clock::now());
        let output = move || {
            let at = clock::now();
            log.note(&Noted::Released { call, key, epoch, incarnation, count, ended, at });
        };
        if self.args.is_unchecked {
            output();
        } else {
            ctx.output(output);
        }
        reply.send(Added { epoch, incarnation, count });
    }

    /// The count, and of which epoch it is.
    async fn on_handoff(&mut self, ctx: &mut Context<Self>) -> Option<Vec<u8>> {
        Some(format!("{} {}", ctx.epoch(), self.count).into_bytes())
    }
}

fn read(handed: &[u8]) -> Option<(u64, u64)> {
    let (epoch, count) = std::str::from_utf8(handed).ok()?.split_once(' ')?;
    Some((epoch.parse().ok()?, count.parse().ok()?))
}
