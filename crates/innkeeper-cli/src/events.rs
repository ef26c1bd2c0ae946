//! `innkeeper events`: what happens to rooms and buckets, a line each, as it happens.

use std::time::Duration;

use hyper::Method;
use innkeeper_api::{Event, Gap};

use crate::args::{EventsArgs, Format};
use crate::client::Client;
use crate::error::Failure;
use crate::exit::Exit;
use crate::output;

/// How long is listened without `--follow`.
const A_MOMENT: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &EventsArgs) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Failure::new)?.block_on(listen(args))?;
    Ok(Exit::Yes)
}

async fn listen(args: &EventsArgs) -> Result<(), Failure> {
    let client = Client::new(&args.server)?;
    let mut stream = client.stream(Method::GET, "/api/events").await.map_err(Failure::from)?;
    let mut parts = Parts::default();
    let hear = async {
        while let Some(chunk) = stream.chunk().await? {
            for said in parts.push(&String::from_utf8_lossy(&chunk)) {
                match said {
                    Said::Event(event) => print(args.server.format, &event),
                    Said::Gap(gap) => output::talk(&words(&gap)),
                }
            }
        }
        Err(Failure::new("the server has ended the stream").try_next("the same again"))
    };
    if args.follow {
        return hear.await;
    }
    // Silence is an answer too.
    tokio::time::timeout(A_MOMENT, hear).await.unwrap_or(Ok(()))
}

fn print(format: Format, event: &Event) {
    let reason = event.reason.as_deref().unwrap_or("-");
    let words = [&event.event, &event.kind, &event.key, &event.node, &event.incarnation, reason];
    output::line(format, event, &words, &[9, 6, 24, 8, 20, 0]);
}

/// What the stream said.
#[derive(Debug, PartialEq)]
enum Said {
    Event(Event),
    Gap(Gap),
}

fn words(gap: &Gap) -> String {
    let node = output::printable(&gap.node);
    match gap.missed {
        Some(missed) => format!("{missed} events of {node} came too fast and are not shown"),
        None => format!("{node} could not be heard for a while: its events then are not shown"),
    }
}

/// Server-sent events, put together from however they were cut.
#[derive(Default)]
struct Parts {
    rest: String,
}

impl Parts {
    fn push(&mut self, text: &str) -> Vec<Said> {
        self.rest += text;
        let mut said = Vec::new();
        while let Some(end) = self.rest.find("\n\n") {
            let part: String = self.rest.drain(..end + 2).collect();
            said.extend(read(&part));
        }
        said
    }
}

/// A comment, which only says that the stream is there, says nothing.
fn read(part: &str) -> Option<Said> {
    let field = |name: &str| part.lines().find_map(|line| line.strip_prefix(name));
    let data = field("data: ")?;
    if field("event: ") == Some("lagged") {
        return serde_json::from_str(data).ok().map(Said::Gap);
    }
    serde_json::from_str(data).ok().map(Said::Event)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": here\n\nevent: started\ndata: {\"event\":\"started\",\"kind\":\"room\",\
        \"key\":\"a\",\"incarnation\":\"1-2\",\"node\":\"n\"}\n\n\
        event: lagged\ndata: {\"node\":\"n\",\"missed\":7}\n\nevent: st";

    #[test]
    fn a_stream_is_read_however_it_is_cut() {
        let whole = Parts::default().push(STREAM);
        assert_eq!(whole.len(), 2);
        assert!(matches!(&whole[0], Said::Event(event) if event.key == "a"), "{whole:?}");
        assert_eq!(whole[1], Said::Gap(Gap { node: "n".to_owned(), missed: Some(7) }));
        for cut in 1..STREAM.len() {
            let mut parts = Parts::default();
            let mut said = parts.push(&STREAM[..cut]);
            said.extend(parts.push(&STREAM[cut..]));
            assert_eq!(said, whole, "cut at {cut}");
        }
    }
}
