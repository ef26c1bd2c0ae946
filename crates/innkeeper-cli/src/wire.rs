//! How a client reaches a server: over TCP, and over TLS where its address says `https`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http_body_util::Full;
use hyper::Uri;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use crate::error::Failure;
use crate::serve::{read, wrong};

/// How long a server may take to take a connection.
pub(crate) const CONNECT: Duration = Duration::from_secs(5);

/// Whom a client believes that it is the server.
#[derive(Args, Clone, Debug, Default)]
pub struct TrustArgs {
    /// Believe servers that this authority has signed, in PEM, and no others, for addresses with
    /// https. Default: the authorities that this machine trusts.
    #[arg(long, value_name = "FILE", env = "INNKEEPER_CA", global = true)]
    pub ca: Option<PathBuf>,
}

impl TrustArgs {
    /// What a server at an address is believed by. Reading what the machine trusts takes a while,
    /// so that is done only where it is needed.
    pub(crate) fn tls(&self, at: &Uri) -> Result<ClientConfig, Failure> {
        let roots = match (&self.ca, at.scheme_str()) {
            (Some(path), Some("https")) => own(path)?,
            (None, Some("https")) => machine()?,
            _ => RootCertStore::empty(),
        };
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions().map_err(Failure::new)?;
        Ok(config.with_root_certificates(roots).with_no_client_auth())
    }
}

fn own(path: &Path) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    let pem = read(path, "--ca")?;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| wrong(path, "--ca", &error))?;
        roots.add(certificate).map_err(|error| wrong(path, "--ca", &error))?;
    }
    if roots.is_empty() {
        return Err(wrong(path, "--ca", &"there is no certificate in PEM in it"));
    }
    Ok(roots)
}

/// What this machine trusts. Single certificates that cannot be read are not missed: it is enough
/// if there is one that has signed the server's.
fn machine() -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        let what = "this machine trusts no authority, so no server can be believed";
        return Err(
            Failure::new(what).try_next("--ca FILE, or install the package ca-certificates")
        );
    }
    Ok(roots)
}

/// The address of a server.
pub(crate) fn place(url: &str) -> Result<Uri, Failure> {
    let at = url.parse::<Uri>().ok();
    let is_known = |at: &Uri| matches!(at.scheme_str(), Some("http" | "https"));
    at.filter(|at| is_known(at) && at.authority().is_some()).ok_or_else(|| {
        Failure::new(format_args!("expected an address like http://127.0.0.1:4000, got {url:?}"))
    })
}

/// A client of HTTP that keeps its connections.
pub(crate) type Http = legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client for what is at an address.
pub(crate) fn http(at: &Uri, trust: &TrustArgs) -> Result<Http, Failure> {
    let mut tcp = HttpConnector::new();
    // What is within TLS is for that to say.
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(trust.tls(at)?)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    Ok(legacy::Client::builder(TokioExecutor::new()).build(connector))
}

/// What was wrong with the TLS of a connection, and what to do about it.
pub(crate) fn broken(error: &(dyn Error + 'static)) -> Option<(String, &'static str)> {
    Some(match tls_in(error)? {
        rustls::Error::InvalidMessage(_) => {
            ("it speaks no TLS".to_owned(), "http:// in the place of https://")
        }
        tls => (tls.to_string(), "--ca FILE, with the authority that has signed it"),
    })
}

/// An I/O error that has another in it names that one not as its source, but the source of that.
fn tls_in<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let within = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error
        .downcast_ref()
        .or_else(|| within.and_then(|within| tls_in(within)))
        .or_else(|| error.source().and_then(tls_in))
}

/// An error in words, with what is behind it.
pub(crate) fn words(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut at = error.source();
    while let Some(error) = at {
        words = format!("{words}: {error}");
        at = error.source();
    }
    words
}
