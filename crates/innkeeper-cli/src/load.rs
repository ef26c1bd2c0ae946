//! `innkeeper load`: members in rooms over WebSocket, who talk at a given rate and note whatever
//! was not delivered, not in order, or by another incarnation.

mod door;
mod member;
mod report;
mod tokens;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use innkeeper_api::RoomKey;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::args::LoadArgs;
use crate::clock;
use crate::error::Failure;
use crate::exit::Exit;
use crate::output;

use door::Door;
use member::Heard;
use report::Report;
use tokens::Guests;
pub use tokens::TokenArgs;

/// How long all members have to come in, and how long the last messages may be under way.
const COME_IN: Duration = Duration::from_secs(120);
/// See [`COME_IN`].
const SETTLE: Duration = Duration::from_secs(10);

/// What all members do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    ComeIn,
    /// Talk, by a schedule that begins at this instant.
    Talk(Instant),
    /// Say nothing new, and hear the rest.
    Settle,
}

/// What the members of all rooms share.
#[derive(Debug, Default)]
struct Shared {
    joined: AtomicUsize,
    delivered: AtomicU64,
}

/// What the members of one room share.
#[derive(Debug)]
struct Room {
    key: RoomKey,
    /// Members who may still say something, or wait for an answer.
    talking: AtomicUsize,
    /// The highest number that any of them was answered.
    answered: AtomicU64,
}

pub(crate) fn run(args: &LoadArgs) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let report = runtime.map_err(Failure::new)?.block_on(load(args))?;
    report.print(args.format);
    Ok(report.is_kept().into())
}

async fn load(args: &LoadArgs) -> Result<Report, Failure> {
    let doors = args.url.iter().map(|url| Door::at(url, &args.trust).map(Arc::new));
    let doors = doors.collect::<Result<Vec<_>, _>>()?;
    let guests = Guests::of(&args.tokens)?;
    for door in &doors {
        // One first: what is wrong for all is said once, with what to try.
        let mut socket = door.open(&guests.guest(0)?).await?;
        let _ = socket.close(None).await;
    }
    let all = args.rooms * args.members;
    let (say, phase) = watch::channel(Phase::ComeIn);
    let shared = Arc::new(Shared::default());
    let mut members = JoinSet::new();
    for room in 0..args.rooms {
        let key = format!("{}{room}", args.prefix).parse().map_err(|error| {
            Failure::new(format_args!("--prefix: {error}")).try_next("a shorter one")
        })?;
        let (talking, answered) = (AtomicUsize::new(args.members), AtomicU64::new(0));
        let room = Arc::new(Room { key, talking, answered });
        for _ in 0..args.members {
            let n = members.len();
            let plan = member::Plan {
                guest: guests.guest(n)?,
                door: doors[n % doors.len()].clone(),
                room: room.clone(),
                shared: shared.clone(),
                // Evenly spread over time, whoever says it.
                every: Duration::from_secs_f64(all as f64 / args.rate as f64),
                first: Duration::from_secs_f64(n as f64 / args.rate as f64),
            };
            members.spawn(member::run(plan, phase.clone()));
        }
    }
    come_in(&mut members, &shared, all).await?;
    let began = clock::now();
    let _ = say.send(Phase::Talk(began));
    talk(args, &shared).await;
    let talked = began.elapsed();
    let _ = say.send(Phase::Settle);
    let mut report = Report::new(args, talked);
    while let Some(member) = members.join_next().await {
        match member.map_err(Failure::new)? {
            Ok(heard) => report.add(heard),
            Err(why) => report.lose(why),
        }
    }
    report.compare();
    Ok(report)
}

/// Waits until everybody is in. Whoever does not come in ends it all.
async fn come_in(
    members: &mut JoinSet<Result<Heard, String>>,
    shared: &Shared,
    all: usize,
) -> Result<(), Failure> {
    let bar = output::progress(all, "coming in");
    let began = clock::now();
    let outcome = loop {
        let joined = shared.joined.load(Ordering::Acquire);
        bar.set_position(joined as u64);
        if joined == all {
            break Ok(());
        }
        if began.elapsed() > COME_IN {
            let what = format!("only {joined} of {all} members came in within {COME_IN:?}");
            break Err(Failure::new(what).try_next("fewer --rooms or --members"));
        }
        // Nobody ends before everybody has come in, except by failing.
        if let Ok(Some(ended)) = timeout(Duration::from_millis(100), members.join_next()).await {
            let why = ended.map_err(Failure::new)?.err().unwrap_or_default();
            break Err(Failure::new(why).try_next("`innkeeper serve` there, or another --url"));
        }
    };
    bar.finish_and_clear();
    outcome
}

/// Lets them talk, and shows how much was delivered.
async fn talk(args: &LoadArgs, shared: &Shared) {
    let began = clock::now();
    let bar = output::progress(args.duration.as_millis() as usize, "talking");
    while began.elapsed() < args.duration {
        let left = args.duration.saturating_sub(began.elapsed());
        tokio::time::sleep(left.min(Duration::from_millis(100))).await;
        bar.set_position(began.elapsed().min(args.duration).as_millis() as u64);
        bar.set_message(format!("{} delivered", shared.delivered.load(Ordering::Relaxed)));
    }
    bar.finish_and_clear();
}
