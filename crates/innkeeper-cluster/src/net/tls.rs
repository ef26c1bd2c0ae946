//! Who may be part of a cluster: certificates that an authority of its own has signed, each for the
//! name of one node.

use std::fmt;
use std::io;
use std::sync::Arc;

use tokio_rustls::rustls;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{ClientConfig, ConnectionCommon, RootCertStore, ServerConfig};

use super::{Binding, Proof};

/// What a node proves its name with, and what it believes others by.
#[derive(Clone)]
pub struct Tls {
    pub(super) server: Arc<ServerConfig>,
    pub(super) client: Arc<ClientConfig>,
    chain: Vec<CertificateDer<'static>>,
    verifier: Arc<WebPkiServerVerifier>,
}

/// Why a node cannot prove its name.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// A text that should be PEM is not.
    Unreadable {
        /// Of what: `certificate`, `key` or `authority`.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// No other node would believe the certificate.
    Unbelieved {
        /// Whose it is to be.
        name: String,
        /// Why.
        why: String,
    },
    /// The certificate, its key and the authority do not fit together.
    Unusable {
        /// Why.
        why: String,
    },
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::Unreadable { what, why } => write!(f, "{what}: expected PEM: {why}"),
            TlsError::Unbelieved { name, why } => write!(
                f,
                "no node would believe the certificate of `{name}`: {why}; use one that the \
                 authority has signed, that is valid now, and that has the name as a subject \
                 alternative name"
            ),
            TlsError::Unusable { why } => write!(f, "certificate, key and authority: {why}"),
        }
    }
}

impl std::error::Error for TlsError {}

impl Tls {
    /// Whether others will believe this node, if they have the same authority: that its certificate
    /// is for this name, was signed by the authority, and is valid now.
    ///
    /// # Errors
    /// [`TlsError::Unbelieved`].
    pub fn check(&self, name: &str) -> Result<(), TlsError> {
        let unbelieved = |why: &dyn fmt::Display| TlsError::Unbelieved {
            name: name.to_owned(),
            why: why.to_string(),
        };
        let named = ServerName::try_from(name).map_err(|error| unbelieved(&error))?;
        let Some((first, between)) = self.chain.split_first() else {
            return Err(unbelieved(&"there is none"));
        };
        let now = UnixTime::now();
        let verified = self.verifier.verify_server_cert(first, between, &named, &[], now);
        verified.map(drop).map_err(|error| unbelieved(&error))
    }

    /// From PEM: the certificate of the node with those between it and the authority, its key, and
    /// the authority of the cluster. The certificate has the node's name as a subject alternative
    /// name, and serves both for servers and for clients.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn from_pem(certificate: &str, key: &str, authority: &str) -> Result<Tls, TlsError> {
        let chain = certificates("certificate", certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|error| unreadable("key", &error))?;
        let mut roots = RootCertStore::empty();
        for root in certificates("authority", authority)? {
            roots.add(root).map_err(|error| unreadable("authority", &error))?;
        }
        let roots = Arc::new(roots);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = &[&rustls::version::TLS13];
        let others = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|error| unusable(&error))?;
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|error| unusable(&error))?;
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .map_err(|error| unusable(&error))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(|error| unusable(&error))?;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(|error| unusable(&error))?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain.clone(), key)
            .map_err(|error| unusable(&error))?;
        // Each connection proves both names anew.
        client.resumption = rustls::client::Resumption::disabled();
        let (server, client) = (Arc::new(server), Arc::new(client));
        Ok(Tls { server, client, chain, verifier: others })
    }
}

fn certificates(what: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match all {
        Ok(all) if all.is_empty() => Err(unreadable(what, &"no certificate in it")),
        Ok(all) => Ok(all),
        Err(error) => Err(unreadable(what, &error)),
    }
}

fn unreadable(what: &'static str, why: &dyn fmt::Display) -> TlsError {
    TlsError::Unreadable { what, why: why.to_string() }
}

fn unusable(why: &dyn fmt::Display) -> TlsError {
    TlsError::Unusable { why: why.to_string() }
}

/// What is exported of a connection to be signed (RFC 5705).
const EXPORTED: &[u8] = b"EXPORTER-innkeeper-link";

/// What the other side of a connection has proven: that it has the key of this certificate, which
/// the authority has signed.
pub(super) struct Certified {
    certificate: Option<CertificateDer<'static>>,
    binding: Binding,
}

impl Certified {
    pub(super) fn new<D>(connection: &ConnectionCommon<D>) -> io::Result<Certified> {
        let chain = connection.peer_certificates();
        let certificate = chain.and_then(<[_]>::first).cloned();
        let binding = connection.export_keying_material(Binding::default(), EXPORTED, None);
        Ok(Certified { certificate, binding: binding.map_err(io::Error::other)? })
    }
}

impl Proof for Certified {
    fn is_named(&self, name: &str) -> bool {
        let Some(certificate) = &self.certificate else { return false };
        let (Ok(name), Ok(certificate)) =
            (ServerName::try_from(name), ParsedCertificate::try_from(certificate))
        else {
            return false;
        };
        verify_server_name(&certificate, &name).is_ok()
    }

    fn binding(&self) -> Option<Binding> {
        Some(self.binding)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}
