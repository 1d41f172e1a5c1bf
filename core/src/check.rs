//! What fuzzing runs. Each function takes any bytes and panics if the layer
//! that it is named after breaks a promise on them: it panics itself, gives
//! another answer when the same bytes come in other pieces, or writes what it
//! has read in another form.
//!
//! They are no API: they are public for the fuzz targets, which are shims over
//! them, and for tests that run them over the committed corpus.

mod pieces;
mod streams;
mod text;
mod wire;

pub use crate::foreverstore::check_connection as goconn;
pub use crate::seal::check::{manifest, record};
pub use crate::tape::check::tape;
pub use streams::{frame, gob};
pub use text::{path, text};
pub use wire::{admission, message};

pub(crate) use pieces::{Pieces, Source};
