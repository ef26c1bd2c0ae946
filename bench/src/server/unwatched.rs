//! What a dashboard costs a loaded server that nobody looks at: two servers under the same load at
//! the same time, and a dashboard that is opened at one of them and closed again.
//!
//! Both have the same hour of the same machine, and each is the one with the dashboard in turn:
//! what is left is what the dashboard costs.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::child::{Peer, Server};
use super::crowd::Crowd;
use super::http::Http;
use super::shape::Shape;

/// How often a page asks: `EVERY_MS` of the dashboard's desk.js.
const EVERY: Duration = Duration::from_secs(2);

/// What an open dashboard asks for: what is always shown, and the page that takes the most.
const ASKED: [&str; 2] = ["/api/overview", "/api/rooms?sort=messages&limit=51&here=true"];

/// What is read once.
const FILES: [&str; 2] = ["/dashboard", "/assets/dashboard.js"];

/// After each change, until what it left behind is done.
const SETTLE: Duration = Duration::from_millis(500);

/// `ours unwatched VARIANT VALUE UNIT`: processor time of the server with the dashboard, to that of
/// the one without, while it is open and after it was closed.
#[derive(Debug, Parser)]
#[command(name = "innkeeper-bench unwatched")]
struct Args {
    /// Rooms of each server, a message a second in each.
    #[arg(long, default_value_t = 1000)]
    rooms: usize,
    /// Members of each room.
    #[arg(long, default_value_t = 4)]
    members: usize,
    /// How long each part of a round is measured.
    #[arg(long, default_value_t = 6)]
    seconds: u32,
    /// How often; each server has the dashboard in every other round.
    #[arg(long, default_value_t = 4)]
    rounds: usize,
    /// The program to measure; without it, the one beside this one.
    #[arg(long)]
    innkeeper: Option<PathBuf>,
}

/// Runs it with the arguments behind `unwatched`.
pub(crate) fn run(args: &[String]) -> ExitCode {
    let args = Args::parse_from(["unwatched".to_owned()].iter().chain(args));
    super::open_many_files();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let mut runs = Vec::new();
    for round in 0..args.rounds {
        let run = runtime.as_ref().expect("a runtime can be made").block_on(round_of(&args, round));
        match run {
            Ok(run) => runs.push(run),
            Err(why) => {
                println!("# unwatched: {why}");
                return ExitCode::FAILURE;
            }
        }
    }
    type Of = fn(&Round) -> f64;
    let parts: [(&str, Of); 3] = [
        ("server-cpu", |round| round.load * 100.0),
        ("watched", |round| (round.watched / round.before - 1.0) * 100.0),
        ("closed-again", |round| (round.after / round.before - 1.0) * 100.0),
    ];
    for (name, of) in parts {
        let mut values: Vec<f64> = runs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        let shown: Vec<_> = values.iter().map(|value| format!("{value:.2}")).collect();
        let middle = crate::measure::percentile(&values, 0.5);
        crate::measure::figure("unwatched", name, middle, "%");
        println!("# unwatched {name}: {}", shown.join(" "));
    }
    ExitCode::SUCCESS
}

/// Processor time of the server with the dashboard, to that of the other one, in each part.
struct Round {
    before: f64,
    watched: f64,
    after: f64,
    /// Of one processor, before anybody looked.
    load: f64,
}

async fn round_of(args: &Args, round: usize) -> Result<Round, String> {
    let innkeeper = args.innkeeper.clone().unwrap_or_else(super::beside_this);
    // Three parts, and what is between them.
    let seconds = 3 * args.seconds + 4;
    let shape = Shape { rooms: args.rooms, members: args.members, slow: false, seconds };
    let servers = [Server::start(Peer::Ours, &innkeeper)?, Server::start(Peer::Ours, &innkeeper)?];
    let [a, b] = &servers;
    let crowds = [
        Crowd::come_in(Peer::Ours, &a.address, &shape).await?,
        Crowd::come_in(Peer::Ours, &b.address, &shape).await?,
    ];
    let looked_at = &servers[round % 2];
    let measured = async {
        sleep(SETTLE).await;
        let (before, load) = ratio(args, &servers, round).await?;
        let watching = watch(&looked_at.address);
        let (watched, _) = tokio::select! {
            ended = watching => return Err(ended.expect_err("it watches until it is dropped")),
            ratio = async { sleep(SETTLE).await; ratio(args, &servers, round).await } => ratio?,
        };
        sleep(SETTLE).await;
        let (after, _) = ratio(args, &servers, round).await?;
        Ok(Round { before, watched, after, load })
    };
    let [a, b] = &crowds;
    let (measured, ..) = tokio::join!(measured, a.talk(), b.talk());
    for crowd in crowds {
        let heard = crowd.leave().await;
        if !heard.is_whole() {
            return Err(format!("not every message was heard: {:?}", heard.why));
        }
    }
    measured.map_err(|error: io::Error| error.to_string())
}

/// What the one takes for what the other takes, and the share of a processor of the other.
async fn ratio(args: &Args, servers: &[Server; 2], round: usize) -> io::Result<(f64, f64)> {
    let (looked_at, other) = (&servers[round % 2], &servers[(round + 1) % 2]);
    let time = Duration::from_secs(args.seconds.into());
    let before = (looked_at.run_time()?, other.run_time()?);
    sleep(time).await;
    let (one, two) = (looked_at.run_time()? - before.0, other.run_time()? - before.1);
    Ok((one.as_secs_f64() / two.as_secs_f64(), two.as_secs_f64() / time.as_secs_f64()))
}

/// Somebody with the dashboard open, who hears the events, until it is dropped.
async fn watch(address: &str) -> io::Result<()> {
    let (mut page, mut events) = (Http::connect(address).await?, Http::connect(address).await?);
    for file in FILES {
        page.get(file).await?;
    }
    events.listen("/api/events").await?;
    let mut turns = interval(EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        for path in ASKED {
            page.get(path).await?;
        }
    }
}
