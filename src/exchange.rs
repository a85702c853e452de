//! An exchange: one message each way, over any transport.
//!
//! A message is opaque bytes of any length, cut into data packets and ended by a flush packet;
//! where the packets are cut means nothing (git's `Documentation/technical/api-simple-ipc`).
//!
//! The phases of an exchange are types, and each is reached only through the one before it:
//!
//! ```text
//!            finish(payload)             all bytes written
//!  Outgoing ────────────────▶ Sending ─────────────────────▶ the next phase
//!     │  ▲                       
//!     │  └───────── Sending ◀──┐   (not the last piece)
//!     └── piece(payload) ──────┘
//!
//!            flush packet read
//!  Incoming ───────────────────────────────────────────────▶ the next phase
//! ```
//!
//! The [client](crate::client) has an [`Outgoing`] request followed by an [`Incoming`] answer,
//! the [server](crate::server) an [`Incoming`] request followed by an [`Outgoing`] answer. So
//! there is no answer before the request is whole, nothing after a flush, and a sender that
//! gives up half-way (an error, a panic, a dropped future) holds no phase from which it could
//! still end its message: a message that was cut short can never look whole.
//!
//! Nothing here performs I/O. Bytes that were read go into [`Incoming::receive`] (or
//! [`strip`](Incoming::strip), or, with `alloc`, `absorb`), bytes to be written come out of
//! [`Sending::slices`], and every phase can be stored between readiness events.

use core::fmt;

use crate::pkt_line::{
    DecodeError, Decoder, Encoder, HEADER_LEN, Header, MAX_PAYLOAD_LEN, Piece, Slices,
};

/// The end of an exchange. Nothing can follow on this connection.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Done;

/// A message being sent, of which the end has not been sent. `N` is the phase after it.
#[derive(Debug)]
#[must_use = "a message without its end is an aborted message"]
pub struct Outgoing<N> {
    sent: u64,
    next: N,
}

impl<N> Outgoing<N> {
    pub(crate) const fn new(next: N) -> Self {
        Self { sent: 0, next }
    }

    /// Sends `payload` as part of the message; more may follow. An empty one sends nothing.
    pub fn piece<B: AsRef<[u8]>>(self, payload: B) -> Sending<B, Self> {
        Sending { before: self.sent, encoder: Encoder::packets(payload), next: self }
    }

    /// Sends `payload`, which may be empty, as the rest of the message, and the flush packet
    /// that ends it.
    pub fn finish<B: AsRef<[u8]>>(self, payload: B) -> Sending<B, N> {
        Sending { before: self.sent, encoder: Encoder::message(payload), next: self.next }
    }

    /// Goes on to the next phase while this message is still being sent, for streaming in both
    /// directions at once. Both ends must expect it: a peer that reads only once it has written
    /// everything (git's client does) may wait for this side while this side waits for it.
    pub fn split(self) -> (Outgoing<Done>, N) {
        (Outgoing { sent: self.sent, next: Done }, self.next)
    }

    /// Wire bytes of this message sent so far.
    pub const fn sent(&self) -> u64 {
        self.sent
    }
}

/// Part of a message on its way out. `N` is the phase once all of it has been written.
#[derive(Debug)]
#[must_use = "nothing is sent until the slices are written and `wrote` is called"]
pub struct Sending<B, N> {
    encoder: Encoder<B>,
    /// Wire bytes of the message sent before this part.
    before: u64,
    next: N,
}

impl<B: AsRef<[u8]>, N> Sending<B, N> {
    /// The bytes still to be written, as slices for a vectored write; none when all is written.
    pub fn slices(&self) -> Slices<'_> {
        self.encoder.slices()
    }

    /// Tells that the first `n` of those bytes were written.
    ///
    /// # Panics
    ///
    /// If `n` is more than there were.
    pub fn wrote(&mut self, n: usize) {
        self.encoder.advance(n);
    }
}

impl<B, N> Sending<B, N> {
    /// Wire bytes of this part still to be written.
    pub const fn remaining(&self) -> usize {
        self.encoder.remaining()
    }

    /// Whether all of this part has been written.
    pub const fn is_done(&self) -> bool {
        self.encoder.is_done()
    }

    /// Wire bytes of the message sent so far, earlier parts included.
    pub const fn sent(&self) -> u64 {
        self.before + self.encoder.sent() as u64
    }
}

impl<B, N: Phase> Sending<B, N> {
    /// The next phase, and the payload back; or this one again if bytes remain.
    ///
    /// # Errors
    ///
    /// Not a failure: `Err` holds the unchanged phase.
    pub fn done(self) -> Result<(N, B), Self> {
        if !self.encoder.is_done() {
            return Err(self);
        }
        let sent = self.sent();
        Ok((self.next.after(sent), self.encoder.into_payload()))
    }
}

/// What can follow a [`Sending`]. Sealed.
pub trait Phase: sealed::Sealed {
    #[doc(hidden)]
    fn after(self, sent: u64) -> Self;
}

mod sealed {
    pub trait Sealed {}
    impl<N> Sealed for super::Outgoing<N> {}
    impl<N> Sealed for super::Incoming<N> {}
    impl Sealed for super::Done {}
}

impl<N> Phase for Outgoing<N> {
    fn after(self, sent: u64) -> Self {
        Self { sent, ..self }
    }
}

impl<N> Phase for Incoming<N> {
    fn after(self, _: u64) -> Self {
        self
    }
}

impl Phase for Done {
    fn after(self, _: u64) -> Self {
        self
    }
}

/// Part of a message that is being received.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part<'i> {
    /// Bytes of the message, in order; where they are cut means nothing.
    Data(&'i [u8]),
    /// The flush packet: the message is whole.
    End,
}

/// What the end of the stream means for the message that was being received.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum EndOfStream {
    /// The message was whole. An ordinary end.
    Whole,
    /// Not one byte had come. To a server that is a probe, which asks for nothing: git's client
    /// connects and hangs up so before every request. To a client it is a missing answer.
    Silent,
    /// The message had begun and its end never came.
    Truncated,
}

/// A message being received. `N` is the phase after it.
#[derive(Debug)]
#[must_use = "a message that is not received is an aborted exchange"]
pub struct Incoming<N> {
    decoder: Decoder,
    /// Payload bytes received.
    received: u64,
    limit: u64,
    begun: bool,
    state: State,
    next: N,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Open,
    Whole,
    Failed(MessageError),
}

impl<N> Incoming<N> {
    pub(crate) const fn new(limit: Option<u64>, next: N) -> Self {
        let limit = match limit {
            Some(limit) => limit,
            None => u64::MAX,
        };
        Self { decoder: Decoder::new(), received: 0, limit, begun: false, state: State::Open, next }
    }

    /// Takes the next part of the message off the front of `input`; `None` when `input` is used
    /// up. Once the message is whole nothing more is taken, and the answer is always
    /// [`Part::End`].
    ///
    /// # Errors
    ///
    /// [`MessageError`]; every further call gives the same one.
    #[inline]
    pub fn receive<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Part<'i>>, MessageError> {
        match self.state {
            State::Open => {}
            State::Whole => return Ok(Some(Part::End)),
            State::Failed(error) => return Err(error),
        }
        self.begun |= !input.is_empty();
        let offset = self.decoder.offset();
        let unexpected = |header| MessageError::Unexpected { offset, header };
        let error = match self.decoder.decode(input) {
            Ok(None) => return Ok(None),
            Ok(Some(Piece::Data(data))) => {
                self.received += data.bytes.len() as u64;
                if self.received <= self.limit {
                    return Ok(Some(Part::Data(data.bytes)));
                }
                MessageError::TooLong { limit: self.limit }
            }
            Ok(Some(Piece::Flush)) => {
                self.state = State::Whole;
                return Ok(Some(Part::End));
            }
            Ok(Some(Piece::Empty)) => unexpected(Header::Empty),
            Ok(Some(Piece::Delimiter)) => unexpected(Header::Delimiter),
            Ok(Some(Piece::ResponseEnd)) => unexpected(Header::ResponseEnd),
            Err(error) => MessageError::Packet(error),
        };
        self.state = State::Failed(error);
        Err(error)
    }

    /// Takes wire bytes in `buffer`, moves the payload in them to its front over the headers,
    /// and tells how many bytes of payload that is. Bytes behind a flush packet are ignored, as
    /// git ignores them.
    ///
    /// So one large read goes straight to its destination, whatever the packets' sizes.
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive). What is left in `buffer` then is of no use.
    pub fn strip(&mut self, buffer: &mut [u8]) -> Result<usize, MessageError> {
        let (mut read, mut kept) = (0, 0);
        loop {
            let mut input = &buffer[read..];
            let part = self.receive(&mut input)?;
            read = buffer.len() - input.len();
            let Some(Part::Data(data)) = part else { return Ok(kept) };
            let payload = read - data.len()..read;
            let len = payload.len();
            if payload.start != kept {
                buffer.copy_within(payload, kept);
            }
            kept += len;
        }
    }

    /// How many payload bytes may be read straight into their destination, past this machine:
    /// never across the end of a packet, nor over the limit.
    pub fn in_place(&self) -> usize {
        match self.state {
            State::Open => {
                let allowed = usize::try_from(self.limit - self.received).unwrap_or(usize::MAX);
                self.decoder.in_place().min(allowed)
            }
            State::Whole | State::Failed(_) => 0,
        }
    }

    /// Tells that the next `n` payload bytes were read in place.
    ///
    /// # Panics
    ///
    /// If `n` is over [`in_place`](Self::in_place).
    pub fn filled(&mut self, n: usize) {
        assert!(n <= self.in_place(), "{n} bytes filled where {} were left", self.in_place());
        self.decoder.filled(n);
        self.received += n as u64;
    }

    /// Tells that the stream has ended, and learns what that means.
    pub const fn end_of_stream(&self) -> EndOfStream {
        match self.state {
            State::Whole => EndOfStream::Whole,
            State::Open if !self.begun => EndOfStream::Silent,
            State::Open | State::Failed(_) => EndOfStream::Truncated,
        }
    }

    /// Whether the flush packet has been read.
    pub const fn is_whole(&self) -> bool {
        matches!(self.state, State::Whole)
    }

    /// Whether any byte has come.
    pub const fn has_begun(&self) -> bool {
        self.begun
    }

    /// Payload bytes received so far.
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// The next phase; or this one again if the message is not whole.
    ///
    /// # Errors
    ///
    /// Not a failure: `Err` holds the unchanged phase.
    pub fn done(self) -> Result<N, Self> {
        if self.is_whole() { Ok(self.next) } else { Err(self) }
    }

    /// Goes on to the next phase while this message is still being received, for streaming in
    /// both directions at once. See [`Outgoing::split`] for what the peer must be able to do.
    pub fn split(self) -> (Incoming<Done>, N) {
        let Self { decoder, received, limit, begun, state, next } = self;
        (Incoming { decoder, received, limit, begun, state, next: Done }, next)
    }
}

/// The first read of a message: enough for the questions and answers most programs exchange.
#[cfg(feature = "alloc")]
const FIRST_READ: usize = 4096;

/// Later reads: what a Unix socket hands over at once is of this order.
#[cfg(feature = "alloc")]
const LATER_READ: usize = 65536;

/// Whole messages in a `Vec`: read into its spare capacity, then call
/// [`absorb`](Self::absorb).
///
/// ```
/// # use simple_ipc::server;
/// let mut incoming = server::accept(None);
/// let mut message = Vec::new();
/// # let mut socket: &[u8] = b"0008ping0000";
/// loop {
///     incoming.make_room(&mut message);
///     let from = message.len();
///     // One read of at most `message.spare_capacity_mut().len()` bytes:
///     # let n = socket.len().min(5);
///     # let (read, rest) = socket.split_at(n);
///     # socket = rest;
///     message.extend_from_slice(read);
///     if incoming.absorb(&mut message, from)? {
///         break;
///     }
/// }
/// assert_eq!(message, b"ping");
/// # Ok::<_, simple_ipc::exchange::MessageError>(())
/// ```
#[cfg(feature = "alloc")]
impl<N> Incoming<N> {
    /// Makes sure that a read of a sensible size fits into the spare capacity of `message`. It
    /// grows with what has arrived, never with what a header announces.
    pub fn make_room(&self, message: &mut alloc::vec::Vec<u8>) {
        let len = message.len();
        let worthwhile = (len / 8).clamp(64, LATER_READ);
        if message.capacity() - len < worthwhile {
            message.reserve(if len == 0 { FIRST_READ } else { LATER_READ });
        }
    }

    /// Takes the wire bytes that were read to the end of `message`, from index `from` on, and
    /// leaves their payload in their place. Tells whether the message is whole.
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive). What is left of `message` behind `from` then is of no use.
    ///
    /// # Panics
    ///
    /// If `from` is over the length of `message`.
    pub fn absorb(
        &mut self,
        message: &mut alloc::vec::Vec<u8>,
        from: usize,
    ) -> Result<bool, MessageError> {
        let kept = self.strip(&mut message[from..])?;
        message.truncate(from + kept);
        Ok(self.is_whole())
    }
}

/// Why the bytes that came are no message.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum MessageError {
    /// A packet header that is none.
    Packet(DecodeError),
    /// A packet that has no place in a message: delimiter, response-end, or data without data.
    /// (git takes each of them for the end of the message.)
    Unexpected {
        /// Where it stands, in bytes from the beginning of the stream.
        offset: u64,
        /// What it is.
        header: Header,
    },
    /// The message is longer than the receiver allows.
    TooLong {
        /// The most payload bytes allowed.
        limit: u64,
    },
}

impl MessageError {
    /// The offending header's bytes, if a header offends.
    pub const fn bytes(&self) -> Option<[u8; HEADER_LEN]> {
        match self {
            Self::Packet(error) => Some(error.header.bytes()),
            Self::Unexpected { header, .. } => Some(header.encode()),
            Self::TooLong { .. } => None,
        }
    }
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packet(error) => error.fmt(f),
            Self::Unexpected { offset, header } => write!(
                f,
                "at byte {offset}: packet \"{}\" has no place inside a message",
                header.encode().escape_ascii()
            ),
            Self::TooLong { limit } => {
                write!(f, "message is longer than the limit of {limit} bytes")
            }
        }
    }
}

impl core::error::Error for MessageError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Packet(error) => Some(error),
            Self::Unexpected { .. } | Self::TooLong { .. } => None,
        }
    }
}

/// What to do with bytes that are written into a message in small pieces.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Gather {
    /// Keep this many of them (at least one) with those kept before.
    Keep(usize),
    /// Send what was kept, then ask again.
    SendKept,
    /// Send this many of them as they are, without keeping them: full packets.
    SendThrough(usize),
}

/// Decides how writes into a message gather into full packets: small ones are kept together,
/// large ones go through without a copy.
///
/// `kept` is the number of bytes kept so far, `incoming` the length of the write. What is kept
/// never exceeds one packet's payload, [`MAX_PAYLOAD_LEN`].
pub const fn gather(kept: usize, incoming: usize) -> Gather {
    if kept >= MAX_PAYLOAD_LEN {
        Gather::SendKept
    } else if kept == 0 && incoming >= MAX_PAYLOAD_LEN {
        Gather::SendThrough(incoming - incoming % MAX_PAYLOAD_LEN)
    } else {
        let room = MAX_PAYLOAD_LEN - kept;
        Gather::Keep(if incoming < room { incoming } else { room })
    }
}

/// A message that is written in pieces of any size, gathered into full packets.
///
/// It decides what to keep and what to send; the caller sends. Each [`Sending`] that comes out
/// takes the message with it: until it comes back through [`sent`](Self::sent), all further
/// calls are [`Interrupted`]. So a piece that was sent in part, by an error or a future that was
/// dropped, leaves a message that nobody can continue or end.
///
/// ```
/// use simple_ipc::exchange::{Write, Writer};
/// use simple_ipc::client;
///
/// let mut writer = Writer::new(client::stream());
/// for _ in 0..3 {
///     // Small pieces are kept,
///     assert!(matches!(writer.write(b"abc"), Ok(Write::Kept(3))));
/// }
/// // and sent together.
/// let sending = writer.finish(b"").unwrap();
/// assert!(sending.slices().eq([&b"000d"[..], b"abcabcabc", b"0000"]));
/// ```
#[cfg(feature = "alloc")]
#[derive(Debug)]
pub struct Writer<N> {
    /// `None` while a piece of it is being sent, and for ever if that failed.
    outgoing: Option<Outgoing<N>>,
    kept: alloc::vec::Vec<u8>,
}

/// What became of a write.
#[cfg(feature = "alloc")]
#[derive(Debug)]
pub enum Write<'b, N> {
    /// This many bytes were taken and kept.
    Kept(usize),
    /// This many bytes were taken (none, if only what was kept before is sent), and something is
    /// to be sent.
    Send(usize, Sending<Chunk<'b>, Outgoing<N>>),
}

/// Bytes to be sent: those that were kept, or the caller's own.
#[cfg(feature = "alloc")]
#[derive(Debug)]
pub enum Chunk<'b> {
    /// Kept from earlier writes.
    Kept(alloc::vec::Vec<u8>),
    /// Lent by the caller of this one.
    Lent(&'b [u8]),
}

#[cfg(feature = "alloc")]
impl AsRef<[u8]> for Chunk<'_> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Kept(bytes) => bytes,
            Self::Lent(bytes) => bytes,
        }
    }
}

/// The message can be neither continued nor ended: part of it was taken to be sent and never came
/// back as sent.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an earlier write into this message failed or was cancelled")
    }
}

impl core::error::Error for Interrupted {}

#[cfg(feature = "alloc")]
impl<N> Writer<N> {
    /// Writes `outgoing` in pieces. It allocates nothing before the first small write.
    pub const fn new(outgoing: Outgoing<N>) -> Self {
        Self { outgoing: Some(outgoing), kept: alloc::vec::Vec::new() }
    }

    /// Keeps all of `bytes`, which is all that most small writes come to: if they leave room in
    /// the packet that is being gathered. If not, nothing has happened, and
    /// [`write`](Self::write) tells what is to be done.
    #[inline]
    pub fn keep(&mut self, bytes: &[u8]) -> bool {
        let keeps = self.outgoing.is_some() && bytes.len() < MAX_PAYLOAD_LEN - self.kept.len();
        if keeps {
            self.kept.extend_from_slice(bytes);
        }
        keeps
    }

    /// Takes some of `bytes`. Large ones are sent as they are, without a copy.
    ///
    /// # Errors
    ///
    /// [`Interrupted`] if an earlier piece has not been sent.
    pub fn write<'b>(&mut self, bytes: &'b [u8]) -> Result<Write<'b, N>, Interrupted> {
        let outgoing = self.outgoing.take().ok_or(Interrupted)?;
        Ok(match gather(self.kept.len(), bytes.len()) {
            Gather::SendThrough(n) => Write::Send(n, outgoing.piece(Chunk::Lent(&bytes[..n]))),
            gather => return Ok(self.keep_or_send(gather, bytes, outgoing)),
        })
    }

    /// As [`write`](Self::write), but whatever is sent is copied first: for callers that cannot
    /// hold on to `bytes` while they send.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn write_copied(&mut self, bytes: &[u8]) -> Result<Write<'static, N>, Interrupted> {
        let outgoing = self.outgoing.take().ok_or(Interrupted)?;
        let gather = match gather(self.kept.len(), bytes.len()) {
            Gather::SendThrough(_) => Gather::Keep(MAX_PAYLOAD_LEN),
            gather => gather,
        };
        Ok(self.keep_or_send(gather, bytes, outgoing))
    }

    fn keep_or_send(
        &mut self,
        gather: Gather,
        bytes: &[u8],
        outgoing: Outgoing<N>,
    ) -> Write<'static, N> {
        if let Gather::Keep(n) = gather {
            self.kept.extend_from_slice(&bytes[..n]);
            self.outgoing = Some(outgoing);
            return Write::Kept(n);
        }
        Write::Send(0, outgoing.piece(Chunk::Kept(core::mem::take(&mut self.kept))))
    }

    /// What is to be sent so that nothing stays kept; `None` if nothing is.
    ///
    /// # Errors
    ///
    /// [`Interrupted`] if an earlier piece has not been sent.
    pub fn flush(&mut self) -> Result<Option<Sending<Chunk<'static>, Outgoing<N>>>, Interrupted> {
        let outgoing = self.outgoing.take().ok_or(Interrupted)?;
        if self.kept.is_empty() {
            self.outgoing = Some(outgoing);
            return Ok(None);
        }
        Ok(Some(outgoing.piece(Chunk::Kept(core::mem::take(&mut self.kept)))))
    }

    /// A piece has been sent: the message can go on.
    pub fn sent(&mut self, outgoing: Outgoing<N>, chunk: Chunk<'_>) {
        self.outgoing = Some(outgoing);
        // The memory is used again, unless something was kept meanwhile.
        if let (Chunk::Kept(mut bytes), true) = (chunk, self.kept.is_empty()) {
            bytes.clear();
            self.kept = bytes;
        }
    }

    /// Ends the message with what is kept and with `rest`. If both are there and do not fit into
    /// one packet together, [`flush`](Self::flush) first saves a copy.
    ///
    /// # Errors
    ///
    /// [`Interrupted`] if an earlier piece has not been sent.
    pub fn finish<'b>(&mut self, rest: &'b [u8]) -> Result<Sending<Chunk<'b>, N>, Interrupted> {
        let outgoing = self.outgoing.take().ok_or(Interrupted)?;
        Ok(outgoing.finish(if self.kept.is_empty() {
            Chunk::Lent(rest)
        } else {
            self.kept.extend_from_slice(rest);
            Chunk::Kept(core::mem::take(&mut self.kept))
        }))
    }

    /// The message, as far as it has been sent; `None` while a piece of it is being sent, and for
    /// ever if that failed.
    pub const fn outgoing(&self) -> Option<&Outgoing<N>> {
        self.outgoing.as_ref()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Whether the rest of a message is better flushed first than given to
    /// [`finish`](Self::finish) together with what is kept.
    pub fn is_better_flushed(&self, rest: &[u8]) -> bool {
        !self.is_empty() && self.kept.len() + rest.len() > MAX_PAYLOAD_LEN
    }

    /// Goes on to the next phase while this message is still being written; see
    /// [`Outgoing::split`].
    ///
    /// # Errors
    ///
    /// [`Interrupted`] if an earlier piece has not been sent.
    pub fn split(self) -> Result<(Writer<Done>, N), Interrupted> {
        let (outgoing, next) = self.outgoing.ok_or(Interrupted)?.split();
        Ok((Writer { outgoing: Some(outgoing), kept: self.kept }, next))
    }
}
