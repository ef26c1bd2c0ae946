//! What the program prints and how it ends, by snapshots: help, settings, results, errors.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)] // Tests.

#[path = "support/program.rs"]
mod program;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use innkeeper_cli::exit::Exit;
use insta::assert_snapshot;
use program::{Program, innkeeper};
use serde_json::Value;

/// What it printed, what it said, and its exit code.
fn ran(args: &[&str]) -> String {
    let output = innkeeper().args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let code = output.status.code().unwrap();
    format!("{}{}exit {code}", text(&output.stdout), text(&output.stderr))
}

fn stdout(args: &[&str]) -> String {
    let output = innkeeper().args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn help_is_for_newcomers() {
    assert_snapshot!("help", stdout(&["--help"]));
    assert_snapshot!("help_serve", stdout(&["serve", "--help"]));
    assert_snapshot!("help_race", stdout(&["race", "--help"]));
    assert_snapshot!("help_rooms", stdout(&["rooms", "--help"]));
}

#[test]
fn settings_are_shown_with_where_they_came_from() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("inn.toml"), "max-rooms = 7\n").unwrap();
    let mut command = innkeeper();
    command.current_dir(dir.path()).env("INNKEEPER_MAX_MEMBERS", "9");
    command.args(["config", "show", "--config", "inn.toml", "--idle-after", "1m"]);
    let output = command.output().unwrap();
    assert_snapshot!("config_show", String::from_utf8(output.stdout).unwrap());
}

#[test]
fn a_written_configuration_is_complete_and_says_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("inn.toml");
    assert!(innkeeper().args(["config", "init"]).arg(&path).status().unwrap().success());
    assert_snapshot!("config_init", std::fs::read_to_string(&path).unwrap());
    let with = stdout(&["config", "show", "--config", path.to_str().unwrap(), "--format", "json"]);
    let settings: Vec<Value> = serde_json::from_str(&with).unwrap();
    let said = |setting: &&Value| setting["origin"] != "default" && setting["name"] != "config";
    assert_eq!(settings.iter().find(said), None);
}

#[test]
fn mistakes_are_answered_with_what_to_try() {
    assert_snapshot!("unknown_flag", ran(&["serve", "--max-room", "5"]));
    assert_snapshot!("bad_duration", ran(&["serve", "--idle-after", "soon"]));
    assert_snapshot!("no_such_file", ran(&["serve", "--config", "/nowhere/inn.toml"]));
    assert_snapshot!("cluster", ran(&["serve", "--cluster", "c1"]));
    assert_snapshot!("nobody_there", ran(&["rooms", "list", "--url", "http://127.0.0.1:9"]));
    assert_snapshot!("no_url", ran(&["rooms", "list", "--url", "localhost:4000"]));
    assert_snapshot!("race_nobody", ran(&["race", "--callers", "0"]));
    assert_snapshot!("chaos_remote", ran(&["race", "--chaos", "--url", "http://127.0.0.1:9"]));
}

#[test]
fn a_port_in_use_names_its_flag() {
    let server = Program::start(&[]);
    let said = ran(&["serve", "--http", &server.http]);
    assert!(said.contains(&format!("cannot listen on {} (--http)", server.http)), "{said}");
    assert!(said.contains("try: another port") && said.ends_with("exit 2"), "{said}");
}

#[test]
fn rooms_are_listed_shown_and_stopped() {
    let server = Program::start(&[]);
    let (url, rooms) = (server.url(""), ["b", "a c", "ü"]);
    for room in rooms {
        let raced = ran(&["race", "--url", &url, "--key", room, "--callers", "3", "--rounds", "1"]);
        assert!(raced.contains("kept: one key, one process"), "{raced}");
    }
    // The race has stopped what it started.
    assert_eq!(ran(&["rooms", "show", "b", "--url", &url]), NOT_THERE);
    for room in rooms {
        start(&server, room);
    }
    let list = stdout(&["rooms", "list", "--url", &url, "--format", "plain"]);
    let keys: Vec<_> = list.lines().map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!(keys, ["a c", "b", "ü"]);
    let limited = ran(&["rooms", "list", "--limit", "2", "--url", &url, "--format", "plain"]);
    assert!(limited.contains("there are more; --limit 2 was reached"), "{limited}");
    let prefixed = stdout(&["rooms", "list", "--prefix", "a", "--url", &url, "--format", "json"]);
    let prefixed: Vec<Value> = serde_json::from_str(&prefixed).unwrap();
    assert_eq!((prefixed.len(), &prefixed[0]["room"]), (1, &Value::from("a c")));
    let shown = stdout(&["rooms", "show", "a c", "--url", &url]);
    assert!(shown.starts_with("room         a c\nstate        live\n"), "{shown}");
    let stopped = ran(&["rooms", "stop", "a c", "--url", &url]);
    assert_eq!(stopped, "stopped \"a c\": the key is free\nexit 0");
    assert!(ran(&["rooms", "stop", "a c", "--url", &url]).ends_with("exit 1"));
}

#[test]
fn one_node_is_a_cluster_of_its_own() {
    let server = Program::start(&[]);
    let url = server.url("");
    start(&server, "inn");
    let plain = |what| stdout(&["cluster", what, "--url", &url, "--format", "plain"]);
    assert_eq!(plain("nodes"), "local\tserving\t1\t1\t1\t-\n");
    assert_eq!(plain("shards"), "0\tlocal\t0\tserving\n");
    let table = stdout(&["cluster", "nodes", "--url", &url]);
    let head = table.lines().next().unwrap();
    let head: Vec<_> = head.split_whitespace().collect();
    assert_eq!(head, ["NODE", "STATE", "ROOMS", "SHARDS", "WEIGHT", "SESSION", "LEFT"]);
    let nodes = stdout(&["cluster", "nodes", "--url", &url, "--format", "json"]);
    let nodes: Vec<Value> = serde_json::from_str(&nodes).unwrap();
    assert_eq!((&nodes[0]["here"], nodes.len()), (&Value::Bool(true), 1));
}

const NOT_THERE: &str = "no room \"b\" runs; POST here to start it\nexit 1";

fn start(server: &Program, room: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let room = room.replace(' ', "%20");
    let post = reqwest::Client::new().post(server.url(&format!("/api/rooms/{room}"))).send();
    assert!(runtime.block_on(post).unwrap().status().is_success());
}

#[test]
fn a_race_prints_what_it_showed() {
    let raced = stdout(&["race", "--callers", "50", "--rounds", "4"]);
    let waited = raced.find("waited").unwrap();
    assert_snapshot!("race", &raced[..waited]);
    let chaos =
        stdout(&["race", "--callers", "200", "--rounds", "3", "--chaos", "--format", "json"]);
    let report: Value = serde_json::from_str(&chaos).unwrap();
    assert_eq!((&report["alive_at_once_max"], &report["alive_after"]), (&1.into(), &0.into()));
    assert_eq!(report["violations"], Value::Array(Vec::new()));
}

#[test]
fn the_server_says_where_it_is() {
    let server = Program::start(&[]);
    let nothing = stdout(&["rooms", "list", "--url", &server.url(""), "--format", "json"]);
    assert_eq!(nothing, "[]\n");
    server.signal("TERM");
    let (status, log) = server.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("drained: every connection and every room has ended"), "{log}");
}

/// What is left of a server when its test is over.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn how_to_prove_it_can_be_pasted_into_a_shell() {
    let mut serve = innkeeper();
    serve.args(["serve", "--http", "127.0.0.1:0", "--kv", "off"]).stdout(Stdio::piped());
    let mut served = Served(serve.spawn().unwrap());
    let said = BufReader::new(served.0.stdout.take().unwrap()).lines();
    let command = said.map_while(Result::ok).find_map(|line| {
        line.trim_start().strip_prefix("prove it").map(|command| command.trim().to_owned())
    });
    let proven = Command::new("sh").args(["-c", &command.unwrap()]).output().unwrap();
    let text = String::from_utf8_lossy(&proven.stdout);
    assert!(proven.status.success() && text.contains("kept"), "{text}");
}

#[test]
fn completions_and_the_man_page_are_made_from_the_same_table() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(stdout(&["completions", shell]).contains("max-rooms"), "{shell}");
    }
    assert!(stdout(&["man"]).contains(".SH NAME\ninnkeeper"), "{}", stdout(&["man"]));
}

#[test]
fn each_command_has_its_man_page_with_what_its_exit_codes_say() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("man1");
    assert_eq!(stdout(&["man", "--dir", dir.to_str().unwrap()]), "");
    let page = |name: &str| std::fs::read_to_string(dir.join(format!("{name}.1"))).unwrap();
    assert_eq!(page("innkeeper"), stdout(&["man"]));
    let serve = page("innkeeper-serve");
    assert!(serve.contains("\\-\\-max\\-rooms"), "{serve}");
    for exit in Exit::ALL {
        let said = format!(".TP\n\\fB{}\\fR\n", exit.code());
        assert!(serve.contains(&said), "{serve}");
        // To stop at once is told of beside the refusal to start.
        assert!(exit.meaning("serve").is_some());
    }
    assert!(page("innkeeper-rooms-stop").contains("there is no such room"));
    assert!(!page("innkeeper-top").contains("\\fB1\\fR"), "it never says no");
    // What a page leads to is there.
    for name in page("innkeeper").split("innkeeper\\-").skip(1) {
        let name = name.split(['(', '\\']).next().unwrap();
        assert!(page(&format!("innkeeper-{name}")).contains(".SH NAME"), "{name}");
    }
}
