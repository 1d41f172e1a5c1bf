//! Records of a channel that stands (RFC 8446, section 5): sealed and opened
//! in place, in the buffers that the caller gives.
//!
//! The library makes the keys, these and all later ones. Its own records would
//! copy each byte four times more, which takes as long as the cipher.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::io::IoSlice;

use aws_lc_rs::aead::{
    AES_256_GCM, Aad, Nonce, TlsProtocolId, TlsRecordOpeningKey, TlsRecordSealingKey,
};
use bytes::{BufMut, BytesMut};
use rustls::client::ClientConnectionData;
use rustls::crypto::cipher::{self, Iv};
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{ConnectionTrafficSecrets, Error, ExtractedSecrets};

use crate::error::{Alert, ChannelError};

/// Plaintext in one record.
pub(crate) const FRAGMENT_MAX: usize = 1 << 14;
pub(crate) const HEADER: usize = 5;
const TAG: usize = 16;
/// What this node's records add to their plaintext: header, content type and
/// tag.
pub(crate) const OVERHEAD: usize = HEADER + 1 + TAG;
/// The most bytes that a record of a peer's has on the wire: until so many
/// have come there may be no plaintext (RFC 8446, section 5.2).
pub const RECORD_MAX: usize = HEADER + FRAGMENT_MAX + 256;
/// The most records that one key may seal (RFC 8446, section 5.5, less a
/// reserve).
const KEY_RECORDS_MAX: u64 = 1 << 24;
/// How often a peer may change its key without a byte of plaintext between.
const UPDATES_MAX: u32 = 32;

/// Kinds of records.
pub(crate) const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
pub(crate) const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;

/// Alerts (RFC 8446, section 6).
const CLOSE_NOTIFY: u8 = 0;
const UNEXPECTED_MESSAGE: u8 = 10;
const BAD_RECORD_MAC: u8 = 20;
const RECORD_OVERFLOW: u8 = 22;
const ILLEGAL_PARAMETER: u8 = 47;
const DECODE_ERROR: u8 = 50;
const INTERNAL_ERROR: u8 = 80;
const USER_CANCELED: u8 = 90;

/// A message KeyUpdate up to its last byte, which asks the peer for the same
/// or does not.
const KEY_UPDATE: [u8; 4] = [24, 0, 0, 1];

/// What makes the next key of either direction.
pub(crate) enum Schedule {
    Client(KernelConnection<ClientConnectionData>),
    Server(KernelConnection<ServerConnectionData>),
}

impl Schedule {
    fn sealer(&mut self) -> Result<Sealer, ChannelError> {
        let next = match self {
            Self::Client(conn) => conn.update_tx_secret(),
            Self::Server(conn) => conn.update_tx_secret(),
        };
        Sealer::new(next.map_err(internal)?)
    }

    fn opener(&mut self) -> Result<Opener, ChannelError> {
        let next = match self {
            Self::Client(conn) => conn.update_rx_secret(),
            Self::Server(conn) => conn.update_rx_secret(),
        };
        Opener::new(next.map_err(internal)?)
    }
}

fn internal(_: Error) -> ChannelError {
    ChannelError::Internal
}

/// Why a record is refused, and the alert that tells the peer, if any does.
struct Fault {
    error: ChannelError,
    alert: Option<u8>,
}

impl Fault {
    /// Not what the peer sent.
    const DAMAGED: Self = Self::new(ChannelError::Damaged, BAD_RECORD_MAC);

    const fn new(error: ChannelError, alert: u8) -> Self {
        let alert = Some(alert);
        Self { error, alert }
    }

    /// Against the rules that this alert stands for.
    const fn malformed(alert: u8) -> Self {
        Self::new(ChannelError::Malformed, alert)
    }

    /// Nothing that the peer is told.
    const fn silent(error: ChannelError) -> Self {
        Self { error, alert: None }
    }
}

/// What a record was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// There is more plaintext.
    Plaintext,
    /// Nothing for the caller, or less than a record.
    Nothing,
    /// The peer has ended its side.
    End,
}

/// Both directions of a channel that stands.
pub(crate) struct Records {
    sealer: Sealer,
    opener: Opener,
    schedule: Schedule,
    /// The end of the handshake, which goes before everything else.
    says: BytesMut,
    /// A record of which not all has come.
    begun: BytesMut,
    /// How many records one key seals.
    key_records: u64,
    /// New keys of the peer's since the last plaintext.
    updates: u32,
    /// The peer has asked for a new key, once or more often.
    owes_update: bool,
    /// Level and number of an alert that is to be sent, the last record of
    /// this side.
    owes_alert: Option<[u8; 2]>,
    /// That record was decided on.
    ended: bool,
}

impl Records {
    /// Those that follow a handshake whose last words, `says`, are not sent
    /// yet.
    pub(crate) fn new(
        says: BytesMut,
        secrets: ExtractedSecrets,
        schedule: Schedule,
        key_records: u64,
    ) -> Result<Self, ChannelError> {
        Ok(Self {
            sealer: Sealer::new(secrets.tx)?,
            opener: Opener::new(secrets.rx)?,
            schedule,
            says,
            begun: BytesMut::new(),
            key_records: key_records.clamp(2, KEY_RECORDS_MAX),
            updates: 0,
            owes_update: false,
            owes_alert: None,
            ended: false,
        })
    }

    /// Appends to `out` the records that carry these pieces.
    pub(crate) fn send(
        &mut self,
        mut pieces: &mut [IoSlice<'_>],
        out: &mut BytesMut,
    ) -> Result<(), ChannelError> {
        self.flush(out)?;
        if self.ended {
            return Err(ChannelError::Internal);
        }
        let mut left: usize = pieces.iter().map(|piece| piece.len()).sum();
        let records = (left / FRAGMENT_MAX).saturating_add(2);
        out.reserve(left.saturating_add(records.saturating_mul(OVERHEAD)));
        while left > 0 {
            // The last record by a key is the one that says so.
            let last = self.sealer.next.saturating_add(1) >= self.key_records;
            // Only data is held up by an answer, so that a peer which asks
            // without end and never reads has nothing pile up for it.
            if std::mem::take(&mut self.owes_update) || last {
                self.update(out)?;
            }
            let mut room = left.min(FRAGMENT_MAX);
            left = left.saturating_sub(room);
            self.sealer.seal(DATA, out, |out| {
                while room > 0
                    && let Some(piece) = pieces.first()
                {
                    let part = piece.get(..room).unwrap_or(piece);
                    let len = part.len();
                    out.extend_from_slice(part);
                    IoSlice::advance_slices(&mut pieces, len);
                    room = room.saturating_sub(len);
                }
            })?;
        }
        Ok(())
    }

    /// Appends to `out` what this side has to say by itself.
    pub(crate) fn flush(&mut self, out: &mut BytesMut) -> Result<(), ChannelError> {
        out.extend_from_slice(&std::mem::take(&mut self.says));
        match self.owes_alert.take() {
            Some(alert) => self.sealer.seal(ALERT, out, |out| out.put_slice(&alert)),
            None => Ok(()),
        }
    }

    /// Ends this side.
    pub(crate) fn close(&mut self) {
        self.alert([1, CLOSE_NOTIFY]);
    }

    /// The last words of a channel that `error` broke.
    pub(crate) fn last_words(mut self, error: ChannelError) -> BytesMut {
        if error == ChannelError::Internal {
            self.alert([2, INTERNAL_ERROR]);
        }
        let mut out = BytesMut::new();
        // A key that seals no more cannot say so either.
        let _ = self.flush(&mut out);
        out
    }

    /// How many bytes there are of a record that has not come whole.
    pub(crate) fn pending(&self) -> usize {
        self.begun.len()
    }

    /// Takes the beginning of `data`, at most up to the end of a record, and
    /// appends to `plaintext` what that holds. How many bytes were taken, and
    /// what they were.
    pub(crate) fn take(
        &mut self,
        data: &[u8],
        plaintext: &mut BytesMut,
    ) -> Result<(usize, Taken), ChannelError> {
        self.taken(data, plaintext).map_err(|fault| {
            if let Some(number) = fault.alert {
                self.alert([2, number]);
            }
            fault.error
        })
    }
}

impl Records {
    fn alert(&mut self, alert: [u8; 2]) {
        if !std::mem::replace(&mut self.ended, true) {
            self.owes_alert = Some(alert);
        }
    }

    /// Says that a new key follows, and takes it.
    fn update(&mut self, out: &mut BytesMut) -> Result<(), ChannelError> {
        //# CHANNEL-11: A side MUST take a new key, with KeyUpdate, before it seals more than 2^24
        //# records with one. However many KeyUpdates ask for another, the answer is a single one
        //# that does not: it MUST go right before the next data, and not without any.
        self.sealer.seal(HANDSHAKE, out, |out| {
            out.put_slice(&KEY_UPDATE);
            out.put_u8(0);
        })?;
        self.sealer = self.schedule.sealer()?;
        Ok(())
    }

    fn taken(&mut self, data: &[u8], plaintext: &mut BytesMut) -> Result<(usize, Taken), Fault> {
        if self.begun.is_empty()
            && let Some(record) = data.get(..wanted(data)?)
        {
            return Ok((record.len(), self.record(record, plaintext)?));
        }
        let missing = wanted(&self.begun)?.saturating_sub(self.begun.len());
        let part = data.get(..missing).unwrap_or(data);
        self.begun.extend_from_slice(part);
        let missing = wanted(&self.begun)?.saturating_sub(self.begun.len());
        if missing > 0 {
            self.begun.reserve(missing);
            return Ok((part.len(), Taken::Nothing));
        }
        let record = std::mem::take(&mut self.begun);
        Ok((part.len(), self.record(&record, plaintext)?))
    }

    /// Opens a whole record.
    fn record(&mut self, record: &[u8], plaintext: &mut BytesMut) -> Result<Taken, Fault> {
        let start = plaintext.len();
        let kind = self.opener.open(record, plaintext)?;
        if kind == DATA {
            if plaintext.len() == start {
                return Ok(Taken::Nothing);
            }
            self.updates = 0;
            return Ok(Taken::Plaintext);
        }
        let taken = self.control(kind, plaintext.get(start..).unwrap_or_default());
        plaintext.truncate(start);
        taken
    }

    fn control(&mut self, kind: u8, content: &[u8]) -> Result<Taken, Fault> {
        let alert = match (kind, content) {
            (ALERT, [_, CLOSE_NOTIFY]) => return Ok(Taken::End),
            (ALERT, [_, USER_CANCELED]) => return Ok(Taken::Nothing),
            (ALERT, [_, number]) => {
                return Err(Fault::silent(ChannelError::Alert(Alert(*number))));
            }
            (HANDSHAKE, [message @ .., asks]) if *message == KEY_UPDATE => match asks {
                0 | 1 => return self.updated(*asks == 1),
                _ => ILLEGAL_PARAMETER,
            },
            //# CHANNEL-12: After the handshake a KeyUpdate, alone in its record, is the only message of
            //# a handshake; every other, and a record of any other kind than data and alert, is a
            //# fault.
            (ALERT, [_, ..]) => DECODE_ERROR,
            _ => UNEXPECTED_MESSAGE,
        };
        Err(Fault::malformed(alert))
    }

    /// The peer's next record is by its next key.
    fn updated(&mut self, asks: bool) -> Result<Taken, Fault> {
        self.updates = self.updates.saturating_add(1);
        if self.updates > UPDATES_MAX {
            return Err(Fault::silent(ChannelError::TooMuch));
        }
        self.opener = self.schedule.opener().map_err(Fault::silent)?;
        self.owes_update |= asks;
        Ok(Taken::Nothing)
    }
}

/// How long the record is that begins so: a header, as long as that has not
/// come whole.
fn wanted(begun: &[u8]) -> Result<usize, Fault> {
    let [kind, _, _, high, low, ..] = *begun else {
        return Ok(HEADER);
    };
    let len = usize::from(u16::from_be_bytes([high, low]));
    let whole = len.saturating_add(HEADER);
    match len {
        _ if kind != DATA => Err(Fault::malformed(UNEXPECTED_MESSAGE)),
        // A content type and a tag at least.
        ..=TAG => Err(Fault::DAMAGED),
        // Nothing has proven yet that this is the peer's.
        _ if whole > RECORD_MAX => Err(Fault::new(ChannelError::Damaged, RECORD_OVERFLOW)),
        _ => Ok(whole),
    }
}

/// Seals records, each with the number of the one before and 1.
struct Sealer {
    key: TlsRecordSealingKey,
    iv: Iv,
    next: u64,
}

impl Sealer {
    fn new((next, secrets): (u64, ConnectionTrafficSecrets)) -> Result<Self, ChannelError> {
        // The key goes by its records being numbered from 0, and refuses a
        // number that it has seen.
        match secrets {
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } if next == 0 => {
                let key =
                    TlsRecordSealingKey::new(&AES_256_GCM, TlsProtocolId::TLS13, key.as_ref());
                let key = key.map_err(|_| ChannelError::Internal)?;
                Ok(Self { key, iv, next })
            }
            _ => Err(ChannelError::Internal),
        }
    }

    /// Appends a record of this kind, whose content `fill` appends. After an
    /// error `out` is as it was.
    fn seal(
        &mut self,
        kind: u8,
        out: &mut BytesMut,
        fill: impl FnOnce(&mut BytesMut),
    ) -> Result<(), ChannelError> {
        let start = out.len();
        out.put_bytes(0, HEADER);
        fill(out);
        out.put_u8(kind);
        let sealed = self.seal_from(start, out);
        if sealed.is_none() {
            out.truncate(start);
        }
        sealed.ok_or(ChannelError::Internal)
    }

    fn seal_from(&mut self, start: usize, out: &mut BytesMut) -> Option<()> {
        let (header, content) = out.get_mut(start..)?.split_at_mut_checked(HEADER)?;
        let len = u16::try_from(content.len().checked_add(TAG)?).ok()?;
        let [high, low] = len.to_be_bytes();
        // What is sealed has the number of TLS 1.2 (RFC 8446, section 5.2).
        header.copy_from_slice(&[DATA, 3, 3, high, low]);
        let number = self.next;
        // Whatever becomes of this record, its number is used up.
        self.next = number.checked_add(1)?;
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce(&self.iv, number), Aad::from(header), content)
            .ok()?;
        out.extend_from_slice(tag.as_ref());
        Some(())
    }
}

/// Opens records, each with the number of the one before and 1: one that was
/// left out, put in, sent again or exchanged for another does not open.
struct Opener {
    key: TlsRecordOpeningKey,
    iv: Iv,
    next: u64,
}

impl Opener {
    fn new((next, secrets): (u64, ConnectionTrafficSecrets)) -> Result<Self, ChannelError> {
        match secrets {
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => {
                let key =
                    TlsRecordOpeningKey::new(&AES_256_GCM, TlsProtocolId::TLS13, key.as_ref());
                let key = key.map_err(|_| ChannelError::Internal)?;
                Ok(Self { key, iv, next })
            }
            _ => Err(ChannelError::Internal),
        }
    }

    /// Appends a record's content, and says what kind it is of. After an error
    /// `out` is as it was.
    fn open(&mut self, record: &[u8], out: &mut BytesMut) -> Result<u8, Fault> {
        let start = out.len();
        let opened = self.open_from(start, record, out);
        let len = opened.as_ref().map_or(0, |(_, len)| *len);
        out.truncate(start.saturating_add(len));
        opened.map(|(kind, _)| kind)
    }

    fn open_from(
        &mut self,
        start: usize,
        record: &[u8],
        out: &mut BytesMut,
    ) -> Result<(u8, usize), Fault> {
        let (header, sealed) = record.split_at_checked(HEADER).ok_or(Fault::DAMAGED)?;
        out.extend_from_slice(sealed);
        let content = self
            .key
            .open_in_place(
                nonce(&self.iv, self.next),
                Aad::from(header),
                out.get_mut(start..).unwrap_or_default(),
            )
            .map_err(|_| Fault::DAMAGED)?;
        let next = self.next.checked_add(1);
        self.next = next.ok_or(Fault::silent(ChannelError::TooMuch))?;
        unpad(content)
    }
}

/// A record's kind and the length of its content, which zeros may follow.
fn unpad(opened: &[u8]) -> Result<(u8, usize), Fault> {
    if opened.len() > FRAGMENT_MAX.saturating_add(1) {
        return Err(Fault::malformed(RECORD_OVERFLOW));
    }
    let mut bytes = opened.iter().enumerate();
    match bytes.rfind(|(_, byte)| **byte != 0) {
        Some((len, kind)) => Ok((*kind, len)),
        None => Err(Fault::malformed(UNEXPECTED_MESSAGE)),
    }
}

fn nonce(iv: &Iv, number: u64) -> Nonce {
    Nonce::assume_unique_for_key(cipher::Nonce::new(iv, number).0)
}
