//! The pages: a few files inside the binary, without a build step.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use innkeeper_api::Code;

use crate::app::App;
use crate::error::ApiError;
use crate::http::guard;

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Each file by its name: what it is, and what is in it.
const ASSETS: [(&str, &str, &str); 19] = [
    ("key.svg", SVG, include_str!("../page/key.svg")),
    ("house.css", CSS, include_str!("../page/house.css")),
    ("rooms.css", CSS, include_str!("../page/rooms.css")),
    ("channel.js", SCRIPT, include_str!("../page/channel.js")),
    ("rooms.js", SCRIPT, include_str!("../page/rooms.js")),
    ("talk.js", SCRIPT, include_str!("../page/talk.js")),
    ("visit.js", SCRIPT, include_str!("../page/visit.js")),
    ("words.js", SCRIPT, include_str!("../page/words.js")),
    ("dashboard.css", CSS, include_str!("../page/dashboard.css")),
    ("dashboard.js", SCRIPT, include_str!("../page/dashboard.js")),
    ("desk.js", SCRIPT, include_str!("../page/dashboard/desk.js")),
    ("chart.js", SCRIPT, include_str!("../page/dashboard/chart.js")),
    ("home.js", SCRIPT, include_str!("../page/dashboard/home.js")),
    ("list.js", SCRIPT, include_str!("../page/dashboard/list.js")),
    ("one.js", SCRIPT, include_str!("../page/dashboard/one.js")),
    ("house.js", SCRIPT, include_str!("../page/dashboard/house.js")),
    ("tree.js", SCRIPT, include_str!("../page/dashboard/tree.js")),
    ("events.js", SCRIPT, include_str!("../page/dashboard/events.js")),
    ("metrics.js", SCRIPT, include_str!("../page/dashboard/metrics.js")),
];

/// `GET /`
pub(crate) async fn rooms(State(app): State<Arc<App>>) -> Html<String> {
    // The page counts what is left of a message, so it has to know this server's limit; and it asks
    // for a token where names are signed.
    let limit = app.config.max_message_bytes.to_string();
    let is_signed = app.config.authority.is_some().to_string();
    let page = include_str!("../page/rooms.html").replace("{max_message_bytes}", &limit);
    Html(page.replace("{names_are_signed}", &is_signed))
}

/// `GET /dashboard`. A browser cannot send a token with an address, so whoever lacks one is
/// answered 401 with the page all the same: all there is in it is the place for the token.
pub(crate) async fn dashboard(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let page = Html(include_str!("../page/dashboard.html"));
    let Err(refusal) = guard::check_admin(&app, &headers) else { return page.into_response() };
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if refusal.code == Code::Unauthorized && accept.contains("text/html") {
        return (StatusCode::UNAUTHORIZED, page).into_response();
    }
    refusal.into_response()
}

/// `GET /assets/{name}`
pub(crate) async fn asset(Path(name): Path<String>) -> Result<Response, ApiError> {
    let found = ASSETS.iter().find(|(known, ..)| *known == name);
    let (_, kind, text) = found
        .ok_or_else(|| ApiError::new(Code::NotFound, format_args!("there is no asset {name:?}")))?;
    Ok(([(CONTENT_TYPE, *kind), (CACHE_CONTROL, "no-cache")], *text).into_response())
}

/// What a browser is told with every answer: run only our own files, guess nothing, and show none
/// of it within another page.
pub(crate) async fn headers(State(is_tls): State<bool>, request: Request, next: Next) -> Response {
    let is_asset = request.uri().path().starts_with("/assets/");
    let mut response = next.run(request).await;
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                  img-src 'self' data:; base-uri 'none'; form-action 'self'; \
                  frame-ancestors 'none'";
    let headers = response.headers_mut();
    let mut say = |name, value| headers.insert(name, HeaderValue::from_static(value));
    say(CONTENT_SECURITY_POLICY, policy);
    say(X_CONTENT_TYPE_OPTIONS, "nosniff");
    say(REFERRER_POLICY, "no-referrer");
    say(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    say(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    if !is_asset {
        // What is in it is of this moment, and for whoever asked.
        say(CACHE_CONTROL, "no-store");
    }
    if is_tls {
        say(STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    response
}
