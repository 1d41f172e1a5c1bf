//! Values as they come out of a stream.
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
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use super::StructType;

/// One value of a gob stream. What it holds of the stream's bytes are slices of
/// a buffer of the value's size, not of the caller's input.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// `bool`.
    Bool(bool),
    /// Any signed integer type of Go's.
    Int(i64),
    /// Any unsigned integer type of Go's.
    Uint(u64),
    /// Any floating-point type of Go's.
    Float(f64),
    /// Any complex type of Go's: real part, imaginary part.
    Complex(f64, f64),
    /// `[]byte`.
    Bytes(Bytes),
    /// `string`.
    Str(Text),
    /// A struct.
    Struct(Struct),
    /// A slice or an array.
    List(Vec<Value>),
    /// A map, in the order of the stream. A key may be there twice.
    Map(Vec<(Value, Value)>),
    /// An interface value; `None` is Go's nil.
    Interface(Option<Box<Named>>),
    /// What a Go type has encoded in a way of its own.
    Opaque(Bytes),
}

impl Value {
    /// The boolean, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The signed integer, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The bytes, if it is a byte slice.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Bytes(value) => Some(value),
            _ => None,
        }
    }

    /// The text, if it is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(value) => Some(value.as_str()),
            _ => None,
        }
    }

    /// The struct, if it is one.
    pub fn as_struct(&self) -> Option<&Struct> {
        match self {
            Self::Struct(value) => Some(value),
            _ => None,
        }
    }

    /// What an interface value holds, if it is one and not nil.
    pub fn as_named(&self) -> Option<&Named> {
        match self {
            Self::Interface(Some(value)) => Some(value),
            _ => None,
        }
    }
}

/// A string of a stream.
#[derive(Clone, PartialEq, Eq)]
pub struct Text(Bytes);

impl Text {
    /// `bytes` must be UTF-8.
    pub(super) fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // Checked when it was made.
        core::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// A struct: its type as the stream defined it, and the fields that are set.
#[derive(Clone, PartialEq)]
pub struct Struct {
    shape: Arc<StructType>,
    fields: Vec<(usize, Value)>,
}

impl Struct {
    pub(super) fn new(shape: Arc<StructType>, fields: Vec<(usize, Value)>) -> Self {
        Self { shape, fields }
    }

    /// Its type.
    pub fn shape(&self) -> &StructType {
        &self.shape
    }

    /// The field of this name. `None` if the type has none, and also if the
    /// field is zero: Go does not send those.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let mut fields = self.fields();
        fields.find_map(|(field, value)| (field == name).then_some(value))
    }

    /// The names and values of the fields that are set, in the type's order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Value)> {
        let names = &self.shape.fields;
        self.fields
            .iter()
            .filter_map(|(index, value)| Some((&*names.get(*index)?.name, value)))
    }
}

impl fmt::Debug for Struct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct(self.shape.name());
        for (name, value) in self.fields() {
            shown.field(name, value);
        }
        shown.finish()
    }
}

/// What an interface value holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// The name under which its type is registered.
    pub name: Text,
    /// The value.
    pub value: Value,
}
