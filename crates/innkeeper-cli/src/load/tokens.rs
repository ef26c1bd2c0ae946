//! Who the members of a load are: by names that the server takes as they are, or by tokens.

use std::path::PathBuf;

use clap::Args;
use jsonwebtoken::{EncodingKey, Header, dangerous, encode};
use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::serve::{read, wrong};

/// What the members of a load prove their names with, where those are signed.
#[derive(Args, Clone, Debug, Default)]
pub struct TokenArgs {
    /// Sign the tokens of the members with this secret, which the server has as its --auth-key.
    #[arg(long, value_name = "FILE", conflicts_with = "token_file")]
    pub auth_key: Option<PathBuf>,

    /// Show these tokens, a line each, in turn: for a server that has a public key.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// A member, as the server is told.
#[derive(Debug, PartialEq)]
pub(super) struct Guest {
    pub(super) user: String,
    pub(super) token: Option<String>,
}

/// Where the names of the members come from.
pub(super) enum Guests {
    Free,
    Signed(EncodingKey),
    Shown(Vec<Guest>),
}

/// What a token says. One that is made here has no end: it never leaves for longer than the load.
#[derive(Deserialize, Serialize)]
struct Claims {
    sub: String,
}

impl Guests {
    pub(super) fn of(args: &TokenArgs) -> Result<Guests, Failure> {
        if let Some(path) = &args.token_file {
            let tokens = read(path, "--token-file")?;
            let shown = shown(&tokens).map_err(|why| wrong(path, "--token-file", &why))?;
            return Ok(Guests::Shown(shown));
        }
        let Some(path) = &args.auth_key else { return Ok(Guests::Free) };
        let key = read(path, "--auth-key")?;
        let key = key.trim_ascii();
        if key.starts_with(b"-----BEGIN") {
            let what = "expected the secret that the server has, got a key in PEM";
            return Err(wrong(path, "--auth-key", &what)
                .try_next("--token-file FILE, with tokens of whoever signs them, a line each"));
        }
        Ok(Guests::Signed(EncodingKey::from_secret(key)))
    }

    /// The member of this number.
    pub(super) fn guest(&self, number: usize) -> Result<Guest, Failure> {
        let user = format!("load-{number}");
        match self {
            Guests::Free => Ok(Guest { user, token: None }),
            Guests::Signed(key) => {
                let claims = Claims { sub: user };
                let token = encode(&Header::default(), &claims, key).map_err(Failure::new)?;
                Ok(Guest { user: claims.sub, token: Some(token) })
            }
            Guests::Shown(all) => {
                let Guest { user, token } = &all[number % all.len()];
                Ok(Guest { user: user.clone(), token: token.clone() })
            }
        }
    }
}

/// The tokens of a file, each with the name that it is for. Whether they are good, the server says.
fn shown(tokens: &[u8]) -> Result<Vec<Guest>, String> {
    let text = String::from_utf8_lossy(tokens);
    let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty());
    let guests = lines.map(|(number, line)| {
        let claims = dangerous::insecure_decode::<Claims>(line);
        // Not what is in it: it may be a token, if a broken one.
        let claims = claims.map_err(|_| format!("line {}: no token with a `sub`", number + 1))?;
        Ok(Guest { user: claims.claims.sub, token: Some(line.to_owned()) })
    });
    let guests = guests.collect::<Result<Vec<_>, String>>()?;
    if guests.is_empty() { Err("there is no token in it".to_owned()) } else { Ok(guests) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(user: &str) -> String {
        let key = EncodingKey::from_secret(&[7; 32]);
        encode(&Header::default(), &Claims { sub: user.to_owned() }, &key).unwrap()
    }

    #[test]
    fn tokens_of_a_file_are_shown_in_turn_under_the_names_that_they_are_for() {
        let file = format!("{}\n\n  {}  \n", signed("ann"), signed("bob"));
        let guests = Guests::Shown(shown(file.as_bytes()).unwrap());
        let users: Vec<_> = (0..3).map(|n| guests.guest(n).unwrap().user).collect();
        assert_eq!(users, ["ann", "bob", "ann"]);
    }

    #[test]
    fn what_is_no_token_is_named_by_its_line_and_not_repeated() {
        let why = shown(format!("{}\nsecret\n", signed("ann")).as_bytes()).unwrap_err();
        assert_eq!(why, "line 2: no token with a `sub`");
        assert!(shown(b"\n").is_err());
    }
}
