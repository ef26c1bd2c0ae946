//! The rooms page: a few files inside the binary, without a build step.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderValue;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{Html, IntoResponse, Response};
use innkeeper_api::Code;

use crate::app::App;
use crate::error::ApiError;

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// `GET /`
pub(crate) async fn rooms(State(app): State<Arc<App>>) -> Html<String> {
    // The page counts what is left of a message, so it has to know this server's limit.
    let limit = app.config.max_message_bytes.to_string();
    Html(include_str!("../page/rooms.html").replace("{max_message_bytes}", &limit))
}

/// `GET /assets/{name}`
pub(crate) async fn asset(Path(name): Path<String>) -> Result<Response, ApiError> {
    let (kind, text) = match name.as_str() {
        "key.svg" => (SVG, include_str!("../page/key.svg")),
        "rooms.css" => (CSS, include_str!("../page/rooms.css")),
        "channel.js" => (SCRIPT, include_str!("../page/channel.js")),
        "rooms.js" => (SCRIPT, include_str!("../page/rooms.js")),
        "talk.js" => (SCRIPT, include_str!("../page/talk.js")),
        "visit.js" => (SCRIPT, include_str!("../page/visit.js")),
        "words.js" => (SCRIPT, include_str!("../page/words.js")),
        _ => return Err(ApiError::new(Code::NotFound, format_args!("there is no asset {name:?}"))),
    };
    Ok(([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")], text).into_response())
}

/// What a browser is told with every answer: run only our own files, and guess nothing.
pub(crate) async fn headers(mut response: Response) -> Response {
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                  img-src 'self' data:; base-uri 'none'; form-action 'self'; \
                  frame-ancestors 'none'";
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
