//! Client commands against a server that speaks TLS, with an authority of the test's own; and the
//! tokens of `load`.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Tests.

#[path = "support/program.rs"]
mod program;

use std::path::PathBuf;
use std::process::Output;

use program::{Program, innkeeper};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::Value;

/// An authority, and what it has signed for this machine.
struct Authority {
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Authority {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text);
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        write("ca.pem", params.self_signed(&key).unwrap().pem()).unwrap();
        let issuer = Issuer::new(params, key);
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        write("cert.pem", cert.pem()).unwrap();
        write("key.pem", key.serialize_pem()).unwrap();
        Authority { folder }
    }

    fn file(&self, name: &str) -> String {
        let path: PathBuf = self.folder.path().join(name);
        path.into_os_string().into_string().unwrap()
    }

    /// A server with its certificate, and its address.
    fn server(&self, flags: &[&str]) -> (Program, String) {
        let (cert, key) = (self.file("cert.pem"), self.file("key.pem"));
        let tls = ["--http-tls-cert", &cert, "--http-tls-key", &key];
        let server = Program::start(&[&tls[..], flags].concat());
        let url = format!("https://{}", server.http);
        (server, url)
    }
}

fn ran(args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = innkeeper().args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

const LOAD: [&str; 9] =
    ["load", "--rooms", "2", "--members", "3", "--rate", "100", "--duration", "300ms"];

#[test]
fn every_client_command_speaks_tls_to_whom_it_can_believe() {
    let authority = Authority::new();
    let (server, url) = authority.server(&["--admin-token", "open-sesame", "--allow-actions"]);
    let ca = authority.file("ca.pem");
    let there = ["--url", &url, "--ca", &ca];
    let admin = [&there[..], &["--token", "open-sesame"]].concat();
    let is_answered = |args: &[&str], with: &[&str]| {
        let (code, printed, said) = ran(&[args, with].concat());
        assert_eq!(code, 0, "{args:?}: {printed}{said}");
        printed
    };
    let mut race = innkeeper();
    race.args(["race", "--callers", "20", "--rounds", "2"]).args(there);
    let raced = race.env("INNKEEPER_TOKEN", "open-sesame").output().unwrap();
    assert!(raced.status.success(), "{raced:?}");
    let report = is_answered(&[&LOAD[..], &["--format", "json"]].concat(), &there);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["delivered"].as_u64(), report["sent"].as_u64().map(|sent| 3 * sent));
    let rooms = is_answered(&["rooms", "list", "--format", "plain"], &admin);
    assert!(rooms.contains("load-1"), "{rooms}");
    is_answered(&["rooms", "show", "load-1"], &admin);
    is_answered(&["rooms", "stop", "load-1"], &admin);
    is_answered(&["cluster", "nodes"], &admin);
    is_answered(&["cluster", "shards"], &admin);
    is_answered(&["check"], &admin);
    is_answered(&["events"], &admin);
    is_answered(&["top", "--once"], &admin);

    // By name as well, and as a variable says.
    let named = url.replace("127.0.0.1", "localhost");
    let mut nodes = innkeeper();
    nodes.args(["cluster", "nodes", "--url", &named]).env("INNKEEPER_CA", &ca);
    assert!(nodes.status().unwrap().success());
    drop(server);
}

#[test]
fn a_server_that_cannot_be_believed_is_told_no_token() {
    let authority = Authority::new();
    let (server, url) = authority.server(&["--admin-token", "open-sesame"]);
    let other = Authority::new().file("ca.pem");
    let told = |args: &[&str]| {
        let (code, _, said) = ran(args);
        assert_eq!(code, 2, "{args:?}: {said}");
        said
    };
    let list = ["rooms", "list", "--token", "open-sesame", "--url"];
    // Nobody on this machine has heard of that authority.
    let said = told(&[&list[..], &[&url]].concat());
    assert!(said.contains("UnknownIssuer") && said.contains("try: --ca FILE"), "{said}");
    let said = told(&[&list[..], &[&url, "--ca", &other]].concat());
    assert!(said.contains("No such file"), "{said}");
    let said = told(&[&list[..], &[&url, "--ca", &authority.file("key.pem")]].concat());
    assert!(said.contains("--ca") && said.contains("no certificate"), "{said}");
    let said = told(&[&LOAD[..], &["--url", &url]].concat());
    assert!(said.contains("UnknownIssuer"), "{said}");
    // TLS to who speaks none, and none to who speaks it.
    let plain = Program::start(&[]);
    let ca = authority.file("ca.pem");
    let said = told(&["check", "--ca", &ca, "--url", &format!("https://{}", plain.http)]);
    assert!(said.contains("it speaks no TLS") && said.contains("http://"), "{said}");
    let said = told(&["check", "--url", &server.url("")]);
    assert!(said.contains(&server.http) && said.contains("try: "), "{said}");
}

#[test]
fn the_members_of_a_load_show_tokens_where_names_are_signed() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "a secret of thirty-two bytes or more\n").unwrap();
    let key = key.to_str().unwrap();
    let server = Program::start(&["--auth-key", key]);
    let url = server.url("");
    let load = |more: &[&str]| ran(&[&LOAD[..], &["--url", &url], more].concat());
    let (code, _, said) = load(&[]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("401") && said.contains("--auth-key"), "{said}");
    let (code, printed, said) = load(&["--auth-key", key]);
    assert_eq!(code, 0, "{printed}{said}");

    // Tokens from elsewhere, fewer than members: some come in more than once.
    let tokens = folder.path().join("tokens");
    std::fs::write(&tokens, [token("ann"), token("bob")].join("\n")).unwrap();
    let (code, printed, said) = load(&["--token-file", tokens.to_str().unwrap()]);
    assert_eq!(code, 0, "{printed}{said}");

    // A public key signs nothing.
    let public = folder.path().join("public.pem");
    std::fs::write(&public, "-----BEGIN PUBLIC KEY-----\n").unwrap();
    let (code, _, said) = load(&["--auth-key", public.to_str().unwrap()]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("--token-file"), "{said}");
}

/// A token of the server above.
fn token(user: &str) -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(b"a secret of thirty-two bytes or more");
    let claims = serde_json::json!({ "sub": user });
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}
