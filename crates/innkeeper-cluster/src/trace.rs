//! How a trace goes from one node to the next: as a W3C `traceparent` behind what is asked.
//!
//! Who collects traces is not known here. Whoever does says once how a trace is written down and
//! read ([`carry`]); until then nothing is sent along, and what another node sends is passed over.

use std::fmt;
use std::sync::OnceLock;

use tracing::Span;

use crate::cluster::asked;
use crate::frame::Message;
use crate::limits;

/// The `tracing` target of the spans around what other nodes ask of this one, which are of level
/// DEBUG: `asked`, with the fields `node`, `scope`, `shard` and `epoch`, the last as the asker
/// knows it.
pub const TARGET: &str = "innkeeper::link";

/// How traces are written down and read, by whoever collects them.
#[derive(Clone, Copy)]
pub struct Carrier {
    /// The `traceparent` of a span. `None` for one that is not collected.
    pub write: fn(&Span) -> Option<String>,
    /// Makes a span that is not entered yet a part of the trace of a `traceparent`, which anybody
    /// may have sent; of one that makes no sense, of none.
    pub read: fn(&Span, &str),
}

static CARRIER: OnceLock<Carrier> = OnceLock::new();

/// Has the traces of this program go along with what its nodes ask of others. `false`: that was
/// said before, and stays as it was.
pub fn carry(by: Carrier) -> bool {
    CARRIER.set(by).is_ok()
}

/// Makes a span that is not entered yet a part of the trace that somebody outside has sent along.
pub fn follow(span: &Span, traceparent: &str) {
    let carrier = CARRIER.get().filter(|_| !span.is_disabled());
    if let Some(carrier) = carrier.filter(|_| traceparent.len() <= limits::TRACEPARENT_MAX) {
        (carrier.read)(span, traceparent);
    }
}

/// The trace that this thread is in.
pub(crate) fn current() -> Option<String> {
    let carrier = CARRIER.get()?;
    let span = Span::current();
    let written = (!span.is_disabled()).then(|| (carrier.write)(&span)).flatten();
    written.filter(|written| written.len() <= limits::TRACEPARENT_MAX)
}

/// The span around what another node asks.
pub(crate) fn asked(node: &str, message: &Message) -> Span {
    let span = tracing::debug_span!(
        target: TARGET,
        parent: None,
        "asked",
        node,
        scope = &*String::from_utf8_lossy(&message.scope),
        shard = message.shard,
        epoch = message.epoch,
    );
    if !span.is_disabled()
        && let Some(trace) = asked::trace_of(&message.body)
    {
        follow(&span, trace);
    }
    span
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carrier").finish_non_exhaustive()
    }
}
