//! A handshake, which the TLS library does whole, up to the keys that are its
//! outcome.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use bytes::BytesMut;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{CommonState, Error};

use crate::error::ChannelError;
use crate::record::{CHANGE_CIPHER_SPEC, HANDSHAKE, HEADER, Records, Schedule};

/// The library's end of a handshake. Its unbuffered form is the one that gives
/// its keys away.
pub(crate) enum Conn {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// A handshake under way.
pub(crate) struct Handshake {
    conn: Conn,
    /// What has come and was not used up: messages that are not whole.
    incoming: Vec<u8>,
    /// How much of it whole records are.
    whole: usize,
    /// What this side has to say.
    says: BytesMut,
}

/// What the library wants next.
enum Step {
    Again,
    Wait,
    Done,
}

impl Handshake {
    pub(crate) fn new(conn: Conn) -> Result<Self, Error> {
        let mut handshake = Self {
            conn,
            incoming: Vec::new(),
            whole: 0,
            says: BytesMut::new(),
        };
        handshake.drive()?;
        Ok(handshake)
    }

    /// What both sides have agreed on.
    pub(crate) fn common(&self) -> &CommonState {
        match &self.conn {
            Conn::Client(conn) => conn,
            Conn::Server(conn) => conn,
        }
    }

    /// Appends to `out` what this side has to say.
    pub(crate) fn flush(&mut self, out: &mut BytesMut) {
        out.extend_from_slice(&std::mem::take(&mut self.says));
    }

    /// What a handshake that broke has to say still.
    pub(crate) fn last_words(self) -> BytesMut {
        self.says
    }

    /// Takes the beginning of `data`, at most up to the end of a record: what
    /// follows the last one is not of the handshake. How many bytes were
    /// taken, and whether the handshake is done.
    pub(crate) fn take(&mut self, data: &[u8]) -> Result<(usize, bool), ChannelError> {
        let begun = self.common().protocol_version().is_some();
        let part = data.get(..self.missing()).unwrap_or(data);
        self.incoming.extend_from_slice(part);
        if self.missing() == 0 {
            self.whole = self.incoming.len();
        }
        match self.drive() {
            Ok(done) => Ok((part.len(), done)),
            Err(error) => {
                self.complain();
                Err(ChannelError::of(&error, begun))
            }
        }
    }

    /// What a handshake that is done has come to.
    pub(crate) fn finish(self, key_records: u64) -> Result<Records, ChannelError> {
        let internal = |_| ChannelError::Internal;
        if !self.incoming.is_empty() {
            return Err(ChannelError::Malformed);
        }
        let (secrets, schedule) = match self.conn {
            Conn::Client(conn) => {
                let (secrets, conn) = conn.dangerous_into_kernel_connection().map_err(internal)?;
                (secrets, Schedule::Client(conn))
            }
            Conn::Server(conn) => {
                let (secrets, conn) = conn.dangerous_into_kernel_connection().map_err(internal)?;
                (secrets, Schedule::Server(conn))
            }
        };
        Records::new(self.says, secrets, schedule, key_records)
    }

    /// How many bytes make whole the record, or its header, that has begun.
    fn missing(&self) -> usize {
        match self.incoming.get(self.whole..).unwrap_or_default() {
            [_, _, _, high, low, rest @ ..] => {
                let len = usize::from(u16::from_be_bytes([*high, *low]));
                len.saturating_sub(rest.len())
            }
            header => HEADER.saturating_sub(header.len()),
        }
    }

    /// Lets the library go on until it waits for the peer, or is done.
    fn drive(&mut self) -> Result<bool, Error> {
        loop {
            match self.advance()? {
                Step::Again => {}
                Step::Wait => return Ok(false),
                Step::Done => return Ok(true),
            }
        }
    }

    /// Takes what the library has to say of its error. The alert is the last
    /// of it: asked once more, the library would read on behind the error.
    fn complain(&mut self) {
        loop {
            let start = self.says.len();
            let more = matches!(self.advance(), Ok(Step::Again));
            match self.says.get(start) {
                Some(&(CHANGE_CIPHER_SPEC | HANDSHAKE)) if more => {}
                _ => return,
            }
        }
    }

    fn advance(&mut self) -> Result<Step, Error> {
        let (discard, step) = match &mut self.conn {
            Conn::Client(conn) => {
                step(conn.process_tls_records(&mut self.incoming), &mut self.says)
            }
            Conn::Server(conn) => {
                step(conn.process_tls_records(&mut self.incoming), &mut self.says)
            }
        };
        self.incoming.drain(..discard.min(self.incoming.len()));
        self.whole = self.whole.saturating_sub(discard);
        step
    }
}

/// Does what the library wants. How many of the bytes that it was given are
/// used up, and how it goes on.
fn step<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    says: &mut BytesMut,
) -> (usize, Result<Step, Error>) {
    let step = status.state.and_then(|state| match state {
        ConnectionState::EncodeTlsData(mut data) => {
            let start = says.len();
            if let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) {
                says.resize(start.saturating_add(size.required_size), 0);
            }
            match data.encode(says.get_mut(start..).unwrap_or_default()) {
                Ok(_) => Ok(Step::Again),
                Err(_) => Err(Error::EncryptError),
            }
        }
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Ok(Step::Again)
        }
        ConnectionState::WriteTraffic(_) => Ok(Step::Done),
        ConnectionState::BlockedHandshake => Ok(Step::Wait),
        // Records are given one by one, so none of data comes here.
        _ => Err(Error::HandshakeNotComplete),
    });
    (status.discard, step)
}
