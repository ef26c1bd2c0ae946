//! `innkeeper race`: races, and prints what it showed.

use crate::args::RaceArgs;
use crate::error::Failure;
use crate::exit::Exit;
use crate::output;
use crate::race::remote::Servers;
use crate::race::{self, Contender, Plan, Report, keyed};

pub(crate) fn run(args: &RaceArgs) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let report = runtime.map_err(Failure::new)?.block_on(carry_out(args))?;
    print(args, &report);
    Ok(report.is_kept().into())
}

async fn carry_out(args: &RaceArgs) -> Result<Report, Failure> {
    if args.url.is_empty() {
        let rooms = keyed::Rooms::open(args.chaos).await.map_err(Failure::new)?;
        return Ok(go(&rooms, args).await);
    }
    let servers = Servers::at(&args.url, &args.trust)?;
    // One question first: a wrong address is not to be reported ten thousand times.
    if let Err(error) = servers.get_or_start(&args.key).await {
        return Err(Failure::new(error));
    }
    servers.stop(&args.key).await;
    Ok(go(&servers, args).await)
}

async fn go<C: Contender>(contender: &C, args: &RaceArgs) -> Report {
    let plan = Plan {
        key: args.key.clone(),
        callers: args.callers,
        rounds: args.rounds,
        chaos: args.chaos,
    };
    let bar = output::progress(args.rounds, "racing");
    let report = race::run(contender, &plan, || bar.inc(1)).await;
    bar.finish_and_clear();
    report
}

fn print(args: &RaceArgs, report: &Report) {
    let mut cells = vec![
        ("callers", format!("{} at once, {} rounds", report.callers, report.rounds)),
        (
            "incarnations",
            match report.chaos {
                false => format!("{} in a round", report.incarnations_in_a_round_max),
                true => format!("{}, one after the other", report.incarnations),
            },
        ),
        ("told \"started\"", report.started.to_string()),
    ];
    if let Some(alive) = report.alive_at_once_max {
        cells.push(("alive at once", format!("{alive} at most, from construction to drop")));
    }
    if report.cancelled > 0 {
        cells.push(("gave up", report.cancelled.to_string()));
    }
    for (why, callers) in &report.refused {
        cells.push(("refused", format!("{callers}: {why}")));
    }
    cells.push(("waited", format!("p50 {} us, p99 {} us", report.p50_us, report.p99_us)));
    for violation in &report.violations {
        cells.push(("BROKEN", violation.clone()));
    }
    if report.is_kept() {
        cells.push(("promise", "kept: one key, one process".to_owned()));
    }
    output::one(args.format, report, &cells);
}
