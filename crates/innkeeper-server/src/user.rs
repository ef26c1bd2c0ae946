//! What a user may be called.

use innkeeper_api::Code;

use crate::error::ApiError;
use crate::limits;

/// Refuses a name that is empty, too long, or has control characters.
pub(crate) fn check_name(name: &str) -> Result<(), ApiError> {
    let max = limits::USER_BYTES_MAX;
    if name.is_empty() || name.len() > max {
        let detail = format_args!("expected a user name of 1 to {max} bytes, got {}", name.len());
        return Err(ApiError::new(Code::BadRequest, detail));
    }
    if name.chars().any(char::is_control) {
        let detail = format_args!("expected a user name without control characters, got {name:?}");
        return Err(ApiError::new(Code::BadRequest, detail));
    }
    Ok(())
}
