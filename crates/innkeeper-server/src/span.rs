//! The spans around what clients ask for, and what goes into them.

use hyper::Request;
use tracing::Span;

/// The `tracing` target of these spans, which are of level DEBUG: `request` around what is asked
/// over HTTP, `push` around what is said over a socket.
const TARGET: &str = "innkeeper::server";

/// Around a request, as a part of the trace that its client has sent along, if it has.
pub(crate) fn request<B>(node: &str, request: &Request<B>) -> Span {
    let (method, path) = (request.method().as_str(), request.uri().path());
    let span = tracing::debug_span!(
        target: TARGET,
        parent: None,
        "request",
        node,
        method,
        path,
        status = tracing::field::Empty,
    );
    let trace = request.headers().get("traceparent").and_then(|trace| trace.to_str().ok());
    if let Some(trace) = trace {
        innkeeper_cluster::trace::follow(&span, trace);
    }
    span
}

/// Around a push.
pub(crate) fn push(node: &str, topic: &str, event: &str) -> Span {
    tracing::debug_span!(target: TARGET, parent: None, "push", node, topic, event)
}
