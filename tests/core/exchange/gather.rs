//! Writes of any sizes gather into full packets.

use proptest::prelude::*;
use simple_ipc::client;
use simple_ipc::exchange::{Gather, Outgoing, gather};

use crate::naive::{self, Packet};

const PACKET: usize = 65516;

#[test]
fn every_decision_makes_progress_and_fits() {
    let sizes =
        [0, 1, 2, 4096, PACKET - 1, PACKET, PACKET + 1, 2 * PACKET, 2 * PACKET + 7, usize::MAX];
    for kept in [0, 1, 2, 4096, PACKET - 1, PACKET, PACKET + 1] {
        for incoming in sizes {
            match gather(kept, incoming) {
                Gather::Keep(n) => {
                    assert!(n <= incoming && kept + n <= PACKET);
                    assert_eq!(n == 0, incoming == 0, "never a write of nothing");
                }
                Gather::SendKept => assert!(kept >= PACKET, "only what is full"),
                Gather::SendThrough(n) => {
                    assert!(kept == 0 && n > 0 && n <= incoming && n % PACKET == 0);
                    assert!(incoming - n < PACKET, "as much as can be");
                }
            }
        }
    }
}

/// Writes as a runtime does, and gives the wire.
fn write(writes: &[Vec<u8>]) -> Vec<u8> {
    let (mut outgoing, mut kept, mut wire) = (client::stream(), Vec::new(), Vec::new());
    for write in writes {
        let mut rest = &write[..];
        while !rest.is_empty() {
            match gather(kept.len(), rest.len()) {
                Gather::Keep(n) => {
                    kept.extend(&rest[..n]);
                    rest = &rest[n..];
                }
                Gather::SendKept => {
                    outgoing = send(outgoing, &kept, &mut wire);
                    kept.clear();
                }
                Gather::SendThrough(n) => {
                    outgoing = send(outgoing, &rest[..n], &mut wire);
                    rest = &rest[n..];
                }
            }
        }
    }
    wire.extend(outgoing.finish(kept).slices().flatten());
    wire
}

fn send<N>(outgoing: Outgoing<N>, payload: &[u8], wire: &mut Vec<u8>) -> Outgoing<N> {
    let mut sending = outgoing.piece(payload);
    wire.extend(sending.slices().flatten());
    sending.wrote(sending.remaining());
    let Ok((outgoing, _)) = sending.done() else { panic!() };
    outgoing
}

/// As if it had been written at once: every packet is full but the last.
fn check(sizes: &[usize]) {
    let mut byte = 0_u8;
    let mut write_of = |size: &usize| {
        byte = byte.wrapping_add(1);
        vec![byte; *size]
    };
    let writes: Vec<_> = sizes.iter().map(&mut write_of).collect();
    let wire = write(&writes);
    assert!(wire == naive::encode(&writes.concat(), true), "{sizes:?}");
    let (packets, _) = naive::decode(&wire);
    let data = packets.len() - 1;
    assert!(
        packets[..data.saturating_sub(1)]
            .iter()
            .all(|packet| matches!(packet, Packet::Data(data) if data.len() == PACKET))
    );
}

#[test]
fn sizes_around_a_packet() {
    let sizes = [0, 1, PACKET - 1, PACKET, PACKET + 1, 2 * PACKET, 2 * PACKET + 1];
    for first in sizes {
        for second in sizes {
            for third in sizes {
                check(&[first, second, third]);
            }
        }
    }
}

#[test]
fn many_small_writes_make_few_packets() {
    check(&[81; 10_000]);
    check(&[1; 70_000]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_sizes(sizes in prop::collection::vec(prop_oneof![0..100_usize, 0..150_000_usize], 0..8)) {
        check(&sizes);
    }
}
