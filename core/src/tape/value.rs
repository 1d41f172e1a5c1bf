//! How values stand on a tape: CBOR of one form. A struct is an array of its
//! fields, a variant an array of its name and its fields.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::num::NonZeroU64;
use core::ops::Range;
use core::time::Duration;

use bytes::Bytes;
use minicbor::Encoder;
use minicbor::data::Type;
pub(super) use minicbor::decode::{Decoder, Error as Malformed};
use minicbor::encode::Error as Unwritten;

/// What is written to.
pub(super) struct Out<'a> {
    encoder: Encoder<&'a mut Vec<u8>>,
    /// Byte strings are replaced by their lengths and hashes.
    brief: bool,
}

/// What can be written.
pub(super) trait Written {
    fn write(&self, out: &mut Out<'_>);
}

/// What can be read back.
pub(super) trait Readable: Sized {
    fn read(d: &mut Decoder<'_>) -> Result<Self, Malformed>;
}

impl<'a> Out<'a> {
    //# TAPE-8: In an output every byte string that is not of a fixed length MUST be replaced by
    //# an array of its length and its BLAKE3 hash.
    /// `brief` writes outputs: enough to compare them. Otherwise what is
    /// written can be read back.
    pub(super) fn new(to: &'a mut Vec<u8>, brief: bool) -> Self {
        let encoder = Encoder::new(to);
        Self { encoder, brief }
    }

    pub(super) fn array(&mut self, len: usize) {
        certain(self.encoder.array(len as u64));
    }

    pub(super) fn text(&mut self, text: &str) {
        certain(self.encoder.str(text));
    }

    pub(super) fn number(&mut self, number: u64) {
        certain(self.encoder.u64(number));
    }

    pub(super) fn null(&mut self) {
        certain(self.encoder.null());
    }

    /// A byte string of a fixed length.
    pub(super) fn fixed(&mut self, bytes: &[u8]) {
        certain(self.encoder.bytes(bytes));
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        if !self.brief {
            return self.fixed(bytes);
        }
        self.array(2);
        self.number(bytes.len() as u64);
        self.fixed(blake3::hash(bytes).as_bytes());
    }
}

/// A vector takes what is written.
fn certain<T>(_: Result<T, Unwritten<Infallible>>) {}

/// The length of an array: none of those here is open.
pub(super) fn array(d: &mut Decoder<'_>) -> Result<u64, Malformed> {
    let at = d.position();
    d.array()?
        .ok_or_else(|| Malformed::message("an array of no length").at(at))
}

/// An array of exactly so many items.
pub(super) fn array_of(d: &mut Decoder<'_>, len: usize) -> Result<(), Malformed> {
    let at = d.position();
    match array(d)? == len as u64 {
        true => Ok(()),
        false => Err(Malformed::message("an array of another length").at(at)),
    }
}

/// Fixed bytes.
pub(super) fn fixed<const N: usize>(d: &mut Decoder<'_>) -> Result<[u8; N], Malformed> {
    let at = d.position();
    let wrong = |_| Malformed::message("bytes of another length").at(at);
    d.bytes()?.try_into().map_err(wrong)
}

/// How a struct is written and read; `out` is only written.
macro_rules! fields {
    (out $type:ident { $($field:ident),* $(,)? }) => {
        impl Written for $type {
            fn write(&self, out: &mut Out<'_>) {
                let Self { $($field),* } = self;
                out.array([$(stringify!($field)),*].len());
                $($field.write(out);)*
            }
        }
    };
    ($type:ident { $($field:ident),* $(,)? }) => {
        fields!(out $type { $($field),* });

        impl Readable for $type {
            fn read(d: &mut Decoder<'_>) -> Result<Self, Malformed> {
                $crate::tape::value::array_of(d, [$(stringify!($field)),*].len())?;
                Ok(Self { $($field: Readable::read(d)?),* })
            }
        }
    };
}

/// How an enum is written and read; `out` is only written.
macro_rules! variants {
    (out $type:ident { $($variant:ident $({ $($field:ident),* })? $(( $($item:ident),* ))?),* $(,)? }) => {
        impl Written for $type {
            fn write(&self, out: &mut Out<'_>) {
                match self {
                    $(Self::$variant $({ $($field),* })? $(( $($item),* ))? => {
                        out.array([
                            stringify!($variant)
                            $($(, stringify!($field))*)?
                            $($(, stringify!($item))*)?
                        ].len());
                        out.text(stringify!($variant));
                        $($($field.write(out);)*)?
                        $($($item.write(out);)*)?
                    })*
                }
            }
        }
    };
    ($type:ident { $($variant:ident $({ $($field:ident),* })? $(( $($item:ident),* ))?),* $(,)? }) => {
        variants!(out $type { $($variant $({ $($field),* })? $(( $($item),* ))?),* });

        impl Readable for $type {
            fn read(d: &mut Decoder<'_>) -> Result<Self, Malformed> {
                let at = d.position();
                let len = $crate::tape::value::array(d)?;
                let name = d.str()?;
                $(
                    let items = [
                        stringify!($variant)
                        $($(, stringify!($field))*)?
                        $($(, stringify!($item))*)?
                    ];
                    if items.first() == Some(&name) && len == items.len() as u64 {
                        $($(let $field = Readable::read(d)?;)*)?
                        $($(let $item = Readable::read(d)?;)*)?
                        return Ok(Self::$variant $({ $($field),* })? $(( $($item),* ))?);
                    }
                )*
                Err(Malformed::message("no such variant").at(at))
            }
        }
    };
}

pub(super) use {fields, variants};

macro_rules! numbers {
    ($($type:ident)*) => {
        $(
            impl Written for $type {
                fn write(&self, out: &mut Out<'_>) {
                    out.number(*self as u64);
                }
            }

            impl Readable for $type {
                fn read(d: &mut Decoder<'_>) -> Result<Self, Malformed> {
                    let at = d.position();
                    let wide = |_| Malformed::message("a number out of range").at(at);
                    d.u64()?.try_into().map_err(wide)
                }
            }
        )*
    };
}

numbers!(u8 u16 u32 u64 usize);

impl Written for bool {
    fn write(&self, out: &mut Out<'_>) {
        certain(out.encoder.bool(*self));
    }
}

impl Readable for bool {
    fn read(d: &mut Decoder<'_>) -> Result<Self, Malformed> {
        d.bool()
    }
}

impl Written for str {
    fn write(&self, out: &mut Out<'_>) {
        out.text(self);
    }
}

impl Written for String {
    fn write(&self, out: &mut Out<'_>) {
        out.text(self);
    }
}

impl Readable for String {
    fn read(d: &mut Decoder<'_>) -> Result<Self, Malformed> {
        d.str().map(Into::into)
    }
}

impl Written for Bytes {
    fn write(&self, out: &mut Out<'_>) {
        out.bytes(self);
    }
}

impl Readable for Bytes {
    fn read(d: &mut Decoder<'_>) -> Result<Self, Malformed> {
        d.bytes().map(Self::copy_from_slice)
    }
}

impl<T: Written + ?Sized> Written for &T {
    fn write(&self, out: &mut Out<'_>) {
        (**self).write(out);
    }
}

impl<T: Written + ?Sized> Written for Box<T> {
    fn write(&self, out: &mut Out<'_>) {
        (**self).write(out);
    }
}

impl<T: Readable> Readable for Box<T> {
    fn read(d: &mut Decoder<'_>) -> Result<Self, Malformed> {
        T::read(d).map(Self::new)
    }
}

impl<T: Written> Written for Option<T> {
    fn write(&self, out: &mut Out<'_>) {
        match self {
            None => out.null(),
            Some(value) => value.write(out),
        }
    }
}

impl<T: Readable> Readable for Option<T> {
    fn read(d: &mut Decoder<'_>) -> Result<Self, Malformed> {
        if d.datatype()? == Type::Null {
            return d.null().map(|()| None);
        }
        T::read(d).map(Some)
    }
}

impl<T: Written> Written for Vec<T> {
    fn write(&self, out: &mut Out<'_>) {
        out.array(self.len());
        self.iter().for_each(|item| item.write(out));
    }
}

impl<T: Readable> Readable for Vec<T> {
    fn read(d: &mut Decoder<'_>) -> Result<Self, Malformed> {
        // Grows as items are read: the length is only what somebody says.
        let len = array(d)?;
        let mut items = Self::new();
        for _ in 0..len {
            items.push(T::read(d)?);
        }
        Ok(items)
    }
}

impl<T: Written> Written for BTreeSet<T> {
    fn write(&self, out: &mut Out<'_>) {
        out.array(self.len());
        self.iter().for_each(|item| item.write(out));
    }
}

impl<T: Readable + Ord> Readable for BTreeSet<T> {
    fn read(d: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Vec::read(d).map(Self::from_iter)
    }
}

impl<A: Written, B: Written> Written for (A, B) {
    fn write(&self, out: &mut Out<'_>) {
        out.array(2);
        self.0.write(out);
        self.1.write(out);
    }
}

impl<A: Readable, B: Readable> Readable for (A, B) {
    fn read(d: &mut Decoder<'_>) -> Result<Self, Malformed> {
        array_of(d, 2)?;
        Ok((A::read(d)?, B::read(d)?))
    }
}

impl<K: Written, V: Written> Written for BTreeMap<K, V> {
    fn write(&self, out: &mut Out<'_>) {
        out.array(self.len());
        self.iter().for_each(|entry| entry.write(out));
    }
}

impl<K: Readable + Ord, V: Readable> Readable for BTreeMap<K, V> {
    fn read(d: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Vec::read(d).map(Self::from_iter)
    }
}

impl<T: Written, E: Written> Written for Result<T, E> {
    fn write(&self, out: &mut Out<'_>) {
        out.array(2);
        match self {
            Ok(value) => {
                out.text("Ok");
                value.write(out);
            }
            Err(error) => {
                out.text("Err");
                error.write(out);
            }
        }
    }
}

impl<T: Readable, E: Readable> Readable for Result<T, E> {
    fn read(d: &mut Decoder<'_>) -> Result<Self, Malformed> {
        array_of(d, 2)?;
        let at = d.position();
        match d.str()? {
            "Ok" => T::read(d).map(Ok),
            "Err" => E::read(d).map(Err),
            _ => Err(Malformed::message("neither Ok nor Err").at(at)),
        }
    }
}

impl Written for Range<u64> {
    fn write(&self, out: &mut Out<'_>) {
        out.array(2);
        self.start.write(out);
        self.end.write(out);
    }
}

impl Readable for Range<u64> {
    fn read(d: &mut Decoder<'_>) -> Result<Self, Malformed> {
        array_of(d, 2)?;
        Ok(u64::read(d)?..u64::read(d)?)
    }
}

impl Written for Duration {
    fn write(&self, out: &mut Out<'_>) {
        out.array(2);
        self.as_secs().write(out);
        self.subsec_nanos().write(out);
    }
}

impl Readable for Duration {
    fn read(d: &mut Decoder<'_>) -> Result<Self, Malformed> {
        array_of(d, 2)?;
        let secs = u64::read(d)?;
        let at = d.position();
        match u32::read(d)? {
            nanos @ ..1_000_000_000 => Ok(Self::new(secs, nanos)),
            _ => Err(Malformed::message("a second has fewer nanoseconds").at(at)),
        }
    }
}

impl Written for NonZeroU64 {
    fn write(&self, out: &mut Out<'_>) {
        out.number(self.get());
    }
}

impl Readable for NonZeroU64 {
    fn read(d: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let at = d.position();
        Self::new(d.u64()?).ok_or_else(|| Malformed::message("a number that is zero").at(at))
    }
}
