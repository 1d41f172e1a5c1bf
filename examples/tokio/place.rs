//! The service's folder: what it has to remember, beside what its node does.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use peerhold_tokio::peerhold_core::{ClusterKey, NamespaceSecret, TextError, Ticket, Writer};
use peerhold_tokio::{HostConfig, StartError};
use zeroize::Zeroizing;

/// Writes and reads the service's files; another service that is given a copy
/// shares them.
const SECRET: &str = "namespace.secret";
/// Of a cluster that this node has founded..
const KEY: &str = "cluster.key";
/// ..or how it joins the one that it is in.
const TICKET: &str = "cluster.ticket";
/// The node's own folder.
const NODE: &str = "node";

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// The operating system said no.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A file does not hold what its name says.
    #[error("{}: {source}", path.display())]
    Text {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        source: TextError,
    },
    /// The folder's node is in a cluster already.
    #[error("{} belongs to a node of another cluster: give the new one a folder of its own", .0.display())]
    Other(PathBuf),
    /// There is no randomness for keys.
    #[error("the operating system gave no randomness: {0}")]
    Entropy(io::Error),
    /// The node's configuration cannot be made.
    #[error(transparent)]
    Config(#[from] StartError),
}

/// What to start the node with, and the service's files. Keys that the folder
/// does not have yet are made and kept there, readable by their owner only.
pub(crate) fn open(dir: &Path, join: Option<&Ticket>) -> Result<(HostConfig, Writer), PlaceError> {
    fs::create_dir_all(dir).map_err(|source| PlaceError::Io {
        path: dir.to_owned(),
        source,
    })?;
    let founded: Option<ClusterKey> = read(&dir.join(KEY))?;
    let joined: Option<Ticket> = read(&dir.join(TICKET))?;
    let node = dir.join(NODE);
    let config = match (join.or(joined.as_ref()), founded) {
        (Some(ticket), None) => {
            let known = joined.as_ref().map(|old| old.cluster_key().expose());
            match known {
                None => keep(&dir.join(TICKET), &ticket.to_text())?,
                Some(key) if key == ticket.cluster_key().expose() => {}
                Some(_) => return Err(PlaceError::Other(dir.to_owned())),
            }
            HostConfig::from_ticket(node, ticket)?
        }
        (Some(ticket), Some(key)) if key.expose() == ticket.cluster_key().expose() => {
            HostConfig::from_ticket(node, ticket)?
        }
        (Some(_), Some(_)) => return Err(PlaceError::Other(dir.to_owned())),
        (None, Some(key)) => HostConfig::new(node, key)?,
        (None, None) => {
            let key = ClusterKey::from_bytes(*random()?);
            keep(&dir.join(KEY), &key.to_text())?;
            HostConfig::new(node, key)?
        }
    };
    let path = dir.join(SECRET);
    let secret: NamespaceSecret = match read(&path)? {
        Some(secret) => secret,
        None => {
            let secret = NamespaceSecret::from_bytes(*random()?);
            keep(&path, &secret.to_text())?;
            secret
        }
    };
    Ok((config, secret.writer()))
}

fn random() -> Result<Zeroizing<[u8; 32]>, PlaceError> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut())
        .map_err(|error| PlaceError::Entropy(io::Error::other(error)))?;
    Ok(bytes)
}

fn read<T: FromStr<Err = TextError>>(path: &Path) -> Result<Option<T>, PlaceError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(PlaceError::Io {
                path: path.to_owned(),
                source,
            });
        }
    };
    let value = text.trim().parse().map_err(|source| PlaceError::Text {
        path: path.to_owned(),
        source,
    })?;
    Ok(Some(value))
}

/// Writes a new file that is there whole or not at all, on stable storage.
fn keep(path: &Path, text: &str) -> Result<(), PlaceError> {
    let write = || {
        let new = path.with_extension("new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&new)?;
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        if cfg!(unix)
            && let Some(dir) = path.parent()
        {
            File::open(dir)?.sync_all()?;
        }
        Ok(())
    };
    write().map_err(|source| PlaceError::Io {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerhold_tokio::peerhold_core::Bootstrap;

    fn ticket(key: u8) -> Ticket {
        let addr = Bootstrap::from("127.0.0.1:1".to_owned());
        Ticket::new(ClusterKey::from_bytes([key; 32]), vec![addr]).unwrap()
    }

    fn key_of(config: &HostConfig) -> [u8; 32] {
        *config.node.cluster_keys[0].expose()
    }

    #[test]
    fn keys_are_made_once_and_are_their_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (first, writer) = open(dir.path(), None).unwrap();
        let (again, same) = open(dir.path(), None).unwrap();
        assert_eq!(key_of(&first), key_of(&again));
        assert_eq!(writer.reader().namespace(), same.reader().namespace());
        #[cfg(unix)]
        for name in [SECRET, KEY] {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(dir.path().join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_ticket_is_remembered_and_one_of_another_cluster_refused() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), Some(&ticket(1))).unwrap();
        let (config, _) = open(dir.path(), None).unwrap();
        assert_eq!((key_of(&config), config.node.bootstrap.len()), ([1; 32], 1));
        let other = open(dir.path(), Some(&ticket(2))).unwrap_err();
        assert!(matches!(other, PlaceError::Other(_)), "{other}");
        let founder = tempfile::tempdir().unwrap();
        open(founder.path(), None).unwrap();
        let other = open(founder.path(), Some(&ticket(2))).unwrap_err();
        assert!(matches!(other, PlaceError::Other(_)), "{other}");
    }

    #[test]
    fn a_file_that_holds_something_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(SECRET), "no secret\n").unwrap();
        let error = open(dir.path(), None).unwrap_err();
        assert!(matches!(error, PlaceError::Text { .. }), "{error}");
        assert_eq!(fs::read(dir.path().join(SECRET)).unwrap(), b"no secret\n");
    }
}
