//! TCP between nodes: with mutual TLS, or in the clear on one machine.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite, split};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::tls::{Certified, Tls};
use super::{Later, Net, Unproven, Wire};

/// TCP between nodes.
pub struct Tcp {
    listener: TcpListener,
    security: Security,
}

#[derive(Clone)]
enum Security {
    /// Everybody is believed; nobody but this machine can connect.
    None,
    Tls {
        acceptor: TlsAcceptor,
        connector: TlsConnector,
    },
}

/// Why there is no network.
#[derive(Debug)]
#[non_exhaustive]
pub enum BindError {
    /// Without TLS whoever reaches the address is part of the cluster.
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be listened at.
    Unusable {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindError::NotLoopback { address } => write!(
                f,
                "an insecure cluster: expected a loopback address, got {address}; give the node a \
                 certificate, or let it listen at 127.0.0.1"
            ),
            BindError::Unusable { address, error } => write!(f, "{address}: {error}"),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            BindError::NotLoopback { .. } => None,
            BindError::Unusable { error, .. } => Some(error),
        }
    }
}

impl Tcp {
    /// Listens at an address; each side of a connection proves its name by its certificate.
    ///
    /// # Errors
    /// [`BindError::Unusable`].
    pub async fn bind(address: SocketAddr, tls: &Tls) -> Result<Tcp, BindError> {
        let listener = listen(address).await?;
        let acceptor = TlsAcceptor::from(tls.server.clone());
        let connector = TlsConnector::from(tls.client.clone());
        Ok(Tcp { listener, security: Security::Tls { acceptor, connector } })
    }

    /// Listens at an address of this machine alone, and connects to no other. Nothing is encrypted,
    /// and whoever connects is believed.
    ///
    /// # Errors
    /// [`BindError`].
    pub async fn bind_insecure(address: SocketAddr) -> Result<Tcp, BindError> {
        if !address.ip().is_loopback() {
            return Err(BindError::NotLoopback { address });
        }
        Ok(Tcp { listener: listen(address).await?, security: Security::None })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The operating system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, BindError> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| BindError::Unusable { address, error })
}

impl Net for Tcp {
    fn accept(&self) -> Later<'_, io::Result<Later<'static, io::Result<Wire>>>> {
        Box::pin(async {
            let (stream, _) = self.listener.accept().await?;
            let security = self.security.clone();
            let arriving: Later<'static, _> = Box::pin(async move {
                stream.set_nodelay(true)?;
                match security {
                    Security::None => Ok(plain(stream)),
                    Security::Tls { acceptor, .. } => {
                        let stream = acceptor.accept(stream).await?;
                        let certified = Certified::new(stream.get_ref().1)?;
                        Ok(encrypted(stream, certified))
                    }
                }
            });
            Ok(arriving)
        })
    }

    fn connect(&self, address: String, name: String) -> Later<'_, io::Result<Wire>> {
        Box::pin(async move {
            let connector = match &self.security {
                Security::None => return insecure(&address).await,
                Security::Tls { connector, .. } => connector,
            };
            let proven = ServerName::try_from(name.clone()).map_err(|_| {
                let text = format!("no certificate can be for `{name}`: expected a DNS name");
                io::Error::new(io::ErrorKind::InvalidInput, text)
            })?;
            let stream = TcpStream::connect(&address).await?;
            stream.set_nodelay(true)?;
            let stream = connector.connect(proven, stream).await?;
            let certified = Certified::new(stream.get_ref().1)?;
            Ok(encrypted(stream, certified))
        })
    }
}

/// Connects to a node on this machine.
async fn insecure(address: &str) -> io::Result<Wire> {
    let mut found = tokio::net::lookup_host(address).await?;
    let Some(address) = found.find(|address| address.ip().is_loopback()) else {
        let text = format!("an insecure cluster: {address} is not on this machine");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    };
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(plain(stream))
}

fn plain(stream: TcpStream) -> Wire {
    let (reader, writer) = stream.into_split();
    Wire { reader: Box::new(reader), writer: Box::new(writer), proof: Box::new(Unproven) }
}

fn encrypted<S>(stream: S, certified: Certified) -> Wire
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (reader, writer) = split(stream);
    Wire { reader: Box::new(reader), writer: Box::new(writer), proof: Box::new(certified) }
}

impl fmt::Debug for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_secure = matches!(self.security, Security::Tls { .. });
        f.debug_struct("Tcp")
            .field("address", &self.listener.local_addr())
            .field("is_secure", &is_secure)
            .finish()
    }
}
