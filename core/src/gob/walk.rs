//! From the messages of a stream to its values, without recursion: a value may
//! pause where a message ends, and goes on with the next.
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

use bytes::Bytes;

use super::number::{Cursor, next_field};
use super::types::{Type, TypeId, Types};
use super::value::{Named, Struct, Text, Value};
use super::{GobError, Limits, StructType};

/// Builds one value after the other.
#[derive(Debug)]
pub(super) struct Walk {
    limits: Limits,
    /// Under which names interface values may hold something.
    names: &'static [&'static str],
    types: Types,
    /// What is being built, the outermost first.
    stack: Vec<Frame>,
    next: Next,
    /// Values counted of the one that is being built.
    values: usize,
}

/// What comes next in the stream.
#[derive(Debug)]
enum Next {
    /// A definition, or the type of a value.
    Start,
    /// A definition, or the type of what an interface value of this name holds.
    Held(Text),
    /// A value of this type.
    Value(TypeId),
    /// More of the innermost frame.
    More,
}

#[derive(Debug)]
enum Frame {
    Struct {
        shape: Arc<StructType>,
        fields: Vec<(usize, Value)>,
        /// The field whose value is being read, and below which none may come.
        next: usize,
    },
    List {
        elem: TypeId,
        left: usize,
        items: Vec<Value>,
    },
    Map {
        key: TypeId,
        elem: TypeId,
        left: usize,
        items: Vec<(Value, Value)>,
        held: Option<Value>,
    },
    /// An interface value.
    Held {
        name: Text,
        /// Where the length in front of it says that it ends.
        floor: usize,
    },
}

impl Walk {
    pub(super) fn new(limits: Limits, names: &'static [&'static str]) -> Self {
        Self {
            limits,
            names,
            types: Types::default(),
            stack: Vec::new(),
            next: Next::Start,
            values: 0,
        }
    }

    /// Goes through one message. The value that it completes, if it does.
    pub(super) fn message(&mut self, message: Bytes) -> Result<Option<Value>, GobError> {
        let cursor = &mut Cursor::new(message);
        loop {
            let done = match core::mem::replace(&mut self.next, Next::More) {
                Next::Start => match self.type_id(cursor)? {
                    Some(id) => {
                        self.values = 0;
                        self.count(1)?;
                        self.begin(id, cursor)?
                    }
                    None if cursor.left() == 0 => {
                        self.next = Next::Start;
                        return Ok(None);
                    }
                    None => return Err(GobError::Trailing(cursor.left())),
                },
                Next::Held(name) => match self.type_id(cursor)? {
                    Some(id) => self.hold(name, id, cursor)?,
                    None => {
                        let more = self.next_piece(cursor)?;
                        self.next = Next::Held(name);
                        if !more {
                            return Ok(None);
                        }
                        None
                    }
                },
                Next::Value(id) => self.value(id, cursor)?,
                Next::More => self.more(cursor)?,
            };
            if let Some(value) = done
                && let Some(whole) = self.accept(value, cursor)?
            {
                if cursor.left() > 0 {
                    return Err(GobError::Trailing(cursor.left()));
                }
                self.next = Next::Start;
                return Ok(Some(whole));
            }
        }
    }

    /// The type of a value, or `None` where a definition was instead.
    fn type_id(&mut self, cursor: &mut Cursor) -> Result<Option<TypeId>, GobError> {
        let id = cursor.int()?;
        if id >= 0 {
            self.types.check(id, &self.limits)?;
            return Ok(Some(id));
        }
        //# GOB-1: A stream is messages: a length, an unsigned integer, and that many bytes. A
        //# message is a definition, the negated id of a type and what it is; or a value, the
        //# id of its type and the value.
        let defined = id.checked_neg().ok_or(GobError::UndefinedType(id))?;
        self.types.define(defined, cursor, &self.limits)?;
        Ok(None)
    }

    //# GOB-8: Where the type of what an interface value holds is not defined yet, its
    //# definitions take the place of its id. Each of them ends the message that it is in,
    //# or where an interface value is within another, the length of the outer one; what
    //# comes behind it begins with a length of its own.
    /// After a definition within a value. Whether the value goes on in this
    /// message.
    fn next_piece(&mut self, cursor: &mut Cursor) -> Result<bool, GobError> {
        if cursor.left() > 0 {
            return Err(GobError::Delimiter(cursor.left()));
        }
        let mut around = self.stack.iter_mut().rev().filter_map(Frame::floor);
        let Some(inner) = around.next() else {
            return Ok(false);
        };
        cursor.set_floor(around.next().map_or(0, |floor| *floor));
        let length = cursor.uint()?;
        *inner = cursor.floor_after(length)?;
        cursor.set_floor(*inner);
        Ok(true)
    }

    //# GOB-7: An interface value is the name under which the type of what it holds is
    //# registered, a length and UTF-8, empty for nil; the type's id; the length of what
    //# follows; and the value. A receiver MUST refuse a name that it has not registered and
    //# a length that is not the value's.
    /// Begins what an interface value holds.
    fn hold(
        &mut self,
        name: Text,
        id: TypeId,
        cursor: &mut Cursor,
    ) -> Result<Option<Value>, GobError> {
        let length = cursor.uint()?;
        let floor = cursor.floor_after(length)?;
        self.push(Frame::Held { name, floor })?;
        cursor.set_floor(floor);
        self.count(1)?;
        self.begin(id, cursor)
    }

    /// Begins a value that is no part of a struct, list or map.
    fn begin(&mut self, id: TypeId, cursor: &mut Cursor) -> Result<Option<Value>, GobError> {
        if !matches!(self.types.get(id)?, Type::Struct(_)) {
            let zero = cursor.uint()?;
            if zero != 0 {
                return Err(GobError::Singleton(zero));
            }
        }
        self.value(id, cursor)
    }

    /// Reads a value, or the beginning of one that has parts.
    fn value(&mut self, id: TypeId, cursor: &mut Cursor) -> Result<Option<Value>, GobError> {
        let value = match self.types.get(id)? {
            Type::Bool => match cursor.uint()? {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                other => return Err(GobError::Bool(other)),
            },
            Type::Int => Value::Int(cursor.int()?),
            Type::Uint => Value::Uint(cursor.uint()?),
            Type::Float => Value::Float(float(cursor)?),
            Type::Complex => Value::Complex(float(cursor)?, float(cursor)?),
            Type::Bytes => Value::Bytes(cursor.bytes()?),
            Type::Opaque => Value::Opaque(cursor.bytes()?),
            Type::String => Value::Str(Text::new(cursor.name(usize::MAX)?)),
            Type::Interface => {
                let name = cursor.name(self.limits.name)?;
                if name.is_empty() {
                    return Ok(Some(Value::Interface(None)));
                }
                if !self.names.iter().any(|known| known.as_bytes() == name) {
                    return Err(GobError::UnregisteredName);
                }
                self.next = Next::Held(Text::new(name));
                return Ok(None);
            }
            Type::Struct(shape) => {
                let (fields, next) = (Vec::new(), 0);
                self.push(Frame::Struct {
                    shape,
                    fields,
                    next,
                })?;
                return Ok(None);
            }
            Type::List { elem, fixed } => {
                let left = cursor.count(1)?;
                let count = left as u64;
                if let Some(expected) = fixed.filter(|fixed| *fixed != count) {
                    return Err(GobError::ArrayLength { count, expected });
                }
                self.count(left)?;
                let items = Vec::with_capacity(left);
                self.push(Frame::List { elem, left, items })?;
                return Ok(None);
            }
            Type::Map { key, elem } => {
                let left = cursor.count(2)?;
                self.count(left.saturating_mul(2))?;
                self.push(Frame::Map {
                    key,
                    elem,
                    left,
                    items: Vec::with_capacity(left),
                    held: None,
                })?;
                return Ok(None);
            }
        };
        Ok(Some(value))
    }

    /// Goes on with the innermost frame: its next part, or itself if it is
    /// whole.
    fn more(&mut self, cursor: &mut Cursor) -> Result<Option<Value>, GobError> {
        match self.stack.last_mut() {
            Some(Frame::Struct { shape, next, .. }) => {
                if let Some(index) = next_field(cursor, *next, shape.fields.len())? {
                    *next = index;
                    let id = shape.fields.get(index).map_or(0, |field| field.id);
                    self.count(1)?;
                    self.next = Next::Value(id);
                    return Ok(None);
                }
            }
            Some(Frame::List { elem, left, .. }) if *left > 0 => {
                *left = left.saturating_sub(1);
                self.next = Next::Value(*elem);
                return Ok(None);
            }
            Some(Frame::Map {
                key,
                elem,
                left,
                held,
                ..
            }) if *left > 0 || held.is_some() => {
                self.next = Next::Value(if held.is_some() {
                    *elem
                } else {
                    *left = left.saturating_sub(1);
                    *key
                });
                return Ok(None);
            }
            _ => {}
        }
        Ok(self.stack.pop().map(|frame| match frame {
            Frame::Struct { shape, fields, .. } => Value::Struct(Struct::new(shape, fields)),
            Frame::List { items, .. } => Value::List(items),
            Frame::Map { items, .. } => Value::Map(items),
            // Never the innermost when there is more to read.
            Frame::Held { .. } => Value::Interface(None),
        }))
    }

    /// Puts a value where it belongs. The outermost comes back.
    fn accept(&mut self, mut value: Value, cursor: &mut Cursor) -> Result<Option<Value>, GobError> {
        loop {
            match self.stack.last_mut() {
                None => return Ok(Some(value)),
                Some(Frame::Struct { fields, next, .. }) => {
                    if fields.len() == fields.capacity() {
                        // Most structs have few: not more room than bytes pay for.
                        fields.reserve_exact((fields.len() / 2).saturating_add(1));
                    }
                    fields.push((*next, value));
                    *next = next.saturating_add(1);
                    return Ok(None);
                }
                Some(Frame::List { items, .. }) => {
                    items.push(value);
                    return Ok(None);
                }
                Some(Frame::Map { items, held, .. }) => {
                    match held.take() {
                        Some(key) => items.push((key, value)),
                        None => *held = Some(value),
                    }
                    return Ok(None);
                }
                Some(Frame::Held { name, .. }) => {
                    if cursor.left() > 0 {
                        return Err(GobError::Delimiter(cursor.left()));
                    }
                    let name = name.clone();
                    self.stack.pop();
                    let outer = self.stack.iter_mut().rev().find_map(Frame::floor);
                    cursor.set_floor(outer.map_or(0, |floor| *floor));
                    value = Value::Interface(Some(Box::new(Named { name, value })));
                }
            }
        }
    }

    fn push(&mut self, frame: Frame) -> Result<(), GobError> {
        if self.stack.len() >= self.limits.depth {
            return Err(GobError::TooDeep(self.limits.depth));
        }
        self.stack.push(frame);
        Ok(())
    }

    fn count(&mut self, values: usize) -> Result<(), GobError> {
        self.values = self.values.saturating_add(values);
        if self.values > self.limits.values {
            return Err(GobError::TooManyValues(self.limits.values));
        }
        Ok(())
    }
}

impl Frame {
    fn floor(&mut self) -> Option<&mut usize> {
        match self {
            Self::Held { floor, .. } => Some(floor),
            _ => None,
        }
    }
}

/// Floats are sent with their bytes reversed: most of them end in zeros.
fn float(cursor: &mut Cursor) -> Result<f64, GobError> {
    cursor.uint().map(|bits| f64::from_bits(bits.swap_bytes()))
}
