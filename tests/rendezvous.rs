//! The rendezvous, with real processes: each test is named after what it proves.
//!
//! The rounds of what is random are few unless `SIMPLE_IPC_ROUNDS=all` is set:
//!
//! ```text
//! SIMPLE_IPC_ROUNDS=all cargo test --all-features --test rendezvous
//! ```
//!
//! Tests against git's own server need `GIT_TEST_TOOL`, the path of git's `t/helper/test-tool`;
//! those with other users need root. Without it they say that they were skipped.
//!
//! It is about sockets, what lies beside them, and what a crash leaves there. A pipe leaves nothing;
//! what it has instead is in `windows_pipes`, and what both have in the conformance suite.
#![cfg(all(target_os = "linux", feature = "blocking"))]

#[path = "rendezvous/support.rs"]
mod support;

#[path = "rendezvous/access.rs"]
mod access;
#[path = "rendezvous/adopted.rs"]
mod adopted;
#[path = "rendezvous/endings.rs"]
mod endings;
#[path = "rendezvous/git.rs"]
mod git;
#[path = "rendezvous/hygiene.rs"]
mod hygiene;
#[path = "rendezvous/on_demand.rs"]
mod on_demand;
#[path = "rendezvous/paths.rs"]
mod paths;
#[path = "rendezvous/takeover.rs"]
mod takeover;

/// What the processes do that the tests start: it runs this test alone, with a part to play.
#[test]
fn role() {
    let Some(role) = std::env::var_os("RENDEZVOUS_ROLE") else { return };
    match role.to_str().unwrap() {
        "serve" => support::serve_as_told(),
        "contend" => takeover::contend(),
        "cycle" => takeover::cycle(),
        "hold lock" => git::hold_lock(),
        "look" => access::look(),
        "no proc" => paths::without_proc(),
        "call or start" => on_demand::call_or_start(),
        "fail" => on_demand::fail_to_start(),
        "count" => hygiene::count(),
        other => panic!("no such role: {other}"),
    }
    std::process::exit(0);
}
