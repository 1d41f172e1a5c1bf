//! Integers, and a place in a message.
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

use bytes::{Buf, Bytes};

use super::GobError;

//# GOB-2: An unsigned integer below 128 is one byte. Any other is a byte that holds the
//# negated count of the bytes behind it, and that many bytes, big-endian. A receiver MUST
//# refuse a count above 8 and an integer that fewer bytes would hold.
/// Most bytes of an integer: the count and eight more.
pub(super) const UINT_MAX: usize = 9;

/// How many bytes an unsigned integer has, by its first byte.
pub(super) fn uint_len(first: u8) -> Result<usize, GobError> {
    if first < 0x80 {
        return Ok(1);
    }
    let more = first.wrapping_neg();
    if usize::from(more) >= UINT_MAX {
        return Err(GobError::IntegerLength(more));
    }
    Ok(usize::from(more).saturating_add(1))
}

/// The unsigned integer that these bytes, all of it, are.
pub(super) fn uint_of(bytes: &[u8]) -> Result<u64, GobError> {
    match bytes {
        [] => Err(GobError::Truncated),
        [small] if *small < 0x80 => Ok(u64::from(*small)),
        [_, 0, ..] => Err(GobError::NotMinimal),
        [_, small] if *small < 0x80 => Err(GobError::NotMinimal),
        [_, digits @ ..] => Ok(digits
            .iter()
            .fold(0, |value, digit| value << 8 | u64::from(*digit))),
    }
}

/// Appends an unsigned integer.
pub(super) fn put_uint(out: &mut Vec<u8>, value: u64) {
    if value < 0x80 {
        out.push(value as u8);
        return;
    }
    let bytes = value.to_be_bytes();
    let zeros = value.leading_zeros() as usize / 8;
    let digits = bytes.get(zeros..).unwrap_or_default();
    out.push((digits.len() as u8).wrapping_neg());
    out.extend_from_slice(digits);
}

//# GOB-3: A signed integer is an unsigned one: its lowest bit is set if it is negative,
//# and the bits above are the integer, complemented if it is negative.
/// Appends a signed integer.
pub(super) fn put_int(out: &mut Vec<u8>, value: i64) {
    put_uint(out, ((value << 1) ^ (value >> 63)) as u64);
}

fn int_of(value: u64) -> i64 {
    (value >> 1) as i64 ^ ((value & 1) as i64).wrapping_neg()
}

/// What is left of a message, down to a floor below which nothing is read.
#[derive(Debug)]
pub(super) struct Cursor {
    bytes: Bytes,
    floor: usize,
}

impl Cursor {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self { bytes, floor: 0 }
    }

    /// How many bytes may be read.
    pub(super) fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.floor)
    }

    /// Lets reading end at a floor: so many bytes from the message's end.
    pub(super) fn set_floor(&mut self, floor: usize) {
        self.floor = floor;
    }

    /// The floor at which `count` more bytes would end.
    pub(super) fn floor_after(&self, count: u64) -> Result<usize, GobError> {
        match usize::try_from(count) {
            Ok(count) if count <= self.left() => Ok(self.bytes.len().saturating_sub(count)),
            _ => Err(GobError::Truncated),
        }
    }

    pub(super) fn take(&mut self, count: u64) -> Result<Bytes, GobError> {
        match usize::try_from(count) {
            Ok(count) if count <= self.left() => Ok(self.bytes.split_to(count)),
            _ => Err(GobError::Truncated),
        }
    }

    pub(super) fn uint(&mut self) -> Result<u64, GobError> {
        let first = self.bytes.first().ok_or(GobError::Truncated)?;
        let len = uint_len(*first)?;
        if len > self.left() {
            return Err(GobError::Truncated);
        }
        let value = uint_of(self.bytes.get(..len).unwrap_or_default())?;
        self.bytes.advance(len);
        Ok(value)
    }

    pub(super) fn int(&mut self) -> Result<i64, GobError> {
        self.uint().map(int_of)
    }

    /// A length and that many bytes.
    pub(super) fn bytes(&mut self) -> Result<Bytes, GobError> {
        let len = self.uint()?;
        self.take(len)
    }

    /// A length within `max`, and that many bytes of UTF-8.
    pub(super) fn name(&mut self, max: usize) -> Result<Bytes, GobError> {
        let length = self.uint()?;
        if length > max as u64 {
            return Err(GobError::LongName { length, max });
        }
        let name = self.take(length)?;
        match core::str::from_utf8(&name) {
            Ok(_) => Ok(name),
            Err(_) => Err(GobError::NotUtf8),
        }
    }

    /// How many elements follow, each of at least one of the bytes that are
    /// left, `each` of them to a count.
    pub(super) fn count(&mut self, each: usize) -> Result<usize, GobError> {
        let count = self.uint()?;
        let left = self.left();
        match usize::try_from(count) {
            //# GOB-9: A receiver MUST refuse a count of elements above the bytes that are left
            //# for them in the message.
            Ok(fits) if fits.saturating_mul(each) <= left => Ok(fits),
            _ => Err(GobError::Count { count, left }),
        }
    }
}

/// Walks over the fields of a struct that are there: an index below `fields`
/// for each, in order.
pub(super) fn each_field(
    cursor: &mut Cursor,
    fields: usize,
    mut field: impl FnMut(&mut Cursor, usize) -> Result<(), GobError>,
) -> Result<(), GobError> {
    let mut next = 0;
    while let Some(index) = next_field(cursor, next, fields)? {
        field(cursor, index)?;
        next = index.saturating_add(1);
    }
    Ok(())
}

//# GOB-6: A struct is its fields in order, each an unsigned integer, by how much its
//# number is above that of the field before (the first one's: above -1), and its value;
//# then a 0. Fields that are zero are not there. A receiver MUST refuse a number past the
//# last field of the type.
/// The index of the next field, at least `next`; `None` at the end.
pub(super) fn next_field(
    cursor: &mut Cursor,
    next: usize,
    fields: usize,
) -> Result<Option<usize>, GobError> {
    let Some(skipped) = cursor.uint()?.checked_sub(1) else {
        return Ok(None);
    };
    let index = usize::try_from(skipped)
        .ok()
        .and_then(|skipped| next.checked_add(skipped))
        .filter(|index| *index < fields)
        .ok_or(GobError::Field { fields })?;
    Ok(Some(index))
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;

    #[test]
    fn integers_that_fewer_bytes_would_hold_are_refused() {
        for bytes in [
            &[0xff, 0x00][..],
            &[0xff, 0x7f],
            &[0xfe, 0x00, 0x80],
            &[0xf8, 0, 1, 1, 1, 1, 1, 1, 1],
        ] {
            let mut cursor = Cursor::new(Bytes::copy_from_slice(bytes));
            assert_eq!(cursor.uint(), Err(GobError::NotMinimal), "{bytes:x?}");
        }
    }

    #[test]
    fn integers_of_more_than_eight_bytes_are_refused() {
        for first in 0x80..=0xf7_u8 {
            let more = first.wrapping_neg();
            let mut cursor = Cursor::new(Bytes::from(alloc::vec![first; 200]));
            assert_eq!(cursor.uint(), Err(GobError::IntegerLength(more)));
        }
    }

    #[test]
    fn nothing_below_the_floor_is_read() {
        let mut cursor = Cursor::new(Bytes::from_static(&[0xfe, 1, 2, 3]));
        cursor.set_floor(2);
        assert_eq!(cursor.uint(), Err(GobError::Truncated));
        assert_eq!(cursor.take(3), Err(GobError::Truncated));
        cursor.set_floor(1);
        assert_eq!(cursor.uint(), Ok(0x102));
        assert_eq!(cursor.left(), 0);
    }

    quickcheck! {
        fn any_integer_comes_back(value: u64, shift: u8) -> bool {
            let value = value >> (shift % 64);
            let mut out = Vec::new();
            put_uint(&mut out, value);
            put_int(&mut out, value as i64);
            put_int(&mut out, (value as i64).wrapping_neg());
            let mut cursor = Cursor::new(out.into());
            cursor.uint() == Ok(value)
                && cursor.int() == Ok(value as i64)
                && cursor.int() == Ok((value as i64).wrapping_neg())
                && cursor.left() == 0
        }
    }
}
