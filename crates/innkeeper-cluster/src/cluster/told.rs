//! What happens to processes, as it is told to other nodes: written down.

use std::time::Duration;

use innkeeper::{Event, Incarnation, What};
use serde::{Deserialize, Serialize};

use super::asked::Exit;

/// What a node tells that was asked to tell what happens.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Told<K> {
    /// It does so from now on.
    Begun,
    Event(K, u64, Happened),
    Missed(u64),
}

/// [`What`], written down.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Happened {
    Starting { again: bool },
    Ready { again: bool, took: Duration },
    Declined,
    StartFailed(Exit),
    Restarting { reason: Exit, within: Duration },
    Held(Exit),
    ArgsDiffer,
    Parked(Exit),
    Stopped(Exit),
    CastsLost { waiting: u64, begun: bool },
    StateTooLarge { bytes: u64 },
}

impl Happened {
    /// `None`: other nodes have no word for it.
    fn of(what: What) -> Option<Happened> {
        Some(match what {
            What::Starting { again } => Happened::Starting { again },
            What::Ready { again, took } => Happened::Ready { again, took },
            What::Declined => Happened::Declined,
            What::StartFailed(reason) => Happened::StartFailed(reason.into()),
            What::Restarting { reason, within } => {
                Happened::Restarting { reason: reason.into(), within }
            }
            What::Held(reason) => Happened::Held(reason.into()),
            What::ArgsDiffer => Happened::ArgsDiffer,
            What::Parked(reason) => Happened::Parked(reason.into()),
            What::Stopped(reason) => Happened::Stopped(reason.into()),
            What::CastsLost { waiting, begun } => {
                Happened::CastsLost { waiting: waiting as u64, begun }
            }
            What::StateTooLarge { bytes } => Happened::StateTooLarge { bytes: bytes as u64 },
            _ => return None,
        })
    }
}

impl From<Happened> for What {
    fn from(happened: Happened) -> Self {
        match happened {
            Happened::Starting { again } => What::Starting { again },
            Happened::Ready { again, took } => What::Ready { again, took },
            Happened::Declined => What::Declined,
            Happened::StartFailed(reason) => What::StartFailed(reason.into()),
            Happened::Restarting { reason, within } => {
                What::Restarting { reason: reason.into(), within }
            }
            Happened::Held(reason) => What::Held(reason.into()),
            Happened::ArgsDiffer => What::ArgsDiffer,
            Happened::Parked(reason) => What::Parked(reason.into()),
            Happened::Stopped(reason) => What::Stopped(reason.into()),
            Happened::CastsLost { waiting, begun } => {
                let waiting = usize::try_from(waiting).unwrap_or(usize::MAX);
                What::CastsLost { waiting, begun }
            }
            Happened::StateTooLarge { bytes } => {
                What::StateTooLarge { bytes: usize::try_from(bytes).unwrap_or(usize::MAX) }
            }
        }
    }
}

impl<K> Told<K> {
    pub(crate) fn of(event: Event<K>) -> Option<Told<K>> {
        let happened = Happened::of(event.what)?;
        Some(Told::Event(event.key, event.incarnation.to_bits(), happened))
    }
}

/// The same event, as it is heard.
pub(crate) fn event<K>(key: K, incarnation: u64, happened: Happened) -> Event<K> {
    Event::new(key, Incarnation::from_bits(incarnation), happened.into())
}
