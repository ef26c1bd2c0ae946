//! How growth is drawn: which figures belong on one chart, and how their values are written.

use std::path::Path;
use std::process::ExitCode;

use crate::chart::{Chart, Goal, Line};

/// What `growth` printed, in the folder that the charts are put in.
const FIGURES: &str = "growth.txt";

/// Draws every chart into a folder, from the figures there.
pub(crate) fn draw(folder: &Path) -> Result<ExitCode, String> {
    let file = folder.join(FIGURES);
    let text = std::fs::read_to_string(&file);
    let text = text.map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    for (name, chart) in charts(&text)? {
        let file = folder.join(name);
        std::fs::write(&file, chart.draw())
            .map_err(|error| format!("{} cannot be written: {error}", file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The charts, each with the name of its file.
fn charts(figures: &str) -> Result<[(&'static str, Chart); 3], String> {
    let line = |name, what| Ok::<_, String>(Line { name, points: points(figures, what)? });
    let each = Chart {
        title: "What one room costs, however many there are",
        subtitle: "time for one of them; both axes logarithmic",
        across: "rooms on the node",
        x_text: count,
        y_text: time,
        lines: vec![
            line("find", "find")?,
            line("start", "start")?,
            line("stop when idle", "sweep")?,
            line("shutdown", "shutdown-each")?,
            line("hear of an end", "event")?,
        ],
        goals: Vec::new(),
    };
    let all = Chart {
        title: "What looks at all rooms",
        subtitle: "time for all of them together, with goals for a million; both axes logarithmic",
        across: "rooms on the node",
        x_text: count,
        y_text: time,
        lines: vec![line("shutdown", "shutdown")?, line("a page of 100", "page")?],
        goals: vec![
            Goal { at: (1e6, 2e9), text: "goal 2 s" },
            Goal { at: (1e6, 2e8), text: "goal 200 ms" },
        ],
    };
    let memory = Chart {
        title: "Memory of an idle room",
        subtitle: "resident bytes for each; both axes logarithmic",
        across: "rooms on the node",
        x_text: count,
        y_text: bytes,
        lines: vec![line("a room", "memory")?],
        goals: Vec::new(),
    };
    Ok([("growth-each.svg", each), ("growth-all.svg", all), ("growth-memory.svg", memory)])
}

/// The points of one figure, in the order of sizes.
fn points(figures: &str, what: &str) -> Result<Vec<(f64, f64)>, String> {
    let points = figures.lines().filter_map(|line| {
        let mut words = line.strip_prefix("ours growth ")?.split(' ');
        let (name, rooms) = words.next()?.rsplit_once('-')?;
        let (rooms, value) = (rooms.parse::<f64>().ok()?, words.next()?.parse::<f64>().ok()?);
        (name == what).then_some((rooms, value))
    });
    let mut points: Vec<_> = points.collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    if points.is_empty() { Err(format!("{FIGURES} has no figure {what}")) } else { Ok(points) }
}

fn count(value: f64) -> String {
    with_unit(value, 1000.0, &["", "k", "M", "G"])
}

/// Of nanoseconds.
fn time(value: f64) -> String {
    with_unit(value, 1000.0, &[" ns", " µs", " ms", " s"])
}

fn bytes(value: f64) -> String {
    with_unit(value, 1024.0, &[" B", " KiB", " MiB", " GiB"])
}

/// With as many digits as can be read.
fn with_unit(mut value: f64, base: f64, units: &[&str]) -> String {
    let mut units = units.iter();
    let mut unit = units.next().unwrap_or(&"");
    while value >= base * 0.9995 {
        let Some(next) = units.next() else { break };
        (value, unit) = (value / base, next);
    }
    let digits = if value >= 9.95 || (value - value.round()).abs() < 0.05 { 0 } else { 1 };
    format!("{value:.digits$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_points_of_a_figure_are_in_order_whatever_else_there_is() {
        let figures = "# a comment\n\
            ours growth start-10000 900 ns/room\n\
            ours growth start-1000 800.50 ns/room\n\
            ours growth restart-1000 1 ns/room\n\
            ours cold c1 5 starts/s\n";
        assert_eq!(points(figures, "start"), Ok(vec![(1000.0, 800.5), (10_000.0, 900.0)]));
        assert_eq!(points(figures, "page"), Err("growth.txt has no figure page".to_owned()));
    }

    #[test]
    fn values_are_written_with_the_unit_that_fits() {
        assert_eq!([1e3, 1e4, 1e6, 1e7].map(count), ["1k", "10k", "1M", "10M"]);
        assert_eq!([37.4, 999.9, 1940.0, 2e9].map(time), ["37 ns", "1 µs", "1.9 µs", "2 s"]);
        assert_eq!([568.0, 2048.0].map(bytes), ["568 B", "2 KiB"]);
    }

    #[test]
    fn the_charts_that_are_kept_are_what_the_figures_that_are_kept_look_like() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/plots");
        let figures = std::fs::read_to_string(folder.join(FIGURES)).expect("it is kept");
        for (name, chart) in charts(&figures).expect("they are whole") {
            let kept = std::fs::read_to_string(folder.join(name)).expect("it is kept");
            assert!(kept == chart.draw(), "{name}: run `innkeeper-bench plots docs/plots`");
        }
    }
}
