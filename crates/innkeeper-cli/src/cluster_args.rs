//! The flags of `serve` that make it a node of a cluster.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use innkeeper_cluster::coordinator::PREFIX;

use crate::args::parse_duration;

/// The flags of `serve` that make it a node of a cluster.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterArgs {
    /// The cluster to join; without it this server is alone.
    #[arg(long, value_name = "NAME", env = "INNKEEPER_CLUSTER")]
    #[arg(requires_all = ["etcd", "listen"])]
    pub cluster: Option<String>,

    /// A directory of this node's own: one that was killed has its rooms again at once, and not
    /// when its old session is over.
    #[arg(long, value_name = "DIR", env = "INNKEEPER_DATA_DIR")]
    pub data_dir: Option<PathBuf>,

    /// Run as a small parent and its child: when the child dies, its session ends at once, and it
    /// is started again.
    #[arg(long, value_name = "true|false", default_value = "false", hide_possible_values = true)]
    #[arg(env = "INNKEEPER_SUPERVISED", action = clap::ArgAction::Set)]
    #[arg(require_equals = true, num_args = 0..=1, default_missing_value = "true")]
    pub supervised: bool,

    /// Where to listen for other nodes.
    #[arg(long, value_name = "ADDR", env = "INNKEEPER_LISTEN")]
    pub listen: Option<String>,

    /// Where other nodes reach this one. Default: where it listens.
    #[arg(long, value_name = "ADDR", env = "INNKEEPER_ADVERTISE")]
    pub advertise: Option<String>,

    /// For how long a session lasts without a heartbeat, in a new cluster: after that long a node
    /// that is silent is replaced. At least 3s, and twice --etcd-failover.
    #[arg(long, value_name = "DUR", default_value = "5s", env = "INNKEEPER_SESSION_LENGTH")]
    #[arg(value_parser = parse_duration)]
    pub session_length: Duration,

    /// How long etcd may take to find a new leader, in a new cluster. The default is that of etcd's
    /// own timers.
    #[arg(long, value_name = "DUR", default_value = "2500ms", env = "INNKEEPER_ETCD_FAILOVER")]
    #[arg(value_parser = parse_duration)]
    pub etcd_failover: Duration,

    /// How many shards a new cluster is made with.
    #[arg(long, value_name = "N", default_value = "1024", env = "INNKEEPER_SHARDS")]
    pub shards: u16,

    /// This node's share of the shards, against the weights of the others.
    #[arg(long, value_name = "N", default_value = "1", env = "INNKEEPER_WEIGHT")]
    pub weight: u32,

    /// The certificates that those of all nodes are signed by, in PEM.
    #[arg(long, value_name = "FILE", env = "INNKEEPER_TLS_CA")]
    #[arg(requires_all = ["tls_cert", "tls_key"])]
    pub tls_ca: Option<PathBuf>,

    /// This node's certificate, in PEM; the node's name is one of its DNS names.
    #[arg(long, value_name = "FILE", env = "INNKEEPER_TLS_CERT", requires = "tls_ca")]
    pub tls_cert: Option<PathBuf>,

    /// The private key of that certificate, in PEM.
    #[arg(long, value_name = "FILE", env = "INNKEEPER_TLS_KEY", requires = "tls_ca")]
    pub tls_key: Option<PathBuf>,

    /// Let nodes talk in the clear, and believe each other: on loopback only.
    #[arg(long, value_name = "true|false", default_value = "false", hide_possible_values = true)]
    #[arg(env = "INNKEEPER_INSECURE_CLUSTER", action = clap::ArgAction::Set)]
    #[arg(require_equals = true, num_args = 0..=1, default_missing_value = "true")]
    pub insecure_cluster: bool,

    /// Where etcd is.
    #[command(flatten)]
    pub etcd: EtcdArgs,
}

/// Where etcd is, and how it is spoken to.
#[derive(Args, Clone, Debug, Default)]
pub struct EtcdArgs {
    /// The members of etcd, by their URLs.
    #[arg(id = "etcd", long, value_name = "URL", env = "INNKEEPER_ETCD", value_delimiter = ',')]
    pub urls: Vec<String>,

    /// What all keys in etcd begin with, with a slash at the end: for an etcd that others use too.
    #[arg(long, value_name = "PREFIX", default_value = PREFIX)]
    #[arg(env = "INNKEEPER_ETCD_PREFIX", value_parser = parse_prefix)]
    pub etcd_prefix: String,

    /// The certificates that those of etcd are signed by, in PEM.
    #[arg(long, value_name = "FILE", env = "INNKEEPER_ETCD_CA")]
    pub etcd_ca: Option<PathBuf>,

    /// The certificate to show to etcd, in PEM.
    #[arg(long, value_name = "FILE", env = "INNKEEPER_ETCD_CERT", requires = "etcd_key")]
    pub etcd_cert: Option<PathBuf>,

    /// The private key of that certificate, in PEM.
    #[arg(long, value_name = "FILE", env = "INNKEEPER_ETCD_KEY", requires = "etcd_cert")]
    pub etcd_key: Option<PathBuf>,

    /// The user to be at etcd.
    #[arg(long, value_name = "U", env = "INNKEEPER_ETCD_USER", requires = "etcd_password_file")]
    pub etcd_user: Option<String>,

    /// The file with that user's password.
    #[arg(long, value_name = "FILE", env = "INNKEEPER_ETCD_PASSWORD_FILE")]
    #[arg(requires = "etcd_user")]
    pub etcd_password_file: Option<PathBuf>,
}

fn parse_prefix(text: &str) -> Result<String, String> {
    match text.ends_with('/') {
        true => Ok(text.to_owned()),
        false => Err(format!("expected a slash at the end, got {text:?}")),
    }
}

/// A cluster, by its name and its etcd: for what is done to it whether its nodes run or not.
#[derive(Args, Clone, Debug)]
pub struct OperatorArgs {
    /// The cluster.
    #[arg(long, value_name = "NAME", env = "INNKEEPER_CLUSTER", requires = "etcd")]
    pub cluster: String,

    /// Where its etcd is.
    #[command(flatten)]
    pub etcd: EtcdArgs,
}
