//! Why a stream is not gob that is accepted here.

/// What is wrong with a gob stream. Nothing of the value that it was found in
/// comes out, and nothing behind it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GobError {
    /// A value and its definitions are longer than the limit.
    #[error("a value of at least {length} bytes is over the limit of {max}")]
    TooLong {
        /// Bytes that it would have, as far as is known.
        length: u64,
        /// The limit.
        max: usize,
    },
    /// A message without any byte.
    #[error("a message of no bytes")]
    Empty,
    /// The first byte of an integer announces more than eight bytes.
    #[error("an integer of {0} bytes")]
    IntegerLength(u8),
    /// An integer is written in more bytes than it needs.
    #[error("an integer that is not written in the fewest bytes")]
    NotMinimal,
    /// A value ends after its message, or after the length in front of it.
    #[error("a value goes past the end of its message")]
    Truncated,
    /// Bytes follow a value or a definition in its message.
    #[error("{0} bytes follow a value in its message")]
    Trailing(usize),
    /// The length in front of an interface's value is not the value's.
    #[error("an interface value is {0} bytes shorter than the length in front of it")]
    Delimiter(usize),
    /// A boolean that is neither 0 nor 1.
    #[error("a boolean of {0}")]
    Bool(u64),
    /// A string is not UTF-8. Go would take it; nothing here has use for it.
    #[error("a string that is not UTF-8")]
    NotUtf8,
    /// A field's number is past the last field of its struct.
    #[error("a field number past the {fields} fields of its struct")]
    Field {
        /// How many fields there are.
        fields: usize,
    },
    /// What is no struct does not begin with a zero where it must.
    #[error("a value that is no struct begins with {0} instead of 0")]
    Singleton(u64),
    /// A type id that nothing has defined, or that no type can have.
    #[error("type {0} is not defined")]
    UndefinedType(i64),
    /// A type id is defined a second time.
    #[error("type {0} is defined twice")]
    RedefinedType(i64),
    /// A definition of an id that is not the sender's to define.
    #[error("type {0} is not for definitions")]
    ReservedType(i64),
    /// A type contains itself. Go allows it, within pointers and slices; nothing
    /// here has use for it.
    #[error("type {0} contains itself")]
    RecursiveType(i64),
    /// A definition that contradicts itself.
    #[error("a type definition {0}")]
    Definition(&'static str),
    /// More types than the limit.
    #[error("more than {0} types")]
    TooManyTypes(usize),
    /// More fields than the limit.
    #[error("more than {0} fields in all structs")]
    TooManyFields(usize),
    /// More values than the limit.
    #[error("more than {0} values in one")]
    TooManyValues(usize),
    /// Values or types nest deeper than the limit.
    #[error("values or types nest deeper than {0}")]
    TooDeep(usize),
    /// More elements or keys than bytes that could hold them.
    #[error("{count} elements in {left} bytes")]
    Count {
        /// How many are announced.
        count: u64,
        /// How many bytes there are for them.
        left: usize,
    },
    /// An array has another number of elements than its type.
    #[error("an array of {count} elements instead of {expected}")]
    ArrayLength {
        /// How many are announced.
        count: u64,
        /// How many its type has.
        expected: u64,
    },
    /// A name is longer than the limit.
    #[error("a name of {length} bytes is over the limit of {max}")]
    LongName {
        /// Its length.
        length: u64,
        /// The limit.
        max: usize,
    },
    /// An interface value holds a type of a name that is not registered here.
    #[error("an interface value of a type that is not registered")]
    UnregisteredName,
}
