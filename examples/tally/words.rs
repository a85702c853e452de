//! What the tally counts, whatever the runtime.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};

use simple_ipc::pkt_line::{Record, Records};

/// Words and how often each was seen. Shared by all exchanges.
#[derive(Default)]
pub struct Words(Mutex<HashMap<Vec<u8>, u64>>);

impl Words {
    /// Adds what was counted during one request; all of it or, if the request is given up, none.
    pub fn add(&self, counted: Counting) -> u64 {
        let mut words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = 0;
        for (word, count) in counted.words {
            sum += count;
            *words.entry(word).or_default() += count;
        }
        sum
    }

    /// The most frequent first, a line each.
    pub fn lines(&self) -> Vec<String> {
        let words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rows: Vec<_> = words.iter().collect();
        rows.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        rows.iter().map(|(word, count)| format!("{count:8} {}\n", word.escape_ascii())).collect()
    }
}

/// The words of a request that is being read. Only the words are kept, never the request.
pub struct Counting {
    records: Records,
    /// A word that a chunk's end cut.
    word: Vec<u8>,
    words: HashMap<Vec<u8>, u64>,
}

impl Counting {
    pub fn new() -> Self {
        Self { records: Records::lf_ended(), word: Vec::new(), words: HashMap::new() }
    }

    pub fn chunk(&mut self, mut chunk: &[u8]) {
        while let Some(Record { bytes, last }) = self.records.split(&mut chunk) {
            for (nth, word) in bytes.split(|byte| byte.is_ascii_whitespace()).enumerate() {
                if nth > 0 {
                    self.end_of_word();
                }
                self.word.extend_from_slice(word);
            }
            if last {
                self.end_of_word();
            }
        }
    }

    pub fn end_of_word(&mut self) {
        if !self.word.is_empty() {
            *self.words.entry(std::mem::take(&mut self.word)).or_default() += 1;
        }
    }
}

/// Whoever reads the output, `head` for one, may have seen enough.
pub fn unless_closed(copied: io::Result<u64>) -> io::Result<()> {
    match copied {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}
