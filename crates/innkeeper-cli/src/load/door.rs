//! Where a member comes in: a WebSocket of a server, within TLS where its address says `https`.

use std::fmt;
use std::sync::Arc;

use hyper::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::tokens::Guest;
use crate::client::Client;
use crate::error::Failure;
use crate::wire::{self, CONNECT, TrustArgs};

/// What a socket is within.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<W: AsyncRead + AsyncWrite + Send + Unpin> Wire for W {}

pub(super) type Socket = WebSocketStream<Box<dyn Wire>>;

/// What to try where nobody answers.
const ELSEWHERE: &str = "`innkeeper serve` there, or another --url";

/// The sockets of one server.
pub(super) struct Door {
    /// `HOST:PORT`
    pub(super) address: String,
    /// Before the path of the socket, for a server that is behind one.
    prefix: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Door {
    pub(super) fn at(url: &str, trust: &TrustArgs) -> Result<Door, Failure> {
        let at = wire::place(url)?;
        let host = at.host().unwrap_or_default();
        let is_tls = at.scheme_str() == Some("https");
        let port = at.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let tls = if is_tls {
            let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let name = ServerName::try_from(bare).map_err(Failure::new)?;
            Some((TlsConnector::from(Arc::new(trust.tls(&at)?)), name))
        } else {
            None
        };
        let prefix = at.path().trim_end_matches('/').to_owned();
        Ok(Door { address: format!("{host}:{port}"), prefix, tls })
    }

    /// Opens a socket for a guest.
    ///
    /// # Errors
    /// What went wrong, and what to try, without the token.
    pub(super) async fn open(&self, guest: &Guest) -> Result<Socket, Failure> {
        let opened = timeout(CONNECT, self.connect()).await;
        let late = |_| self.because(&"takes no connection in time", ELSEWHERE);
        let wire = opened.map_err(late)??;
        let (scheme, address) = (if self.tls.is_some() { "wss" } else { "ws" }, &self.address);
        let prefix = &self.prefix;
        let mut url = format!("{scheme}://{address}{prefix}/socket/websocket?vsn=2.0.0&user=");
        url += &Client::part(&guest.user);
        if let Some(token) = &guest.token {
            url = format!("{url}&token={}", Client::part(token));
        }
        // The library's buffers are sized for few large streams.
        let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
        let connected = client_async_with_config(url, wire, Some(config)).await;
        connected.map(|(socket, _)| socket).map_err(|error| match error {
            Error::Http(answer) if answer.status() == StatusCode::UNAUTHORIZED => {
                let why = "it lets nobody in without a good token (401)";
                self.because(&why, "--auth-key FILE, if it has a secret, or --token-file FILE")
            }
            error => self.because(&error, ELSEWHERE),
        })
    }

    async fn connect(&self) -> Result<Box<dyn Wire>, Failure> {
        let stream = TcpStream::connect(&self.address).await;
        let stream = stream.map_err(|error| self.because(&error, ELSEWHERE))?;
        stream.set_nodelay(true).map_err(Failure::new)?;
        let Some((connector, name)) = &self.tls else { return Ok(Box::new(stream)) };
        match connector.connect(name.clone(), stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => {
                let broken = wire::broken(&error);
                let (why, next) = broken.unwrap_or_else(|| (error.to_string(), ELSEWHERE));
                Err(self.because(&why, next))
            }
        }
    }

    fn because(&self, why: &dyn fmt::Display, next: &str) -> Failure {
        Failure::new(format_args!("{}: {why}", self.address)).try_next(next)
    }
}
