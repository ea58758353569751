//! The figures, printed as they come and kept for the file.

use serde_json::{Map, Value, json};

/// Figures that were measured so far.
#[derive(Default)]
pub(crate) struct Report {
    machine: Map<String, Value>,
    figures: Map<String, Value>,
}

impl Report {
    /// One line about the machine and the programs.
    pub(crate) fn machine(&mut self, facts: &[(&str, String)]) {
        let text: Vec<String> = facts.iter().map(|(name, fact)| format!("{name} {fact}")).collect();
        println!("# {}", text.join(", "));
        self.machine.extend(facts.iter().map(|(name, fact)| ((*name).to_owned(), json!(fact))));
    }

    /// Explains the next figures.
    pub(crate) fn explain(&self, text: &str) {
        println!("# {text}");
    }

    pub(crate) fn value(&mut self, name: &str, value: f64, unit: &str) {
        println!("{name} {} {unit}", number(value));
        self.figures.insert(name.to_owned(), json!({"value": value, "unit": unit}));
    }

    /// The extremes and the middle of several runs.
    pub(crate) fn runs(&mut self, name: &str, samples: &[f64], unit: &str) {
        let sorted = sorted(samples);
        let (Some(min), Some(max)) = (sorted.first(), sorted.last()) else { return };
        self.value(&format!("{name}_min"), *min, unit);
        self.value(&format!("{name}_median"), median(&sorted), unit);
        self.value(&format!("{name}_max"), *max, unit);
    }

    /// The median of ratios, and the interval that has the true one with 95 % confidence.
    pub(crate) fn ratio(&mut self, name: &str, samples: &[f64]) {
        let sorted = sorted(samples);
        let Some(last) = sorted.len().checked_sub(1) else { return };
        // By order statistics: the number of samples below the median is binomial.
        let half = 0.98 * (sorted.len() as f64).sqrt();
        let middle = last as f64 / 2.0;
        let low = sorted[(middle - half).floor().max(0.0) as usize];
        let high = sorted[((middle + half).ceil() as usize).min(last)];
        let median = median(&sorted);
        println!("{name} {median:.4} {low:.4} {high:.4}");
        let figure = json!({"ratio": median, "low": low, "high": high});
        self.figures.insert(name.to_owned(), figure);
    }

    pub(crate) fn json(&self) -> Value {
        json!({"machine": self.machine, "figures": self.figures})
    }
}

fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The median of sorted samples, of which there is at least one.
pub(crate) fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    }
}

/// Whole numbers as they are, others with what is significant of seconds and microseconds.
fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}
