//! Whether the server is up, and whether it takes work.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use innkeeper_cluster::Cluster;

use crate::app::App;

/// Up: this answers, so it is. Never asks anybody else.
pub(crate) async fn livez(uri: Uri) -> Response {
    report("livez", &uri, &[("runtime", Ok(()))])
}

/// Takes work: not draining.
pub(crate) async fn readyz(State(app): State<Arc<App>>, uri: Uri) -> Response {
    let draining = app.intake.is_draining();
    let draining = if draining { Err("the server is shutting down") } else { Ok(()) };
    let is_proven = |cluster: &Cluster| !cluster.node().remaining().is_zero();
    let session = match app.cluster.as_ref().map(is_proven) {
        None | Some(true) => Ok(()),
        Some(false) => Err("etcd has not confirmed the session in time; rooms are frozen"),
    };
    report("readyz", &uri, &[("runtime", Ok(())), ("draining", draining), ("session", session)])
}

/// As [`readyz`], where there is no cluster to be a node of.
pub(crate) async fn has_no_session(uri: Uri) -> Response {
    let session = Err("the cluster is not joined yet; the log says what it waits for");
    report("readyz", &uri, &[("runtime", Ok(())), ("session", session)])
}

/// In the form of Kubernetes: a word, or with `?verbose` a line for each check.
fn report(name: &str, uri: &Uri, checks: &[(&str, Result<(), &str>)]) -> Response {
    let failed = checks.iter().any(|(_, check)| check.is_err());
    let status = if failed { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let verbose = uri.query().is_some_and(|query| {
        query.split('&').any(|part| part == "verbose" || part.starts_with("verbose="))
    });
    if !failed && !verbose {
        return (status, "ok").into_response();
    }
    let mut lines = String::new();
    for (check, outcome) in checks {
        match outcome {
            Ok(()) => lines += &format!("[+]{check} ok\n"),
            Err(why) => lines += &format!("[-]{check} failed: {why}\n"),
        }
    }
    let end = if failed { "failed" } else { "passed" };
    (status, format!("{lines}{name} check {end}\n")).into_response()
}
