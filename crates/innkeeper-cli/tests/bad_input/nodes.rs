//! Nodes of the real program, what is asked of them, and what is done to their etcd.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use innkeeper_api::ShardInfo;
use innkeeper_cluster::coordinator::{Change, Coordinator, CoordinatorError, Transaction};
use innkeeper_etcd::Options;
use serde_json::{Value, json};

use crate::etcd::Etcd;
use crate::program::{Program, innkeeper};

/// Long enough for anything, on a machine that has much to do.
const SOON: Duration = Duration::from_secs(60);

/// How long a session lasts: shorter than etcd's own timers allow, and etcd is alone here.
pub(crate) const SESSION: Duration = Duration::from_secs(3);

/// The flags of a node, where no others are given for them.
fn flags(etcd: &Etcd, node: &str, others: &[(&str, &str)]) -> Vec<String> {
    let usual = [
        ("--cluster", "test"),
        ("--node", node),
        ("--etcd", &etcd.url),
        ("--listen", "127.0.0.1:0"),
        ("--insecure-cluster", "true"),
        ("--shards", "8"),
        ("--session-length", "3s"),
        ("--etcd-failover", "1s"),
    ];
    let is_usual = |(name, _): &&(&str, &str)| others.iter().all(|(other, _)| other != name);
    let all = usual.iter().filter(is_usual).chain(others);
    all.map(|(name, value)| format!("{name}={value}")).collect()
}

/// Starts a node.
pub(crate) fn serve(etcd: &Etcd, node: &str, others: &[(&str, &str)]) -> Program {
    let flags = flags(etcd, node, others);
    Program::start(&flags.iter().map(String::as_str).collect::<Vec<_>>())
}

/// What a node says that does not start.
pub(crate) fn refused(etcd: &Etcd, others: &[(&str, &str)]) -> String {
    let mut command = innkeeper();
    command.args(["serve", "--http", "127.0.0.1:0", "--kv", "off", "--log-format", "text"]);
    let (code, said) = run(command.args(flags(etcd, "z", others)).env("RUST_LOG", "off"));
    assert_eq!(code, Some(2), "{others:?}: {said}");
    said
}

/// What an operator does by etcd: whether it was done, and what was said.
pub(crate) fn operator(etcd: &Etcd, cluster: &str, words: &[&str]) -> (bool, String) {
    let at = [format!("--cluster={cluster}"), format!("--etcd={}", etcd.url)];
    let (code, said) = run(innkeeper().arg("cluster").args(words).args(at));
    (code == Some(0), said)
}

/// How a program ends, and what it says on standard error.
fn run(command: &mut Command) -> (Option<i32>, String) {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let deadline = Instant::now() + SOON;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (child.wait().unwrap().code(), said)
}

/// Waits for what nothing announces. Bounded.
pub(crate) fn until(is_so: impl Fn() -> bool, what: &str) {
    let deadline = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < deadline, "not so: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until a node has a session, and all shards are served.
pub(crate) fn until_serving(node: &Program) {
    let is_serving = || {
        let shards = shards(node);
        let all = !shards.is_empty() && shards.iter().all(|shard| shard.state == "serving");
        all && ask(node, "/readyz").0 == 200
    };
    until(is_serving, "every shard is served");
}

/// Waits until two nodes have dealt the shards among themselves.
pub(crate) fn until_dealt(one: &Program, other: &Program) {
    let is_dealt = || {
        let of = |name: &str| owners(one).iter().filter(|(node, _)| node == name).count();
        of("a") >= 3 && of("b") >= 3 && owners(one) == owners(other)
    };
    until(is_dealt, "both have shards");
    until_serving(one);
    until_serving(other);
}

/// Who owns each shard, and under which epoch.
pub(crate) fn owners(node: &Program) -> Vec<(String, u64)> {
    let of = |shard: ShardInfo| (shard.node.unwrap_or_default(), shard.epoch);
    shards(node).into_iter().map(of).collect()
}

fn shards(node: &Program) -> Vec<ShardInfo> {
    let (status, body) = ask(node, "/api/shards");
    if status == 200 { serde_json::from_str(&body).unwrap() } else { Vec::new() }
}

/// The status and the body of an answer; 0 where there is none.
pub(crate) fn ask(node: &Program, path: &str) -> (u16, String) {
    http(&node.http, &format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"))
}

fn http(place: &str, request: &str) -> (u16, String) {
    let Ok(mut stream) = TcpStream::connect(place) else { return (0, String::new()) };
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut answer = String::new();
    let talked = stream.write_all(request.as_bytes());
    if talked.and_then(|()| stream.read_to_string(&mut answer)).is_err() {
        return (0, String::new());
    }
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.unwrap_or(0), body.to_owned())
}

/// Puts something into a bucket, wherever that is. Answers what is in there then.
pub(crate) fn put(node: &Program, bucket: &str) -> String {
    let mut lines = talk(node);
    assert_eq!(lines(&format!("CREATE {bucket}")), "OK");
    assert_eq!(lines(&format!("PUT {bucket} eggs 3")), "OK");
    get(node, bucket)
}

pub(crate) fn get(node: &Program, bucket: &str) -> String {
    talk(node)(&format!("GET {bucket} eggs"))
}

/// Says a line, and hears one.
fn talk(node: &Program) -> impl FnMut(&str) -> String + use<> {
    let mut stream = BufReader::new(TcpStream::connect(node.kv.as_ref().unwrap()).unwrap());
    stream.get_ref().set_read_timeout(Some(SOON)).unwrap();
    move |line| {
        stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
        let mut said = String::new();
        let _ = stream.read_line(&mut said).unwrap();
        said.trim_end().to_owned()
    }
}

/// Writes to etcd what a program may have written there.
pub(crate) fn write(etcd: &Etcd, key: &str, text: &str) {
    commit(etcd, vec![Change::Put(key.to_owned(), text.as_bytes().to_vec())]).unwrap();
}

fn commit(etcd: &Etcd, writes: Vec<Change>) -> Result<u64, CoordinatorError> {
    let options = Options { endpoints: vec![etcd.url.clone()], ..Options::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let etcd = innkeeper_etcd::Etcd::connect(&options, SOON).await.unwrap();
        let transaction = Transaction { compares: Vec::new(), writes };
        etcd.commit(transaction, SOON).await.map(|committed| committed.revision)
    })
}

/// What is written until etcd takes no more.
const FILLERS: usize = 100;

fn filler(number: usize) -> String {
    format!("/filler/{number}")
}

/// Writes until etcd takes no more.
pub(crate) fn fill(etcd: &Etcd) {
    let is_full = (0..FILLERS)
        .any(|number| commit(etcd, vec![Change::Put(filler(number), vec![0; 100_000])]).is_err());
    assert!(is_full, "there is room for everything");
}

/// What an operator does to an etcd that is full.
pub(crate) fn make_room(etcd: &Etcd) {
    let deletes = (0..FILLERS).map(|number| Change::Delete(filler(number))).collect();
    let revision = commit(etcd, deletes).unwrap();
    post(etcd, "/v3/kv/compaction", &json!({ "revision": revision, "physical": true }));
    post(etcd, "/v3/maintenance/defragment", &json!({}));
    let alarms = post(etcd, "/v3/maintenance/alarm", &json!({ "action": "GET" }));
    for alarm in alarms["alarms"].as_array().expect("there is an alarm") {
        let mut ended = alarm.clone();
        ended["action"] = json!("DEACTIVATE");
        post(etcd, "/v3/maintenance/alarm", &ended);
    }
}

fn post(etcd: &Etcd, path: &str, body: &Value) -> Value {
    let (body, place) = (body.to_string(), etcd.url.trim_start_matches("http://"));
    let head = format!("POST {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
    let length = body.len();
    let (status, answer) = http(place, &format!("{head}content-length: {length}\r\n\r\n{body}"));
    assert_eq!(status, 200, "{path}: {answer}");
    // In one piece, or in chunks of which the first is all of it.
    let begin = answer.find('{').unwrap_or_default();
    let end = answer.rfind('}').map_or(begin, |end| end + 1);
    serde_json::from_str(&answer[begin..end]).unwrap()
}

/// Copies a directory with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-r").args([from, to]).status().unwrap().success());
}
