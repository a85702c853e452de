//! What to reach, in one table.

/// Which way is better.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Better {
    Less,
    More,
}

/// A figure to reach: at least `must`, and rather `aim`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    pub(crate) id: &'static str,
    pub(crate) what: &'static str,
    pub(crate) better: Better,
    pub(crate) must: f64,
    pub(crate) aim: f64,
}

use Better::{Less, More};

/// All figures. Ratios, unless it says otherwise.
#[rustfmt::skip]
pub(crate) const FIGURES: [Figure; 18] = [
    figure("same/git/blocking", "latency against git, same processor: blocking", Less, 0.42, 0.34),
    figure("same/git/async", "latency against git, same processor: async", Less, 0.45, 0.34),
    figure("free/git", "latency against git, free", Less, 0.60, 0.38),
    figure("same/floor/blocking", "latency against the raw floor, same processor: blocking", Less, 1.15, 1.00),
    figure("same/floor/async", "latency against the raw floor, same processor: async", Less, 1.20, 1.00),
    figure("cpu/git", "server's processor time for an exchange, against git", Less, 1.0 / 3.0, 0.2),
    figure("rate/git/blocking", "exchanges a second at 8 and 64 clients, against git: blocking", More, 1.7, 2.2),
    figure("rate/git/async", "exchanges a second at 8 and 64 clients, against git: async", More, 1.4, 2.2),
    figure("under-git/git", "our server under git's client, against git's, same processor", Less, 0.50, 0.41),
    figure("10MB/git", "10 MB answer into a fresh buffer, against git", More, 1.5, 1.8),
    figure("10MB/plain", "10 MB answer into a fresh buffer, against plain bytes", More, 0.80, 0.90),
    figure("100MB/git", "100 MB answer into a fresh buffer, against git", More, 1.1, 2.5),
    figure("100MB-kept/git", "100 MB answer into a kept buffer, against git", More, 2.5, 3.5),
    figure("lines/git", "10,000 small writes into one answer, against git", More, 30.0, 70.0),
    figure("idle/latency", "latency with 10,000 idle connections, against none", Less, 1.05, 1.02),
    figure("idle/memory", "user memory for an idle connection (bytes)", Less, 1500.0, 100.0),
    figure("decode/gix-streaming", "small mixed packets, decode against gix's streaming()", More, 2.5, 3.5),
    figure("decode/gix-iterator", "small mixed packets, decode against gix's iterator", More, 8.0, 11.0),
];

const fn figure(
    id: &'static str,
    what: &'static str,
    better: Better,
    must: f64,
    aim: f64,
) -> Figure {
    Figure { id, what, better, must, aim }
}

/// The figure of that name.
pub(crate) fn get(id: &str) -> &'static Figure {
    let Some(figure) = FIGURES.iter().find(|figure| figure.id == id) else {
        panic!("no figure is called {id}");
    };
    figure
}

impl Figure {
    /// Whether `value` is as good as `limit` asks.
    pub(crate) fn reaches(&self, value: f64, limit: f64) -> bool {
        match self.better {
            Less => value <= limit,
            More => value >= limit,
        }
    }

    /// The sign between a value and its limit.
    pub(crate) fn sign(&self) -> &'static str {
        match self.better {
            Less => "≤",
            More => "≥",
        }
    }
}
