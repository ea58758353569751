//! Servers take turns: whatever else the machine does meets all of them alike, so that the ratios
//! within a round mean more than the times.
//!
//! They are started anew several times: where a process happens to have its memory may make it a
//! little slower or faster than another one of the same kind, as long as it lives.

use std::iter;
use std::time::{Duration, Instant};

use crate::report::Report;

/// The turns of each before anything is measured.
const WARM_UP: usize = 10;

/// How often all are started.
const STARTS: u32 = 10;

/// The rounds after each start, at least. With fewer than six in all there is no interval that has
/// the median with 95 % confidence.
const LEAST_ROUNDS: usize = 2;

/// One of those that take turns.
pub(crate) struct Competitor<T> {
    /// What its figures are called.
    pub(crate) name: &'static str,
    /// What has its turn.
    pub(crate) server: T,
}

/// What the turns have cost.
pub(crate) struct Turns {
    names: Vec<&'static str>,
    /// For each round the nanoseconds of each competitor.
    rounds: Vec<Vec<f64>>,
}

impl Turns {
    /// Goes around for a while. `start` starts all competitors; `turn` gives the nanoseconds that one
    /// has needed.
    pub(crate) fn take<T>(
        time: Duration,
        start: impl Fn() -> Result<Vec<Competitor<T>>, String>,
        mut turn: impl FnMut(&T) -> Result<f64, String>,
    ) -> Result<Self, String> {
        let mut turn = |competitor: &Competitor<T>| {
            turn(&competitor.server).map_err(|error| format!("{}: {error}", competitor.name))
        };
        let mut all = Self { names: Vec::new(), rounds: Vec::new() };
        for _ in 0..STARTS {
            let competitors = start()?;
            all.names = competitors.iter().map(|competitor| competitor.name).collect();
            for competitor in &competitors {
                for _ in 0..WARM_UP {
                    turn(competitor)?;
                }
            }
            let (begin, before) = (Instant::now(), all.rounds.len());
            while all.rounds.len() < before + LEAST_ROUNDS || begin.elapsed() < time / STARTS {
                let mut times = vec![0.0; competitors.len()];
                for which in order(all.rounds.len(), competitors.len()) {
                    times[which] = turn(&competitors[which])?;
                }
                all.rounds.push(times);
            }
        }
        Ok(all)
    }

    /// Reports the number of rounds, the microseconds of all competitors and the ratios to the
    /// first one.
    pub(crate) fn report(&self, report: &mut Report, name: &str) {
        report.value(&format!("{name}_rounds"), self.rounds.len() as f64, "rounds");
        let of = |f: &dyn Fn(&Vec<f64>) -> f64| self.rounds.iter().map(f).collect::<Vec<f64>>();
        for (which, competitor) in self.names.iter().enumerate() {
            let times = of(&|round| round[which] / 1000.0);
            report.runs(&format!("{name}_{competitor}"), &times, "us");
        }
        for (which, competitor) in self.names.iter().enumerate().skip(1) {
            let ratios = of(&|round| round[which] / round[0]);
            report.ratio(&format!("{name}_{competitor}_ratio"), &ratios);
        }
    }
}

/// Who has turns in a round: each is as often the first as the others, and comes behind one
/// neighbour as often as behind the other.
fn order(round: usize, number: usize) -> Box<dyn Iterator<Item = usize>> {
    if number == 0 {
        return Box::new(iter::empty());
    }
    let first = round / 2 % number;
    let forward = (0..number).map(move |turn| (first + turn) % number);
    if round.is_multiple_of(2) { Box::new(forward) } else { Box::new(forward.rev()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_have_one_turn_in_each_round_and_are_first_alike() {
        let mut first = [0; 5];
        for round in 0..20 {
            let mut order: Vec<usize> = order(round, 5).collect();
            first[order[0]] += 1;
            order.sort_unstable();
            assert_eq!(order, [0, 1, 2, 3, 4], "round {round}");
        }
        assert_eq!(first, [4; 5]);
    }
}
