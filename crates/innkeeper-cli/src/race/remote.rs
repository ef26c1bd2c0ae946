//! Racing for the rooms of a server, over HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::Method;
use innkeeper::testing::Census;
use innkeeper_api::{StartOutcome, StartedRoom};

use crate::client::{Client, Refused};
use crate::error::Failure;
use crate::race::{Answer, Contender};
use crate::wire::TrustArgs;

/// The rooms of one or several servers, asked in turn.
#[derive(Clone)]
pub(crate) struct Servers {
    clients: Arc<[Client]>,
    next: Arc<AtomicUsize>,
}

impl Servers {
    pub(crate) fn at(urls: &[String], trust: &TrustArgs) -> Result<Self, Failure> {
        let token = std::env::var("INNKEEPER_TOKEN").ok();
        let clients: Result<Vec<_>, _> =
            urls.iter().map(|url| Client::at(url, token.as_deref(), trust)).collect();
        Ok(Servers { clients: clients?.into(), next: Arc::default() })
    }

    fn next(&self) -> &Client {
        &self.clients[self.next.fetch_add(1, Ordering::Relaxed) % self.clients.len()]
    }
}

impl Contender for Servers {
    type Room = ();

    async fn get_or_start(&self, key: &str) -> Result<Answer<()>, String> {
        let asked = self.next().ask::<StartedRoom>(Method::POST, &Client::room(key), &[]).await;
        match asked {
            Ok(StartedRoom { incarnation, outcome, .. }) => {
                let started = outcome == StartOutcome::Started;
                Ok(Answer { room: (), incarnation, started })
            }
            Err(Refused::Problem(problem)) => Err(problem.code.word().to_owned()),
            Err(Refused::Failure(failure)) => Err(failure.what().to_owned()),
        }
    }

    async fn crash(&self, (): &()) {}

    async fn stop_if_idle(&self, (): &()) {}

    async fn stop(&self, key: &str) {
        // Only an admin may; for anybody else the room goes when it has been idle.
        let _ = self.next().order(Method::DELETE, &Client::room(key)).await;
    }

    fn census(&self) -> Option<&Census<String>> {
        None
    }
}
