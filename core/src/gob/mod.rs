//! Gob, the encoding of Go's package `encoding/gob`: as much of it as peers of
//! the Go program need (FOREVERSTORE.md, "Gob").
//!
//! A gob stream describes its own types: definitions come in front of, and
//! within, the values that need them, under ids of the sender's choosing. The
//! [`Decoder`] follows the definitions, assumes no id, and gives [`Value`]s. It
//! takes the stream in whatever pieces it arrives. The [`Encoder`] writes
//! structs under ids that it is told, byte for byte as Go does.
//!
//! Go says of its own decoder that it is not hardened against hostile input.
//! This one is:
//!
//! 1. Nothing is believed before it is there: memory is at most twice the bytes
//!    received, plus what [`Limits`] allow for types and values (under 64 KiB by
//!    default).
//! 2. Time is linear in the bytes received; nothing is read twice.
//! 3. Whatever is not as Go would write it is a [`GobError`], and so is
//!    everything after it.

mod decode;
mod encode;
mod error;
mod number;
mod types;
mod value;
mod walk;

pub use decode::Decoder;
pub use encode::{Encoder, FieldType, Item, StructShape};
pub use error::GobError;
pub use types::StructType;
pub use value::{Named, Struct, Text, Value};

/// What a [`Decoder`] accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of one value, all definitions in front of and within it
    /// counted, and all length prefixes.
    pub bytes: usize,
    /// How deep values and types may nest.
    pub depth: usize,
    /// Most types that one stream may define.
    pub types: usize,
    /// Most fields that all structs of one stream may have together.
    pub fields: usize,
    /// Most values that may be within one value, itself counted: fields that are
    /// set, elements, keys.
    pub values: usize,
    /// Most bytes in the name of a type, of a field, or of what an interface
    /// value holds.
    pub name: usize,
}

impl Default for Limits {
    /// 64 KiB, 16 deep, 64 types with 256 fields, 256 values, names of 256
    /// bytes.
    fn default() -> Self {
        Self {
            bytes: 64 << 10,
            depth: 16,
            types: 64,
            fields: 256,
            values: 256,
            name: 256,
        }
    }
}
