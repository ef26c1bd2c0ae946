//! Growth, as a program: a small size prints each figure that the charts are made of.

#![allow(clippy::unwrap_used)] // What a test unwraps is what it asserts.

use std::process::Command;

fn bench(args: &[&str]) -> (bool, String) {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_innkeeper-bench"));
    let output = bench.args(args).env("BENCH_GROWTH_ROUNDS", "1").output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), printed.into_owned())
}

#[test]
fn a_thousand_rooms_give_every_figure_and_figures_give_the_charts() {
    let (ok, printed) = bench(&["growth", "--max", "1000"]);
    assert!(ok, "{printed}");
    let lines: Vec<Vec<_>> = printed.lines().map(|line| line.split(' ').collect()).collect();
    let names: Vec<_> = lines.iter().map(|line| line[2]).collect();
    assert_eq!(
        names,
        [
            "start-1000",
            "find-1000",
            "event-1000",
            "page-1000",
            "shutdown-1000",
            "shutdown-each-1000",
            "sweep-1000",
            "memory-1000"
        ]
    );
    for line in lines {
        assert_eq!((line.len(), &line[..2]), (5, &["ours", "growth"][..]), "{line:?}");
        assert!(line[3].parse::<f64>().unwrap() > 0.0, "{line:?}");
    }
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(folder.join("growth.txt"), printed).unwrap();
    let (ok, printed) = bench(&["plots", folder.to_str().unwrap()]);
    assert!(ok, "{printed}");
    let chart = std::fs::read_to_string(folder.join("growth-each.svg")).unwrap();
    assert!(chart.starts_with("<svg ") && chart.ends_with("</svg>\n"), "{chart}");
}

#[test]
fn a_size_that_is_none_is_named() {
    let (ok, printed) = bench(&["growth", "--max", "few"]);
    assert!(!ok && printed.contains("got few"), "{printed}");
}
