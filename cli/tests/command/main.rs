//! The command as its users run it: real processes, on good input and bad.

mod bench;
mod generate;
mod pkt_line;
#[cfg(unix)]
mod send;
#[cfg(unix)]
mod serve;
#[cfg(unix)]
mod state;
mod support;
