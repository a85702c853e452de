//! What a handler of whole requests is given.

use core::fmt;
use core::ops::Deref;
use std::vec::Vec;

/// A whole request. It is the request's bytes.
#[derive(Clone, Eq, PartialEq)]
pub struct Request {
    bytes: Vec<u8>,
}

impl Request {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    /// The request's bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl Deref for Request {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsRef<[u8]> for Request {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request(\"{}\")", self.bytes.escape_ascii())
    }
}
