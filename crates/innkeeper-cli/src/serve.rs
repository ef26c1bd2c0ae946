//! `innkeeper serve`: listens, says where, and ends in order when told to.

use std::path::Path;
use std::sync::Arc;

use innkeeper_server::{Config, Drained, Jwt, Listeners, Secret, Tls};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::ServeArgs;
use crate::error::Failure;
use crate::exit::Exit;
#[cfg(feature = "cluster")]
use crate::joining::joining;
use crate::logs;
#[cfg(not(feature = "cluster"))]
use crate::operator::joining;
use crate::output::{self, Addresses};
use crate::service;
use crate::settings::Settings;
#[cfg(feature = "cluster")]
use crate::supervise;

pub(crate) fn run(settings: &Settings) -> Result<Exit, Failure> {
    let args = &settings.serve;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format_args!("no threads: {error}")))?;
    let traces = logs::start(args.log_format, &args.node, runtime.handle())?;
    #[cfg(feature = "cluster")]
    let orphaned = match std::env::var_os(supervise::CHILD).filter(|_| args.cluster.supervised) {
        None if args.cluster.supervised => return runtime.block_on(supervise::run(args)),
        None => None,
        Some(parent) => {
            let _runtime = runtime.enter();
            Some(supervise::follow(&parent)?)
        }
    };
    #[cfg(not(feature = "cluster"))]
    let orphaned = None;
    let drained = runtime.block_on(serve(args, orphaned))?;
    traces.flush();
    // What is stuck is not waited for.
    runtime.shutdown_background();
    if !drained.is_clean() {
        output::unclean(&drained);
    }
    Ok(drained.is_clean().into())
}

/// Serves until it is told to end, or is `orphaned`.
async fn serve(args: &ServeArgs, orphaned: Option<Signal>) -> Result<Drained, Failure> {
    // What is wrong with the settings is said before anybody can connect.
    let mut config = config(args)?;
    config.cluster = joining(args).await?;
    let http = listen(&args.http, "--http").await?;
    let kv = match args.kv.as_str() {
        "off" => None,
        address => Some(listen(address, "--kv").await?),
    };
    let address = |listener: &TcpListener| listener.local_addr().map_err(Failure::new);
    let addresses = Addresses {
        http: address(&http)?,
        kv: kv.as_ref().map(address).transpose()?,
        is_tls: args.http_tls_cert.is_some(),
        may_act: args.allow_actions,
        node: &args.node,
        cluster: args.cluster.cluster.as_deref(),
        config: args.config.as_deref(),
    };
    let ready = || {
        output::banner(&addresses);
        service::ready(&format!("serving HTTP on {}", addresses.http));
    };
    let mut end = signal(SignalKind::terminate()).map_err(Failure::new)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::new)?;
    let (told, heard) = tokio::sync::oneshot::channel();
    let shutdown = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = end.recv() => {}
            () = heard_of(orphaned) => {}
        }
        output::talk("draining; Ctrl-C again stops now");
        service::stopping();
        // Nobody waits for it only if the server has ended.
        let _ = told.send((interrupt, end));
    };
    let again = async move {
        match heard.await {
            Ok((mut interrupt, mut end)) => tokio::select! {
                _ = interrupt.recv() => {}
                _ = end.recv() => {}
            },
            Err(_) => std::future::pending().await,
        }
    };
    let listeners = Listeners { http, kv };
    tokio::select! {
        drained = innkeeper_server::run(listeners, config, shutdown, ready) => {
            drained.map_err(Failure::new)
        }
        () = service::watchdog() => Err(Failure::new("the watchdog has ended")),
        () = again => Err(Failure::new("stopped at once, in the midst of draining")),
    }
}

async fn heard_of(signal: Option<Signal>) {
    match signal {
        Some(mut signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

async fn listen(address: &str, flag: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let failure = Failure::new(format_args!("cannot listen on {address} ({flag}): {error}"));
        match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                failure.try_next(format_args!("another port, say {flag} 127.0.0.1:0 for any"))
            }
            _ => {
                failure.try_next(format_args!("an address of this machine, say {flag} 127.0.0.1:0"))
            }
        }
    })
}

fn config(args: &ServeArgs) -> Result<Config, Failure> {
    let mut config = Config::default();
    config.node.clone_from(&args.node);
    config.max_rooms = args.max_rooms;
    config.max_members = args.max_members;
    config.idle_after = args.idle_after;
    config.starts_per_second = args.starts_per_second;
    config.starts_per_client = args.starts_per_client;
    config.drain_timeout = args.drain_timeout;
    config.admin_token = args.admin_token.clone().map(Secret::from);
    config.connections_per_client = args.connections_per_client;
    config.allow_actions = args.allow_actions;
    config.allow_origins.clone_from(&args.allow_origin);
    config.max_message_bytes = args.max_message_bytes;
    if let Some(path) = &args.auth_key {
        let key = read(path, "--auth-key")?;
        let jwt = Jwt::from_key(&key).map_err(|why| wrong(path, "--auth-key", &why))?;
        config.authority = Some(Arc::new(jwt));
    }
    if let (Some(cert), Some(key)) = (&args.http_tls_cert, &args.http_tls_key) {
        let (chain, secret) = (read(cert, "--http-tls-cert")?, read(key, "--http-tls-key")?);
        let tls = Tls::from_pem(&chain, &secret);
        config.tls = Some(tls.map_err(|why| wrong(cert, "--http-tls-cert", &why))?);
    }
    Ok(config)
}

pub(crate) fn read(path: &Path, flag: &str) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| wrong(path, flag, &error))
}

pub(crate) fn wrong(path: &Path, flag: &str, why: &dyn std::fmt::Display) -> Failure {
    Failure::new(format_args!("{} ({flag}): {why}", path.display()))
}
