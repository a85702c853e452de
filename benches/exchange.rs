//! One exchange after the other, in a few seconds: the blocking runtime beside the raw floor, and
//! beside git if `GIT_TEST_TOOL` names its `test-tool`. The whole table is the bench `table`.
//!
//! ```text
//! cargo bench --bench exchange
//! ```

#[cfg(target_os = "linux")]
mod support;

#[cfg(target_os = "linux")]
fn main() -> std::io::Result<()> {
    use std::time::Duration;

    use support::blocking::BLOCKING;
    use support::cpus::Place;
    use support::exchange::{Bench, Contender, sequential};
    use support::floor::PACKETS;
    use support::rounds::Pace;

    if let Some(outcome) = support::party::play(&[&PACKETS, &BLOCKING]) {
        return outcome;
    }
    // `cargo test` starts benches too, without a word.
    if std::env::args_os().len() < 2 {
        return Ok(());
    }
    let bench = Bench::new(Pace { rounds: 15, budget: Duration::from_secs(3) })?;
    let floor = || Contender { name: "raw floor", client: &PACKETS, server: &PACKETS, claims: &[] };
    let blocking =
        |claims| Contender { name: "blocking", client: &BLOCKING, server: &BLOCKING, claims };
    for place in [Place::Same, Place::Free, Place::Split] {
        let claims: &[_] = match place {
            Place::Same => &[("same/git/blocking", "git"), ("same/floor/blocking", "raw floor")],
            Place::Free => &[("free/git", "git")],
            Place::Split => &[],
        };
        println!("{}", sequential(&bench, place, &[floor(), blocking(claims)]));
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("measured on Linux only");
}
