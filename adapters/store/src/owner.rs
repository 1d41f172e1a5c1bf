//! Whose store it is.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::io;

use peerhold_core::NodeId;

use crate::config::OpenError;
use crate::store::Store;
use crate::vfs::{Kind, Vfs, VfsFile};

const OWNER: &str = "OWNER";
const PREFIX: &str = "peerhold store of ";
const LEN: usize = PREFIX.len() + 2 * NodeId::LEN + 1;

impl<V: Vfs> Store<V> {
    /// The node that the store belongs to; `None` if no node has claimed it.
    ///
    /// # Errors
    /// [`OpenError::OwnerDamaged`] or [`OpenError::Io`].
    pub fn owner(&self) -> Result<Option<NodeId>, OpenError> {
        let vfs = self.vfs();
        match vfs.kind(OWNER).map_err(OpenError::io("look at", OWNER))? {
            None => return Ok(None),
            Some(Kind::File(len)) if len == LEN as u64 => {}
            Some(_) => return Err(OpenError::OwnerDamaged),
        }
        let file = vfs.open(OWNER).map_err(OpenError::io("open", OWNER))?;
        let mut text = [0; LEN];
        let count = file
            .read_at(&mut text, 0)
            .map_err(OpenError::io("read", OWNER))?;
        let owner = text
            .get(..count)
            .and_then(|text| text.strip_prefix(PREFIX.as_bytes()))
            .and_then(|text| text.strip_suffix(b"\n"))
            .and_then(|hex| blake3::Hash::from_hex(hex).ok());
        match owner {
            Some(id) => Ok(Some(NodeId(*id.as_bytes()))),
            None => Err(OpenError::OwnerDamaged),
        }
    }

    /// Makes sure that the store belongs to this node: a store that belongs to
    /// none does from now on, durably. What a store owes to others, and others
    /// count on finding there, is its node's and nobody else's.
    ///
    /// # Errors
    /// [`OpenError::Foreign`], and those of [`Store::owner`]. The store is as
    /// it was.
    pub fn claim(&self, node: NodeId) -> Result<(), OpenError> {
        match self.owner()? {
            Some(owner) if owner == node => Ok(()),
            Some(owner) => Err(OpenError::Foreign { owner, node }),
            None => self
                .write_owner(node)
                .map_err(OpenError::io("write", OWNER)),
        }
    }

    fn write_owner(&self, node: NodeId) -> io::Result<()> {
        let (vfs, new) = (self.vfs(), "OWNER.new");
        if vfs.kind(new)?.is_some() {
            vfs.remove(new)?;
        }
        let file = vfs.create_new(new)?;
        let hex = blake3::Hash::from_bytes(node.0);
        file.write_at(format!("{PREFIX}{hex}\n").as_bytes(), 0)?;
        file.sync()?;
        vfs.rename(new, OWNER)?;
        vfs.sync_dir("")
    }
}
