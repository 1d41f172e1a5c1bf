//! The Go program's messages, in gob.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::gob::{self, Decoder, Encoder, FieldType, GobError, Item, Struct, StructShape, Value};

/// What one node of the Go program says to another, not yet judged: any text
/// may stand in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A stream of `size` bytes follows: keep it.
    Store {
        /// Whose file: 64 hex digits from an honest peer.
        id: String,
        /// Which: 32 hex digits from an honest peer.
        key: String,
        /// Bytes of the stream.
        size: i64,
    },
    /// Send this file, if it is there.
    Get {
        /// As above.
        id: String,
        /// As above.
        key: String,
    },
}

/// The Go program's own envelope. Its shipped form never sends one; its second
/// decoder reads them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rpc {
    /// Who sends. The Go program's receiver fills it in itself.
    pub from: String,
    /// The gob stream of a [`Message`].
    pub payload: Bytes,
    /// Raw bytes follow.
    pub stream: bool,
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// They are not gob that is accepted here.
    #[error("bad gob: {0}")]
    Gob(#[from] GobError),
    /// They are gob, of something else.
    #[error("gob of something that is no message: {0}")]
    Shape(&'static str),
    /// Where `01` or `02` must be is another byte.
    #[error("the byte {0:#04x} in place of a mark")]
    Mark(u8),
    /// The payload of an envelope is not one whole message.
    #[error("the payload of an envelope is not one whole message")]
    Payload,
}

/// Under which names the Go program has registered what a message holds.
pub const NAMES: &[&str] = &[STORE_NAME, GET_NAME];
const STORE_NAME: &str = "main.MessageStoreFile";
const GET_NAME: &str = "main.MessageGetFile";

//# GO-3: A message is a gob stream of its own: one value of a struct with the field
//# `Payload`, an interface. It holds, registered as `main.MessageStoreFile`, a struct of
//# `ID` and `Key`, strings, and `Size`, a signed integer; or as `main.MessageGetFile` one
//# of `ID` and `Key`.
static MESSAGE: StructShape = StructShape {
    id: 64,
    name: "Message",
    fields: &[("Payload", FieldType::Interface)],
};
static STORE: StructShape = StructShape {
    id: 65,
    name: "MessageStoreFile",
    fields: &[
        ("ID", FieldType::Str),
        ("Key", FieldType::Str),
        ("Size", FieldType::Int),
    ],
};
static GET: StructShape = StructShape {
    id: 66,
    name: "MessageGetFile",
    fields: &[("ID", FieldType::Str), ("Key", FieldType::Str)],
};
static RPC: StructShape = StructShape {
    id: 67,
    name: "RPC",
    fields: &[
        ("From", FieldType::Str),
        ("Payload", FieldType::Bytes),
        ("Stream", FieldType::Bool),
    ],
};

impl Message {
    /// Its gob stream, with the type ids of a Go process that has met the
    /// message's types first, in the order in which this module has them.
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new();
        match self {
            Self::Store { id, key, size } => {
                let fields = [Item::Str(id), Item::Str(key), Item::Int(*size)];
                let payload = Item::Interface(Some((STORE_NAME, &STORE, &fields)));
                encoder.encode(&MESSAGE, &[payload]);
            }
            Self::Get { id, key } => {
                let fields = [Item::Str(id), Item::Str(key)];
                let payload = Item::Interface(Some((GET_NAME, &GET, &fields)));
                encoder.encode(&MESSAGE, &[payload]);
            }
        }
        encoder.finish()
    }

    /// The message that a decoded value is.
    pub fn from_value(value: &Value) -> Result<Self, MessageError> {
        let outer = struct_of(value)?;
        let payload = outer.get("Payload").and_then(Value::as_named);
        let payload = payload.ok_or(MessageError::Shape("no payload"))?;
        let fields = struct_of(&payload.value)?;
        let (id, key) = (text(fields, "ID")?, text(fields, "Key")?);
        match payload.name.as_str() {
            STORE_NAME => {
                let size = field(fields, "Size", Value::as_int)?.unwrap_or(0);
                Ok(Self::Store { id, key, size })
            }
            GET_NAME => Ok(Self::Get { id, key }),
            _ => Err(MessageError::Shape("an unknown payload")),
        }
    }

    /// The message that is all of these bytes.
    pub fn decode(bytes: Bytes, limits: gob::Limits) -> Result<Self, MessageError> {
        let mut decoder = Decoder::new(limits, NAMES);
        let mut left = bytes;
        match decoder.decode(&mut left)? {
            Some(value) if left.is_empty() => Self::from_value(&value),
            _ => Err(MessageError::Payload),
        }
    }
}

impl Rpc {
    /// Its gob stream.
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new();
        let fields = [
            Item::Str(&self.from),
            Item::Bytes(&self.payload),
            Item::Bool(self.stream),
        ];
        encoder.encode(&RPC, &fields);
        encoder.finish()
    }

    /// The envelope that a decoded value is.
    pub fn from_value(value: &Value) -> Result<Self, MessageError> {
        let fields = struct_of(value)?;
        Ok(Self {
            from: text(fields, "From")?,
            payload: field(fields, "Payload", |value| value.as_bytes().cloned())?
                .unwrap_or_default(),
            stream: field(fields, "Stream", Value::as_bool)?.unwrap_or(false),
        })
    }
}

fn struct_of(value: &Value) -> Result<&Struct, MessageError> {
    value
        .as_struct()
        .ok_or(MessageError::Shape("not a struct where one must be"))
}

/// The value of a field, `None` if it is zero.
fn field<T>(
    fields: &Struct,
    name: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Option<T>, MessageError> {
    match fields.get(name) {
        Some(value) => match read(value) {
            Some(value) => Ok(Some(value)),
            None => Err(MessageError::Shape("a field of another type")),
        },
        None => Ok(None),
    }
}

fn text(fields: &Struct, name: &str) -> Result<String, MessageError> {
    let text = field(fields, name, |value| value.as_str().map(String::from))?;
    Ok(text.unwrap_or_default())
}
