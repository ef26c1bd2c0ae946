//! The server beside others: `innkeeper-bench server` brings the same members into rooms of
//! innkeeper, Socket.IO and Colyseus, in turn, and prints what they heard and what it cost.

mod child;
mod crowd;
mod dialect;
mod http;
mod member;
pub(crate) mod pages;
mod shape;
#[cfg(test)]
mod tests;
pub(crate) mod unwatched;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use child::{Peer, Server, Usage};
use crowd::{Crowd, Heard};
use shape::Shape;

/// How long everybody is silent before what an idle member takes is measured.
const REST: Duration = Duration::from_secs(2);

/// Rooms over WebSocket, a message a room and second: `PEER WORKLOAD VARIANT VALUE UNIT`.
#[derive(Debug, Parser)]
#[command(name = "innkeeper-bench server")]
struct Args {
    /// Members in all; without it, one shape after the other.
    #[arg(long)]
    members: Option<usize>,
    /// Rooms that these are spread over.
    #[arg(long, default_value_t = 1000)]
    rooms: usize,
    /// One room more, with a member that does not read.
    #[arg(long)]
    slow: bool,
    /// How long they talk.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Only these.
    #[arg(long, value_enum)]
    peer: Vec<Peer>,
    /// The program to measure; without it, the one beside this one.
    #[arg(long)]
    innkeeper: Option<PathBuf>,
}

/// Runs it with the arguments behind `server`.
pub(crate) fn run(args: &[String]) -> ExitCode {
    let args = Args::parse_from(["server".to_owned()].iter().chain(args));
    open_many_files();
    let innkeeper = args.innkeeper.clone().unwrap_or_else(beside_this);
    let shapes = match args.members {
        None => Shape::all(args.seconds).to_vec(),
        Some(all) => {
            let (rooms, slow, seconds) = (args.rooms.max(1), args.slow, args.seconds);
            vec![Shape { rooms, members: all.div_ceil(rooms), slow, seconds }]
        }
    };
    let peers = if args.peer.is_empty() { Peer::ALL.to_vec() } else { args.peer };
    // The client has one thread; the servers have what they take.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    let mut is_whole = true;
    for shape in &shapes {
        for peer in &peers {
            let run = runtime.block_on(measure(*peer, &innkeeper, shape));
            let (peer, name) = (peer.name(), shape.name());
            is_whole &= match run {
                Ok(run) => run.print(peer, &name),
                Err(why) => {
                    println!("# {peer} {name}: {why}");
                    false
                }
            };
        }
    }
    if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// As many as the system lets this process have, and those that it starts.
fn open_many_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        eprintln!("# open files: {error}");
    }
}

fn beside_this() -> PathBuf {
    let this = std::env::current_exe().unwrap_or_default();
    this.with_file_name("innkeeper")
}

/// What one server did with one shape.
struct Run {
    came_in: Duration,
    talked: Duration,
    heard: Heard,
    /// Before anybody came, before the talk, and behind it.
    empty: Usage,
    full: Usage,
    talked_out: Usage,
}

async fn measure(peer: Peer, innkeeper: &std::path::Path, shape: &Shape) -> Result<Run, String> {
    let unknown = |error: std::io::Error| format!("what it uses is unknown: {error}");
    let server = Server::start(peer, innkeeper)?;
    tokio::time::sleep(REST).await;
    let empty = server.usage().map_err(unknown)?;
    let crowd = Crowd::come_in(peer, &server.address, shape).await?;
    let came_in = crowd.came_in;
    tokio::time::sleep(REST).await;
    let full = server.usage().map_err(unknown)?;
    let talked = crowd.talk().await;
    let talked_out = server.usage().map_err(unknown)?;
    let heard = crowd.leave().await;
    Ok(Run { came_in, talked, heard, empty, full, talked_out })
}

impl Run {
    /// Whether all was heard.
    fn print(&self, peer: &str, shape: &str) -> bool {
        let heard = &self.heard;
        let say = |variant: &str, value: f64, unit: &str| {
            println!("{peer} {shape} {variant} {value:.2} {unit}");
        };
        let member = |usage: &Usage| {
            let more = usage.resident_bytes.saturating_sub(self.empty.resident_bytes);
            more as f64 / heard.members.max(1) as f64
        };
        let cpu = self.talked_out.cpu_seconds - self.full.cpu_seconds;
        let milliseconds = |share| f64::from(heard.quantile_us(share)) / 1e3;
        say("members", heard.members as f64, "members");
        say("came-in", self.came_in.as_secs_f64(), "s");
        say("came-in-cpu", self.full.cpu_seconds - self.empty.cpu_seconds, "s");
        say("delivered", heard.delivered as f64 / self.talked.as_secs_f64(), "/s");
        say("delivered-per-cpu", heard.delivered as f64 / cpu, "/s");
        say("p50", milliseconds(0.5), "ms");
        say("p99", milliseconds(0.99), "ms");
        say("max", milliseconds(1.0), "ms");
        say("resident-idle", member(&self.full), "B/member");
        say("resident", member(&self.talked_out), "B/member");
        say("dropped", heard.dropped as f64, "members");
        say("missing", heard.missing as f64, "messages");
        say("disordered", heard.disordered as f64, "messages");
        if let Some(why) = &heard.why {
            println!("# {peer} {shape}: {} members were lost; the first: {why}", heard.lost);
        }
        heard.is_whole()
    }
}
