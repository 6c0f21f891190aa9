//! The benchmark's table: a limit and a figure a line, and how it was measured. Judges nothing but larger or not.

pub struct Row {
    what: &'static str,
    limit: f64,
    measured: f64,
    met: bool,
    how: String,
}

impl Row {
    pub fn new(what: &'static str, limit: f64, measured: f64, how: String) -> Self {
        Self { what, limit, measured, met: measured <= limit, how }
    }

    /// For what is met by being the same, not by being less.
    pub fn exactly(what: &'static str, expected: usize, found: usize, met: bool, how: String) -> Self {
        Self { what, limit: expected as f64, measured: found as f64, met, how }
    }
}

pub fn print(rows: &[Row]) {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    println!("\nworker of regrant {}, {cores} cores\n", env!("CARGO_PKG_VERSION"));
    println!("| {:<26} | {:>8} | {:>8} | {:<6} | how |", "", "at most", "measured", "");
    println!("|{:-<28}|{:->9}:|{:->9}:|{:-<8}|-----|", "", "", "", "");
    for Row { what, limit, measured, met, how } in rows {
        let verdict = if *met { "met" } else { "MISSED" };
        println!("| {what:<26} | {limit:>8} | {measured:>8.2} | {verdict:<6} | {how} |");
    }
}

/// The middle one, or the upper of the two in the middle.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
