//! What looking costs where there are many rooms: pages of the list and all else that a dashboard
//! asks for, and how long calls of another room take meanwhile.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use tokio::sync::watch;

use super::child::{Peer, Server};
use super::http::Http;

/// Requests in one write while rooms are started.
const AT_ONCE: usize = 200;

/// How often each is asked for.
const REPEATED: usize = 3;

/// For how long a server does not look at a million rooms again.
const STALE: Duration = Duration::from_secs(10);

/// `ours pages PAGE VALUE ms`: until a page was there, the server's processor time for it, and the
/// longest call of another room meanwhile.
#[derive(Debug, Parser)]
#[command(name = "innkeeper-bench pages")]
struct Args {
    #[arg(long, default_value_t = 1_000_000)]
    rooms: usize,
    /// The program to measure; without it, the one beside this one.
    #[arg(long)]
    innkeeper: Option<PathBuf>,
}

/// Runs it with the arguments behind `pages`.
pub(crate) fn run(args: &[String]) -> ExitCode {
    let args = Args::parse_from(["pages".to_owned()].iter().chain(args));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.expect("a runtime can be made").block_on(measure(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("# pages: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(args: &Args) -> Result<(), String> {
    let innkeeper = args.innkeeper.clone().unwrap_or_else(super::beside_this);
    let more = (args.rooms + 1).to_string();
    let flags = ["--idle-after", "1h", "--max-rooms", more.as_str()];
    let server = Server::start_with(Peer::Ours, &innkeeper, &flags)?;
    let measured = async {
        fill(&server, args.rooms).await?;
        let resident = server.usage()?.resident_bytes as f64;
        crate::measure::figure("pages", "resident", resident / args.rooms as f64, "B/room");
        let quiet = calls_during(&server, tokio::time::sleep(Duration::from_secs(2))).await?;
        say("nothing", "longest-call", quiet.1);
        let late = key(args.rooms - args.rooms / 100);
        let last = args.rooms - 1;
        let pages = [
            ("first", "/api/rooms?limit=51".to_owned()),
            ("late", format!("/api/rooms?limit=51&after={late}")),
            ("search-many", "/api/rooms?limit=51&contains=-000".to_owned()),
            ("search-one", format!("/api/rooms?limit=51&contains={last:07}")),
            ("sorted", "/api/rooms?limit=51&sort=messages".to_owned()),
            ("newest", "/api/rooms?limit=51&sort=newest".to_owned()),
            ("sorted-search", "/api/rooms?limit=51&sort=members&contains=-0001".to_owned()),
            ("by-state", "/api/rooms?limit=51&state=live".to_owned()),
            ("one-room", format!("/api/rooms/{late}")),
            ("overview", "/api/overview".to_owned()),
            ("tree", "/api/tree".to_owned()),
            ("metrics", "/metrics".to_owned()),
            ("nodes", "/api/nodes".to_owned()),
        ];
        for (name, path) in pages {
            page(&server, name, &path).await?;
        }
        Ok(())
    };
    measured.await.map_err(|error: io::Error| error.to_string())
}

fn key(n: usize) -> String {
    format!("table-{n:07}")
}

/// Opens rooms over a few connections.
async fn fill(server: &Server, rooms: usize) -> io::Result<()> {
    let began = Instant::now();
    let lane = async |lane: usize| {
        let mut http = Http::connect(&server.address).await?;
        let keys: Vec<_> =
            (lane..rooms).step_by(4).map(|n| format!("/api/rooms/{}", key(n))).collect();
        for some in keys.chunks(AT_ONCE) {
            http.post_each(some).await?;
        }
        Ok::<_, io::Error>(())
    };
    tokio::try_join!(lane(0), lane(1), lane(2), lane(3))?;
    println!("# pages: {rooms} rooms in {:.1?}", began.elapsed());
    Ok(())
}

/// A few times with nothing beside it, the slowest of which counts, for a look at all rooms is
/// fresh for a while; and once more beside calls.
async fn page(server: &Server, name: &str, path: &str) -> io::Result<()> {
    let mut http = Http::connect(&server.address).await?;
    let mut slowest = (Duration::ZERO, Duration::ZERO);
    for _ in 0..REPEATED {
        let before = server.run_time()?;
        let took = http.get(path).await?;
        slowest = slowest.max((took, server.run_time()? - before));
    }
    tokio::time::sleep(STALE).await;
    // A connection that rests for so long is closed.
    let mut http = Http::connect(&server.address).await?;
    let (answer, call) = calls_during(server, http.get(path)).await?;
    say(name, "took", slowest.0);
    say(name, "cpu", slowest.1);
    say(name, "beside-calls", answer?);
    say(name, "longest-call", call);
    Ok(())
}

/// Calls a room, one call after the other, for as long as that takes; the longest of them.
async fn calls_during<T>(
    server: &Server,
    looked: impl Future<Output = T>,
) -> io::Result<(T, Duration)> {
    let mut http = Http::connect(&server.address).await?;
    let path = format!("/api/rooms/{}/members", key(7));
    http.get(&path).await?;
    let (over, is_over) = watch::channel(false);
    let calls = async {
        let mut longest = Duration::ZERO;
        while !*is_over.borrow() {
            longest = longest.max(http.get(&path).await?);
        }
        Ok::<_, io::Error>(longest)
    };
    let looked = async {
        let looked = looked.await;
        over.send_replace(true);
        looked
    };
    let (looked, longest) = tokio::join!(looked, calls);
    Ok((looked, longest?))
}

fn say(page: &str, what: &str, time: Duration) {
    crate::measure::figure("pages", &format!("{page}-{what}"), time.as_secs_f64() * 1e3, "ms");
}
