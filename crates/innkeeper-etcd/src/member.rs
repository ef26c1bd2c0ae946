//! One member of etcd: connected to when it is first needed, and looked at before it is used.

use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use tokio::sync::OnceCell;

use crate::version::{BadVersion, Version};
use crate::{ConnectError, Options};

/// How long a connection may be silent before it counts as broken. Servers refuse to be asked more
/// often than every five seconds.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// How long the making of a connection may take.
const CONNECT: Duration = Duration::from_secs(2);

pub(crate) struct Member {
    endpoint: String,
    options: ConnectOptions,
    client: OnceCell<Client>,
}

/// Why a member is not used.
#[derive(Clone, Debug)]
pub(crate) enum Refused {
    /// It does not answer, or not to us.
    Silent(String),
    /// It must not be relied on.
    Version(BadVersion),
}

impl Member {
    pub(crate) fn new(endpoint: &str, options: &Options) -> Result<Member, ConnectError> {
        let rest = endpoint.strip_prefix("http://").or(endpoint.strip_prefix("https://"));
        let bad = |why: &str| ConnectError::BadEndpoint {
            endpoint: endpoint.to_owned(),
            why: why.to_owned(),
        };
        let rest = rest.ok_or_else(|| bad("it begins with neither http:// nor https://"))?;
        if rest.is_empty() || rest.contains([' ', ',']) {
            return Err(bad("there is no one host in it"));
        }
        let mut connect = ConnectOptions::new()
            // A member without a leader would be silent instead of saying so.
            .with_require_leader(true)
            .with_connect_timeout(CONNECT)
            .with_keep_alive(KEEP_ALIVE, KEEP_ALIVE)
            .with_keep_alive_while_idle(true);
        if endpoint.starts_with("https://") {
            let mut tls = TlsOptions::new();
            if let Some(ca) = &options.ca {
                tls = tls.ca_certificate(Certificate::from_pem(ca));
            }
            if let Some((certificate, key)) = &options.identity {
                tls = tls.identity(Identity::from_pem(certificate, key));
            }
            connect = connect.with_tls(tls);
        }
        if let Some((name, password)) = &options.user {
            connect = connect.with_user(name, password).with_auto_token_refresh(true);
        }
        Ok(Member { endpoint: endpoint.to_owned(), options: connect, client: OnceCell::new() })
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The client of this member, which was looked at once. Cancel safe: whoever comes next goes on
    /// trying.
    pub(crate) async fn client(&self) -> Result<Client, Refused> {
        let client = self.client.get_or_try_init(|| self.connect()).await?;
        Ok(client.clone())
    }

    async fn connect(&self) -> Result<Client, Refused> {
        let silent = |error: etcd_client::Error| Refused::Silent(describe(&error));
        let options = Some(self.options.clone());
        let client = Client::connect([&self.endpoint], options).await.map_err(silent)?;
        let status = client.maintenance_client().status().await.map_err(silent)?;
        let version = Version::accept(status.version()).map_err(Refused::Version)?;
        tracing::debug!(endpoint = self.endpoint, ?version, "connected");
        Ok(client)
    }
}

/// An error with what caused it: the outermost says only "transport error".
pub(crate) fn describe(error: &etcd_client::Error) -> String {
    let mut text = error.to_string();
    let mut inner = std::error::Error::source(error);
    while let Some(cause) = inner {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        inner = cause.source();
    }
    text
}
