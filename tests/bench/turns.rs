//! Servers take turns: whatever else the machine does meets all of them alike, so that the ratios
//! within a round mean more than the times.
//!
//! They are started anew several times: where a process happens to have its memory may make it a
//! little slower or faster than another one of the same kind, as long as it lives.

use std::time::{Duration, Instant};

use crate::report::Report;

/// Starts of all of them, and the turns of each after a start before anything is measured.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    /// Number of starts.
    pub(crate) starts: u32,
    /// Number of turns that do not count.
    pub(crate) warm_up: usize,
}

/// For turns of milliseconds.
const USUAL: Pace = Pace { starts: 10, warm_up: 10 };

/// The rounds after each start, at least. With fewer than six in all there is no interval that has
/// the median with 95 % confidence.
const LEAST_ROUNDS: usize = 2;

/// One of those that take turns.
pub(crate) struct Competitor<T> {
    /// Name of its figures.
    pub(crate) name: &'static str,
    /// The competitor itself.
    pub(crate) server: T,
}

/// Costs of the turns.
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
        turn: impl FnMut(&T) -> Result<f64, String>,
    ) -> Result<Self, String> {
        Self::take_at(USUAL, time, start, turn)
    }

    /// The same at another pace.
    pub(crate) fn take_at<T>(
        pace: Pace,
        time: Duration,
        start: impl Fn() -> Result<Vec<Competitor<T>>, String>,
        mut turn: impl FnMut(&T) -> Result<f64, String>,
    ) -> Result<Self, String> {
        let mut turn = |competitor: &Competitor<T>| {
            turn(&competitor.server).map_err(|error| format!("{}: {error}", competitor.name))
        };
        let mut all = Self { names: Vec::new(), rounds: Vec::new() };
        for _ in 0..pace.starts {
            let competitors = start()?;
            all.names = competitors.iter().map(|competitor| competitor.name).collect();
            for competitor in &competitors {
                for _ in 0..pace.warm_up {
                    turn(competitor)?;
                }
            }
            let (begin, before) = (Instant::now(), all.rounds.len());
            while all.rounds.len() < before + LEAST_ROUNDS || begin.elapsed() < time / pace.starts {
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

/// Returns the order of the turns in a round: shuffled, because one that costs much leaves cold caches to the next
/// one, and the same in each run.
fn order(round: usize, number: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..number).collect();
    let mut state = round as u64;
    for place in (1..number).rev() {
        order.swap(place, (random(&mut state) % (place as u64 + 1)) as usize);
    }
    order
}

/// SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bits = *state;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_have_one_turn_in_each_round_and_follow_each_other_alike() {
        const ROUNDS: usize = 4000;
        let mut follows = [[0; 5]; 5];
        let mut last = 0;
        for round in 0..ROUNDS {
            let mut order = order(round, 5);
            for which in &order {
                follows[last][*which] += 1;
                last = *which;
            }
            order.sort_unstable();
            assert_eq!(order, [0, 1, 2, 3, 4], "round {round}");
        }
        for (one, other) in (0..5).flat_map(|one| (0..5).map(move |other| (one, other))) {
            // Twice in a row only over the end of a round.
            let share = if one == other { 1.0 / 25.0 } else { 24.0 / 25.0 / 4.0 };
            let expected = share * ROUNDS as f64;
            let seen = f64::from(follows[one][other]);
            assert!((seen - expected).abs() < expected / 4.0, "{one} {other}: {follows:?}");
        }
    }
}
