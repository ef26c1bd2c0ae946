//! Talks to a server's HTTP API, and puts its errors into words.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use innkeeper_api::Problem;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::args::ServerArgs;
use crate::error::Failure;
use crate::wire::{self, Http, TrustArgs};

/// What need not be encoded in a part of a path.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How long it may be silent in the midst of an answer; an event stream says more often that it is
/// there. A stop may take that long.
const SILENCE: Duration = Duration::from_secs(40);

/// The longest answer that is read whole: a page of a thousand rooms is far from it.
const ANSWER_BYTES: usize = 16 << 20;

/// A server to talk to.
#[derive(Clone)]
pub(crate) struct Client {
    http: Http,
    url: String,
    token: Option<HeaderValue>,
}

/// An answer that goes on.
pub(crate) struct Stream {
    body: Incoming,
}

impl Stream {
    /// What came next. `None`: it has ended.
    ///
    /// # Errors
    /// The connection broke, or nothing came for too long.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let frame = timeout(SILENCE, self.body.frame()).await;
            let frame = frame.map_err(|_| Failure::new("the server has fallen silent"))?;
            match frame.transpose().map_err(Failure::new)? {
                None => return Ok(None),
                // What is none of it are trailers.
                Some(frame) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

/// What a server said no with.
pub(crate) enum Refused {
    /// An answer in its own terms.
    Problem(Problem),
    /// Anything else.
    Failure(Failure),
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Failure {
        match refused {
            Refused::Failure(failure) => failure,
            Refused::Problem(problem) => {
                let Problem { code, title, detail, .. } = problem;
                Failure::new(format_args!("{title} ({}): {detail}", code.word()))
            }
        }
    }
}

impl Client {
    pub(crate) fn new(server: &ServerArgs) -> Result<Client, Failure> {
        Client::at(&server.url, server.token.as_deref(), &server.trust)
    }

    pub(crate) fn at(url: &str, token: Option<&str>, trust: &TrustArgs) -> Result<Client, Failure> {
        let http = wire::http(&wire::place(url)?, trust)?;
        let token = token.map(|token| {
            let shown = HeaderValue::try_from(format!("Bearer {token}"));
            shown.map_err(|_| Failure::new("--token: there is something in it that no token has"))
        });
        let mut token = token.transpose()?;
        if let Some(token) = &mut token {
            token.set_sensitive(true);
        }
        Ok(Client { http, url: url.trim_end_matches('/').to_owned(), token })
    }

    pub(crate) fn room(key: &str) -> String {
        format!("/api/rooms/{}", Client::part(key))
    }

    /// A name, as a part of a path.
    pub(crate) fn part(name: &str) -> String {
        utf8_percent_encode(name, UNRESERVED).to_string()
    }

    /// Asks, and reads the answer as JSON.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, Refused> {
        let words = query.iter().map(|(name, value)| format!("{name}={}", Client::part(value)));
        let words: Vec<_> = words.collect();
        let mark = if words.is_empty() { "" } else { "?" };
        let path = format!("{path}{mark}{}", words.join("&"));
        let response = self.send(method, &path).await?;
        let read = whole(response)
            .await
            .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()));
        read.map_err(|error| Refused::Failure(Failure::new(format_args!("{}: {error}", self.url))))
    }

    /// Asks for something that has no answer but success.
    pub(crate) async fn order(&self, method: Method, path: &str) -> Result<(), Refused> {
        self.send(method, path).await.map(drop)
    }

    /// Asks for an answer that goes on.
    pub(crate) async fn stream(&self, method: Method, path: &str) -> Result<Stream, Refused> {
        self.send(method, path).await.map(|response| Stream { body: response.into_body() })
    }

    async fn send(&self, method: Method, path: &str) -> Result<Response<Incoming>, Refused> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        request = request.header(ACCEPT, HeaderValue::from_static("*/*"));
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token.clone());
        }
        let request = request.body(Full::default());
        let request = request.map_err(|error| Refused::Failure(Failure::new(error)))?;
        let sent = timeout(SILENCE, self.http.request(request)).await;
        let failed = |failure| Refused::Failure(failure);
        let response = sent.map_err(|_| failed(self.unreached("no answer in time")))?;
        let response = response.map_err(|error| failed(self.broken(&error)))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let problem = whole(response).await.ok();
        Err(match problem.and_then(|body| serde_json::from_slice::<Problem>(&body).ok()) {
            Some(problem) => Refused::Problem(problem),
            None => Refused::Failure(self.stranger(status)),
        })
    }

    fn broken(&self, error: &hyper_util::client::legacy::Error) -> Failure {
        if let Some((why, next)) = wire::broken(error) {
            return Failure::new(format_args!("{}: {why}", self.url)).try_next(next);
        }
        if error.is_connect() {
            return self.unreached("nobody answers there");
        }
        self.unreached(&wire::words(error))
    }

    fn unreached(&self, why: &str) -> Failure {
        let failure = Failure::new(format_args!("{}: {why}", self.url));
        failure.try_next("`innkeeper serve` there, or another --url")
    }

    fn stranger(&self, status: StatusCode) -> Failure {
        let what = format_args!("{}: {status}, and not in our terms", self.url);
        Failure::new(what).try_next("the --url of an innkeeper")
    }
}

/// Reads an answer to its end.
async fn whole(response: Response<Incoming>) -> Result<Bytes, String> {
    let body = http_body_util::Limited::new(response.into_body(), ANSWER_BYTES);
    let read = timeout(SILENCE, body.collect()).await;
    let read = read.map_err(|_| "the answer does not come to its end".to_owned())?;
    read.map(|read| read.to_bytes()).map_err(|error| error.to_string())
}
