//! Whatever the chunks, the records are what lies between the terminators of the whole stream.

use simple_ipc::pkt_line::Records;

use super::input::{Input, cut};

pub fn body(data: &[u8]) {
    let mut input = Input::new(data);
    let (terminator, sizes) = (input.byte(), input.sizes());
    let stream = input.rest();

    let mut records = Records::ended_by(terminator);
    let mut seen = vec![Vec::new()];
    for chunk in cut(stream, &sizes) {
        let mut chunk = chunk;
        while let Some(record) = records.split(&mut chunk) {
            assert!(record.last || !record.bytes.is_empty());
            seen.last_mut().unwrap().extend(record.bytes);
            if record.last {
                seen.push(Vec::new());
            }
        }
        assert!(chunk.is_empty());
    }
    assert!(stream.split(|byte| *byte == terminator).eq(&seen));
    assert_eq!(records.is_inside(), seen.last().is_some_and(|record| !record.is_empty()));
}
