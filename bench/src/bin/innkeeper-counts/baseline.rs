//! What each operation cost when it was last written down, and what is more by now.

use std::fmt::Write;

/// How much more instructions may become before it is told, in percent.
pub(crate) const RISE_MAX: f64 = 3.0;

/// What one operation costs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cost {
    pub(crate) operation: String,
    /// None where they could not be counted.
    pub(crate) instructions: Option<f64>,
    pub(crate) allocations: f64,
}

/// The costs of all operations, and what they were compiled with and run on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Baseline {
    pub(crate) made_with: String,
    pub(crate) costs: Vec<Cost>,
}

const HEAD: &str = "\
# What an operation takes: instructions, without those of the allocator, and how often that is asked
# for memory. `cargo xtask counts` compares, `cargo xtask counts --renew` writes this anew.
";

impl Baseline {
    /// The text of the file.
    pub(crate) fn print(&self) -> String {
        let mut text = format!("{HEAD}# with: {}\n", self.made_with);
        for cost in &self.costs {
            let Cost { operation, instructions, allocations } = cost;
            let instructions = instructions.map_or("-".to_owned(), |n| format!("{n:.1}"));
            let _ = writeln!(text, "{operation:<20} {instructions:>9} {allocations:>4}");
        }
        text
    }

    /// Reads what [`print`](Self::print) wrote.
    pub(crate) fn read(text: &str) -> Result<Baseline, String> {
        let with = text.lines().find_map(|line| line.strip_prefix("# with: "));
        let made_with = with.ok_or("expected a line that begins `# with: `")?.to_owned();
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let costs = lines.map(|line| {
            let cost = Cost::read(line);
            cost.ok_or(format!("expected an operation, instructions and allocations, got {line}"))
        });
        Ok(Baseline { made_with, costs: costs.collect::<Result<_, _>>()? })
    }

    /// What is worse in `now`, a sentence each.
    pub(crate) fn rises(&self, now: &[Cost]) -> Vec<String> {
        let mut rises = Vec::new();
        for cost in now {
            let name = &cost.operation;
            match self.costs.iter().find(|old| old.operation == *name) {
                Some(old) => rises.extend(rise(old, cost)),
                None => rises.push(format!("{name}: not in the baseline; renew it")),
            }
        }
        for old in &self.costs {
            if !now.iter().any(|cost| cost.operation == old.operation) {
                rises.push(format!("{}: in the baseline, but counted no more", old.operation));
            }
        }
        rises
    }
}

impl Cost {
    fn read(line: &str) -> Option<Cost> {
        let mut words = line.split_whitespace();
        let operation = words.next()?.to_owned();
        let instructions = match words.next()? {
            "-" => None,
            number => Some(number.parse().ok()?),
        };
        let allocations = words.next()?.parse().ok()?;
        Some(Cost { operation, instructions, allocations })
    }
}

fn rise(old: &Cost, new: &Cost) -> Vec<String> {
    let (name, mut rises) = (&new.operation, Vec::new());
    if new.allocations > old.allocations {
        let (old, new) = (old.allocations, new.allocations);
        rises.push(format!("{name}: {new} allocations, {old} in the baseline; none more may be"));
    }
    if let (Some(old), Some(new)) = (old.instructions, new.instructions) {
        let percent = 100.0 * (new - old) / old;
        if percent > RISE_MAX {
            rises.push(format!(
                "{name}: {new:.1} instructions, {old:.1} in the baseline: {percent:.1} % more, \
                 {RISE_MAX} % may be"
            ));
        }
    }
    rises
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(operation: &str, instructions: f64, allocations: f64) -> Cost {
        Cost { operation: operation.to_owned(), instructions: Some(instructions), allocations }
    }

    fn baseline(costs: Vec<Cost>) -> Baseline {
        Baseline { made_with: "rustc 1.0 on a machine".to_owned(), costs }
    }

    #[test]
    fn what_is_written_is_read() {
        let uncounted = Cost { instructions: None, ..cost("stop", 0.0, 2.5) };
        let written = baseline(vec![cost("hit", 240.5, 0.0), uncounted]);
        assert_eq!(Baseline::read(&written.print()), Ok(written));
    }

    #[test]
    fn a_line_that_is_no_cost_is_named() {
        let text = "# with: x\nhit 12\n";
        assert!(Baseline::read(text).unwrap_err().ends_with("got hit 12"));
        assert!(Baseline::read("hit 12 0\n").is_err());
    }

    #[test]
    fn more_than_three_percent_more_instructions_are_a_rise() {
        let old = baseline(vec![cost("hit", 200.0, 0.0)]);
        assert_eq!(old.rises(&[cost("hit", 206.0, 0.0)]), Vec::<String>::new());
        assert_eq!(
            old.rises(&[cost("hit", 210.0, 0.0)]),
            ["hit: 210.0 instructions, 200.0 in the baseline: 5.0 % more, 3 % may be"]
        );
        assert_eq!(old.rises(&[cost("hit", 100.0, 0.0)]), Vec::<String>::new());
    }

    #[test]
    fn any_more_allocations_are_a_rise() {
        let old = baseline(vec![cost("cast", 300.0, 0.0), cost("call", 900.0, 1.0)]);
        assert_eq!(
            old.rises(&[cost("cast", 300.0, 0.001), cost("call", 900.0, 0.0)]),
            ["cast: 0.001 allocations, 0 in the baseline; none more may be"]
        );
    }

    #[test]
    fn instructions_that_could_not_be_counted_are_no_rise_and_allocations_are_compared() {
        let old = baseline(vec![cost("cast", 300.0, 0.0)]);
        let new = Cost { instructions: None, ..cost("cast", 0.0, 1.0) };
        assert_eq!(old.rises(&[new]).len(), 1);
    }

    #[test]
    fn an_operation_that_only_one_of_them_knows_is_told() {
        let old = baseline(vec![cost("hit", 200.0, 0.0)]);
        let rises = old.rises(&[cost("cast", 300.0, 0.0)]);
        assert_eq!(rises.len(), 2);
        assert!(rises[0].starts_with("cast: ") && rises[1].starts_with("hit: "));
    }
}
