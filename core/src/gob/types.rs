//! The types that a stream defines.
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
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::number::{Cursor, each_field};
use super::{GobError, Limits};

/// A type's number in its stream.
pub(super) type TypeId = i64;

//# GOB-4: Types 1 to 8 are bool, signed integer, unsigned integer, float, byte slice,
//# string, complex and interface. Those from 64 on are defined by the stream; a receiver
//# MUST assume nothing of them. It MUST refuse the use of a type that is not defined, and
//# a definition of any other or of one that is defined.
pub(super) mod id {
    //! The types that every stream has.
    use super::TypeId;

    pub(in crate::gob) const BOOL: TypeId = 1;
    pub(in crate::gob) const INT: TypeId = 2;
    pub(in crate::gob) const UINT: TypeId = 3;
    pub(in crate::gob) const FLOAT: TypeId = 4;
    pub(in crate::gob) const BYTES: TypeId = 5;
    pub(in crate::gob) const STRING: TypeId = 6;
    pub(in crate::gob) const COMPLEX: TypeId = 7;
    pub(in crate::gob) const INTERFACE: TypeId = 8;
    /// The first that a stream may define.
    pub(in crate::gob) const FIRST: TypeId = 64;
}

/// A struct type as its stream defined it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StructType {
    name: Box<str>,
    pub(super) fields: Vec<Field>,
}

impl StructType {
    /// Its name, without a package; empty for a type without one.
    pub fn name(&self) -> &str {
        &self.name
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: Box<str>,
    pub(super) id: TypeId,
}

/// What a type id stands for.
#[derive(Clone, Debug)]
pub(super) enum Type {
    Bool,
    Int,
    Uint,
    Float,
    Bytes,
    String,
    Complex,
    Interface,
    Struct(Arc<StructType>),
    /// A slice, or an array of so many.
    List {
        elem: TypeId,
        fixed: Option<u64>,
    },
    Map {
        key: TypeId,
        elem: TypeId,
    },
    /// Encoded by itself: a length and bytes.
    Opaque,
}

#[derive(Debug, Default)]
pub(super) struct Types {
    defined: BTreeMap<TypeId, Type>,
    /// Those that are complete and do not contain themselves.
    sound: BTreeSet<TypeId>,
    /// Fields of all structs.
    fields: usize,
}

impl Types {
    pub(super) fn get(&self, id: TypeId) -> Result<Type, GobError> {
        Ok(match id {
            id::BOOL => Type::Bool,
            id::INT => Type::Int,
            id::UINT => Type::Uint,
            id::FLOAT => Type::Float,
            id::BYTES => Type::Bytes,
            id::STRING => Type::String,
            id::COMPLEX => Type::Complex,
            id::INTERFACE => Type::Interface,
            id => match self.defined.get(&id) {
                Some(known) => known.clone(),
                None => return Err(GobError::UndefinedType(id)),
            },
        })
    }

    /// Takes in the definition of `id`, which the cursor is at.
    pub(super) fn define(
        &mut self,
        id: TypeId,
        cursor: &mut Cursor,
        limits: &Limits,
    ) -> Result<(), GobError> {
        if id < id::FIRST {
            return Err(GobError::ReservedType(id));
        }
        if self.defined.contains_key(&id) {
            return Err(GobError::RedefinedType(id));
        }
        if self.defined.len() >= limits.types {
            return Err(GobError::TooManyTypes(limits.types));
        }
        let mut defined = None;
        each_field(cursor, WIRE_TYPES, |cursor, kind| {
            if defined.is_some() {
                return Err(GobError::Definition("is of two kinds"));
            }
            defined = Some(self.definition(kind, id, cursor, limits)?);
            Ok(())
        })?;
        let defined = defined.ok_or(GobError::Definition("is of no kind"))?;
        self.defined.insert(id, defined);
        Ok(())
    }

    //# GOB-5: A definition is a struct of which one field is set, by the kind of type:
    //# array, slice, struct, map, or one of three that encode themselves. Each of these is a
    //# struct whose first field is a struct of the type's name and id; then come, of an
    //# array, the type of its elements and their number; of a slice, the former; of a
    //# struct, the list of its fields, structs of name and type; of a map, the types of keys
    //# and elements. A receiver MUST refuse a definition that is not of exactly one kind, or
    //# that names another id than the one it defines.
    fn definition(
        &mut self,
        kind: usize,
        id: TypeId,
        cursor: &mut Cursor,
        limits: &Limits,
    ) -> Result<Type, GobError> {
        let mut common = None;
        let mut numbers = [0; 2];
        let mut fields = Vec::new();
        let parts = match kind {
            ARRAY | MAP => 3,
            SLICE | STRUCT => 2,
            _ => 1,
        };
        each_field(cursor, parts, |cursor, part| {
            match part {
                0 => common = Some(name_and_id(cursor, limits)?),
                1 if kind == STRUCT => fields = self.fields(cursor, limits)?,
                part => {
                    if let Some(number) = numbers.get_mut(part.saturating_sub(1)) {
                        *number = cursor.int()?;
                    }
                }
            }
            Ok(())
        })?;
        let (name, named) = common.ok_or(GobError::Definition("has neither name nor id"))?;
        if named != id {
            return Err(GobError::Definition("names another id"));
        }
        let [first, second] = numbers;
        Ok(match kind {
            ARRAY => {
                let len = u64::try_from(second);
                let fixed = len.map_err(|_| GobError::Definition("is of an array below zero"))?;
                let fixed = Some(fixed);
                Type::List { elem: first, fixed }
            }
            SLICE => Type::List {
                elem: first,
                fixed: None,
            },
            STRUCT => Type::Struct(Arc::new(StructType { name, fields })),
            MAP => Type::Map {
                key: first,
                elem: second,
            },
            _ => Type::Opaque,
        })
    }

    fn fields(&mut self, cursor: &mut Cursor, limits: &Limits) -> Result<Vec<Field>, GobError> {
        let count = cursor.count(1)?;
        self.fields = self.fields.saturating_add(count);
        if self.fields > limits.fields {
            return Err(GobError::TooManyFields(limits.fields));
        }
        let mut fields = Vec::with_capacity(count);
        for _ in 0..count {
            let (name, id) = name_and_id(cursor, limits)?;
            fields.push(Field { name, id });
        }
        Ok(fields)
    }

    /// Checks, once, that a type is wholly defined, nests within the limit and
    /// does not contain itself. An interface contains nothing: what it holds
    /// says its own type.
    pub(super) fn check(&mut self, id: TypeId, limits: &Limits) -> Result<(), GobError> {
        let mut path = Vec::new();
        self.check_within(id, &mut path, limits)
    }

    fn check_within(
        &mut self,
        id: TypeId,
        path: &mut Vec<TypeId>,
        limits: &Limits,
    ) -> Result<(), GobError> {
        if id < id::FIRST {
            return self.get(id).map(drop);
        }
        if self.sound.contains(&id) {
            return Ok(());
        }
        //# GOB-10: A receiver MUST refuse a type that contains itself, and MAY refuse values
        //# and types that nest more than 16 deep.
        if path.contains(&id) {
            return Err(GobError::RecursiveType(id));
        }
        let known = self.get(id)?;
        if path.len() >= limits.depth {
            return Err(GobError::TooDeep(limits.depth));
        }
        path.push(id);
        match known {
            Type::Struct(shape) => {
                for field in &shape.fields {
                    self.check_within(field.id, path, limits)?;
                }
            }
            Type::List { elem, .. } => self.check_within(elem, path, limits)?,
            Type::Map { key, elem } => {
                self.check_within(key, path, limits)?;
                self.check_within(elem, path, limits)?;
            }
            _ => {}
        }
        path.pop();
        self.sound.insert(id);
        Ok(())
    }
}

/// Kinds of definitions, by their field.
const ARRAY: usize = 0;
const SLICE: usize = 1;
const STRUCT: usize = 2;
const MAP: usize = 3;
const WIRE_TYPES: usize = 7;

fn name_and_id(cursor: &mut Cursor, limits: &Limits) -> Result<(Box<str>, TypeId), GobError> {
    let mut both = (Box::default(), 0);
    each_field(cursor, 2, |cursor, part| {
        if part == 0 {
            let name = cursor.name(limits.name)?;
            both.0 = core::str::from_utf8(&name).unwrap_or_default().into();
        } else {
            both.1 = cursor.int()?;
        }
        Ok(())
    })?;
    Ok(both)
}
