//! What a load showed: how much, how fast, and whatever was not as promised.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::member::Heard;
use crate::args::{Format, LoadArgs};
use crate::output;

/// How many of the things that went wrong are told in words.
const BROKEN_TOLD: usize = 20;

/// The width of the longest bar.
const BAR: u64 = 40;

const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

/// What a load showed.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    rooms: usize,
    members: usize,
    seconds: f64,
    sent: u64,
    delivered: u64,
    refused: BTreeMap<String, u64>,
    reply_us: BTreeMap<&'static str, u64>,
    delivery_us: BTreeMap<&'static str, u64>,
    broken: u64,
    /// Some of what went wrong, in words.
    violations: Vec<String>,
    #[serde(skip)]
    replies: Option<Histogram<u64>>,
    #[serde(skip)]
    deliveries: Option<Histogram<u64>>,
    #[serde(skip)]
    by_room: BTreeMap<String, Vec<Heard>>,
}

impl Report {
    pub(super) fn new(args: &LoadArgs, talked: Duration) -> Self {
        Report {
            rooms: args.rooms,
            members: args.rooms * args.members,
            seconds: talked.as_secs_f64(),
            sent: 0,
            delivered: 0,
            refused: BTreeMap::new(),
            reply_us: BTreeMap::new(),
            delivery_us: BTreeMap::new(),
            broken: 0,
            violations: Vec::new(),
            replies: None,
            deliveries: None,
            by_room: BTreeMap::new(),
        }
    }

    /// Takes in what a member tells.
    pub(super) fn add(&mut self, mut heard: Heard) {
        self.sent += heard.sent;
        self.delivered += heard.to.saturating_sub(heard.from);
        for (code, times) in &heard.refused {
            *self.refused.entry(code.clone()).or_default() += times;
        }
        for what in std::mem::take(&mut heard.broken) {
            self.violate(format!("{}: {what}", heard.room));
        }
        merge(&mut self.replies, &heard.replies);
        merge(&mut self.deliveries, &heard.deliveries);
        self.by_room.entry(heard.room.clone()).or_default().push(heard);
    }

    /// A member was lost on the way.
    pub(super) fn lose(&mut self, why: String) {
        self.violate(format!("a member was lost: {why}"));
    }

    fn violate(&mut self, what: String) {
        self.broken += 1;
        if self.violations.len() < BROKEN_TOLD {
            self.violations.push(what);
        }
    }

    /// Compares the members of each room with each other.
    pub(super) fn compare(&mut self) {
        for (room, members) in std::mem::take(&mut self.by_room) {
            let Some(first) = members.first() else { continue };
            for other in &members {
                if other.incarnation != first.incarnation {
                    let what = format!(
                        "{room}: one member was in incarnation {}, another in {}",
                        first.incarnation, other.incarnation
                    );
                    self.violate(what);
                }
                if other.to < other.answered {
                    let (to, answered) = (other.to, other.answered);
                    self.violate(format!(
                        "{room}: message {answered} was answered, {to} the last \
                                          that a member heard"
                    ));
                }
            }
        }
        self.reply_us = quantiles(self.replies.as_ref());
        self.delivery_us = quantiles(self.deliveries.as_ref());
    }

    pub(super) fn is_kept(&self) -> bool {
        self.broken == 0
    }

    pub(super) fn print(&self, format: Format) {
        let rate = |count: u64| count as f64 / self.seconds.max(0.001);
        let mut cells = vec![
            ("rooms", format!("{}, with {} members in all", self.rooms, self.members)),
            ("sent", format!("{}, {:.0} a second", self.sent, rate(self.sent))),
            ("delivered", format!("{}, {:.0} a second", self.delivered, rate(self.delivered))),
        ];
        for (code, times) in &self.refused {
            cells.push(("refused", format!("{times}: {code}")));
        }
        cells.push(("answered", say(&self.reply_us)));
        cells.push(("heard", say(&self.delivery_us)));
        if let (Format::Table, Some(deliveries)) = (format, &self.deliveries) {
            cells.extend(bars(deliveries).into_iter().map(|bar| ("", bar)));
        }
        for what in &self.violations {
            cells.push(("BROKEN", what.clone()));
        }
        if self.is_kept() {
            let kept = "kept: every message reached every member, once and in order";
            cells.push(("promise", kept.to_owned()));
        }
        output::one(format, self, &cells);
    }
}

fn merge(all: &mut Option<Histogram<u64>>, one: &Histogram<u64>) {
    match all {
        None => *all = Some(one.clone()),
        // All of them are made alike.
        Some(all) => drop(all.add(one)),
    }
}

fn quantiles(histogram: Option<&Histogram<u64>>) -> BTreeMap<&'static str, u64> {
    let Some(histogram) = histogram.filter(|histogram| !histogram.is_empty()) else {
        return BTreeMap::new();
    };
    QUANTILES.iter().map(|(name, at)| (*name, histogram.value_at_quantile(*at))).collect()
}

fn say(quantiles: &BTreeMap<&'static str, u64>) -> String {
    let known = QUANTILES.iter().filter_map(|(name, _)| Some((name, quantiles.get(name)?)));
    let said: Vec<_> = known.map(|(name, us)| format!("{name} {}", time(*us))).collect();
    if said.is_empty() { "nothing".to_owned() } else { said.join(", ") }
}

fn time(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}

/// A bar for each doubling of the time.
fn bars(histogram: &Histogram<u64>) -> Vec<String> {
    let mut buckets: BTreeMap<u32, u64> = BTreeMap::new();
    for value in histogram.iter_recorded() {
        let upper = value.value_iterated_to().max(1).next_power_of_two();
        *buckets.entry(upper.ilog2()).or_default() += value.count_since_last_iteration();
    }
    let most = buckets.values().copied().max().unwrap_or(1);
    let first = buckets.keys().next().copied().unwrap_or(0);
    let last = buckets.keys().last().copied().unwrap_or(0);
    (first..=last)
        .map(|power| {
            let count = buckets.get(&power).copied().unwrap_or(0);
            let width = (count * BAR).div_ceil(most) as usize;
            let line = format!("{:>9}  {:<40}  {count}", time(1 << power), "#".repeat(width));
            line.trim_end().to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(room: &str, incarnation: &str, to: u64, answered: u64) -> Heard {
        let times = || Histogram::new_with_max(1_000_000, 3).unwrap();
        Heard {
            room: room.to_owned(),
            incarnation: incarnation.to_owned(),
            from: 0,
            to,
            answered,
            sent: 1,
            refused: BTreeMap::new(),
            broken: Vec::new(),
            replies: times(),
            deliveries: times(),
        }
    }

    fn report(members: Vec<Heard>) -> Report {
        let args = LoadArgs {
            url: Vec::new(),
            rooms: 1,
            members: members.len(),
            rate: 1,
            duration: Duration::from_secs(1),
            prefix: String::new(),
            tokens: Default::default(),
            trust: Default::default(),
            format: Format::Table,
        };
        let mut report = Report::new(&args, Duration::from_secs(1));
        members.into_iter().for_each(|member| report.add(member));
        report.compare();
        report
    }

    #[test]
    fn what_all_have_heard_is_kept() {
        let report = report(vec![heard("a", "1", 5, 5), heard("a", "1", 5, 5)]);
        assert!(report.is_kept(), "{:?}", report.violations);
        assert_eq!((report.sent, report.delivered), (2, 10));
    }

    #[test]
    fn a_message_that_one_has_not_heard_is_told_of() {
        let report = report(vec![heard("a", "1", 5, 5), heard("a", "1", 4, 5)]);
        assert_eq!(report.violations.len(), 1);
        assert!(report.violations[0].contains("message 5 was answered"), "{report:?}");
    }

    #[test]
    fn two_incarnations_of_one_room_are_told_of_and_of_two_rooms_are_not() {
        assert_eq!(report(vec![heard("a", "1", 0, 0), heard("a", "2", 0, 0)]).broken, 1);
        assert!(report(vec![heard("a", "1", 0, 0), heard("b", "2", 0, 0)]).is_kept());
    }

    #[test]
    fn bars_double_and_leave_no_gap() {
        let mut times = Histogram::<u64>::new_with_max(1_000_000, 3).unwrap();
        times.record_n(3, 80).unwrap();
        times.record_n(15, 40).unwrap();
        let bars = bars(&times);
        assert_eq!(bars.len(), 3);
        assert!(bars[0].contains(&"#".repeat(40)) && bars[0].ends_with("  80"), "{bars:?}");
        assert!(bars[2].contains("16 us") && bars[2].ends_with("  40"), "{bars:?}");
    }
}
