//! Two programs against each other. The machine's speed changes within seconds, by more than most changes of
//! a program: so both serve at once and are asked in turns, a moment each, and what counts is the ratio of
//! each pair of moments.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Arguments;
use super::call::Call;
use super::cluster::Cluster;
use super::http::Client;
use super::load::Load;
use super::objects::{PODS, idle_pod};

/// How long each is asked at a time.
const MOMENT: Duration = Duration::from_millis(400);
/// Time of a moment before answers count.
const WARM_UP: Duration = Duration::from_millis(100);
/// How often.
const PAIRS: usize = 24;

/// One of the programs, as it serves.
struct Side {
    cluster: Cluster,
    client: Client,
}

/// What a moment gave.
#[derive(Clone, Copy)]
struct Seen {
    per_second: f64,
    /// Seconds of the server's threads for each answer.
    cpu: f64,
}

impl Side {
    async fn start(gantry: &Path) -> Result<Self> {
        let cluster = Cluster::start(gantry, &["server"], false).await?;
        let client = cluster.client().await?;
        client.create_namespace("bench").await?;
        client.create(PODS, &idle_pod("read")).await?;
        Ok(Self { cluster, client })
    }

    /// What a moment gave, and how many answers.
    async fn moment(&self, load: Load, call: &Call) -> Result<(Seen, usize)> {
        let before = self.cluster.cpu()?;
        let rate = load.rate(&self.client, call).await?;
        let cpu = (self.cluster.cpu()? - before).as_secs_f64() / rate.answers as f64;
        Ok((Seen { per_second: rate.per_second, cpu }, rate.answers))
    }
}

/// Prints what `arguments.gantry` does beside what `other` does.
pub async fn run(arguments: &Arguments, other: &Path) -> Result<()> {
    let sides = [Side::start(other).await?, Side::start(&arguments.gantry).await?];
    let load = Load { warm_up: WARM_UP, window: MOMENT, ..arguments.load() };
    println!("| work | other | this | this/other by CPU: median, quartiles | by rate |");
    println!("| --- | ---: | ---: | --- | --- |");
    let works = [
        ("GET of a pod", Call::get(format!("{PODS}/read"))),
        ("durable POST of a pod", Call::post(PODS, &idle_pod("pod-OBJECT"))),
    ];
    // Names go on where the last moment ended.
    let mut first = 0;
    for (what, call) in works {
        let mut pairs = Vec::new();
        for pair in 0..PAIRS {
            let turns = if pair % 2 == 0 { [0, 1] } else { [1, 0] };
            let mut seen = [Seen { per_second: 0.0, cpu: 0.0 }; 2];
            let mut most = 0;
            for side in turns {
                let (moment, answers) = sides[side].moment(load.from(first), &call).await.context(what)?;
                seen[side] = moment;
                most = most.max(answers);
            }
            first += most + load.connections;
            pairs.push(seen);
        }
        let median = |side: usize| quartiles(pairs.iter().map(|pair| pair[side].per_second).collect())[1];
        let by_cpu = quartiles(pairs.iter().map(|[other, this]| this.cpu / other.cpu).collect());
        let by_rate =
            quartiles(pairs.iter().map(|[other, this]| this.per_second / other.per_second).collect());
        let shown = |[low, middle, high]: [f64; 3]| format!("{middle:.3} ({low:.3}-{high:.3})");
        println!(
            "| {what} | {:.0}/s | {:.0}/s | {} | {} |",
            median(0),
            median(1),
            shown(by_cpu),
            shown(by_rate)
        );
    }
    Ok(())
}

fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[(values.len() - 1) * quarter / 4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_are_of_the_sorted_values() {
        assert_eq!(quartiles(vec![5.0, 1.0, 4.0, 2.0, 3.0]), [2.0, 3.0, 4.0]);
        assert_eq!(quartiles(vec![7.0]), [7.0; 3]);
    }
}
