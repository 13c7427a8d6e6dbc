//! The table.

use std::fmt;
use std::time::Duration;

/// What the design says that a figure has to be, in the figure's unit.
#[derive(Debug, Clone, Copy)]
pub enum Budget {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
    /// Nothing.
    Reported,
}

/// One line of the table.
#[derive(Debug, Clone)]
pub struct Row {
    what: String,
    value: f64,
    unit: &'static str,
    budget: Budget,
    upstream: &'static str,
    cpu: Option<Duration>,
    method: String,
}

impl Row {
    /// A figure, its unit, and how it was measured.
    pub fn new(what: impl Into<String>, value: f64, unit: &'static str, method: impl Into<String>) -> Self {
        let (what, method) = (what.into(), method.into());
        Self { what, value, unit, budget: Budget::Reported, upstream: "-", cpu: None, method }
    }

    /// A time in seconds.
    pub fn seconds(what: impl Into<String>, took: Duration, method: impl Into<String>) -> Self {
        Self::new(what, took.as_secs_f64(), "s", method)
    }

    /// A time in milliseconds.
    pub fn milliseconds(what: impl Into<String>, took: Duration, method: impl Into<String>) -> Self {
        Self::new(what, took.as_secs_f64() * 1e3, "ms", method)
    }

    /// With what the design says of the figure.
    #[must_use]
    pub fn budget(self, budget: Budget) -> Self {
        Self { budget, ..self }
    }

    /// With upstream's figure.
    #[must_use]
    pub fn upstream(self, upstream: &'static str) -> Self {
        Self { upstream, ..self }
    }

    /// With the time that the server's threads worked for each answer.
    #[must_use]
    pub fn cpu(self, cpu: Duration) -> Self {
        Self { cpu: Some(cpu), ..self }
    }
}

/// All lines, and what there are none for.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Report {
    /// Adds a figure and says it at once, so that an aborted run still shows something.
    pub fn row(&mut self, row: Row) {
        let Row { what, value, unit, budget, cpu, .. } = &row;
        let cpu = cpu.map_or_else(String::new, |cpu| format!(", {} of CPU each", Microseconds(cpu)));
        eprintln!("{what}: {} {unit}{}{cpu}", Figure(*value), budget.verdict(*value));
        self.rows.push(row);
    }

    /// Adds what was not measured, and why.
    pub fn note(&mut self, note: String) {
        eprintln!("{note}");
        self.notes.push(note);
    }

    /// Prints the table with the machine it was measured on.
    pub fn print(&self) {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        println!("\n| work | measured | budget | upstream v1.26 | server CPU each | method |");
        println!("| --- | ---: | --- | --- | ---: | --- |");
        for Row { what, value, unit, budget, upstream, cpu, method } in &self.rows {
            let cpu = cpu.map_or_else(|| "-".to_owned(), |cpu| Microseconds(cpu).to_string());
            let bound = match budget {
                Budget::AtLeast(least) => format!("at least {} {unit}", Figure(*least)),
                Budget::AtMost(most) => format!("at most {} {unit}", Figure(*most)),
                Budget::Reported => "reported".to_owned(),
            };
            let (figure, verdict) = (Figure(*value), budget.verdict(*value));
            println!("| {what} | {figure} {unit} | {bound}{verdict} | {upstream} | {cpu} | {method} |");
        }
        println!(
            "\nMachine: {cores} cores, which the generator shares with the server. Release binary, TLS, \
             HTTP/1.1; every write is durable before it is acknowledged. Admission, RBAC, fairness and audit \
             (level Metadata, to a file) are on, and the requests are a user's who is exempt from none of \
             them. Server CPU is its process's user and system time, for each answer. Memory is VmRSS. \
             Upstream's figures are those of the design, without audit."
        );
        for note in &self.notes {
            println!("{note}");
        }
    }
}

impl Budget {
    fn verdict(self, value: f64) -> &'static str {
        let held = match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
            Self::Reported => true,
        };
        if held { "" } else { " (missed)" }
    }
}

/// A time as a figure of microseconds.
struct Microseconds(Duration);

impl fmt::Display for Microseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} µs", Figure(self.0.as_secs_f64() * 1e6))
    }
}

/// A number with three digits or all before the point, in groups of three.
struct Figure(f64);

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.0.abs() {
            value if value >= 100.0 => 0,
            value if value >= 10.0 => 1,
            value if value >= 1.0 => 2,
            _ => 3,
        };
        let text = format!("{:.digits$}", self.0);
        let whole = text.find('.').unwrap_or(text.len());
        for (at, each) in text.char_indices() {
            let before = at > 0 && at < whole && (whole - at).is_multiple_of(3);
            if before && !text[..at].ends_with('-') {
                f.write_str(",")?;
            }
            write!(f, "{each}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures() {
        let check = |value: f64, expect: &str| assert_eq!(Figure(value).to_string(), expect);
        check(0.0341, "0.034");
        check(2.801, "2.80");
        check(28.64, "28.6");
        check(789.4, "789");
        check(56807.2, "56,807");
        check(1234567.0, "1,234,567");
        check(-123.0, "-123");
    }

    #[test]
    fn budgets() {
        assert_eq!(Budget::AtLeast(8.0).verdict(7.9), " (missed)");
        assert_eq!(Budget::AtMost(8.0).verdict(7.9), "");
    }
}
