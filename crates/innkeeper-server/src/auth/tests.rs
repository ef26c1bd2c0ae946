//! Tokens that are good, and all the ways in which they are not.

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::*;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn token(claims: &Value, secret: &[u8]) -> String {
    encode(&Header::default(), claims, &EncodingKey::from_secret(secret)).unwrap()
}

fn admit(claims: &Value) -> Result<Permit, Denied> {
    let token = token(claims, SECRET);
    Jwt::from_key(SECRET).unwrap().admit("ann", Some(&token))
}

fn key(text: &str) -> RoomKey {
    text.parse().unwrap()
}

#[test]
fn a_token_for_a_name_and_some_rooms_is_for_these() {
    let permit = admit(&json!({"sub": "ann", "rooms": ["team-*", "lobby"]})).unwrap();
    assert!(permit.check(&key("team-7")).is_ok() && permit.check(&key("lobby")).is_ok());
    let refused = permit.check(&key("lobby2")).unwrap_err();
    assert_eq!(refused.code, Code::Forbidden);
    assert!(admit(&json!({"sub": "ann"})).unwrap().check(&key("any")).is_ok());
}

#[test]
fn other_names_old_tokens_and_those_for_later_are_refused() {
    let now = clock::unix_seconds();
    assert!(admit(&json!({"sub": "ann", "exp": now + 600})).is_ok());
    for bad in [
        json!({"sub": "bob"}),
        json!({"rooms": ["*"]}),
        json!({"sub": "ann", "exp": now - 600}),
        json!({"sub": "ann", "nbf": now + 600}),
        json!({"sub": "ann", "rooms": "*"}),
    ] {
        assert!(admit(&bad).is_err(), "{bad}");
    }
}

#[test]
fn a_permit_ends_though_the_socket_lives_on() {
    let over = Permit { rooms: None, until: Some(clock::unix_seconds() - 1) };
    assert_eq!(over.check(&key("a")).unwrap_err().code, Code::Unauthorized);
}

#[test]
fn tokens_of_others_and_tokens_without_a_signature_are_refused() {
    let jwt = Jwt::from_key(SECRET).unwrap();
    let claims = json!({"sub": "ann"});
    let theirs = token(&claims, b"another secret, as long as ours is");
    // {"alg":"none"} . {"sub":"ann"} .
    let unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.";
    let mine = token(&claims, SECRET);
    let cut = &mine[..mine.len() - 4];
    for bad in [theirs.as_str(), unsigned, cut, "", "a.b.c", "\u{0}"] {
        assert!(jwt.admit("ann", Some(bad)).is_err(), "{bad}");
    }
    assert!(jwt.admit("ann", None).is_err());
    assert!(jwt.admit("ann", Some(&mine)).is_ok());
}

const PUBLIC: &[u8] = b"-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
";

#[test]
fn a_public_key_is_not_taken_for_a_secret() {
    let jwt = Jwt::from_key(PUBLIC).unwrap();
    assert_eq!(jwt.validation.algorithms, [Algorithm::EdDSA]);
    // Whoever knows the public key, which is everybody, signs with it.
    for secret in [PUBLIC, PUBLIC.trim_ascii()] {
        assert!(jwt.admit("ann", Some(&token(&json!({"sub": "ann"}), secret))).is_err());
    }
}

#[test]
fn keys_that_are_none_are_refused_and_not_repeated() {
    for (bad, words) in [
        (&b"short secret"[..], "at least, got 12"),
        (b"-----BEGIN PRIVATE KEY-----\nMC4C\n-----END PRIVATE KEY-----", "the public one"),
        (b"-----BEGIN PUBLIC KEY-----\nMC4C\n-----END PUBLIC KEY-----", "RSA, EC or Ed25519"),
    ] {
        let error = Jwt::from_key(bad).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
    let shown = format!("{:?}", Jwt::from_key(SECRET).unwrap());
    assert!(!shown.contains("0123"), "{shown}");
}

#[test]
fn a_star_stands_for_any_text() {
    for (pattern, text) in
        [("*", ""), ("*", "a"), ("a*", "abc"), ("*c", "abc"), ("a*c", "abc"), ("a*b*c", "axbybc")]
    {
        assert!(matches(pattern, text), "{pattern} {text}");
    }
    for (pattern, text) in [("", "a"), ("a", "ab"), ("a*", "ba"), ("ab*bc", "abc"), ("*a*", "b")] {
        assert!(!matches(pattern, text), "{pattern} {text}");
    }
}
