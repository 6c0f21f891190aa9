//! Bar charts as SVG text. Colours are classes (`c0` …), so that the page's style decides on light and dark; no
//! script, no font, no style attribute. Knows nothing of reports.

use std::fmt::Write as _;

/// One colour's values, one for each bar.
pub struct Series {
    pub class: &'static str,
    pub name: String,
    pub values: Vec<u64>,
}

const WIDTH: usize = 420;
const HEIGHT: usize = 220;
const LEFT: usize = 44;
const RIGHT: usize = 8;
const TOP: usize = 10;
const BOTTOM: usize = 34;
const WIDEST_BAR: f64 = 44.0;
/// More names than that would stand on one another.
const MOST_LABELS: usize = 9;

/// Stacked bars; `title` and `description` are for readers who do not see them, `id` must be unique in the page.
pub fn bars(id: &str, title: &str, description: &str, labels: &[String], series: &[Series]) -> String {
    let mut svg = String::new();
    let (title, description) = (escaped(title), escaped(description));
    // Writing into a text cannot fail.
    let _ = write!(
        svg,
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
         <title id=\"{id}-t\">{title}</title><desc id=\"{id}-d\">{description}</desc>"
    );
    let total = |bar: usize| series.iter().map(|one| one.values.get(bar).copied().unwrap_or_default()).sum();
    let most: u64 = (0..labels.len()).map(total).max().unwrap_or_default();
    let step = step(most);
    let highest = (most.div_ceil(step) * step).max(step);
    for line in (0..=highest / step).map(|line| line * step) {
        let y = height_of(line, highest);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{}\" y2=\"{y:.1}\"/>\
             <text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6,
            y + 4.0,
            short(line)
        );
    }
    for (bar, label) in labels.iter().enumerate() {
        draw_bar(&mut svg, bar, labels.len(), label, series, highest);
    }
    svg.push_str("</svg>");
    svg
}

fn draw_bar(svg: &mut String, bar: usize, bars: usize, label: &str, series: &[Series], highest: u64) {
    let room = float(WIDTH - LEFT - RIGHT) / float(bars);
    let width = (room * 0.72).clamp(1.0, WIDEST_BAR);
    let middle = float(LEFT) + room * (float(bar) + 0.5);
    let mut below = 0;
    for one in series {
        let value = one.values.get(bar).copied().unwrap_or_default();
        if value == 0 {
            continue;
        }
        let (top, bottom) = (height_of(below + value, highest), height_of(below, highest));
        let _ = write!(
            svg,
            "<rect class=\"{}\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{:.1}\">\
             <title>{}: {} {value}</title></rect>",
            one.class,
            middle - width / 2.0,
            (bottom - top).max(0.8),
            escaped(label),
            escaped(&one.name)
        );
        below += value;
    }
    if bar.is_multiple_of(bars.div_ceil(MOST_LABELS)) {
        let y = HEIGHT - BOTTOM + 16;
        let _ = write!(
            svg,
            "<text class=\"tick\" x=\"{middle:.1}\" y=\"{y}\" text-anchor=\"middle\">{}</text>",
            escaped(label)
        );
    }
}

fn height_of(value: u64, highest: u64) -> f64 {
    let room = float(HEIGHT - TOP - BOTTOM);
    #[expect(clippy::cast_precision_loss, reason = "a pixel is coarser")]
    let part = value as f64 / highest as f64;
    float(HEIGHT - BOTTOM) - room * part
}

/// 1, 2 or 5 times a power of ten, so that about four lines are drawn.
fn step(most: u64) -> u64 {
    let mut power = 1;
    loop {
        for step in [power, 2 * power, 5 * power] {
            if most <= 4 * step {
                return step;
            }
        }
        power *= 10;
    }
}

fn short(value: u64) -> String {
    match value {
        0..10_000 => value.to_string(),
        10_000..10_000_000 => format!("{}k", value / 1000),
        _ => format!("{}M", value / 1_000_000),
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes of a picture")]
fn float(size: usize) -> f64 {
    size as f64
}

fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, letter| {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter => out.push(letter),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_round_and_few() {
        assert_eq!([0, 1, 4, 5, 9, 21, 999].map(step), [1, 1, 1, 2, 5, 10, 500]);
    }

    #[test]
    fn names_are_escaped() {
        let series = [Series { class: "c0", name: "<b>".to_owned(), values: vec![1] }];
        let svg = bars("a", "t", "d", &["\"&".to_owned()], &series);
        assert!(svg.contains("<title>&quot;&amp;: &lt;b&gt; 1</title>"), "{svg}");
    }
}
