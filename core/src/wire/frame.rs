//! Frames: the unit on a session's byte stream (PROTOCOL.md, "Frames").
//!
//! A frame is a header of [`HEADER_LEN`] bytes and a body. The [`Decoder`]
//! takes the stream in whatever pieces it arrives and gives the same frames
//! for every cutting of it. It holds at most one unfinished frame and copies
//! only bodies that straddle two inputs, each of them once.
//!
//! What kinds, requests and bodies mean is not known here.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use alloc::vec::Vec;
use core::{fmt, mem, ops};

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes of a frame's header.
pub const HEADER_LEN: usize = 10;

/// Most bytes that a frame's body may have: 64 KiB.
pub const BODY_MAX: u32 = 64 * 1024;

//# FRAME-7: Until both sides are admitted the limit in force is 512 bytes, afterwards
//# it is 65,536.
/// Most bytes that a frame's body may have before both sides are admitted.
pub const BODY_MAX_UNADMITTED: u32 = 512;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What the body is. Unknown kinds pass through this layer.
    pub kind: u8,
    /// How the frame belongs to those around it.
    pub flags: Flags,
    /// The request that it is part of, numbered by who asks.
    pub request: u32,
    /// At most [`BODY_MAX`] bytes. From the decoder it may be a slice of the
    /// input: keep a copy, not this, of what is small and lives long.
    pub body: Bytes,
}

/// The flags of a frame: a set of [`Flags::MORE`] and [`Flags::RESPONSE`].
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    //# FRAME-3: Flag bit 0 (value 1) is MORE: another frame of the same request and
    //# direction follows. Flag bit 1 (value 2) is RESPONSE: the request number is one that
    //# the receiver chose. Without it the number is the sender's.
    /// Another frame of the same request and direction continues the body.
    pub const MORE: Self = Self(1);
    /// The request number is the receiver's: this answers it.
    pub const RESPONSE: Self = Self(1 << 1);

    const ALL: u8 = Self::MORE.0 | Self::RESPONSE.0;

    /// The flags of a header's byte, or `None` if it has unknown ones.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits & !Self::ALL == 0 {
            Some(Self(bits))
        } else {
            None
        }
    }

    /// The header's byte.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether all flags of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl ops::BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            match (self.contains(Self::MORE), self.contains(Self::RESPONSE)) {
                (false, false) => "NONE",
                (true, false) => "MORE",
                (false, true) => "RESPONSE",
                (true, true) => "MORE | RESPONSE",
            },
        )
    }
}

/// What a [`Decoder`] accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// Most bytes of a body. The decoder never holds more than this.
    pub body_max: u32,
}

/// Why a byte stream is not one of frames, or a frame cannot be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The body is longer than the limit. From the decoder: none of it has
    /// been taken. From the encoder: nothing has been appended.
    #[error("frame body of {length} bytes is over the limit of {max}")]
    TooLong {
        /// The body's length in bytes.
        length: u64,
        /// The limit.
        max: u32,
    },
    /// The header has flags that this version does not know.
    #[error("frame header has unknown flags {flags:#010b}")]
    UnknownFlags {
        /// The whole byte.
        flags: u8,
    },
}

//# FRAME-8: A frame's meaning MUST NOT depend on how the stream was cut in transit.
/// Takes a byte stream apart into frames.
#[derive(Debug)]
pub struct Decoder {
    limits: FrameLimits,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The first `have` bytes of a header, fewer than all.
    Header {
        bytes: [u8; HEADER_LEN],
        have: usize,
    },
    /// An accepted header and the body's bytes so far, fewer than all. The
    /// buffer is allocated with the first of them.
    Body {
        header: Header,
        gathered: Vec<u8>,
    },
    Failed(FrameError),
}

impl State {
    const START: Self = Self::Header {
        bytes: [0; HEADER_LEN],
        have: 0,
    };
}

#[derive(Clone, Copy, Debug)]
struct Header {
    length: usize,
    request: u32,
    kind: u8,
    flags: Flags,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new(limits: FrameLimits) -> Self {
        Self {
            limits,
            state: State::START,
        }
    }

    /// Changes the limit for the frames whose header is not complete yet.
    pub fn set_body_max(&mut self, body_max: u32) {
        self.limits.body_max = body_max;
    }

    /// Whether the stream, if it ended here, would end inside a frame.
    pub fn is_mid_frame(&self) -> bool {
        match &self.state {
            State::Header { have, .. } => *have > 0,
            State::Body { .. } => true,
            State::Failed(_) => false,
        }
    }

    /// Takes bytes from the front of `input`, up to the end of the next frame.
    /// `None` means that `input` is used up and the frame is not complete.
    ///
    /// A body of which no byte came with an earlier input, and which lies
    /// wholly in this one, is a slice of it. Any other is gathered into a
    /// buffer of exactly its size.
    ///
    /// After an error every further call returns that error and takes nothing.
    pub fn decode(&mut self, input: &mut Bytes) -> Result<Option<Frame>, FrameError> {
        match mem::replace(&mut self.state, State::START) {
            State::Header { bytes, have } => match self.take_header(bytes, have, input) {
                Ok(Some(header)) => Ok(self.take_body(header, Vec::new(), input)),
                Ok(None) => Ok(None),
                //# FRAME-6: After a frame that it cannot accept a receiver MUST NOT interpret
                //# any later byte of that stream.
                Err(error) => {
                    self.state = State::Failed(error);
                    Err(error)
                }
            },
            State::Body { header, gathered } => Ok(self.take_body(header, gathered, input)),
            State::Failed(error) => {
                self.state = State::Failed(error);
                Err(error)
            }
        }
    }

    fn take_header(
        &mut self,
        mut bytes: [u8; HEADER_LEN],
        have: usize,
        input: &mut Bytes,
    ) -> Result<Option<Header>, FrameError> {
        let missing = bytes.get_mut(have..).unwrap_or_default();
        let take = missing.len().min(input.len());
        input.copy_to_slice(missing.get_mut(..take).unwrap_or_default());
        let have = have.saturating_add(take);
        if have < HEADER_LEN {
            self.state = State::Header { bytes, have };
            return Ok(None);
        }
        Header::parse(bytes, self.limits.body_max).map(Some)
    }

    fn take_body(
        &mut self,
        header: Header,
        mut gathered: Vec<u8>,
        input: &mut Bytes,
    ) -> Option<Frame> {
        if gathered.is_empty() && input.len() >= header.length {
            return Some(header.with(input.split_to(header.length)));
        }
        if !input.is_empty() {
            // The size is the peer's word, but not above the limit.
            let missing = header.length.saturating_sub(gathered.len());
            gathered.reserve_exact(missing);
            let take = missing.min(input.len());
            gathered.put(input.split_to(take));
        }
        if gathered.len() == header.length {
            return Some(header.with(Bytes::from(gathered)));
        }
        self.state = State::Body { header, gathered };
        None
    }
}

impl Header {
    //# FRAME-1: A frame is a header of 10 bytes and a body. The header is the body's
    //# length (4 bytes), the request number (4 bytes), the kind (1 byte) and the flags
    //# (1 byte). Integers are big-endian.
    fn parse(header: [u8; HEADER_LEN], body_max: u32) -> Result<Self, FrameError> {
        let mut bytes = header.as_slice();
        let (length, request) = (bytes.get_u32(), bytes.get_u32());
        let (kind, bits) = (bytes.get_u8(), bytes.get_u8());
        //# FRAME-4: A receiver MUST refuse a header with any other bit set in its flags.
        let flags = Flags::from_bits(bits).ok_or(FrameError::UnknownFlags { flags: bits })?;
        //# FRAME-5: A receiver MUST refuse a header whose length is over the limit in force
        //# before it takes or makes room for any of the body.
        let length = body_len(u64::from(length), body_max)?;
        Ok(Self {
            length,
            request,
            kind,
            flags,
        })
    }

    fn with(self, body: Bytes) -> Frame {
        Frame {
            kind: self.kind,
            flags: self.flags,
            request: self.request,
            body,
        }
    }
}

fn body_len(length: u64, max: u32) -> Result<usize, FrameError> {
    if length > u64::from(max) {
        return Err(FrameError::TooLong { length, max });
    }
    usize::try_from(length).map_err(|_| FrameError::TooLong { length, max })
}

/// Appends the header of a frame whose body of `len` bytes will follow, or
/// appends nothing if `len` is over [`BODY_MAX`].
pub fn encode_header(
    out: &mut BytesMut,
    kind: u8,
    flags: Flags,
    request: u32,
    len: u32,
) -> Result<(), FrameError> {
    //# FRAME-2: A body MUST NOT have more than 65,536 bytes.
    body_len(u64::from(len), BODY_MAX)?;
    out.reserve(HEADER_LEN);
    out.put_u32(len);
    out.put_u32(request);
    out.put_u8(kind);
    out.put_u8(flags.bits());
    Ok(())
}

/// Appends a whole frame, or nothing if its body is over [`BODY_MAX`].
pub fn encode(out: &mut BytesMut, frame: &Frame) -> Result<(), FrameError> {
    let length = frame.body.len();
    let len = u32::try_from(length).map_err(|_| FrameError::TooLong {
        length: length as u64,
        max: BODY_MAX,
    })?;
    encode_header(out, frame.kind, frame.flags, frame.request, len)?;
    out.extend_from_slice(&frame.body);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gathered_body_is_the_buffer_that_gathered_it() {
        let mut stream = BytesMut::new();
        encode_header(&mut stream, 1, Flags::NONE, 2, 5000).unwrap();
        stream.resize(HEADER_LEN + 5000, 7);
        let mut stream = stream.freeze();
        let mut decoder = Decoder::new(FrameLimits { body_max: BODY_MAX });

        let mut first = stream.split_to(HEADER_LEN + 1);
        assert_eq!(decoder.decode(&mut first), Ok(None));
        let State::Body { gathered, .. } = &decoder.state else {
            panic!("the header is complete: {decoder:?}");
        };
        assert_eq!(gathered.capacity(), 5000);
        let buffer = gathered.as_ptr();

        assert_eq!(decoder.decode(&mut stream.split_to(2000)), Ok(None));
        let frame = decoder.decode(&mut stream).unwrap().unwrap();
        assert_eq!(frame.body.as_ptr(), buffer);
        assert_eq!(frame.body, [7; 5000][..]);
    }

    #[test]
    fn a_header_alone_reserves_nothing() {
        let mut stream = BytesMut::new();
        encode_header(&mut stream, 1, Flags::NONE, 2, BODY_MAX).unwrap();
        let mut decoder = Decoder::new(FrameLimits { body_max: BODY_MAX });
        assert_eq!(decoder.decode(&mut stream.freeze()), Ok(None));
        assert!(decoder.is_mid_frame());
        let State::Body { gathered, .. } = &decoder.state else {
            panic!("the header is complete: {decoder:?}");
        };
        assert_eq!(gathered.capacity(), 0);
    }
}
