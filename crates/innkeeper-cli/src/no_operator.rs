//! A program that was built without etcd, and says so.

use std::time::Duration;

use innkeeper_server::Joining;

use crate::args::ServeArgs;
use crate::cluster_args::OperatorArgs;
use crate::error::Failure;

fn without<T>() -> Result<T, Failure> {
    let next = "cargo install --path crates/innkeeper-cli --features cluster (with protoc)";
    Err(Failure::new("--cluster: this program was built without it").try_next(next))
}

pub(crate) async fn joining(args: &ServeArgs) -> Result<Option<Joining>, Failure> {
    args.cluster.cluster.as_ref().map_or(Ok(None), |_| without())
}

pub(crate) async fn evict(_: &OperatorArgs, _: &str, _: bool) -> Result<(), Failure> {
    without()
}

pub(crate) async fn reconfigure(
    _: &OperatorArgs,
    _: Option<u16>,
    _: Option<Duration>,
    _: Option<Duration>,
) -> Result<(), Failure> {
    without()
}

pub(crate) async fn new_generation(_: &OperatorArgs) -> Result<(), Failure> {
    without()
}

pub(crate) async fn versions(_: &OperatorArgs) -> Result<(), Failure> {
    without()
}

pub(crate) async fn finalize(_: &OperatorArgs) -> Result<(), Failure> {
    without()
}
