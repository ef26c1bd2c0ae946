//! Spans around the handlers of processes, for whoever collects traces; where nobody does there are
//! none, and a message costs a look at the level.

use tracing::Span;
use tracing::level_filters::LevelFilter;

use crate::cell::Cell;
use crate::guard::contained;
use crate::owner::Owner;

/// The `tracing` target of the spans of processes, which are of level DEBUG.
///
/// Each call and each cast is handled in a span `handle` of its own, with the fields `process`,
/// `key`, `incarnation` and, on a cluster, `node`, `shard` and `epoch`. That of a call is a part of
/// the span that its caller is in; that of a cast stands for itself, for nobody waits for it.
pub const TARGET: &str = "innkeeper::process";

/// Whether somebody may collect such spans.
#[inline]
pub(crate) fn is_wanted() -> bool {
    LevelFilter::current() >= LevelFilter::DEBUG
}

/// The span of whoever calls, to be kept with the call.
#[inline]
pub(crate) fn caller() -> Option<Box<Span>> {
    is_wanted().then(current).flatten()
}

#[cold]
fn current() -> Option<Box<Span>> {
    let span = Span::current();
    (!span.is_disabled()).then(|| Box::new(span))
}

/// The span to handle a message in that was said in the span of `caller`.
#[cold]
pub(crate) fn handling<O: Owner>(cell: &Cell<O>, caller: Option<&Span>) -> Option<Box<Span>> {
    // A key is written by its own code: a panic in it costs the span, and not the message.
    let parent = caller.and_then(Span::id);
    let span = contained(|| cell.owner.span(cell.incarnation(), parent)).ok()?;
    (!span.is_disabled()).then(|| Box::new(span))
}
