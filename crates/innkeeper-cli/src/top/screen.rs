//! What the terminal shows: how it goes, what is wrong, and the first rooms in some order.

use std::collections::VecDeque;
use std::fmt::Display;

use innkeeper_api::{Level, Overview, RoomInfo};
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Sparkline, Table};

use super::Look;
use crate::output::printable;
use crate::rooms::uptime;

/// The orders of the list: what the server calls them, and what people do.
pub(super) const SORTS: [(&str, &str); 6] = [
    ("messages", "messages"),
    ("members", "members"),
    ("mailbox", "mailbox"),
    ("restarts", "restarts"),
    ("newest", "newest"),
    ("key", "key"),
];

const HEAD: [&str; 7] = ["ROOM", "STATE", "MEMBERS", "MESSAGES", "MAILBOX", "RESTARTS", "FOR"];

/// How many of these are of words; the rest are of numbers.
const WORDS: usize = 2;

const BRASS: Color = Color::Yellow;

/// Rates of the past that the small charts show.
const POINTS: usize = 120;

/// Lines for what is wrong, at most.
const LINTS: usize = 4;

/// The rates that are drawn: their name, what they are made of, and over how many seconds.
const RATES: [(&str, &str, u64); 4] = [
    ("calls/s", "calls_ok", 1),
    ("not delivered/s", "calls_not_delivered", 1),
    ("starts/s", "starts", 1),
    ("restarts/min", "restarts", 60),
];

/// Everything that is shown.
pub(super) struct Screen {
    url: String,
    look: Option<Look>,
    rates: [VecDeque<u64>; RATES.len()],
    sort: usize,
    problem: Option<String>,
}

impl Screen {
    pub(super) fn new(url: String) -> Self {
        Screen { url, look: None, rates: Default::default(), sort: 0, problem: None }
    }

    /// What to ask the server to order by.
    pub(super) fn sort(&self) -> &'static str {
        SORTS[self.sort].0
    }

    /// Takes the order before, or after.
    pub(super) fn order(&mut self, by: isize) {
        self.sort = self.sort.saturating_add_signed(SORTS.len() as isize + by) % SORTS.len();
    }

    pub(super) fn see(&mut self, look: Look) {
        self.problem = None;
        if let Some(before) = &self.look {
            self.note_rates(&before.overview.clone(), &look.overview);
        }
        self.look = Some(look);
    }

    pub(super) fn miss(&mut self, why: &dyn Display) {
        self.problem = Some(why.to_string());
    }

    fn note_rates(&mut self, before: &Overview, now: &Overview) {
        let took = now.uptime_ms.checked_sub(before.uptime_ms).filter(|ms| *ms > 0);
        // The server was started again: what was counted before says nothing now.
        let Some(took_ms) = took else {
            self.rates = Default::default();
            return;
        };
        for ((_, of, seconds), rates) in RATES.iter().zip(&mut self.rates) {
            let count = |overview: &Overview| overview.total.get(*of).copied().unwrap_or(0);
            let more = count(now).saturating_sub(count(before));
            rates.push_back(more * 1000 * seconds / took_ms);
            if rates.len() > POINTS {
                rates.pop_front();
            }
        }
    }

    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        let Some(look) = &self.look else { return };
        let lints = self.lints(look);
        let parts = [
            Constraint::Length(1),
            Constraint::Length(lints.len() as u16),
            Constraint::Length(4),
            Constraint::Min(3),
            Constraint::Length(1),
        ];
        let [head, wrong, charts, rooms, foot] = Layout::vertical(parts).areas(frame.area());
        frame.render_widget(self.head(&look.overview), head);
        frame.render_widget(Paragraph::new(lints), wrong);
        self.charts(frame, charts);
        frame.render_widget(self.table(&look.rooms), rooms);
        let keys = Line::from(vec![
            "q".bold(),
            " ends   ".dim(),
            "← →".bold(),
            format!(" order: {}   ", SORTS[self.sort].1).dim(),
            self.url.as_str().dim(),
        ]);
        frame.render_widget(keys, foot);
    }

    fn head(&self, overview: &Overview) -> Line<'_> {
        let now = |name: &str| overview.now.get(name).copied().unwrap_or(0);
        let memory = now("memory_bytes") / (1 << 20);
        Line::from(vec![
            "innkeeper ".fg(BRASS).bold(),
            format!("{} ", overview.node).bold(),
            Span::raw(format!(
                "{}, up {}   {} rooms, {} members, {} sockets, {} buckets, {memory} MiB",
                overview.state,
                uptime(overview.uptime_ms),
                now("rooms"),
                overview.census.members,
                now("websocket_connections"),
                now("buckets"),
            )),
        ])
    }

    fn lints(&self, look: &Look) -> Vec<Line<'_>> {
        if let Some(problem) = &self.problem {
            let first = problem.lines().next().unwrap_or_default();
            return vec![Line::from(printable(first)).fg(Color::Red)];
        }
        let lints = look.overview.lints.iter().take(LINTS).map(|lint| {
            let colour = if lint.level == Level::Bad { Color::Red } else { Color::Yellow };
            let rooms = lint.rooms.iter().map(|room| printable(room)).collect::<Vec<_>>();
            let mark = if lint.level == Level::Bad { "!! " } else { "!  " };
            Line::from(format!("{mark}{} {}", lint.text, rooms.join(", "))).fg(colour)
        });
        let lints: Vec<_> = lints.collect();
        if lints.is_empty() { vec![Line::from("nothing known to be wrong").dim()] } else { lints }
    }

    fn charts(&self, frame: &mut Frame<'_>, area: Rect) {
        let columns = Layout::horizontal([Constraint::Ratio(1, 4); 4]).spacing(2).split(area);
        for ((name, ..), (rates, column)) in RATES.iter().zip(self.rates.iter().zip(&*columns)) {
            let [label, chart] =
                Layout::vertical([Constraint::Length(1), Constraint::Min(1)]).areas(*column);
            let last = rates.back().map_or("-".to_owned(), u64::to_string);
            frame.render_widget(Line::from(vec![last.bold(), format!(" {name}").dim()]), label);
            let shown = rates.len().saturating_sub(chart.width.into());
            let data: Vec<u64> = rates.iter().skip(shown).copied().collect();
            frame.render_widget(
                Sparkline::default().data(data).style(Style::new().fg(BRASS)),
                chart,
            );
        }
    }

    fn table(&self, rooms: &[RoomInfo]) -> Table<'_> {
        let widths = [
            Constraint::Min(16),
            Constraint::Length(16),
            Constraint::Length(9),
            Constraint::Length(10),
            Constraint::Length(9),
            Constraint::Length(9),
            Constraint::Length(9),
        ];
        let by = SORTS[self.sort].1.to_uppercase();
        let head: [_; HEAD.len()] = std::array::from_fn(|at| {
            let name = HEAD[at];
            let style = Style::new().add_modifier(Modifier::DIM);
            let style = if name == by { Style::new().fg(BRASS).bold() } else { style };
            let name = Line::from(name);
            // Over its numbers, which end below each other.
            Cell::from(if at >= WORDS { name.right_aligned() } else { name }).style(style)
        });
        Table::new(rooms.iter().map(row), widths).header(Row::new(head))
    }
}

fn row(room: &RoomInfo) -> Row<'static> {
    let colour = match room.state.as_str() {
        "live" => Color::Green,
        "starting" => Color::Blue,
        _ => Color::Red,
    };
    let number = |text: String| Cell::from(Line::from(text).right_aligned());
    Row::new([
        Cell::from(printable(&room.room)),
        Cell::from(room.state.clone()).style(Style::new().fg(colour)),
        number(room.members.to_string()),
        number(room.messages.to_string()),
        number(room.mailbox_len.to_string()),
        number(room.restarts.to_string()),
        number(uptime(room.uptime_ms)),
    ])
}

/// What was drawn, without colours.
pub(super) fn as_text(buffer: &Buffer) -> String {
    let area = buffer.area;
    let lines = (area.top()..area.bottom()).map(|y| {
        let line: String = (area.left()..area.right()).map(|x| buffer[(x, y)].symbol()).collect();
        line.trim_end().to_owned()
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    format!("{}\n", text.trim_end())
}

#[cfg(test)]
mod tests;
