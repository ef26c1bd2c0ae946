//! `innkeeper top`: a server in this terminal, looked at once a second.

mod screen;

use std::io;
use std::time::Duration;

use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use futures_util::StreamExt;
use hyper::Method;
use innkeeper_api::{Overview, RoomsPage};
use ratatui::backend::TestBackend;
use ratatui::{DefaultTerminal, Terminal};
use serde::Serialize;
use tokio::time::sleep;

use crate::args::{Format, TopArgs};
use crate::client::{Client, Refused};
use crate::error::Failure;
use crate::exit::Exit;
use crate::output;

use screen::{SORTS, Screen};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// Rooms that are asked for: as many as a tall terminal shows.
const ROOMS: &str = "100";

/// The picture of `--once`.
const ONCE: (u16, u16) = (100, 24);

/// One look, as `--format json` prints it.
#[derive(Debug, Serialize)]
pub(crate) struct Look {
    pub(crate) overview: Overview,
    pub(crate) rooms: Vec<innkeeper_api::RoomInfo>,
}

pub(crate) fn run(args: &TopArgs) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::new)?;
    let client = Client::new(&args.server)?;
    let format = args.server.format;
    if args.once || format != Format::Table || !output::is_terminal() {
        let look = runtime.block_on(look(&client, SORTS[0].0)).map_err(Failure::from)?;
        print(format, look)?;
        return Ok(Exit::Yes);
    }
    // The first look before the screen is taken: what is wrong is said where it can be read.
    let first = runtime.block_on(look(&client, SORTS[0].0)).map_err(Failure::from)?;
    let mut screen = Screen::new(args.server.url.clone());
    screen.see(first);
    let mut terminal = ratatui::try_init().map_err(Failure::new)?;
    let watched = runtime.block_on(watch(&client, &mut terminal, screen));
    ratatui::restore();
    watched.map_err(Failure::new)?;
    Ok(Exit::Yes)
}

async fn look(client: &Client, sort: &str) -> Result<Look, Refused> {
    let overview = client.ask(Method::GET, "/api/overview", &[]).await?;
    // On a cluster, like the numbers: those of the node that is asked.
    let query = [("sort", sort), ("limit", ROOMS), ("here", "true")];
    let page: RoomsPage = client.ask(Method::GET, "/api/rooms", &query).await?;
    Ok(Look { overview, rooms: page.rooms })
}

fn print(format: Format, look: Look) -> Result<(), Failure> {
    match format {
        Format::Json => output::one(format, &look, &[]),
        Format::Plain => {
            let numbers = look.overview.now.iter().chain(&look.overview.total);
            let cells: Vec<_> = numbers.map(|(name, n)| (name.as_str(), n.to_string())).collect();
            output::one(format, &(), &cells);
        }
        Format::Table => {
            let mut screen = Screen::new(String::new());
            screen.see(look);
            let mut terminal =
                Terminal::new(TestBackend::new(ONCE.0, ONCE.1)).map_err(Failure::new)?;
            terminal.draw(|frame| screen.draw(frame)).map_err(Failure::new)?;
            output::picture(&screen::as_text(terminal.backend().buffer()));
        }
    }
    Ok(())
}

/// Looks and draws until somebody has seen enough.
async fn watch(
    client: &Client,
    terminal: &mut DefaultTerminal,
    mut screen: Screen,
) -> io::Result<()> {
    let mut keys = EventStream::new();
    // A server that does not answer holds up no key.
    let ask = |sort, wait| async move {
        sleep(wait).await;
        look(client, sort).await
    };
    let mut asked = Box::pin(ask(screen.sort(), EVERY));
    loop {
        terminal.draw(|frame| screen.draw(frame))?;
        tokio::select! {
            seen = &mut asked => {
                match seen {
                    Ok(look) => screen.see(look),
                    Err(refused) => screen.miss(&Failure::from(refused)),
                }
                asked.set(ask(screen.sort(), EVERY));
            }
            event = keys.next() => match event {
                Some(Ok(Event::Key(key))) if ends(&key) => return Ok(()),
                Some(Ok(Event::Key(key))) if turn(&mut screen, &key) => {
                    asked.set(ask(screen.sort(), Duration::ZERO));
                }
                Some(Ok(_)) => {}
                // The terminal has gone.
                Some(Err(_)) | None => return Ok(()),
            },
        }
    }
}

fn ends(key: &KeyEvent) -> bool {
    let is_interrupt =
        key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press
        && (is_interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}

/// Whether a key has changed what is asked for.
fn turn(screen: &mut Screen, key: &KeyEvent) -> bool {
    match key.code {
        KeyCode::Left => screen.order(-1),
        KeyCode::Right | KeyCode::Tab => screen.order(1),
        _ => return false,
    }
    true
}
