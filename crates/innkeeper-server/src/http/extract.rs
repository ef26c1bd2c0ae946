//! Takes keys, bodies and queries out of requests, and says in our words what is wrong with them.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use innkeeper_api::{Code, RoomKey};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::error::ApiError;
use crate::limits;

/// The key in the path.
pub(crate) struct KeyOf(pub(crate) RoomKey);

impl<S: Send + Sync> FromRequestParts<S> for KeyOf {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path: Result<Path<String>, PathRejection> =
            Path::from_request_parts(parts, state).await;
        let Path(text) = path.map_err(|rejection| {
            let detail = format_args!("expected a percent-encoded UTF-8 key: {rejection}");
            ApiError::new(Code::BadKey, detail)
        })?;
        Ok(KeyOf(text.parse()?))
    }
}

/// The query.
pub(crate) struct QueryOf<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for QueryOf<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, state).await;
        let Query(query) =
            query.map_err(|rejection| ApiError::new(Code::BadRequest, rejection.body_text()))?;
        Ok(QueryOf(query))
    }
}

/// The body, as JSON whatever its content type says.
pub(crate) struct JsonOf<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonOf<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let body = timeout(limits::BODY_TIMEOUT, Bytes::from_request(request, state)).await;
        let body: Result<Bytes, BytesRejection> = body.map_err(|_| {
            let detail = format_args!("the body took longer than {:?}", limits::BODY_TIMEOUT);
            ApiError::new(Code::BadRequest, detail).with_status(StatusCode::REQUEST_TIMEOUT)
        })?;
        let body = body.map_err(|rejection| {
            let too_large = rejection.status() == StatusCode::PAYLOAD_TOO_LARGE;
            let code = if too_large { Code::PayloadTooLarge } else { Code::BadRequest };
            ApiError::new(code, rejection.body_text())
        })?;
        let read = serde_json::from_slice(&body);
        read.map(JsonOf).map_err(|error| {
            ApiError::new(Code::BadRequest, format_args!("the body is not as expected: {error}"))
        })
    }
}
