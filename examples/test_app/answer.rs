//! What the application answers, as data. The runtimes only send it.

use std::time::Duration;

/// The answer to a request.
pub enum Answer {
    /// This, in one write.
    Whole(Vec<u8>),
    /// The first `count` [`row`]s, a write each; with a pause, each is flushed, then the next
    /// one is waited for.
    Rows { count: u32, pause: Option<Duration> },
    /// Nothing, and the server stops.
    Stop,
}

pub fn answer(request: &[u8]) -> Answer {
    match request {
        b"ping" => Answer::Whole(b"pong".into()),
        b"big" => Answer::Whole((0..10_000).flat_map(row).collect()),
        b"chunk" => Answer::Rows { count: 10_000, pause: None },
        b"slow" => Answer::Rows { count: 1_000, pause: Some(Duration::from_millis(10)) },
        b"quit" => Answer::Stop,
        _ => Answer::Whole(match request.strip_prefix(b"sendbytes ") {
            Some(ballast) => received(ballast),
            None => [b"unhandled command: ", request].concat(),
        }),
    }
}

/// `big: `, the number in 75 digits, and LF.
pub fn row(number: u32) -> [u8; 81] {
    let mut row = [b'0'; 81];
    row[..5].copy_from_slice(b"big: ");
    row[80] = b'\n';
    let mut rest = number;
    for digit in row[5..80].iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    row
}

/// What came: one letter many times, or how many of them are other letters. Without any, the
/// letter is NUL, as in git.
fn received(ballast: &[u8]) -> Vec<u8> {
    let letter = ballast.first().copied().unwrap_or(0);
    match ballast.iter().filter(|&&other| other != letter).count() {
        0 => [b"rcvd:", &[letter][..], format!("{:08}\n", ballast.len()).as_bytes()].concat(),
        others => format!("errs:{others}\n").into(),
    }
}
