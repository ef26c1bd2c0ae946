//! A chart as SVG: lines over two axes that are both logarithmic, each line named where it ends.
//!
//! On a background of its own, so that it can be read on light and on dark pages.

use std::fmt::Write;

/// What is drawn.
pub(crate) struct Chart {
    pub(crate) title: &'static str,
    pub(crate) subtitle: &'static str,
    /// What is along the bottom.
    pub(crate) across: &'static str,
    /// How a value along the bottom is written.
    pub(crate) x_text: fn(f64) -> String,
    /// How a value along the side is written, with its unit.
    pub(crate) y_text: fn(f64) -> String,
    pub(crate) lines: Vec<Line>,
    pub(crate) goals: Vec<Goal>,
}

/// A line through points, from left to right.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A point that a line is to stay below.
pub(crate) struct Goal {
    pub(crate) at: (f64, f64),
    pub(crate) text: &'static str,
}

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 460.0;

/// The part of it within the axes: left, top, right, bottom.
const FRAME: (f64, f64, f64, f64) = (76.0, 84.0, 580.0, 404.0);

/// The least distance between two names.
const NAME_HEIGHT: f64 = 17.0;

/// Told apart by those who see few colours too, and dark enough to write in.
const COLOURS: [&str; 5] = ["#0b62a8", "#c2410c", "#0f766e", "#7c3aed", "#a21a5b"];

const STYLE: &str = "\
text { font: 13px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #334155 }
.title { font-size: 17px; font-weight: 600; fill: #0f172a }
.name { font-weight: 600 }
.goal { font-size: 12px; fill: #64748b }
.end { text-anchor: end }
.middle { text-anchor: middle }
.grid { stroke: #e2e8f0 }
.axis { stroke: #94a3b8 }
.line { fill: none; stroke-width: 2; stroke-linejoin: round }
.leader { stroke-width: 1; opacity: .5 }";

impl Chart {
    /// The text of the file.
    pub(crate) fn draw(&self) -> String {
        let scale = self.scale();
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\">\n\
             <title>{}: {}</title>\n<style>\n{STYLE}\n</style>\n\
             <rect x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"8\" fill=\"#ffffff\" \
             stroke=\"#cbd5e1\"/>\n",
            escaped(self.title),
            escaped(self.subtitle),
            WIDTH - 1.0,
            HEIGHT - 1.0
        );
        write_text(&mut svg, "title", (24.0, 34.0), self.title);
        write_text(&mut svg, "", (24.0, 56.0), self.subtitle);
        self.axes(&scale, &mut svg);
        self.goals(&scale, &mut svg);
        self.lines(&scale, &mut svg);
        svg.push_str("</svg>\n");
        svg
    }

    fn axes(&self, scale: &Scale, svg: &mut String) {
        let (left, top, right, bottom) = FRAME;
        for value in ticks(scale.y) {
            let y = scale.at((scale.x.0, value)).1;
            let _ = writeln!(svg, "<path class=\"grid\" d=\"M{left} {y:.1}H{right}\"/>");
            write_text(svg, "end", (left - 10.0, y + 4.5), &(self.y_text)(value));
        }
        for value in ticks(scale.x) {
            let x = scale.at((value, scale.y.0)).0;
            let _ = writeln!(svg, "<path class=\"grid\" d=\"M{x:.1} {top}V{bottom}\"/>");
            write_text(svg, "middle", (x, bottom + 20.0), &(self.x_text)(value));
        }
        let _ = writeln!(svg, "<path class=\"axis\" d=\"M{left} {bottom}H{right}\"/>");
        write_text(svg, "middle", (f64::midpoint(left, right), bottom + 42.0), self.across);
    }

    fn goals(&self, scale: &Scale, svg: &mut String) {
        for Goal { at, text } in &self.goals {
            let (x, y) = scale.at(*at);
            let _ = writeln!(
                svg,
                "<path d=\"M{:.1} {y:.1}h32\" stroke=\"#64748b\" stroke-width=\"2\" \
                 stroke-dasharray=\"4 3\"/>",
                x - 16.0
            );
            write_text(svg, "goal end", (x - 22.0, y + 4.0), text);
        }
    }

    fn lines(&self, scale: &Scale, svg: &mut String) {
        let right = FRAME.2;
        let ends: Vec<_> = self.lines.iter().map(|line| scale.at(line.last())).collect();
        let names = spread(&ends.iter().map(|end| end.1).collect::<Vec<_>>());
        for (number, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[number % COLOURS.len()];
            let points: Vec<_> = line.points.iter().map(|point| scale.at(*point)).collect();
            let path: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
            let path = path.join("L");
            let _ = writeln!(svg, "<path class=\"line\" stroke=\"{colour}\" d=\"M{path}\"/>");
            for (x, y) in points {
                let _ = writeln!(
                    svg,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\" \
                     stroke=\"#ffffff\"/>"
                );
            }
            let ((x, y), name_y) = (ends[number], names[number]);
            let _ = writeln!(
                svg,
                "<path class=\"leader\" stroke=\"{colour}\" \
                 d=\"M{:.1} {y:.1}L{:.1} {name_y:.1}\"/>",
                x + 5.0,
                right + 16.0
            );
            let value = (self.y_text)(line.last().1);
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{:.1}\">\
                 <tspan class=\"name\" style=\"fill:{colour}\">{}</tspan> {}</text>",
                right + 20.0,
                name_y + 4.5,
                escaped(line.name),
                escaped(&value)
            );
        }
    }

    /// Steps that all points and goals are between; a decade at the least, so that what hardly
    /// changes looks like it.
    fn scale(&self) -> Scale {
        let goals = self.goals.iter().map(|goal| goal.at);
        let points = self.lines.iter().flat_map(|line| line.points.iter().copied());
        let (xs, ys): (Vec<_>, Vec<_>) = points.chain(goals).unzip();
        let least = |values: &[f64]| values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
        let (mut bottom, top) = (step_below(least(&ys)), step_above(most(&ys)));
        while top < bottom * 9.99 {
            bottom = step_below(bottom * 0.99);
        }
        Scale { x: (least(&xs), most(&xs)), y: (bottom, top) }
    }
}

impl Line {
    fn last(&self) -> (f64, f64) {
        self.points[self.points.len() - 1]
    }
}

/// What values the axes begin and end with.
struct Scale {
    x: (f64, f64),
    y: (f64, f64),
}

impl Scale {
    /// Where a point is on the page.
    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let (left, top, right, bottom) = FRAME;
        let part = |value: f64, (least, most): (f64, f64)| {
            if most > least { (value / least).ln() / (most / least).ln() } else { 0.5 }
        };
        (left + part(x, self.x) * (right - left), bottom - part(y, self.y) * (bottom - top))
    }
}

/// The steps that axes begin and end at: 1, 2, 5, 10, 20 and so on.
fn steps() -> impl Iterator<Item = f64> {
    (-3..18).flat_map(|decade| [1.0, 2.0, 5.0].map(|step| step * 10_f64.powi(decade)))
}

fn step_below(value: f64) -> f64 {
    steps().take_while(|step| *step <= value).last().unwrap_or(value)
}

fn step_above(value: f64) -> f64 {
    steps().find(|step| *step >= value).unwrap_or(value)
}

/// The values that an axis names: each decade, or each step where there are few decades.
fn ticks((least, most): (f64, f64)) -> Vec<f64> {
    // As powers are made of fractions some are not quite what they are.
    let within = |step: &f64| *step >= least * 0.999 && *step <= most * 1.001;
    let all: Vec<_> = steps().filter(within).collect();
    if all.len() <= 9 { all } else { (-3..18).map(|n| 10_f64.powi(n)).filter(within).collect() }
}

/// Heights for names, near where they belong and none upon another.
fn spread(wanted: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|a, b| wanted[*a].total_cmp(&wanted[*b]));
    let mut heights = wanted.to_vec();
    // Few names: each round halves how far they are upon each other.
    for _ in 0..64 {
        for pair in order.windows(2) {
            let upon = NAME_HEIGHT - (heights[pair[1]] - heights[pair[0]]);
            if upon > 0.0 {
                heights[pair[0]] -= upon / 2.0;
                heights[pair[1]] += upon / 2.0;
            }
        }
    }
    heights
}

fn write_text(svg: &mut String, class: &str, (x, y): (f64, f64), text: &str) {
    let text = escaped(text);
    let _ = writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: &[(f64, f64)]) -> Chart {
        Chart {
            title: "time < space & all",
            subtitle: "of a test",
            across: "rooms",
            x_text: |x| format!("{x}"),
            y_text: |y| format!("{y} ns"),
            lines: vec![Line { name: "start", points: points.to_vec() }],
            goals: vec![Goal { at: (100.0, 50.0), text: "goal" }],
        }
    }

    #[test]
    fn a_line_goes_through_its_points() {
        let svg = chart(&[(10.0, 1.0), (100.0, 10.0), (1000.0, 100.0)]).draw();
        // From corner to corner, as both axes are logarithmic.
        let (left, top, right, bottom) = FRAME;
        let (x, y) = (f64::midpoint(left, right), f64::midpoint(top, bottom));
        let path = format!("M{left:.1} {bottom:.1}L{x:.1} {y:.1}L{right:.1} {top:.1}");
        assert!(svg.contains(&path), "{svg}");
    }

    #[test]
    fn what_is_written_cannot_be_taken_for_markup() {
        let svg = chart(&[(10.0, 1.0), (100.0, 10.0)]).draw();
        assert!(svg.contains("time &lt; space &amp; all") && !svg.contains("time <"), "{svg}");
    }

    #[test]
    fn axes_begin_and_end_at_steps_and_take_the_goals_in() {
        let scale = chart(&[(10.0, 1.4), (1000.0, 30.0)]).scale();
        assert_eq!((scale.x, scale.y), ((10.0, 1000.0), (1.0, 50.0)));
        assert_eq!(ticks(scale.y), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0]);
        assert_eq!(ticks((1.0, 10_000.0)), [1.0, 10.0, 100.0, 1000.0, 10_000.0]);
    }

    #[test]
    fn what_hardly_changes_has_a_whole_decade_to_do_so() {
        let mut chart = chart(&[(10.0, 795.0), (1000.0, 564.0)]);
        chart.goals.clear();
        assert_eq!(chart.scale().y, (100.0, 1000.0));
    }

    #[test]
    fn no_name_is_written_upon_another() {
        let heights = spread(&[100.0, 101.0, 300.0, 99.0]);
        let mut sorted = heights.clone();
        sorted.sort_by(f64::total_cmp);
        let apart = sorted.windows(2).all(|pair| pair[1] - pair[0] > NAME_HEIGHT - 0.1);
        assert!(apart && heights[3] < heights[0] && heights[0] < heights[1], "{heights:?}");
        assert!((heights[2] - 300.0).abs() < 0.1, "{heights:?}");
    }
}
