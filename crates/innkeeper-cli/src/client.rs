//! Talks to a server's HTTP API, and puts its errors into words.

use std::time::Duration;

use innkeeper_api::Problem;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;

use crate::args::ServerArgs;
use crate::error::Failure;

/// What need not be encoded in a part of a path.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How long a server may take to take a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// How long it may be silent in the midst of an answer; an event stream says more often that it is
/// there. A stop may take that long.
const SILENCE: Duration = Duration::from_secs(40);

/// A server to talk to.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    token: Option<String>,
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
        Client::at(&server.url, server.token.clone())
    }

    pub(crate) fn at(url: &str, token: Option<String>) -> Result<Client, Failure> {
        if !url.starts_with("http://") {
            let what = format_args!("expected an address like http://127.0.0.1:4000, got {url:?}");
            return Err(Failure::new(what));
        }
        let http = reqwest::Client::builder().no_proxy();
        let http =
            http.connect_timeout(CONNECT).read_timeout(SILENCE).build().map_err(Failure::new)?;
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
        let response = self.send(self.request(method, path).query(query)).await?;
        let read = response.json().await;
        read.map_err(|error| Refused::Failure(Failure::new(format_args!("{}: {error}", self.url))))
    }

    /// Asks for something that has no answer but success.
    pub(crate) async fn order(&self, method: Method, path: &str) -> Result<(), Refused> {
        self.send(self.request(method, path)).await.map(drop)
    }

    /// Asks for an answer that goes on.
    pub(crate) async fn stream(&self, method: Method, path: &str) -> Result<Response, Refused> {
        self.send(self.request(method, path)).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Refused> {
        let response = request.send().await.map_err(|error| {
            let why =
                if error.is_connect() { "nobody answers there".into() } else { error.to_string() };
            let failure = Failure::new(format_args!("{}: {why}", self.url));
            Refused::Failure(failure.try_next("`innkeeper serve` there, or another --url"))
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        Err(match response.json::<Problem>().await {
            Ok(problem) => Refused::Problem(problem),
            Err(_) => Refused::Failure(self.stranger(status)),
        })
    }

    fn stranger(&self, status: StatusCode) -> Failure {
        let what = format_args!("{}: {status}, and not in our terms", self.url);
        Failure::new(what).try_next("the --url of an innkeeper")
    }
}
