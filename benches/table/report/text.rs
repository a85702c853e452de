//! The verdicts once more, at the end.

use crate::support::row::{Row, Verdict};

/// All figures, the missed ones first.
pub(crate) fn summarize(rows: &[Row]) {
    let mut outcomes: Vec<_> = rows.iter().flat_map(Row::outcomes).collect();
    outcomes.sort_by_key(|outcome| match outcome.verdict() {
        Verdict::Missed => 0,
        Verdict::NotMeasured => 1,
        Verdict::Must => 2,
        Verdict::Aim => 3,
    });
    println!("What to reach:");
    for outcome in &outcomes {
        println!("  {outcome}");
    }
    let count = |verdict| outcomes.iter().filter(|outcome| outcome.verdict() == verdict).count();
    println!(
        "{} figures: {} reach the aim, {} what they must, {} miss it, {} were not measured",
        outcomes.len(),
        count(Verdict::Aim),
        count(Verdict::Must),
        count(Verdict::Missed),
        count(Verdict::NotMeasured),
    );
}
