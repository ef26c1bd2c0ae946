//! Sizes in, figures out.

/// A size from the environment.
pub(crate) fn size(name: &str, default: usize) -> usize {
    let text = std::env::var(name).unwrap_or_default().replace('_', "");
    text.parse().unwrap_or(default)
}

/// Prints a figure.
pub(crate) fn figure(workload: &str, variant: &str, value: f64, unit: &str) {
    let value = if value.abs() >= 1000.0 { format!("{value:.0}") } else { format!("{value:.2}") };
    println!("ours {workload} {variant} {value} {unit}");
}

/// Resident memory of this process, in bytes.
pub(crate) fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("Rss:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kib.unwrap_or(0.0) * 1024.0
}

/// The part of sorted values that this share of them is not above.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

/// So many keys.
pub(crate) fn keys(prefix: &str, n: usize) -> Vec<String> {
    (0..n).map(|i| format!("{prefix}:{i:08}")).collect()
}

/// The same keys in a fixed random order, as Fisher and Yates shuffle.
pub(crate) fn shuffled(keys: &[String]) -> Vec<String> {
    let (mut keys, mut dice) = (keys.to_vec(), Dice::new());
    for i in (1..keys.len()).rev() {
        keys.swap(i, dice.roll(i + 1));
    }
    keys
}

/// Numbers at random, the same ones each time: a linear congruence.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new() -> Dice {
        Dice(0x9e37_79b9_7f4a_7c15)
    }

    /// A number below `sides`.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}
