//! `simple-ipc bench`.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use simple_ipc::Error;
use simple_ipc::blocking::Client;

use crate::exit::{self, Failure, Status};
use crate::values::{self, Limit};

const EXAMPLES: &str = "\
Examples:
  simple-ipc bench ./x.ipc
  simple-ipc bench ./x.ipc --clients 16 --duration 10s --size 64K
  simple-ipc bench ./x.ipc status --requests 1000 --json >before.json";

/// Put load on a server, and show how long answers take
///
/// Each client sends its next request when it has the answer to the last, each on a connection of
/// its own, as the protocol wants it; the time counts from before connecting until the end of the
/// answer. One request is sent beforehand, to see that all is well, and does not count. When the
/// clients have failed often and nobody has had an answer, it stops early.
#[derive(Args)]
#[command(
    after_help = EXAMPLES,
    after_long_help = format!("{EXAMPLES}\n\n{}", exit::table(&Status::OF_EXCHANGES)),
)]
pub struct Bench {
    /// The server's path
    path: PathBuf,
    /// What to send
    #[arg(default_value = "ping")]
    request: OsString,
    /// Send so many bytes in its place
    #[arg(short, long, value_parser = values::size, conflicts_with = "request")]
    size: Option<u64>,
    /// How many clients ask at once
    #[arg(short, long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=4096))]
    clients: u16,
    /// Stop after so many requests
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// Stop after this long [default: 3s, or any time with --requests]
    #[arg(short, long, value_parser = values::duration)]
    duration: Option<Duration>,
    /// Count a request as failed when it takes longer; "none" waits for ever
    #[arg(short, long, value_name = "DURATION", default_value = "10s", value_parser = values::duration_or_none)]
    timeout: Limit<Duration>,
    /// Print the result as one JSON object; times are in nanoseconds
    #[arg(long)]
    json: bool,
}

/// What there is to do, and how far it has come.
struct Load {
    client: Client,
    request: Vec<u8>,
    requests: u64,
    duration: Duration,
    since: Instant,
    begun: AtomicU64,
    ended: AtomicU64,
    /// Since somebody had an answer, of all clients; and how many are too many.
    failed_in_a_row: AtomicU64,
    many: u64,
    stop: AtomicBool,
}

/// What one client has seen, or all together.
struct Seen {
    times: Histogram<u64>,
    failed: u64,
    first_error: Option<Error>,
}

impl Bench {
    pub fn run(self) -> Result<Status, Failure> {
        let request = match self.size {
            Some(size) => payload(size)?,
            None => self.request.clone().into_encoded_bytes(),
        };
        let client = Client::new(&self.path).total_deadline(self.timeout.0);
        let answer = client.call(&request)?.len();
        let load = Load {
            client,
            request,
            requests: self.requests.unwrap_or(u64::MAX),
            duration: self.duration.unwrap_or(match self.requests {
                Some(_) => Duration::MAX,
                None => Duration::from_secs(3),
            }),
            since: Instant::now(),
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            failed_in_a_row: AtomicU64::new(0),
            many: 10 * u64::from(self.clients),
            stop: AtomicBool::new(false),
        };
        let (seen, took) = load.run(self.clients)?;
        let report =
            Report { bench: &self, seen: &seen, took, request: load.request.len(), answer };
        let text = if self.json { report.json() } else { report.text() };
        io::stdout().write_all(text.as_bytes()).map_err(|error| Failure::output(&error))?;
        match seen.first_error {
            None => Ok(Status::Success),
            Some(error) => {
                let failure = Failure::from(error);
                let (failed, all) = (seen.failed, seen.failed + seen.times.len());
                let early = if load.stop.into_inner() { "stopped early: " } else { "" };
                Err(Failure::new(
                    failure.status,
                    format_args!(
                        "{early}{failed} of {all} requests failed, the first because: {failure}"
                    ),
                ))
            }
        }
    }
}

impl Load {
    /// All clients at once, and how long it took.
    fn run(&self, clients: u16) -> Result<(Seen, Duration), Failure> {
        thread::scope(|scope| {
            let mut threads = Vec::new();
            let (at_work, over) = channel::<Infallible>();
            for _ in 0..clients {
                let at_work = at_work.clone();
                let client = move || {
                    let _at_work = at_work;
                    self.client()
                };
                match thread::Builder::new().spawn_scoped(scope, client) {
                    Ok(thread) => threads.push(thread),
                    Err(error) => {
                        self.stop.store(true, Ordering::Relaxed);
                        return Err(Failure::io("start as many threads as --clients", &error));
                    }
                }
            }
            drop(at_work);
            self.watch(&over);
            let took = self.since.elapsed();
            let mut all = Seen::nothing();
            for thread in threads {
                let Seen { times, failed, first_error } = thread.join().expect("no client panics");
                all.times.add(times).expect("they grow as needed");
                all.failed += failed;
                all.first_error = all.first_error.or(first_error);
            }
            Ok((all, took))
        })
    }

    /// What one client does.
    fn client(&self) -> Seen {
        let mut seen = Seen::nothing();
        let mut answer = Vec::new();
        while !self.stop.load(Ordering::Relaxed)
            && self.begun.fetch_add(1, Ordering::Relaxed) < self.requests
            && self.since.elapsed() < self.duration
        {
            let since = Instant::now();
            match self.client.call_into(&self.request, &mut answer) {
                Ok(()) => {
                    let took = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
                    seen.times.record(took.max(1)).expect("they grow as needed");
                    self.failed_in_a_row.store(0, Ordering::Relaxed);
                }
                Err(error) => {
                    seen.failed += 1;
                    seen.first_error.get_or_insert(error);
                    // The server is gone, or answers nobody: there is nothing to measure.
                    if self.failed_in_a_row.fetch_add(1, Ordering::Relaxed) >= self.many {
                        self.stop.store(true, Ordering::Relaxed);
                    }
                }
            }
            self.ended.fetch_add(1, Ordering::Relaxed);
        }
        seen
    }

    /// Shows how far it has come, if somebody watches, until it is over.
    fn watch(&self, over: &Receiver<Infallible>) {
        if !io::stderr().is_terminal() {
            let Err(_) = over.recv();
            return;
        }
        let style = ProgressStyle::with_template("{wide_bar} {msg}").expect("it is well-formed");
        let bar = ProgressBar::new(1000).with_style(style);
        while over.recv_timeout(Duration::from_millis(100)) == Err(RecvTimeoutError::Timeout) {
            let (ended, elapsed) = (self.ended.load(Ordering::Relaxed), self.since.elapsed());
            let of_requests = ended as f64 / self.requests as f64;
            let of_time = elapsed.as_secs_f64() / self.duration.as_secs_f64();
            bar.set_position((of_requests.max(of_time) * 1000.0) as u64);
            bar.set_message(format!("{}/s", rate(ended as f64 / elapsed.as_secs_f64())));
        }
        bar.finish_and_clear();
    }
}

/// So many bytes, if there is memory for them.
fn payload(size: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let len = usize::try_from(size).ok().filter(|len| bytes.try_reserve_exact(*len).is_ok());
    let len = len.ok_or_else(|| Failure::usage("--size is more than there is memory for"))?;
    bytes.resize(len, b'x');
    Ok(bytes)
}

impl Seen {
    fn nothing() -> Self {
        let times = Histogram::new(3).expect("three digits can be kept");
        Self { times, failed: 0, first_error: None }
    }
}

/// The result, to be shown.
struct Report<'r> {
    bench: &'r Bench,
    seen: &'r Seen,
    took: Duration,
    request: usize,
    answer: usize,
}

const PERCENTILES: [f64; 5] = [50.0, 90.0, 99.0, 99.9, 99.99];

impl Report<'_> {
    fn rate(&self) -> f64 {
        self.seen.times.len() as f64 / self.took.as_secs_f64()
    }

    /// From, to (exclusive) and how many, in steps of 1, 2, 5, from the fastest to the slowest.
    fn rows(&self) -> Vec<(u64, u64, u64)> {
        let mut edges = (0..19).flat_map(|zeros| [1, 2, 5].map(|step| step * 10_u64.pow(zeros)));
        let mut rows: Vec<(u64, u64, u64)> = Vec::new();
        let (mut from, mut to) = (0, 1);
        for step in self.seen.times.iter_recorded() {
            while step.value_iterated_to() >= to && to < u64::MAX {
                (from, to) = (to, edges.next().unwrap_or(u64::MAX));
                if !rows.is_empty() {
                    rows.push((from, to, 0));
                }
            }
            match rows.last_mut() {
                Some((.., count)) => *count += step.count_since_last_iteration(),
                None => rows.push((from, to, step.count_since_last_iteration())),
            }
        }
        rows
    }

    fn json(&self) -> String {
        let Seen { times, failed, .. } = self.seen;
        let percentiles: serde_json::Map<_, _> = PERCENTILES
            .iter()
            .map(|&percentile| {
                (percentile.to_string(), json!(times.value_at_percentile(percentile)))
            })
            .collect();
        let histogram: Vec<_> = self
            .rows()
            .into_iter()
            .map(|(from, to, count)| json!({ "from": from, "to": to, "count": count }))
            .collect();
        let report = json!({
            "path": self.bench.path.to_string_lossy(),
            "clients": self.bench.clients,
            "request_bytes": self.request,
            "answer_bytes": self.answer,
            "seconds": self.took.as_secs_f64(),
            "answers": times.len(),
            "failed": failed,
            "answers_per_second": self.rate(),
            "latency": {
                "min": times.min(),
                "mean": times.mean(),
                "max": times.max(),
                "percentiles": percentiles,
                "histogram": histogram,
            },
        });
        format!("{report}\n")
    }

    fn text(&self) -> String {
        let times = &self.seen.times;
        let mut text = format!(
            "{} answers in {:.2} s: {} a second, {} clients at once\n\
             {} bytes sent and {} received each time; {} failed\n",
            times.len(),
            self.took.as_secs_f64(),
            rate(self.rate()),
            self.bench.clients,
            self.request,
            self.answer,
            self.seen.failed,
        );
        if times.is_empty() {
            return text;
        }
        let mut row = |name: &str, nanoseconds| {
            let _ = write!(text, "\n  {name:<8} {:>9}", time(nanoseconds));
        };
        row("fastest", times.min());
        for percentile in PERCENTILES {
            row(&format!("{percentile} %"), times.value_at_percentile(percentile));
        }
        row("slowest", times.max());
        text += "\n\n";
        self.bars(&mut text);
        text
    }

    fn bars(&self, text: &mut String) {
        let width = terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0));
        let rows = self.rows();
        let most = rows.iter().map(|&(.., count)| count).max().unwrap_or(1);
        let digits = most.to_string().len();
        // What is before the bars takes 26 and the digits.
        let room = width.saturating_sub(26 + digits).clamp(5, 60);
        for (from, to, count) in rows {
            let len = (count as f64 / most as f64 * room as f64).ceil() as usize;
            let line = format!(
                "{:>9} – {:>7}  {count:>digits$}  {}",
                time(from),
                time(to),
                "#".repeat(len)
            );
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
}

/// So many a second; with a decimal if they are few.
fn rate(number: f64) -> String {
    if number < 10.0 { format!("{number:.1}") } else { format!("{number:.0}") }
}

/// Three digits and a unit.
fn time(nanoseconds: u64) -> String {
    let units = [("ns", 1.0), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)];
    let value = nanoseconds as f64;
    let (unit, worth) =
        units.into_iter().rev().find(|&(_, worth)| value >= worth).unwrap_or(units[0]);
    let number = value / worth;
    let decimals = match number {
        _ if number.fract() < 0.005 || number >= 100.0 => 0,
        _ if number >= 10.0 => 1,
        _ => 2,
    };
    format!("{number:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::time;

    #[test]
    fn times() {
        for (nanoseconds, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1000, "1 µs"),
            (1230, "1.23 µs"),
            (12_345, "12.3 µs"),
            (200_000, "200 µs"),
            (123_456_789, "123 ms"),
            (61_000_000_000, "61 s"),
        ] {
            assert_eq!(time(nanoseconds), text);
        }
    }
}
