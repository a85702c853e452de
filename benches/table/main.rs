//! The whole table: this library in every runtime, beside a raw floor in plain system calls,
//! beside other crates, and beside git if `GIT_TEST_TOOL` names the `test-tool` of its test suite;
//! each row with its verdict against the figures to reach.
//!
//! ```text
//! cargo bench --all-features --bench table -- [options]
//!
//!   --short         in less than two minutes, with fewer rounds
//!   --only TEXT     only the rows with TEXT in their names; may be given again
//!   --json FILE     writes the table as JSON
//!   --svg FILE      draws it
//!   --syscalls      counts system calls in place of measuring (needs strace)
//! ```
//!
//! Servers and clients are processes of their own: this program again, in a role.

#[cfg(target_os = "linux")]
mod observe;
#[cfg(target_os = "linux")]
mod options;
#[cfg(target_os = "linux")]
mod parties;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
mod rows;
#[cfg(target_os = "linux")]
#[path = "../support/mod.rs"]
mod support;
#[cfg(target_os = "linux")]
mod syscalls;

#[cfg(target_os = "linux")]
fn main() -> std::io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    if let Some(outcome) = support::party::play(&parties::ALL) {
        return outcome;
    }
    let Some(options) = options::Options::from_args()? else { return Ok(()) };
    // Ten thousand connections need as many descriptors, here and in the processes started.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    let bench = support::exchange::Bench::new(options.pace())?;
    if options.syscalls {
        return syscalls::count(&bench);
    }
    let machine = report::Machine::look();
    println!("{machine}\n");
    let mut measured = Vec::new();
    for (_, measure) in rows::ALL.iter().filter(|(name, _)| options.wants(name)) {
        for row in measure(&bench) {
            println!("{row}");
            measured.push(row);
        }
    }
    report::text::summarize(&measured);
    if let Some(file) = &options.json {
        std::fs::write(file, report::json::render(&machine, &measured))?;
    }
    if let Some(file) = &options.svg {
        std::fs::write(file, report::svg::draw(&machine, &measured))?;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("measured on Linux only");
}
