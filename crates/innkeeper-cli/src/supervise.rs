//! `innkeeper serve --supervised`: a small parent that starts the server, waits for it, and tells
//! the cluster at once when it has died, which nobody else can know so soon.

use std::ffi::OsStr;
use std::process::ExitStatus;
use std::time::Duration;

use innkeeper_cluster::bury;
use innkeeper_cluster::clock::Machine;
use rustix::process::{self, Pid};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{sleep, timeout};

use crate::args::ServeArgs;
use crate::error::Failure;
use crate::exit::Exit;
use crate::joining::{connect, home};
use crate::output;
use crate::service;

/// Says to a child that it is one, and whose.
pub(crate) const CHILD: &str = "INNKEEPER_SUPERVISED_CHILD";

/// How long a child that died at once is left to rest, so that one that cannot start costs little.
const REST: Duration = Duration::from_secs(1);

/// How long telling the cluster may take; without it others wait for the session to be over.
const BURIAL: Duration = Duration::from_secs(5);

/// Runs the server until it ends in order, or is told to.
pub(crate) async fn run(args: &ServeArgs) -> Result<Exit, Failure> {
    if args.cluster.cluster.is_none() || args.cluster.data_dir.is_none() {
        let what = "--supervised needs --cluster and --data-dir: by that directory the parent \
                    proves that the server has died";
        return Err(Failure::new(what).try_next("--cluster NAME --data-dir DIR as well"));
    }
    let mut end = signal(SignalKind::terminate()).map_err(Failure::new)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::new)?;
    let mut is_first = true;
    loop {
        service::alive();
        let mut child = start()?;
        let (status, was_told) = watch(&mut child, &mut end, &mut interrupt).await?;
        let exit = Exit::of_child(status.code());
        // An admin may have told the child, which need not have ended without a fault. And what
        // could not be started at all is for whoever started it.
        let could_not_start = is_first && status.code() == Some(Exit::Failed.code().into());
        if was_told || exit != Exit::Failed || could_not_start {
            return Ok(exit);
        }
        is_first = false;
        output::talk(&format!("the server has died ({status}); it is started again"));
        match timeout(BURIAL, tell(args)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => output::talk(&format!("the cluster was not told: {error}")),
            Err(_) => output::talk("the cluster was not told: out of time"),
        }
        if status.code().is_some() {
            // It has said why, and will say so again.
            sleep(REST).await;
        }
    }
}

fn start() -> Result<Child, Failure> {
    let program = std::env::current_exe().map_err(Failure::new)?;
    let mut child = Command::new(program);
    child.args(std::env::args_os().skip(1)).kill_on_drop(true);
    child.env(CHILD, std::process::id().to_string());
    // It is the child who is to say to systemd that it is alive.
    child.env_remove("WATCHDOG_PID");
    // What a terminal says is said to the parent alone, which passes it on, whoever it is from.
    child.process_group(0);
    child.spawn().map_err(|error| Failure::new(format_args!("cannot start the server: {error}")))
}

/// Waits for the end of a child, and passes on what this program is told meanwhile.
async fn watch(
    child: &mut Child,
    end: &mut Signal,
    interrupt: &mut Signal,
) -> Result<(ExitStatus, bool), Failure> {
    let mut was_told = false;
    loop {
        tokio::select! {
            status = child.wait() => return Ok((status.map_err(Failure::new)?, was_told)),
            _ = end.recv() => was_told = pass_on(child),
            _ = interrupt.recv() => was_told = pass_on(child),
        }
    }
}

/// Tells the child to drain, or, for the second time, to stop.
fn pass_on(child: &Child) -> bool {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(id) = id {
        // It may have ended meanwhile.
        let _ = process::kill_process(id, process::Signal::TERM);
    }
    true
}

/// For the child: what it hears once its parent is no more, so that it drains then. The next parent
/// could not start one beside it.
///
/// It is no signal of those that a second one of makes a drain stop: the system sends it for each
/// thread of the parent that ends.
pub(crate) fn follow(parent: &OsStr) -> Result<Signal, Failure> {
    let orphaned = signal(SignalKind::hangup()).map_err(Failure::new)?;
    let hangup = Some(process::Signal::HUP);
    process::set_parent_process_death_signal(hangup).map_err(Failure::new)?;
    // It may have been too late for that.
    let lives = process::getppid().map(|id| id.to_string());
    if lives.as_deref().map(OsStr::new) == Some(parent) {
        return Ok(orphaned);
    }
    Err(Failure::new("the parent of this server has ended before it could start"))
}

/// Ends the session of the child that has died.
async fn tell(args: &ServeArgs) -> Result<(), Failure> {
    let Some(home) = home(&args.cluster)? else { return Ok(()) };
    let etcd = connect(&args.cluster.etcd).await?;
    bury(&etcd, &Machine, &home).await.map(drop).map_err(Failure::new)
}
