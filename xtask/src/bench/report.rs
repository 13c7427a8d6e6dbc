//! The table.

/// Rows of `what, measured, budget, upstream`.
#[derive(Default)]
pub struct Report {
    rows: Vec<[String; 4]>,
}

impl Report {
    /// Adds a figure and says it at once, so that an aborted run still shows something.
    pub fn row(&mut self, what: &str, value: f64, unit: &str, budget: &str, upstream: &str) {
        let digits = if value >= 100.0 {
            0
        } else if value >= 10.0 {
            1
        } else {
            3
        };
        let measured = format!("{value:.digits$} {unit}");
        eprintln!("{what}: {measured}");
        self.rows.push([what.into(), measured, budget.into(), upstream.into()]);
    }

    /// Prints the table with the machine it was measured on.
    pub fn print(&self) {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        println!("\n| work | measured | budget | upstream v1.26 |\n| --- | --- | --- | --- |");
        for [what, measured, budget, upstream] in &self.rows {
            println!("| {what} | {measured} | {budget} | {upstream} |");
        }
        println!(
            "\nMachine: {cores} cores. Method: release binary, TLS, 64 connections from a generator on \
             the same cores; every write durable before it is acknowledged; RBAC and admission on; \
             memory is VmRSS. Upstream's figures are those of the design, measured on such a machine."
        );
    }
}
