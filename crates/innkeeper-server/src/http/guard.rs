//! Who may: pages of other origins may not, and strangers may not do what an admin may.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, UPGRADE};
use axum::http::{HeaderMap, Method, Uri};
use axum::middleware::Next;
use axum::response::Response;
use innkeeper_api::Code;

use crate::app::App;
use crate::error::ApiError;

/// Refuses what a foreign page has a browser send: by its origin, and by a host name that is not
/// ours, which is what DNS rebinding looks like.
pub(crate) async fn origin(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let acts = matches!(*request.method(), Method::POST | Method::DELETE | Method::PUT);
    if acts || request.headers().contains_key(UPGRADE) {
        check_origin(request.headers(), &app.config.allow_origins)?;
    }
    Ok(next.run(request).await)
}

/// Refuses whoever is no admin, where that matters: with a token set, or on any other address than
/// loopback.
pub(crate) async fn admin(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    check_admin(&app, request.headers())?;
    Ok(next.run(request).await)
}

pub(crate) fn check_admin(app: &App, headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(token) = &app.config.admin_token else {
        if app.is_local {
            // Without a token, the address is all that keeps out a page that goes by another name.
            return check_origin(headers, &app.config.allow_origins);
        }
        let detail = "this needs the admin token, and none is set: start with --admin-token";
        return Err(ApiError::new(Code::Unauthorized, detail));
    };
    let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown = shown.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    if token.is(shown) {
        return Ok(());
    }
    let detail = "this needs the admin token: send \"Authorization: Bearer TOKEN\"";
    Err(ApiError::new(Code::Unauthorized, detail))
}

fn check_origin(headers: &HeaderMap, allowed: &[String]) -> Result<(), ApiError> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = text(HOST).unwrap_or_default();
    let is_allowed = |origin: &str| allowed.iter().any(|allowed| allowed == origin);
    let host_is_allowed = allowed.iter().any(|origin| authority(origin) == Some(host));
    if !is_own_name(host) && !host_is_allowed {
        let detail = format_args!("the host {host:?} is not known here: add --allow-origin");
        return Err(ApiError::new(Code::Forbidden, detail));
    }
    match text(ORIGIN) {
        // Not a browser.
        None => Ok(()),
        Some(origin) if is_allowed(origin) || authority(origin) == Some(host) => Ok(()),
        Some(origin) => {
            let detail = format_args!("pages of {origin:?} may not: add --allow-origin {origin}");
            Err(ApiError::new(Code::Forbidden, detail))
        }
    }
}

/// The host and port of an origin.
fn authority(origin: &str) -> Option<&str> {
    origin.split_once("://").map(|(_, authority)| authority)
}

/// Whether a host header names this server in a way that no foreign page can make up: by address,
/// or as localhost.
fn is_own_name(host: &str) -> bool {
    let Ok(uri) = host.parse::<Uri>() else { return false };
    let Some(name) = uri.host() else { return false };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, origin: Option<&str>, allowed: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        let allowed: Vec<_> = allowed.iter().map(|&origin| origin.to_owned()).collect();
        check_origin(&headers, &allowed).is_ok()
    }

    #[test]
    fn programs_may_and_pages_of_this_server_may() {
        assert!(check("127.0.0.1:4000", None, &[]));
        assert!(check("[::1]:4000", None, &[]));
        assert!(check("localhost:4000", Some("http://localhost:4000"), &[]));
        assert!(check("10.1.2.3:4000", Some("http://10.1.2.3:4000"), &[]));
    }

    #[test]
    fn pages_of_others_may_not() {
        assert!(!check("127.0.0.1:4000", Some("http://evil.example"), &[]));
        assert!(!check("127.0.0.1:4000", Some("http://127.0.0.1:9999"), &[]));
        assert!(!check("127.0.0.1:4000", Some("null"), &[]));
    }

    #[test]
    fn a_foreign_name_for_this_server_is_refused() {
        assert!(!check("evil.example:4000", Some("http://evil.example:4000"), &[]));
        assert!(!check("evil.example", None, &[]));
        assert!(!check("", None, &[]));
        assert!(!check("localhost.evil.example", None, &[]));
    }

    #[test]
    fn allowed_origins_may_also_behind_a_name_of_their_own() {
        let allowed = ["https://rooms.example"];
        assert!(check("rooms.example", Some("https://rooms.example"), &allowed));
        assert!(check("127.0.0.1:4000", Some("https://rooms.example"), &allowed));
        assert!(!check("rooms.example", Some("https://other.example"), &allowed));
    }
}
