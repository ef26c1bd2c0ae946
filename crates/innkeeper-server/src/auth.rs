//! Who somebody is, where names are not free: signed tokens, or whatever an embedder trusts.

use std::fmt;

use innkeeper_api::{Code, RoomKey};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;

use crate::clock;
use crate::error::ApiError;

/// The least length of a shared secret, in bytes: what HS256 is as strong as.
const SECRET_BYTES_MIN: usize = 32;

/// Decides what somebody may do under a name. For embedders: sessions of their own, say.
pub trait Authority: fmt::Debug + Send + Sync + 'static {
    /// What `user` may do, who shows `token`. Short: it runs where others wait.
    ///
    /// # Errors
    /// [`Denied`], with words that may be told to whoever asked.
    fn admit(&self, user: &str, token: Option<&str>) -> Result<Permit, Denied>;
}

/// Why somebody is not let in, in words that are told to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied(pub String);

/// What somebody may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permit {
    /// Patterns of the keys of rooms; `*` in them stands for any text. `None`: every room.
    pub rooms: Option<Vec<String>>,
    /// The last second of its validity, since the beginning of 1970. `None`: for good.
    pub until: Option<u64>,
}

impl Permit {
    /// Whether it is still good.
    pub(crate) fn check_time(&self) -> Result<(), ApiError> {
        if self.until.is_some_and(|until| clock::unix_seconds() > until) {
            let detail = "the token has expired; connect again with a new one";
            return Err(ApiError::new(Code::Unauthorized, detail));
        }
        Ok(())
    }

    /// Whether it is for this room, now.
    pub(crate) fn check(&self, key: &RoomKey) -> Result<(), ApiError> {
        self.check_time()?;
        let Some(patterns) = &self.rooms else { return Ok(()) };
        if patterns.iter().any(|pattern| matches(pattern, key.as_str())) {
            return Ok(());
        }
        let detail = format_args!("the token is not for the room {:?}", key.as_str());
        Err(ApiError::new(Code::Forbidden, detail))
    }
}

/// Whether a text is as a pattern says, in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        // The first place is the best one: it leaves the most to what follows.
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// JSON Web Tokens, signed with one key: claim `sub` is the name, `rooms` the patterns of keys.
pub struct Jwt {
    key: DecodingKey,
    validation: Validation,
}

/// What a token says.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    rooms: Option<Vec<String>>,
    exp: Option<u64>,
}

impl Jwt {
    /// Takes the content of a key file: a public key in PEM (RSA, EC, Ed25519), or else a shared
    /// secret, without the white space around it.
    ///
    /// # Errors
    /// What is wrong with it, without any of it.
    pub fn from_key(content: &[u8]) -> Result<Jwt, String> {
        use Algorithm::{ES256, ES384, EdDSA, HS256, HS384, HS512};
        use Algorithm::{PS256, PS384, PS512, RS256, RS384, RS512};
        let text = content.trim_ascii();
        if text.starts_with(b"-----BEGIN") {
            if text.windows(11).any(|words| words == b"PRIVATE KEY") {
                return Err("this is a private key; expected the public one".to_owned());
            }
            let rsa = vec![RS256, RS384, RS512, PS256, PS384, PS512];
            let keys = [
                (DecodingKey::from_rsa_pem(text), rsa),
                (DecodingKey::from_ec_pem(text), vec![ES256, ES384]),
                (DecodingKey::from_ed_pem(text), vec![EdDSA]),
            ];
            let mut read = keys
                .into_iter()
                .filter_map(|(key, algorithms)| key.ok().map(|key| Jwt::new(key, algorithms)));
            return read.next().ok_or_else(|| {
                "expected a public key of RSA, EC or Ed25519 in PEM, got something else".to_owned()
            });
        }
        if text.len() < SECRET_BYTES_MIN {
            return Err(format!(
                "expected a secret of {SECRET_BYTES_MIN} bytes at least, got {}; \
                 `openssl rand -hex 32` makes one",
                text.len()
            ));
        }
        Ok(Jwt::new(DecodingKey::from_secret(text), vec![HS256, HS384, HS512]))
    }

    fn new(key: DecodingKey, algorithms: Vec<Algorithm>) -> Jwt {
        let mut validation = Validation::new(algorithms[0]);
        // Only what fits the kind of key: a public key is never taken for a secret.
        validation.algorithms = algorithms;
        validation.set_required_spec_claims(&["sub"]);
        validation.validate_aud = false;
        validation.validate_nbf = true;
        Jwt { key, validation }
    }
}

impl Authority for Jwt {
    fn admit(&self, user: &str, token: Option<&str>) -> Result<Permit, Denied> {
        let token = token.filter(|token| !token.is_empty()).ok_or_else(|| {
            Denied("names are signed here: a token is needed beside the user".to_owned())
        })?;
        let claims = decode::<Claims>(token, &self.key, &self.validation);
        // The error says what is wrong, and nothing of what is in it.
        let claims = claims.map_err(|error| Denied(format!("the token is refused: {error}")))?;
        let Claims { sub, rooms, exp } = claims.claims;
        if sub != user {
            return Err(Denied("the token is for another user".to_owned()));
        }
        Ok(Permit { rooms, until: exp })
    }
}

impl fmt::Debug for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwt").field("algorithms", &self.validation.algorithms).finish()
    }
}

#[cfg(test)]
mod tests;
