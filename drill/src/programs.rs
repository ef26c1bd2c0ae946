//! The programs of a drill, each on its host: started, stopped, told to end, killed.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::Error;
use crate::network::Host;

/// A program that runs. Dropped, it is killed.
pub(crate) struct Program {
    child: Child,
}

impl Program {
    /// Starts it on a host; what it says goes to a file.
    pub(crate) fn start(
        host: Host,
        said: &Path,
        program: &Path,
        words: &[String],
    ) -> Result<Program, Error> {
        let said = File::options().create(true).append(true).open(said)?;
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", host.namespace())).arg(program).args(words);
        command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said).kill_on_drop(true);
        Ok(Program { child: command.spawn()? })
    }

    /// It stands still; its connections stay.
    pub(crate) fn stop(&self) -> Result<(), Error> {
        self.signal(Signal::STOP)
    }

    pub(crate) fn go_on(&self) -> Result<(), Error> {
        self.signal(Signal::CONT)
    }

    /// Tells it to end, and waits. `false`: it did not within that time, and was killed.
    pub(crate) async fn end(&mut self, within: Duration) -> Result<bool, Error> {
        self.signal(Signal::TERM)?;
        if timeout(within, self.child.wait()).await.is_ok() {
            return Ok(true);
        }
        self.kill().await?;
        Ok(false)
    }

    /// Waits until it ends by itself.
    pub(crate) async fn ended(&mut self, within: Duration) -> Result<(), Error> {
        let status = timeout(within, self.child.wait()).await;
        match status.map_err(|_| "it does not end")?? {
            status if status.success() => Ok(()),
            status => Err(format!("it ended with {status}").into()),
        }
    }

    /// Kills it at once, and waits until it is gone.
    pub(crate) async fn kill(&mut self) -> Result<(), Error> {
        Ok(self.child.kill().await?)
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(kill_process(id.ok_or("it has ended by itself")?, signal)?)
    }
}
