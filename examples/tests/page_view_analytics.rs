//! Nothing that was counted is lost by a signal in the midst of it all.

// What a test unwraps is what it asserts.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::process::Stdio;
use std::time::Duration;

use rusqlite::Connection;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::task::JoinSet;

const SOON: Duration = Duration::from_secs(60);

/// Views pages until somebody does not answer any more; answers how often which was counted, and
/// the one whose answer never came.
async fn view(client: reqwest::Client, url: String, viewer: usize) -> HashMap<String, u64> {
    let mut counted = HashMap::new();
    for n in 0.. {
        let path = format!("page/{}", (viewer + n) % 7);
        let answer = client.post(format!("{url}/view/{path}")).send().await;
        match answer {
            Ok(answer) if answer.status().is_success() => *counted.entry(path).or_default() += 1,
            Ok(_) | Err(_) => break,
        }
    }
    counted
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_counted_before_a_signal_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("views.sqlite");
    let mut program = Command::new(env!("CARGO_BIN_EXE_page_view_analytics"));
    program.arg(&path).env("PORT", "0").stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = program.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = tokio::time::timeout(SOON, lines.next_line()).await.unwrap().unwrap().unwrap();
    let url = first.replace("listening at ", "http://");

    let client = reqwest::Client::new();
    const VIEWERS: usize = 8;
    let mut viewers = JoinSet::new();
    for viewer in 0..VIEWERS {
        viewers.spawn(view(client.clone(), url.clone(), viewer));
    }
    // Under load: a part is written already, a part is in memory, and more is on its way.
    let wanted = client.post(format!("{url}/view/seen"));
    for _ in 0..300 {
        wanted.try_clone().unwrap().send().await.unwrap().error_for_status().unwrap();
    }
    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());

    let mut counted = HashMap::from([("seen".to_owned(), 300)]);
    for (page, count) in viewers.join_all().await.into_iter().flatten() {
        *counted.entry(page).or_default() += count;
    }
    let last = tokio::time::timeout(SOON, lines.next_line()).await.unwrap().unwrap().unwrap();
    assert_eq!(last, "shut down in order: true");
    assert!(tokio::time::timeout(SOON, child.wait()).await.unwrap().unwrap().success());

    let database = Connection::open(&path).unwrap();
    let mut written = 0;
    for (page, count) in &counted {
        let query = "SELECT count FROM views WHERE path = ?1";
        let kept = database.query_row(query, [page], |row| row.get::<_, i64>(0)).unwrap();
        let kept = u64::try_from(kept).unwrap();
        assert!(kept >= *count, "{page}: {count} were answered, {kept} are kept");
        written += kept;
    }
    // At most one of each viewer was counted and its answer lost on the way.
    let answered: u64 = counted.values().sum();
    assert!(written <= answered + VIEWERS as u64, "{answered} answered, {written} kept");
    assert!(answered > 300, "there was load");
}
