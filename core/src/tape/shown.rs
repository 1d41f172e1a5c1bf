//! What stands on a tape, for people to read: RFC 8949's diagnostic notation
//! as far as tapes need it, names unquoted.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use core::fmt::{self, Write};

use minicbor::data::Type;
use minicbor::decode::{Decoder, Error};

/// Items deeper than this are left out: tapes do not nest that deep.
const DEPTH_MAX: usize = 32;
/// Characters that are shown of one value.
const SHOWN_MAX: usize = 4000;

/// Shows one item.
pub(super) struct Shown<'a>(pub(super) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut short = Short { f, left: SHOWN_MAX };
        match item(&mut Decoder::new(self.0), &mut short, 0) {
            Ok(()) => Ok(()),
            Err(_) if short.left == 0 => f.write_str(".."),
            Err(_) => f.write_str("<malformed>"),
        }
    }
}

/// Takes so much, and fails then.
struct Short<'a, 'b> {
    f: &'a mut fmt::Formatter<'b>,
    left: usize,
}

impl Write for Short<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let Some(left) = self.left.checked_sub(text.len()) else {
            self.left = 0;
            return Err(fmt::Error);
        };
        self.left = left;
        self.f.write_str(text)
    }
}

fn item(d: &mut Decoder<'_>, f: &mut Short<'_, '_>, depth: usize) -> Result<(), Error> {
    let full = |_| Error::message("enough has been shown");
    if depth > DEPTH_MAX {
        return Err(Error::message("too deep"));
    }
    match d.datatype()? {
        Type::Array => {
            let len = super::value::array(d)?;
            f.write_char('[').map_err(full)?;
            for at in 0..len {
                if at > 0 {
                    f.write_str(", ").map_err(full)?;
                }
                item(d, f, depth.saturating_add(1))?;
            }
            f.write_char(']').map_err(full)
        }
        Type::Bytes => {
            let bytes = d.bytes()?;
            bytes
                .iter()
                .try_for_each(|byte| write!(f, "{byte:02x}"))
                .map_err(full)
        }
        // Escaped: a name cannot forge a line of a log.
        Type::String => write!(f, "{}", d.str()?.escape_debug()).map_err(full),
        Type::Null => {
            d.null()?;
            f.write_str("nothing").map_err(full)
        }
        Type::Bool => write!(f, "{}", d.bool()?).map_err(full),
        _ => write!(f, "{}", d.u64()?).map_err(full),
    }
}
