//! Percentiles of one run, medians over runs.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Times of one kind in one run, microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) count: u64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) max_us: f64,
}

impl Spread {
    /// Of durations in nanoseconds.
    pub(crate) fn of(nanoseconds: impl IntoIterator<Item = u64>) -> Spread {
        let mut histogram = Histogram::<u64>::new(3).expect("three digits are a valid precision");
        for value in nanoseconds {
            histogram.record(value.max(1)).expect("the histogram resizes itself");
        }
        Spread::of_histogram(&histogram)
    }

    /// Of a histogram of nanoseconds.
    pub(crate) fn of_histogram(histogram: &Histogram<u64>) -> Spread {
        if histogram.is_empty() {
            return Spread::default();
        }
        let micros = |ns: u64| {
            #[expect(clippy::cast_precision_loss, reason = "durations of a bench are below 2^52 ns")]
            let ns = ns as f64;
            (ns / 100.0).round() / 10.0
        };
        Spread {
            count: histogram.len(),
            p50_us: micros(histogram.value_at_quantile(0.5)),
            p99_us: micros(histogram.value_at_quantile(0.99)),
            max_us: micros(histogram.max()),
        }
    }
}

/// The median of some figures, and the lowest and highest of them.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Median {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Median {
    /// Of one figure per run; there is at least one run.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Median {
        let mut all: Vec<f64> = figures.into_iter().collect();
        all.sort_by(f64::total_cmp);
        let last = all.len() - 1;
        let median =
            if all.len() % 2 == 1 { all[last / 2] } else { f64::midpoint(all[last / 2], all[last / 2 + 1]) };
        Median { median, low: all[0], high: all[last] }
    }
}

impl std::fmt::Display for Median {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = f.precision().unwrap_or(1);
        write!(f, "{:.digits$} [{:.digits$} – {:.digits$}]", self.median, self.low, self.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_counts() {
        assert!((Median::of([3.0, 1.0, 2.0]).median - 2.0).abs() < f64::EPSILON);
        assert!((Median::of([4.0, 1.0, 2.0, 3.0]).median - 2.5).abs() < f64::EPSILON);
    }

    #[test]
    fn a_spread_is_in_microseconds() {
        let spread = Spread::of((1..=100).map(|i| i * 1_000_000));
        assert_eq!(spread.count, 100);
        assert!((spread.p50_us - 50_000.0).abs() < 100.0, "{spread:?}");
        assert!(Spread::of([]).p50_us.abs() < f64::EPSILON);
    }
}
