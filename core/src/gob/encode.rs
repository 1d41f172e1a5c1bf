//! From structs to a byte stream, as Go writes it.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::number::{put_int, put_uint};
use super::types::{TypeId, id};

/// A struct type as it is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StructShape {
    /// Its number in the stream: from 64 on, and of no other type in it. Go
    /// counts on from 64 in the order in which a process first meets its types.
    pub id: i64,
    /// Its name, without a package.
    pub name: &'static str,
    /// The names and types of its fields.
    pub fields: &'static [(&'static str, FieldType)],
}

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// `bool`.
    Bool,
    /// A signed integer type.
    Int,
    /// `[]byte`.
    Bytes,
    /// `string`.
    Str,
    /// An interface type.
    Interface,
    /// A struct type.
    Struct(&'static StructShape),
}

impl FieldType {
    fn id(self) -> TypeId {
        match self {
            Self::Bool => id::BOOL,
            Self::Int => id::INT,
            Self::Bytes => id::BYTES,
            Self::Str => id::STRING,
            Self::Interface => id::INTERFACE,
            Self::Struct(shape) => shape.id,
        }
    }
}

/// A value as it is to be written.
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    /// `bool`.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// `[]byte`.
    Bytes(&'a [u8]),
    /// `string`.
    Str(&'a str),
    /// An interface value, or nil: the name under which the receiver has
    /// registered the struct type, the type, and its fields.
    Interface(Option<(&'a str, &'static StructShape, &'a [Item<'a>])>),
    /// A struct's fields.
    Struct(&'a [Item<'a>]),
}

impl Item<'_> {
    /// Whether it is the value that its type starts from. Structs are sent
    /// even so.
    fn is_zero(&self) -> bool {
        match self {
            Self::Bool(value) => !value,
            Self::Int(value) => *value == 0,
            Self::Bytes(value) => value.is_empty(),
            Self::Str(value) => value.is_empty(),
            Self::Interface(value) => value.is_none(),
            Self::Struct(_) => false,
        }
    }

    fn fits(&self, field: FieldType) -> bool {
        matches!(
            (self, field),
            (Self::Bool(_), FieldType::Bool)
                | (Self::Int(_), FieldType::Int)
                | (Self::Bytes(_), FieldType::Bytes)
                | (Self::Str(_), FieldType::Str)
                | (Self::Interface(_), FieldType::Interface)
                | (Self::Struct(_), FieldType::Struct(_))
        )
    }
}

/// Writes one gob stream.
#[derive(Debug)]
pub struct Encoder {
    /// What has been written, then what is being written and will get a length
    /// in front, the outermost first.
    buffers: Vec<Vec<u8>>,
    out: Vec<u8>,
    sent: BTreeSet<TypeId>,
}

impl Encoder {
    /// An encoder at the start of a stream.
    pub fn new() -> Self {
        Self {
            buffers: Vec::new(),
            out: Vec::new(),
            sent: BTreeSet::new(),
        }
    }

    /// Appends a struct with these fields, in the order of its type's, and the
    /// definitions that it needs and that the stream does not have yet. What
    /// fields lack at their end is zero.
    ///
    /// # Panics
    /// If a value is not of the type of the field that it is for.
    pub fn encode(&mut self, shape: &'static StructShape, fields: &[Item<'_>]) {
        self.buffers.push(Vec::new());
        self.define(shape);
        put_int(self.buffer(), shape.id);
        self.fields(shape, fields);
        self.end_piece();
        self.buffers.pop();
    }

    /// What has been written.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    fn buffer(&mut self) -> &mut Vec<u8> {
        self.buffers.last_mut().unwrap_or(&mut self.out)
    }

    /// Ends what the innermost buffer holds: it goes, its length in front, to
    /// the one around it.
    fn end_piece(&mut self) {
        if let Some(piece) = self.buffers.pop() {
            let around = self.buffer();
            put_uint(around, piece.len() as u64);
            around.extend_from_slice(&piece);
            self.buffers.push(Vec::new());
        }
    }

    /// Defines a type, then those of its fields. What the innermost buffer
    /// holds goes out in front of the definition, in one piece with it.
    fn define(&mut self, shape: &'static StructShape) {
        if !self.sent.insert(shape.id) {
            return;
        }
        let buffer = self.buffer();
        put_int(buffer, -shape.id);
        // The field that says it is a struct, that of name and id, the name.
        buffer.extend_from_slice(&[3, 1]);
        name_and_id(buffer, shape.name, shape.id);
        if !shape.fields.is_empty() {
            buffer.push(1);
            put_uint(buffer, shape.fields.len() as u64);
            for (name, field) in shape.fields {
                name_and_id(buffer, name, field.id());
            }
        }
        buffer.extend_from_slice(&[0, 0]);
        self.end_piece();
        for (_, field) in shape.fields {
            if let FieldType::Struct(inner) = field {
                self.define(inner);
            }
        }
    }

    fn fields(&mut self, shape: &'static StructShape, fields: &[Item<'_>]) {
        let mut last = None;
        for (index, ((_, field), item)) in shape.fields.iter().zip(fields).enumerate() {
            assert!(item.fits(*field), "{item:?} is no {field:?}");
            if item.is_zero() {
                continue;
            }
            let delta = last.map_or(index + 1, |last| index - last);
            put_uint(self.buffer(), delta as u64);
            self.item(*field, item);
            last = Some(index);
        }
        self.buffer().push(0);
    }

    fn item(&mut self, field: FieldType, item: &Item<'_>) {
        match item {
            Item::Bool(value) => self.buffer().push(u8::from(*value)),
            Item::Int(value) => put_int(self.buffer(), *value),
            Item::Bytes(value) => put_bytes(self.buffer(), value),
            Item::Str(value) => put_bytes(self.buffer(), value.as_bytes()),
            Item::Interface(Some((name, shape, fields))) => self.interface(name, shape, fields),
            Item::Interface(None) => self.buffer().push(0),
            Item::Struct(fields) => {
                if let FieldType::Struct(shape) = field {
                    self.fields(shape, fields);
                }
            }
        }
    }

    fn interface(&mut self, name: &str, shape: &'static StructShape, fields: &[Item<'_>]) {
        put_bytes(self.buffer(), name.as_bytes());
        self.define(shape);
        put_int(self.buffer(), shape.id);
        self.buffers.push(Vec::new());
        self.fields(shape, fields);
        self.end_piece();
        self.buffers.pop();
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

fn name_and_id(out: &mut Vec<u8>, name: &str, id: TypeId) {
    out.push(if name.is_empty() { 2 } else { 1 });
    if !name.is_empty() {
        put_bytes(out, name.as_bytes());
        out.push(1);
    }
    put_int(out, id);
    out.push(0);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
