//! The rooms page: three files inside the binary, without a build step.

use axum::extract::Path;
use axum::http::HeaderValue;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{Html, IntoResponse, Response};
use innkeeper_api::Code;

use crate::error::ApiError;

/// `GET /`
pub(crate) async fn rooms() -> Html<&'static str> {
    Html(include_str!("../page/rooms.html"))
}

/// `GET /assets/{name}`
pub(crate) async fn asset(Path(name): Path<String>) -> Result<Response, ApiError> {
    let (kind, text) = match name.as_str() {
        "rooms.css" => ("text/css; charset=utf-8", include_str!("../page/rooms.css")),
        "rooms.js" => ("text/javascript; charset=utf-8", include_str!("../page/rooms.js")),
        "channel.js" => ("text/javascript; charset=utf-8", include_str!("../page/channel.js")),
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
