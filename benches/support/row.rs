//! Rows of the table: who was measured doing what, and how that compares.

use std::fmt;

use super::figures::{self, Better, Figure};
use super::rounds::{Pace, Sample, Samples, measure};

/// What a row's numbers are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unit {
    pub(crate) symbol: &'static str,
    pub(crate) better: Better,
}

pub(crate) const MICROSECONDS: Unit = Unit { symbol: "µs", better: Better::Less };

/// A row, before it is measured.
pub(crate) struct Plan<'c> {
    row: Row,
    samples: Vec<Result<Sample<'c>, String>>,
}

/// A row that was measured.
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) unit: Unit,
    pub(crate) entries: Vec<Entry>,
    claims: Vec<Claim>,
}

/// One contender of a row: its samples, or why it has none.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) outcome: Result<Samples, String>,
}

/// A figure that a contender should reach.
struct Claim {
    figure: &'static Figure,
    of: String,
    /// The contender it is compared with; `None`: its value itself counts.
    against: Option<String>,
}

/// How a figure was met.
pub(crate) struct Outcome {
    pub(crate) figure: &'static Figure,
    pub(crate) of: String,
    /// The value, or why there is none.
    pub(crate) value: Result<f64, String>,
}

/// What that comes to.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Verdict {
    Aim,
    Must,
    Missed,
    NotMeasured,
}

impl<'c> Plan<'c> {
    pub(crate) fn new(id: impl Into<String>, title: impl Into<String>, unit: Unit) -> Self {
        let (id, title) = (id.into(), title.into());
        let row = Row { id, title, unit, entries: Vec::new(), claims: Vec::new() };
        Self { row, samples: Vec::new() }
    }

    /// Adds a contender, or why it cannot take part.
    pub(crate) fn add(&mut self, name: impl Into<String>, sample: Result<Sample<'c>, String>) {
        self.row.entries.push(Entry { name: name.into(), outcome: Err(String::new()) });
        self.samples.push(sample);
    }

    /// Says what the contender `of` should reach, compared with `against` if that is somebody.
    pub(crate) fn claim<'a>(
        &mut self,
        figure: &str,
        of: &str,
        against: impl Into<Option<&'a str>>,
    ) {
        let against = against.into().map(str::to_owned);
        self.row.claims.push(Claim { figure: figures::get(figure), of: of.into(), against });
    }

    pub(crate) fn measure(self, pace: Pace) -> Row {
        let Self { mut row, samples } = self;
        for (entry, outcome) in row.entries.iter_mut().zip(measure(pace, samples)) {
            entry.outcome = outcome;
        }
        row
    }
}

impl Row {
    fn samples(&self, name: &str) -> Result<&Samples, String> {
        match self.entries.iter().find(|entry| entry.name == name) {
            Some(Entry { outcome: Ok(samples), .. }) => Ok(samples),
            Some(Entry { outcome: Err(why), .. }) => Err(format!("{name}: {why}")),
            None => Err(format!("{name} does not take part")),
        }
    }

    /// How the figures of this row were met.
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = Outcome> + '_ {
        self.claims.iter().map(|claim| {
            let &Claim { figure, ref of, ref against } = claim;
            let value = || {
                let own = self.samples(of)?;
                let Some(against) = against else { return Ok(own.median()) };
                let other = self.samples(against)?;
                // "30 times as fast" where less is better turns the ratio around.
                let same_way = figure.better == self.unit.better;
                Ok(if same_way { own.ratio(other) } else { other.ratio(own) })
            };
            Outcome { figure, of: of.clone(), value: value() }
        })
    }
}

impl Outcome {
    pub(crate) fn verdict(&self) -> Verdict {
        let Self { figure, .. } = self;
        match self.value {
            Err(_) => Verdict::NotMeasured,
            Ok(value) if figure.reaches(value, figure.aim) => Verdict::Aim,
            Ok(value) if figure.reaches(value, figure.must) => Verdict::Must,
            Ok(_) => Verdict::Missed,
        }
    }
}

impl Verdict {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Aim => "aim",
            Self::Must => "must",
            Self::Missed => "missed",
            Self::NotMeasured => "not measured",
        }
    }
}

/// The contenders that others are compared with, if they take part.
const REFERENCES: [&str; 3] = ["git", "raw floor", "plain bytes"];

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let better = match self.unit.better {
            Better::Less => "less",
            Better::More => "more",
        };
        let references: Vec<_> =
            REFERENCES.iter().filter_map(|&name| Some((name, self.samples(name).ok()?))).collect();
        write!(f, "{}: {}\n  {:28}{:>12}", self.id, self.title, "", self.unit.symbol)?;
        for (name, _) in &references {
            write!(f, "{:>14}", format!("/ {name}"))?;
        }
        writeln!(f, "    ({better} is better)")?;
        for Entry { name, outcome } in &self.entries {
            write!(f, "  {name:28}")?;
            let samples = match outcome {
                Ok(samples) => samples,
                Err(why) => {
                    writeln!(f, "not measured: {why}")?;
                    continue;
                }
            };
            write!(f, "{:>12}", significant(samples.median()))?;
            for (_, reference) in &references {
                write!(f, "{:>14.2}", samples.ratio(reference))?;
            }
            if samples.rounds() > 1 {
                write!(f, "    ±{:.0} %", 100.0 * samples.spread())?;
            }
            writeln!(f)?;
        }
        self.outcomes().try_for_each(|outcome| writeln!(f, "    {outcome}"))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let &Self { figure, ref of, ref value } = self;
        let &Figure { what, must, aim, .. } = figure;
        let sign = figure.sign();
        write!(f, "{:12} {of}: {what}: ", self.verdict().name())?;
        match value {
            Ok(value) => write!(f, "{}", significant(*value))?,
            Err(why) => write!(f, "- ({why})")?,
        }
        write!(f, "; must {sign} {}, aim {sign} {}", significant(must), significant(aim))
    }
}

/// A number with three digits that matter.
pub(crate) fn significant(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
