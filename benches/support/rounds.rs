//! Rounds: every contender in turn, again and again, so that what disturbs one disturbs all; and
//! medians, which no single disturbance moves.

use std::io;
use std::time::{Duration, Instant};

/// How long and how often to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) rounds: usize,
    /// No new round begins after this long, from the third on.
    pub(crate) budget: Duration,
}

/// Takes one sample.
pub(crate) type Sample<'c> = Box<dyn FnMut() -> io::Result<f64> + 'c>;

/// One contender's samples, one a round.
#[derive(Clone, Debug)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn rounds(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn median(&self) -> f64 {
        quantile(self.0.clone(), 0.5)
    }

    /// Half the range of the middle half of the samples, as a part of the median.
    pub(crate) fn spread(&self) -> f64 {
        let quartile = |q| quantile(self.0.clone(), q);
        (quartile(0.75) - quartile(0.25)) / 2.0 / self.median()
    }

    /// The median of the ratios to `other`, round by round.
    pub(crate) fn ratio(&self, other: &Self) -> f64 {
        quantile(self.0.iter().zip(&other.0).map(|(one, other)| one / other).collect(), 0.5)
    }
}

fn quantile(mut values: Vec<f64>, q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = q * (values.len() - 1) as f64;
    let (below, above) = (values[at.floor() as usize], values[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

/// Measures all contenders. One that fails is out, with the reason; the others go on.
pub(crate) fn measure(
    pace: Pace,
    contenders: Vec<Result<Sample<'_>, String>>,
) -> Vec<Result<Samples, String>> {
    let len = contenders.len();
    let mut taking: Vec<_> =
        contenders.into_iter().map(|contender| Ok((contender?, Vec::new()))).collect();
    let start = Instant::now();
    // The first round warms up and does not count.
    for round in 0..=pace.rounds {
        if round > 3 && start.elapsed() > pace.budget {
            break;
        }
        // Not always in the same order: nobody always comes after the same one.
        for contender in (0..len).map(|k| (k + round) % len) {
            let Ok((sample, samples)) = &mut taking[contender] else { continue };
            match sample() {
                Ok(_) if round == 0 => {}
                Ok(value) => samples.push(value),
                Err(error) => taking[contender] = Err(error.to_string()),
            }
        }
    }
    taking.into_iter().map(|taken| taken.map(|(_, samples)| Samples(samples))).collect()
}
