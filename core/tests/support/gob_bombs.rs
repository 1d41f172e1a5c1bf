//! Gob written by hand, and streams of it that must be refused.

use peerhold_core::gob::GobError;

/// An unsigned integer.
pub(crate) fn uint(value: u64) -> Vec<u8> {
    if value < 128 {
        return vec![value as u8];
    }
    let digits: Vec<u8> = value
        .to_be_bytes()
        .into_iter()
        .skip_while(|digit| *digit == 0)
        .collect();
    [&[(256 - digits.len()) as u8], &digits[..]].concat()
}

/// A signed integer.
pub(crate) fn int(value: i64) -> Vec<u8> {
    uint(if value < 0 {
        !(value as u64) << 1 | 1
    } else {
        (value as u64) << 1
    })
}

/// A string or byte slice.
pub(crate) fn text(bytes: &[u8]) -> Vec<u8> {
    [&uint(bytes.len() as u64), bytes].concat()
}

/// A message of these parts.
pub(crate) fn message(parts: &[&[u8]]) -> Vec<u8> {
    text(&parts.concat())
}

/// A message with a value of this type.
pub(crate) fn value_of(id: i64, body: &[u8]) -> Vec<u8> {
    message(&[&int(id), body])
}

/// A message that defines `id` as a type of one kind; `parts` follow its name
/// and id.
pub(crate) fn def(id: i64, kind: u8, parts: &[u8]) -> Vec<u8> {
    message(&[&int(-id), &[kind, 1, 2], &int(id), &[0], parts, &[0, 0]])
}

pub(crate) fn array(id: i64, elem: i64, len: i64) -> Vec<u8> {
    def(id, 1, &[&[1], &int(elem)[..], &[1], &int(len)].concat())
}

pub(crate) fn slice(id: i64, elem: i64) -> Vec<u8> {
    def(id, 2, &[&[1], &int(elem)[..]].concat())
}

pub(crate) fn struct_of(id: i64, fields: &[(&str, i64)]) -> Vec<u8> {
    def(id, 3, &fields_part(fields))
}

pub(crate) fn map(id: i64, key: i64, elem: i64) -> Vec<u8> {
    def(id, 4, &[&[1], &int(key)[..], &[1], &int(elem)].concat())
}

fn fields_part(fields: &[(&str, i64)]) -> Vec<u8> {
    let mut part = vec![1];
    part.extend(uint(fields.len() as u64));
    for (name, id) in fields {
        part.push(1);
        part.extend(text(name.as_bytes()));
        part.push(1);
        part.extend(int(*id));
        part.push(0);
    }
    part
}

/// Type 64: a struct of one interface.
pub(crate) fn interface_struct() -> Vec<u8> {
    struct_of(64, &[("X", 8)])
}

/// A value of type 64 whose interface holds this.
fn holding(name: &[u8], id: i64, length: u64, body: &[u8]) -> Vec<u8> {
    let held = [&text(name), &int(id), &uint(length), body].concat();
    value_of(64, &[&[1], &held[..]].concat())
}

/// Interfaces within interfaces, so many.
pub(crate) fn nested_interfaces(levels: usize) -> Vec<u8> {
    let mut body = vec![0];
    for _ in 0..levels {
        body = [&[1], &text(b"a")[..], &int(64), &text(&body), &[0]].concat();
    }
    [interface_struct(), value_of(64, &body)].concat()
}

/// Slices of slices, so many, of integers.
fn nested_slices(levels: i64) -> Vec<u8> {
    let defs = (0..levels).map(|level| {
        let elem = if level + 1 < levels { 65 + level } else { 2 };
        slice(64 + level, elem)
    });
    let defs: Vec<u8> = defs.flatten().collect();
    let body = [&[0], &vec![1; levels as usize][..], &[4]].concat();
    [defs, value_of(64, &body)].concat()
}

/// What each stream is, its bytes, and why it must be refused by a decoder of
/// default limits that knows the name `a`.
pub(crate) fn bombs() -> Vec<(&'static str, Vec<u8>, GobError)> {
    let mut all = lengths();
    all.extend(definitions());
    all.extend(type_graphs());
    all.extend(values());
    all.extend(interfaces());
    all
}

fn lengths() -> Vec<(&'static str, Vec<u8>, GobError)> {
    let too_long = |length| GobError::TooLong { length, max: 65536 };
    let name = "n".repeat(256);
    let fields: Vec<(&str, i64)> = vec![(&*name, 2); 128];
    let long = [struct_of(64, &fields), struct_of(65, &fields)].concat();
    let length = long.len() as u64;
    vec![
        (
            "a length of 128 bytes",
            vec![0x80],
            GobError::IntegerLength(128),
        ),
        (
            "a length of 9 bytes",
            vec![0xf7],
            GobError::IntegerLength(9),
        ),
        (
            "a length in too many bytes",
            vec![0xff, 5],
            GobError::NotMinimal,
        ),
        ("an empty message", vec![0], GobError::Empty),
        ("one byte over the limit", uint(65534), too_long(65537)),
        ("the longest length", uint(u64::MAX), too_long(u64::MAX)),
        (
            "definitions that are too long together",
            long,
            too_long(length),
        ),
    ]
}

fn definitions() -> Vec<(&'static str, Vec<u8>, GobError)> {
    let int_slice = slice(64, 2);
    let flood: Vec<u8> = (64..129).flat_map(|id| slice(id, 2)).collect();
    let count = |count: u64| def(64, 3, &[&[1], &uint(count)[..]].concat());
    let wrong_id = message(&[&int(-64), &[2, 1, 2], &int(65), &[0, 1, 4, 0, 0]]);
    let two_kinds = message(&[&int(-64), &[2, 1, 2], &int(64), &[0, 1, 4, 0, 1, 0]]);
    let nameless = message(&[&int(-64), &[2, 2, 4, 0, 0]]);
    let long_name = message(&[&int(-64), &[2, 1, 1], &uint(1 << 20)]);
    vec![
        ("65 types", flood, GobError::TooManyTypes(64)),
        (
            "257 fields",
            struct_of(64, &[("", 2); 257]),
            GobError::TooManyFields(256),
        ),
        (
            "2^60 fields",
            count(1 << 60),
            GobError::Count {
                count: 1 << 60,
                left: 2,
            },
        ),
        (
            "a type twice",
            int_slice.repeat(2),
            GobError::RedefinedType(64),
        ),
        ("a reserved type", slice(63, 2), GobError::ReservedType(63)),
        (
            "a type of every stream",
            slice(6, 2),
            GobError::ReservedType(6),
        ),
        (
            "another id",
            wrong_id,
            GobError::Definition("names another id"),
        ),
        (
            "no kind",
            message(&[&int(-64), &[0]]),
            GobError::Definition("is of no kind"),
        ),
        (
            "two kinds",
            two_kinds,
            GobError::Definition("is of two kinds"),
        ),
        (
            "no id",
            nameless,
            GobError::Definition("has neither name nor id"),
        ),
        (
            "a kind too high",
            def(64, 8, &[]),
            GobError::Field { fields: 7 },
        ),
        (
            "a long type name",
            long_name,
            GobError::LongName {
                length: 1 << 20,
                max: 256,
            },
        ),
        (
            "an array below zero",
            array(64, 2, -1),
            GobError::Definition("is of an array below zero"),
        ),
        (
            "the least id",
            message(&[&int(i64::MIN)]),
            GobError::UndefinedType(i64::MIN),
        ),
        (
            "bytes behind a definition",
            message(&[&int_slice[1..], &[0]]),
            GobError::Trailing(1),
        ),
        (
            "a definition cut short",
            message(&[&int_slice[1..5]]),
            GobError::Truncated,
        ),
    ]
}

fn type_graphs() -> Vec<(&'static str, Vec<u8>, GobError)> {
    let in_field = struct_of(64, &[("A", 99)]);
    let other = [slice(64, 65), slice(65, 64), value_of(64, &[0, 0])].concat();
    let through_map = [
        map(64, 6, 65),
        struct_of(65, &[("A", 66)]),
        array(66, 64, 1),
        value_of(65, &[0]),
    ];
    vec![
        ("no type", value_of(0, &[0]), GobError::UndefinedType(0)),
        (
            "an undefined type",
            value_of(64, &[0]),
            GobError::UndefinedType(64),
        ),
        (
            "a type without values",
            value_of(20, &[0]),
            GobError::UndefinedType(20),
        ),
        (
            "an undefined type in a field that is not set",
            [in_field, value_of(64, &[0])].concat(),
            GobError::UndefinedType(99),
        ),
        (
            "a type within itself",
            [slice(64, 64), value_of(64, &[0, 0])].concat(),
            GobError::RecursiveType(64),
        ),
        (
            "a type within its element",
            other,
            GobError::RecursiveType(64),
        ),
        (
            "a type within its map",
            through_map.concat(),
            GobError::RecursiveType(65),
        ),
        ("17 types deep", nested_slices(17), GobError::TooDeep(16)),
    ]
}

fn values() -> Vec<(&'static str, Vec<u8>, GobError)> {
    let ints = |body: &[&[u8]]| {
        [
            slice(64, 2),
            value_of(64, &[&[0], &body.concat()[..]].concat()),
        ]
        .concat()
    };
    let record = |body: &[u8]| {
        let fields = [("A", 1), ("B", 6), ("C", 5)];
        [struct_of(64, &fields), value_of(64, body)].concat()
    };
    let empties = |count: u64, bytes: usize| {
        let body = [&[0], &uint(count)[..], &vec![0; bytes]].concat();
        [struct_of(65, &[]), slice(64, 65), value_of(64, &body)].concat()
    };
    let maps = [map(64, 2, 2), value_of(64, &[0, 2, 2, 2, 2])].concat();
    let pairs = [array(64, 2, 2), value_of(64, &[0, 3, 2, 2, 2])].concat();
    vec![
        (
            "2^60 elements",
            ints(&[&uint(1 << 60), &[2]]),
            GobError::Count {
                count: 1 << 60,
                left: 1,
            },
        ),
        (
            "one element too many",
            ints(&[&[3, 2, 2]]),
            GobError::Count { count: 3, left: 2 },
        ),
        (
            "257 values",
            ints(&[&uint(256), &[2; 256]]),
            GobError::TooManyValues(256),
        ),
        (
            "2^60 elements without fields",
            empties(1 << 60, 9),
            GobError::Count {
                count: 1 << 60,
                left: 9,
            },
        ),
        (
            "60,000 elements without fields",
            empties(60_000, 60_000),
            GobError::TooManyValues(256),
        ),
        (
            "one key too many",
            maps,
            GobError::Count { count: 2, left: 3 },
        ),
        (
            "an array of another length",
            pairs,
            GobError::ArrayLength {
                count: 3,
                expected: 2,
            },
        ),
        (
            "a field past the last",
            record(&[4, 1, 0]),
            GobError::Field { fields: 3 },
        ),
        (
            "the greatest field",
            record(&uint(u64::MAX)),
            GobError::Field { fields: 3 },
        ),
        (
            "a field that overflows",
            record(&[&[1, 1], &uint(u64::MAX)[..]].concat()),
            GobError::Field { fields: 3 },
        ),
        ("a boolean of 2", record(&[1, 2, 0]), GobError::Bool(2)),
        (
            "a string that is not UTF-8",
            record(&[2, 1, 0xff, 0]),
            GobError::NotUtf8,
        ),
        (
            "a string past the end",
            record(&[2, 9, b'a', 0]),
            GobError::Truncated,
        ),
        (
            "the longest byte slice",
            record(&[&[3], &uint(u64::MAX)[..]].concat()),
            GobError::Truncated,
        ),
        (
            "a struct without an end",
            record(&[1, 1]),
            GobError::Truncated,
        ),
        (
            "bytes behind a value",
            record(&[0, 0]),
            GobError::Trailing(1),
        ),
        (
            "an integer in too many bytes",
            value_of(2, &[0, 0xfe, 0, 0x80]),
            GobError::NotMinimal,
        ),
        (
            "an integer with a field number",
            value_of(2, &[1, 2]),
            GobError::Singleton(1),
        ),
    ]
}

fn interfaces() -> Vec<(&'static str, Vec<u8>, GobError)> {
    let with = |value: Vec<u8>| [interface_struct(), value].concat();
    let within = [&[1], &text(b"a")[..], &int(-65)].concat();
    let inner = slice(65, 2);
    let trailing = message(&[&int(64), &within, &inner[3..], &[7]]);
    vec![
        (
            "an unregistered name",
            with(holding(b"c", 2, 2, &[0, 2, 0])),
            GobError::UnregisteredName,
        ),
        (
            "a name of 1 MiB",
            with(value_of(64, &[&[1], &uint(1 << 20)[..]].concat())),
            GobError::LongName {
                length: 1 << 20,
                max: 256,
            },
        ),
        (
            "an undefined type held",
            with(holding(b"a", 70, 2, &[0, 2, 0])),
            GobError::UndefinedType(70),
        ),
        (
            "a length that is too great",
            with(holding(b"a", 2, 3, &[0, 2, 0])),
            GobError::Delimiter(1),
        ),
        (
            "a length that is too small",
            with(holding(b"a", 2, 1, &[0, 2, 0])),
            GobError::Truncated,
        ),
        (
            "a length past the end",
            with(holding(b"a", 2, 9, &[0, 2, 0])),
            GobError::Truncated,
        ),
        (
            "bytes behind a definition held",
            with(trailing),
            GobError::Delimiter(1),
        ),
        (
            "interfaces 9 deep",
            nested_interfaces(9),
            GobError::TooDeep(16),
        ),
    ]
}
