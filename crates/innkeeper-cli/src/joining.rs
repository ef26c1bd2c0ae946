//! How `serve` becomes a node of a cluster: etcd, the port for other nodes, and what to join with.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use innkeeper_cluster::clock::Machine;
use innkeeper_cluster::net::{Tcp, Tls};
use innkeeper_cluster::{Home, Settings, VERSIONS};
use innkeeper_etcd::{Etcd, Options};
use innkeeper_server::Joining;

use crate::args::ServeArgs;
use crate::cluster_args::{ClusterArgs, EtcdArgs};
use crate::error::Failure;
use crate::serve::{read, wrong};

/// How long etcd may take to answer for the first time.
const ETCD_WAIT: Duration = Duration::from_secs(10);

/// What to join with, if a cluster is named.
pub(crate) async fn joining(args: &ServeArgs) -> Result<Option<Joining>, Failure> {
    let at = &args.cluster;
    let Some(cluster) = &at.cluster else { return Ok(None) };
    if args.node == "local" {
        let what = "each node of a cluster has a name of its own, which stays";
        return Err(Failure::new(what).try_next("--node a"));
    }
    let net = net(at, &args.node).await?;
    let bound = net.address().map_err(Failure::new)?;
    let settings = Settings {
        cluster: cluster.clone(),
        name: args.node.clone(),
        address: advertised(at, bound)?,
        weight: at.weight,
        shards: at.shards,
        session: at.session_length,
        fail_over: at.etcd_failover,
        versions: VERSIONS,
        starts_at_once: innkeeper_cluster::limits::STARTS_AT_ONCE,
    };
    let home = home(at)?.map(Arc::new);
    let (coordinator, clock, net) =
        (Arc::new(connect(&at.etcd).await?), Arc::new(Machine), Arc::new(net));
    Ok(Some(Joining { coordinator, clock, net, settings, home }))
}

/// The data directory, taken for as long as this program runs.
pub(crate) fn home(at: &ClusterArgs) -> Result<Option<Home>, Failure> {
    let opened = at.data_dir.as_ref().map(|path| Home::open(path, &Machine));
    opened.transpose().map_err(|error| Failure::new(format_args!("--data-dir: {error}")))
}

/// The etcd of a cluster, once it has answered.
pub(crate) async fn connect(at: &EtcdArgs) -> Result<Etcd, Failure> {
    Etcd::connect(&options(at)?, ETCD_WAIT).await.map_err(|error| {
        let urls = at.urls.join(",");
        Failure::new(format_args!("no etcd at {urls} (--etcd): {error}"))
            .try_next("whether etcd runs there: etcdctl --endpoints URL endpoint status")
    })
}

/// Where other nodes are told to find this one.
fn advertised(at: &ClusterArgs, bound: SocketAddr) -> Result<String, Failure> {
    match &at.advertise {
        Some(address) => Ok(address.clone()),
        None if bound.ip().is_unspecified() => {
            let what = format_args!("{bound} (--listen) is no address that others can reach");
            Err(Failure::new(what).try_next("--advertise with the address of this machine"))
        }
        None => Ok(bound.to_string()),
    }
}

async fn net(at: &ClusterArgs, node: &str) -> Result<Tcp, Failure> {
    let listen = at.listen.as_deref().unwrap_or_default();
    let address: SocketAddr = listen.parse().map_err(|_| {
        let what = format_args!("expected IP:PORT, got {listen:?} (--listen)");
        Failure::new(what).try_next("--listen 127.0.0.1:4100")
    })?;
    let bound = match (&at.tls_ca, &at.tls_cert, &at.tls_key) {
        (Some(ca), Some(cert), Some(key)) => {
            let chain = text(cert, "--tls-cert")?;
            let (key, ca) = (text(key, "--tls-key")?, text(ca, "--tls-ca")?);
            let tls =
                Tls::from_pem(&chain, &key, &ca).and_then(|tls| tls.check(node).map(|()| tls));
            Tcp::bind(address, &tls.map_err(|why| wrong(cert, "--tls-cert", &why))?).await
        }
        _ if at.insecure_cluster => Tcp::bind_insecure(address).await,
        _ => {
            let what =
                "nodes of a cluster prove their names to each other: no certificate is given";
            let next = "--tls-ca, --tls-cert and --tls-key; on one machine, --insecure-cluster";
            return Err(Failure::new(what).try_next(next));
        }
    };
    bound.map_err(|error| Failure::new(format_args!("cannot listen for nodes (--listen): {error}")))
}

fn options(at: &EtcdArgs) -> Result<Options, Failure> {
    let (endpoints, prefix) = (at.urls.clone(), at.etcd_prefix.clone());
    let mut options = Options { endpoints, prefix, ..Options::default() };
    if let Some(ca) = &at.etcd_ca {
        options.ca = Some(read(ca, "--etcd-ca")?);
    }
    if let (Some(cert), Some(key)) = (&at.etcd_cert, &at.etcd_key) {
        options.identity = Some((read(cert, "--etcd-cert")?, read(key, "--etcd-key")?));
    }
    if let (Some(user), Some(file)) = (&at.etcd_user, &at.etcd_password_file) {
        let password = text(file, "--etcd-password-file")?;
        options.user = Some((user.clone(), password.trim_end_matches(['\r', '\n']).to_owned()));
    }
    Ok(options)
}

fn text(path: &Path, flag: &str) -> Result<String, Failure> {
    let bytes = read(path, flag)?;
    String::from_utf8(bytes).map_err(|_| wrong(path, flag, &"expected text, got other bytes"))
}
