//! Clients under bare bytes: recorded, cut short and malformed answers.

#[cfg(unix)]
use std::io::Read as _;
use std::io::Write;

use simple_ipc::client::Delivery;
use simple_ipc::exchange::MessageError;
use simple_ipc::pkt_line::Header;
use simple_ipc::{ErrorKind, Phase};

use crate::bounds::Folder;
use crate::endings::assert_no_answer;
#[cfg(unix)]
use crate::seam::Rest as _;
use crate::seam::{Answer, Client, ClientSettings, Connection, RequestWriter, Writer};
#[cfg(unix)]
use crate::wire::read_to_end;
use crate::wire::{Reader, accept_request, assert_same, packets, pattern, peer, vector};

/// A client, and a server that gives these answers to its requests, one after the other, cut into
/// pieces of `piece` bytes.
fn answered<C: Client>(
    settings: ClientSettings,
    answers: Vec<Vec<u8>>,
    piece: usize,
    test: impl FnOnce(C),
) {
    let folder = Folder::new();
    let server = peer(&folder.path(), move |listener| {
        for answer in answers {
            let mut stream = accept_request(&listener);
            for piece in answer.chunks(piece) {
                if stream.write_all(piece).is_err() {
                    // The client has seen enough.
                    break;
                }
            }
        }
    });
    test(C::new(&folder.path(), settings));
    server.join().unwrap();
}

const NAMES: [&str; 7] =
    ["ping", "unknown-command", "big", "chunk", "quit", "sendbytes-A100000", "sendbytes-C65507"];

/// What git's server sent, whole and in pieces that end inside headers.
pub fn recorded_traffic<C: Client>() {
    for piece in [usize::MAX, 65521, 4099, 63] {
        let answers: Vec<_> = NAMES.map(|name| vector(&format!("{name}.response"))).into();
        answered::<C>(ClientSettings::default(), answers.clone(), piece, |client| {
            for answer in answers {
                let expected = Reader::new(&*answer).read_all().unwrap();
                assert_same(&client.call(b"whatever").unwrap(), &expected);
            }
        });
    }
}

/// Each packet of its own, one byte at a time at the end, and read in pieces.
pub fn recorded_traffic_read_in_pieces<C: Client>() {
    let answers: Vec<_> = NAMES.map(|name| vector(&format!("{name}.response"))).into();
    answered::<C>(ClientSettings::default(), answers.clone(), 100, |client| {
        for answer in answers {
            let expected = Reader::new(&*answer).read_all().unwrap();
            let mut answer = client.connect().unwrap().send(b"whatever").unwrap();
            for piece in expected.chunks(5000) {
                answer.expect(piece);
            }
            assert_eq!(answer.read(&mut [0; 3]).unwrap(), 0);
        }
    });
}

/// What git's client sent is what ours sends.
pub fn requests_as_recorded<C: Client>() {
    let names = NAMES.map(|name| vector(&format!("{name}.request")));
    for wire in names {
        let folder = Folder::new();
        let expected = wire.clone();
        let server = peer(&folder.path(), move |listener| {
            let mut stream = listener.accept().unwrap();
            let mut got = vec![0; expected.len()];
            std::io::Read::read_exact(&mut stream, &mut got).unwrap();
            assert_same(&got, &expected);
            stream.write_all(b"0000").unwrap();
            assert_eq!(std::io::Read::read(&mut stream, &mut got).unwrap(), 0, "nothing follows");
        });
        let request = Reader::new(&*wire).read_all().unwrap();
        let client = C::new(&folder.path(), ClientSettings::default());
        assert_eq!(client.call(&request).unwrap(), b"");
        server.join().unwrap();
    }
}

pub fn answers_cut_short<C: Client>() {
    let wire = b"0006po0006ng0000";
    let answers: Vec<_> =
        (0..wire.len()).flat_map(|cut| [wire[..cut].to_vec(), wire[..cut].to_vec()]).collect();
    answered::<C>(ClientSettings::default(), answers, usize::MAX, |client| {
        for cut in 0..wire.len() {
            let whole = client.call(b"ping").unwrap_err();
            // Piece by piece: never the end of the answer.
            let mut answer = client.connect().unwrap().send(b"ping").unwrap();
            let mut kept = [0; 100];
            let mut got = 0;
            let pieces = loop {
                match answer.read(&mut kept[got..]) {
                    Ok(0) => panic!("an answer of {got} bytes, cut at {cut}"),
                    Ok(n) => got += n,
                    Err(error) => break error,
                }
            };
            assert!(b"pong".starts_with(&kept[..got]));
            for error in [whole, pieces] {
                if cut == 0 {
                    assert_no_answer(&error);
                } else {
                    let truncated = (Phase::Receive, ErrorKind::Truncated);
                    assert_eq!((error.phase, error.kind), truncated, "{error:?}");
                    assert_eq!(error.delivery, Some(Delivery::Unknown));
                }
            }
        }
    });
}

/// A long answer that ends exactly where a packet does, but without its flush packet.
pub fn long_answers_cut_short<C: Client>() {
    let whole = packets(&pattern(200_000));
    let cuts = [whole.len(), whole.len() - 1, 2 * 65520, 2 * 65520 + 2];
    let answers = cuts.map(|cut| whole[..cut].to_vec()).to_vec();
    answered::<C>(ClientSettings::default(), answers, usize::MAX, |client| {
        let mut kept = b"old".to_vec();
        for _ in cuts {
            let error = client.call_into(b"ping", &mut kept).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Truncated);
            assert!(!kept.starts_with(b"old"), "what was there before is gone");
        }
    });
}

pub fn malformed_answers<C: Client>() {
    for (flaw, header) in [
        ("0001", Some(Header::Delimiter)),
        ("0002", Some(Header::ResponseEnd)),
        ("0004", Some(Header::Empty)),
        ("0003", None),
        ("fff1", None),
        ("zzzz", None),
        ("+001", None),
        (" 004", None),
        ("0x10", None),
    ] {
        let befores = ["", "0008pong", "0006po0006ng"];
        let answers: Vec<_> = befores
            .iter()
            .map(|before| [before, flaw, "0008pong0000"].concat().into_bytes())
            .flat_map(|answer| [answer.clone(), answer])
            .collect();
        answered::<C>(ClientSettings::default(), answers, usize::MAX, |client| {
            for before in befores {
                let whole = client.call(b"ping").unwrap_err();
                let mut answer = client.connect().unwrap().send(b"ping").unwrap();
                let pieces = loop {
                    match answer.read(&mut [0; 3]) {
                        Ok(0) => panic!("an answer with {flaw:?} in it"),
                        Ok(_) => {}
                        Err(error) => break error,
                    }
                };
                for error in [whole, pieces] {
                    let ErrorKind::Message(kind) = error.kind else { panic!("{error:?}") };
                    assert_eq!(error.phase, Phase::Receive);
                    assert_eq!(error.delivery, Some(Delivery::Unknown));
                    assert_eq!(kind.bytes().unwrap(), flaw.as_bytes());
                    match header {
                        Some(header) => {
                            let offset = before.len() as u64;
                            assert_eq!(kind, MessageError::Unexpected { offset, header });
                        }
                        None => assert!(matches!(kind, MessageError::Packet(_)), "{error:?}"),
                    }
                }
            }
        });
    }
}

pub fn answers_over_the_limit<C: Client>() {
    let settings = ClientSettings { answer_limit: Some(1000), ..Default::default() };
    let message = |len| [packets(&pattern(len)), b"0000".to_vec()].concat();
    let long = [message(1001), message(500_000)];
    let answers = [&[message(1000), message(0)], &long, &long].map(|pair| pair.to_vec()).concat();
    answered::<C>(settings, answers, usize::MAX, |client| {
        assert_same(&client.call(b"ping").unwrap(), &pattern(1000));
        assert_same(&client.call(b"ping").unwrap(), b"");
        let too_long = ErrorKind::Message(MessageError::TooLong { limit: 1000 });
        for _ in &long {
            let error = client.call(b"ping").unwrap_err();
            assert_eq!((error.phase, error.kind), (Phase::Receive, too_long), "{error:?}");
        }
        for _ in &long {
            let mut answer = client.connect().unwrap().send(b"ping").unwrap();
            let error = (0..20).find_map(|_| answer.read(&mut [0; 100]).err()).unwrap();
            assert_eq!((error.phase, error.kind), (Phase::Receive, too_long), "{error:?}");
        }
    });
}

/// A server that answers at once and hangs up, before it has read the request: whatever the
/// client makes of it, it is an error or that answer, and it does not hang.
pub fn an_answer_before_the_request<C: Client>() {
    let folder = Folder::new();
    let server = peer(&folder.path(), |listener| {
        for _ in 0..4 {
            let mut stream = listener.accept().unwrap();
            stream.write_all(b"0009early0000").unwrap();
        }
    });
    let client = C::new(&folder.path(), ClientSettings::default());
    for size in [10, 5_000_000] {
        match client.call(&pattern(size)) {
            Ok(answer) => assert_eq!(answer, b"early"),
            Err(error) => assert!(
                matches!(
                    error.kind,
                    ErrorKind::HungUp | ErrorKind::NoAnswer | ErrorKind::Truncated
                ),
                "{error:?}"
            ),
        }
        let (mut request, answer) = client.connect().unwrap().request().split();
        let _ = request.write(&pattern(size)).and_then(|()| request.flush());
        match answer.read_all() {
            Ok(answer) => assert_eq!(answer, b"early"),
            Err(error) => assert!(matches!(error.kind, ErrorKind::NoAnswer), "{error:?}"),
        }
    }
    server.join().unwrap();
}

/// Nobody reads the request and the connection is closed: it has not been handled as a whole.
pub fn hung_up_before_the_request_is_read<C: Client>() {
    let folder = Folder::new();
    let server = peer(&folder.path(), |listener| {
        drop(listener.accept().unwrap());
        listener.accept().unwrap()
    });
    let client = C::new(&folder.path(), ClientSettings::default());
    let error = client.call(&pattern(5_000_000)).unwrap_err();
    assert_eq!((error.phase, error.kind), (Phase::Send, ErrorKind::HungUp), "{error:?}");
    let in_part = [Some(Delivery::NotDelivered), Some(Delivery::Incomplete)];
    assert!(in_part.contains(&error.delivery), "{error:?}");

    let mut request = client.connect().unwrap().request();
    drop(server.join().unwrap());
    request.write(b"abc").unwrap();
    let error = request.flush().unwrap_err();
    let nothing_sent = (Phase::Send, ErrorKind::HungUp, Some(Delivery::NotDelivered));
    assert_eq!((error.phase, error.kind, error.delivery), nothing_sent, "{error:?}");
    let error = request.finish().err().unwrap();
    assert_eq!(error.kind, ErrorKind::Aborted, "{error:?}");
}

/// The server learns that no more of the request will come, though its answer may still be read;
/// and of one that is whole it does not seem so.
#[cfg(unix)]
pub fn a_request_given_up_while_its_answer_is_read<C: Client>() {
    let folder = Folder::new();
    let server = peer(&folder.path(), |listener| {
        let mut stream = listener.accept().unwrap();
        assert_eq!(read_to_end(&mut stream), b"0007abc");
        stream.write_all(b"0007bye0000").unwrap();

        let mut stream = accept_request(&listener);
        stream.set_nonblocking(true).unwrap();
        let more = stream.read(&mut [0]).unwrap_err();
        assert_eq!(more.kind(), std::io::ErrorKind::WouldBlock);
        stream.write_all(b"0007bye0000").unwrap();
    });
    let client = C::new(&folder.path(), ClientSettings::default());
    for is_whole in [false, true] {
        let (mut request, answer) = client.connect().unwrap().request().split();
        request.write(b"abc").unwrap();
        request.flush().unwrap();
        if is_whole {
            request.finish().unwrap();
        } else {
            drop(request);
        }
        assert_eq!(answer.read_all().unwrap(), b"bye");
    }
    server.join().unwrap();
}
