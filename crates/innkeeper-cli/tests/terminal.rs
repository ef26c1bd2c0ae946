//! The program in a real terminal: keys go in, and what is drawn is looked at.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Tests.

#[path = "support/missing.rs"]
mod missing;
#[path = "support/program.rs"]
mod program;

use std::process::Command;
use std::time::{Duration, Instant};

use program::Program;

/// A terminal of its own; ended when dropped.
struct Terminal {
    socket: String,
}

impl Terminal {
    /// Runs a command in a new terminal; `None` where there is no tmux.
    fn run(test: &str, command: &str) -> Option<Terminal> {
        let found = Command::new("tmux").arg("-V").output().map(drop);
        missing::or_skip(test, found.map_err(|error| format!("tmux is not installed: {error}")))?;
        let terminal = Terminal { socket: format!("innkeeper-{}-{test}", std::process::id()) };
        // It is kept after the end, so that what was printed can be read.
        let script = format!("{command}; echo \"ended with $?\"; sleep 60");
        let size = ["-x", "100", "-y", "30"];
        terminal.tmux(&[&["new-session", "-d", "-s", "t"], &size[..], &[&script]].concat());
        Some(terminal)
    }

    fn tmux(&self, args: &[&str]) -> String {
        let mut tmux = Command::new("tmux");
        tmux.args(["-L", &self.socket, "-f", "/dev/null"]).args(args).env("TERM", "xterm-256color");
        let output = tmux.output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn press(&self, key: &str) {
        self.tmux(&["send-keys", "-t", "t", key]);
    }

    /// Waits until the screen shows a text, and answers the screen.
    fn shows(&self, text: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let screen = self.tmux(&["capture-pane", "-p", "-t", "t"]);
            if screen.contains(text) {
                return screen;
            }
            assert!(Instant::now() < deadline, "never showed {text:?}:\n{screen}");
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let kill = ["-L", &self.socket, "kill-server"];
        let _ = Command::new("tmux").args(kill).output();
    }
}

fn start(server: &Program, room: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let url = server.url(&format!("/api/rooms/{room}"));
    let post = reqwest::Client::builder().no_proxy().build().unwrap().post(url).send();
    assert!(runtime.block_on(post).unwrap().status().is_success());
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_innkeeper");

#[test]
fn top_shows_the_rooms_takes_keys_and_leaves_the_terminal_as_it_was() {
    let server = Program::start(&[]);
    start(&server, "lobby");
    let command = format!("echo before; {PROGRAM} top --url {}", server.url(""));
    let Some(terminal) = Terminal::run("top", &command) else { return };
    let screen = terminal.shows("lobby");
    assert!(screen.contains("1 rooms") && screen.contains("order: messages"), "{screen}");
    assert!(!screen.contains("before"), "{screen}");
    terminal.press("Right");
    terminal.shows("order: members");
    // What happens is seen without a key.
    start(&server, "garden");
    terminal.shows("2 rooms");
    terminal.shows("garden");
    drop(server);
    terminal.shows("nobody answers there");
    terminal.press("q");
    let screen = terminal.shows("ended with 0");
    assert!(screen.contains("before") && !screen.contains("order:"), "{screen}");
}

#[test]
fn top_says_what_is_wrong_before_it_takes_the_terminal() {
    let command = format!("{PROGRAM} top --url http://127.0.0.1:9");
    let Some(terminal) = Terminal::run("nobody", &command) else { return };
    let screen = terminal.shows("ended with 2");
    assert!(screen.contains("nobody answers there"), "{screen}");
}

#[test]
fn load_shows_how_far_it_is_and_then_what_it_measured() {
    let server = Program::start(&[]);
    let load = "--rooms 3 --members 3 --rate 200 --duration 3s";
    let command = format!("{PROGRAM} load --url {} {load}", server.url(""));
    let Some(terminal) = Terminal::run("load", &command) else { return };
    terminal.shows("delivered █");
    let screen = terminal.shows("ended with 0");
    assert!(screen.contains("kept: every message reached every member"), "{screen}");
}
