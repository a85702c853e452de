//! A message in a `Vec`: it grows with what comes, never with what is announced.

use simple_ipc::server;

use crate::naive;
use crate::random::Random;

#[test]
fn a_header_alone_reserves_nothing() {
    let mut request = server::accept(None);
    let mut message = Vec::new();
    // The longest packet is announced, and no more than some of it comes.
    for byte in b"fff0".iter().chain(&[b'x'; 2000]) {
        request.make_room(&mut message);
        let from = message.len();
        message.push(*byte);
        assert_eq!(request.absorb(&mut message, from), Ok(false));
    }
    assert_eq!(message, [b'x'; 2000]);
    assert!(message.capacity() <= 4096, "{}", message.capacity());
}

#[test]
fn there_is_always_room_and_never_much_more_than_came() {
    let mut random = Random(3);
    let payload: Vec<u8> = (0..3_000_000).map(|at: u32| (at % 251) as u8).collect();
    let wire = naive::encode(&payload, true);
    for most in [100_000, 1 << 24] {
        let mut request = server::accept(None);
        let (mut message, mut input) = (Vec::new(), &wire[..]);
        loop {
            request.make_room(&mut message);
            let (from, spare) = (message.len(), message.capacity() - message.len());
            assert!(spare >= 64);
            assert!(message.capacity() <= 2 * from + 2 * 65_536);
            let n = (1 + random.below(most)).min(spare).min(input.len());
            let (read, rest) = input.split_at(n);
            message.extend(read);
            input = rest;
            if request.absorb(&mut message, from).unwrap() {
                break;
            }
        }
        assert!(message == payload && input.is_empty());
    }
}

#[test]
fn there_is_room_in_any_vec() {
    let request = server::accept(None);
    for capacity in [0_usize, 1, 63, 64, 65, 4096, 65_536, 1 << 20] {
        for len in [0, 1, capacity / 2, capacity.saturating_sub(1), capacity] {
            let mut message = Vec::with_capacity(capacity);
            message.resize(len.min(capacity), 0_u8);
            let before = message.capacity();
            request.make_room(&mut message);
            assert!(message.capacity() > message.len());
            // Small leftovers are not worth a system call; ample room is left alone.
            assert!(message.capacity() == before || before - message.len() < 65_536);
        }
    }
}

#[test]
fn what_was_there_before_stays() {
    let mut request = server::accept(None);
    let mut message = b"old0005a0000trailing".to_vec();
    assert_eq!(request.absorb(&mut message, 3), Ok(true));
    assert_eq!(message, b"olda");
    let end = message.len();
    assert_eq!(request.absorb(&mut message, end), Ok(true), "whole stays whole");
    assert_eq!(message, b"olda");
}

#[test]
#[should_panic]
fn a_place_past_the_end_panics() {
    let _ = server::accept(None).absorb(&mut vec![0; 3], 4);
}
