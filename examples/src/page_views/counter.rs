//! The views of one path: added up in memory, written now and then.

use std::time::Duration;

use innkeeper::{Context, ExitReason, StartError, Via, process};

use crate::page_views::store::{Store, StoreApi};

/// The views of one path.
#[derive(Debug)]
pub struct Counter {
    path: String,
    store: Via<(), Store>,
    /// Counted by this process.
    seen: u64,
    /// Counted and not written yet.
    unwritten: u64,
}

/// What a counter is started with.
#[derive(Debug)]
pub struct Args {
    pub(crate) path: String,
    pub(crate) store: Via<(), Store>,
    pub(crate) flush: Duration,
}

#[process]
impl Counter {
    async fn init(args: &Args, ctx: &mut Context<Self>) -> Result<Self, StartError> {
        ctx.send_interval(args.flush, || CounterMessage::Flush {})?;
        let (path, store) = (args.path.clone(), args.store.clone());
        Ok(Counter { path, store, seen: 0, unwritten: 0 })
    }

    /// Counts a view.
    #[call]
    pub fn view(&mut self) -> u64 {
        self.seen += 1;
        self.unwritten += 1;
        self.seen
    }

    #[cast]
    async fn flush(&mut self) {
        self.write().await;
    }

    async fn terminate(&mut self, _why: &ExitReason) {
        self.write().await;
    }

    async fn write(&mut self) {
        if self.unwritten == 0 {
            return;
        }
        // Else it is kept, and written with the next ones. A call whose outcome is unknown may have
        // been written: rather counted twice than lost.
        let written = self.store.add(self.path.clone(), self.unwritten).await;
        if let Ok(Ok(())) = written {
            self.unwritten = 0;
        }
    }
}
