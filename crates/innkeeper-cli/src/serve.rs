//! `innkeeper serve`: listens, says where, and ends in order when told to.

use std::process::ExitCode;

use innkeeper_server::{Config, Drained, Listeners};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::ServeArgs;
use crate::error::Failure;
use crate::logs;
use crate::output::{self, Addresses};
use crate::settings::Settings;

pub(crate) fn run(settings: &Settings) -> Result<ExitCode, Failure> {
    let args = &settings.serve;
    if args.cluster.is_some() {
        let what = "--cluster: this version serves one node and has no cluster yet";
        return Err(Failure::new(what).try_next("the same command without --cluster"));
    }
    logs::start(args.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format_args!("no threads: {error}")))?;
    let drained = runtime.block_on(serve(args))?;
    // What is stuck is not waited for.
    runtime.shutdown_background();
    if drained.is_clean() {
        return Ok(ExitCode::SUCCESS);
    }
    output::unclean(&drained);
    Ok(ExitCode::FAILURE)
}

async fn serve(args: &ServeArgs) -> Result<Drained, Failure> {
    let http = listen(&args.http, "--http").await?;
    let kv = match args.kv.as_str() {
        "off" => None,
        address => Some(listen(address, "--kv").await?),
    };
    let address = |listener: &TcpListener| listener.local_addr().map_err(Failure::new);
    output::banner(&Addresses {
        http: address(&http)?,
        kv: kv.as_ref().map(address).transpose()?,
        node: &args.node,
        config: args.config.as_deref(),
    });
    let mut end = signal(SignalKind::terminate()).map_err(Failure::new)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::new)?;
    let (told, heard) = tokio::sync::oneshot::channel();
    let shutdown = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = end.recv() => {}
        }
        output::talk("draining; Ctrl-C again stops now");
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
        drained = innkeeper_server::run(listeners, config(args), shutdown) => {
            drained.map_err(Failure::new)
        }
        () = again => Err(Failure::new("stopped at once, in the midst of draining")),
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

fn config(args: &ServeArgs) -> Config {
    let mut config = Config::default();
    config.node.clone_from(&args.node);
    config.max_rooms = args.max_rooms;
    config.max_members = args.max_members;
    config.idle_after = args.idle_after;
    config.starts_per_second = args.starts_per_second;
    config.starts_per_client = args.starts_per_client;
    config.drain_timeout = args.drain_timeout;
    config.admin_token.clone_from(&args.admin_token);
    config.allow_actions = args.allow_actions;
    config.allow_origins.clone_from(&args.allow_origin);
    config.max_message_bytes = args.max_message_bytes;
    config
}
