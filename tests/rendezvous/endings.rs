//! What clients know when a server ends.

use std::thread;
use std::time::Instant;

use simple_ipc::ErrorKind;
use simple_ipc::client::Delivery;
use simple_ipc::connect::State;
use simple_ipc::endpoint::BindOptions;
use simple_ipc::lifecycle::Reason;

use super::support::*;

#[test]
fn a_client_that_sends_at_the_instant_of_idle_exit_is_served_or_gets_not_delivered() {
    for &runtime in RUNTIMES {
        let scratch = Scratch::new();
        let (mut served, mut refused) = (0, 0);
        for round in 0..rounds(60, 500) {
            let path = scratch.path(round.to_string());
            let idle = 4 * MS;
            let settings = Settings { idle: Some(idle), ..Settings::default() };
            let source = Source::Path(path.clone(), BindOptions::new());
            let (sender, serves) = std::sync::mpsc::channel();
            let server = thread::spawn(move || {
                serve(runtime, source, &settings, || sender.send(()).unwrap()).unwrap()
            });
            serves.recv().unwrap();
            // About then.
            thread::sleep(idle - MS + round as u32 % 20 * (MS / 10));
            match client(&path).call("x") {
                Ok(answer) => {
                    assert_eq!(answer, b"x");
                    served += 1;
                }
                Err(error) => {
                    let delivery = error.delivery();
                    let connected = !matches!(error.kind(), ErrorKind::Endpoint(_));
                    assert_eq!(
                        delivery,
                        Some(Delivery::NotDelivered),
                        "{runtime:?} round {round}, connected {connected}: {error}"
                    );
                    refused += 1;
                }
            }
            assert_eq!(server.join().unwrap().reason, Reason::Idle);
        }
        eprintln!("{runtime:?}: {served} served, {refused} not delivered");
        assert!(served > 0);
    }
}

#[test]
fn what_is_under_way_at_the_drain_deadline_is_aborted_without_a_flush() {
    for &runtime in RUNTIMES {
        let scratch = Scratch::new();
        let path = scratch.path("s");
        let mut server = Process::serving(&mut server(runtime, &path, "drain=200"));
        let slow = client(&path).connect().unwrap().send("slow 5000").unwrap();
        eventually("its exchange is under way", || client(&path).call("x").is_ok());
        let since = Instant::now();
        client(&path).call("quit").unwrap();
        let error = slow.read_all().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoAnswer, "{runtime:?}");
        assert_eq!(error.delivery(), Some(Delivery::Unknown));
        assert!(since.elapsed() < 2000 * MS, "{:?}", since.elapsed());
        assert_eq!(server.hear(), "ended Quit 1", "{runtime:?}");
    }
}

#[test]
fn delivered_and_unknown_are_told_apart() {
    let scratch = Scratch::new();
    let path = scratch.path("s");
    let error = client(&path).call("x").unwrap_err();
    assert_eq!(error.state(), Some(State::NotFound));
    assert_eq!(error.delivery(), Some(Delivery::NotDelivered));
    for &runtime in RUNTIMES {
        let mut killed = Process::serving(&mut server(runtime, &path, ""));
        let slow = client(&path).connect().unwrap().send("slow 5000").unwrap();
        eventually("its exchange is under way", || client(&path).call("x").is_ok());
        killed.kill();
        let error = slow.read_all().unwrap_err();
        assert_eq!(error.delivery(), Some(Delivery::Unknown), "{runtime:?}: {error}");
        let error = client(&path).call("x").unwrap_err();
        assert_eq!(error.state(), Some(State::NotListening));
        assert_eq!(error.delivery(), Some(Delivery::NotDelivered));
    }
}
