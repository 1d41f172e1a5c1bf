//! Files of a node of the Go program, put into a namespace.
//!
//! What lies below such a node's root has no names: a path is the SHA-1 of one.
//! So whoever imports says the names, and is told what lies there beside them.
//! The root is read and never written to; nobody's lock is taken, so the Go
//! program is best stopped meanwhile.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use peerhold_core::ctr::CtrStream;
use peerhold_core::foreverstore::{FileKey, FilePath, OwnerId, OwnerKey};
use peerhold_core::seal::{Name, Writer};
use peerhold_core::{Get, OpError, Put};
use peerhold_store::vfs::{Kind, OsVfs, Vfs, VfsFile};

use crate::client::{Blocking, ClientError, PutError};

/// Bytes of the IV in front of a sealed file.
const IV_LEN: u64 = 16;
/// Directories between an owner's and a file.
const DEPTH: usize = 8;

/// What is to be imported.
#[derive(Clone, Debug)]
pub struct Import {
    /// The root of a node's files.
    pub root: PathBuf,
    /// Whose files.
    pub id: OwnerId,
    /// The key with which the owner sealed them for peers. Below the root of the
    /// owner they are in plaintext; below a peer's this key opens them.
    pub key: Option<OwnerKey>,
    /// The names of the files.
    pub names: Vec<String>,
}

/// What an [`Import`] comes to.
#[derive(Debug)]
#[non_exhaustive]
pub struct Survey {
    /// What can be put.
    pub files: Vec<Found>,
    /// Files of the owner's of which nobody has said the name: in plaintext below
    /// the owner's root, sealed below a peer's. Which of them is which does not
    /// show, and as long as there is no name none of them can be opened.
    pub unnamed: Vec<Found>,
    /// What can not be put, and why: by its name, or by its path below the root.
    pub unreadable: Vec<(String, Unreadable)>,
    /// Files kept for others, sealed with their keys: by owner, how many and how
    /// many bytes.
    pub replicas: Vec<(OwnerId, u64, u64)>,
    vfs: OsVfs,
}

/// A file that was found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Found {
    /// Its name in the namespace: the one that was given, or of a file that has
    /// none the SHA-1 by which it lies.
    pub name: Name,
    /// Its bytes, in plaintext.
    pub size: u64,
    /// It is opened with the key. Nothing proves that this is the right one, or
    /// that the bytes are as they were.
    pub sealed: bool,
    path: String,
    key: Option<OwnerKey>,
}

/// Why something cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// A name was given, and there is no such file.
    #[error("there is no file of this name, neither the owner's own nor one sealed for a peer")]
    Missing,
    /// It is sealed, and there is no key.
    #[error("it is sealed for a peer, and no key was given")]
    NoKey,
    /// It is too short to be a sealed file.
    #[error("its {0} bytes are too few for a sealed file")]
    NotSealed(u64),
    /// No file of a namespace can have this name.
    #[error("no file can have this name here: {0}")]
    Name(String),
    /// It is not where the Go program keeps files.
    #[error("the Go program keeps no file there")]
    Strange,
    /// The operating system's words.
    #[error("it cannot be read: {0}")]
    Io(String),
}

/// How one file was imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Imported {
    /// It was put.
    Stored,
    /// The namespace has the same bytes under this name already.
    Unchanged,
}

impl Import {
    /// Looks at what is there, without opening any file but for its length.
    ///
    /// # Errors
    /// The operating system's, if the root cannot be read. What is wrong with
    /// single files is part of what was found.
    pub fn survey(&self) -> io::Result<Survey> {
        if !self.root.is_dir() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "there is no such directory",
            ));
        }
        let mut survey = Survey {
            files: Vec::new(),
            unnamed: Vec::new(),
            unreadable: Vec::new(),
            replicas: Vec::new(),
            vfs: OsVfs::new(&self.root)?,
        };
        let mut taken = BTreeSet::new();
        let mut asked = BTreeSet::new();
        for name in self.names.iter().filter(|name| asked.insert(*name)) {
            match self.look_up(&survey.vfs, name) {
                Ok(found) => {
                    taken.insert(found.path.clone());
                    survey.files.push(found);
                }
                Err(why) => survey.unreadable.push((name.clone(), why)),
            }
        }
        self.walk(&mut survey, &taken)?;
        Ok(survey)
    }

    /// The file of a name: the owner's own, or else what is sealed for a peer.
    fn look_up(&self, vfs: &OsVfs, name: &str) -> Result<Found, Unreadable> {
        let own = FilePath::own(&self.id, name);
        let sealed = FilePath::replica(&self.id, &FileKey::of(name));
        let size = |path: &FilePath| match vfs.open_read(path.as_str()).and_then(|it| it.len()) {
            Ok(size) => Ok(Some(size)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Unreadable::Io(error.to_string())),
        };
        let wrong = |error: peerhold_core::seal::NameError| Unreadable::Name(error.to_string());
        let as_name = || Name::new(name).map_err(wrong);
        if let Some(size) = size(&own)? {
            return Ok(Found {
                name: as_name()?,
                size,
                sealed: false,
                path: own.as_str().to_owned(),
                key: None,
            });
        }
        let Some(size) = size(&sealed)? else {
            return Err(Unreadable::Missing);
        };
        let key = self.key.clone().ok_or(Unreadable::NoKey)?;
        Ok(Found {
            name: as_name()?,
            size: size
                .checked_sub(IV_LEN)
                .ok_or(Unreadable::NotSealed(size))?,
            sealed: true,
            path: sealed.as_str().to_owned(),
            key: Some(key),
        })
    }

    /// Finds out what else is below the root.
    fn walk(&self, survey: &mut Survey, taken: &BTreeSet<String>) -> io::Result<()> {
        for top in survey.vfs.list("")? {
            let Some(owner) = OwnerId::from_hex(&top) else {
                // What our own node keeps to itself is no news.
                if top != ".peerhold" {
                    survey.unreadable.push((top, Unreadable::Strange));
                }
                continue;
            };
            let (mut files, mut bytes) = (0, 0);
            let mut todo = vec![top];
            while let Some(path) = todo.pop() {
                match survey.vfs.kind(&path) {
                    Ok(Some(Kind::Dir)) if path.matches('/').count() <= DEPTH => {
                        match survey.vfs.list(&path) {
                            Ok(names) => todo.extend(names.iter().map(|it| format!("{path}/{it}"))),
                            Err(error) => survey.fail(path, &error),
                        }
                    }
                    Ok(Some(Kind::File(size))) if hash_of(&path).is_some() => {
                        (files, bytes) = (files + 1, bytes + size);
                        if owner == self.id && !taken.contains(&path) {
                            survey.add_unnamed(path, size);
                        }
                    }
                    Ok(None) => {}
                    Ok(_) => survey.unreadable.push((path, Unreadable::Strange)),
                    Err(error) => survey.fail(path, &error),
                }
            }
            if owner != self.id {
                survey.replicas.push((owner, files, bytes));
            }
        }
        Ok(())
    }
}

impl Survey {
    fn fail(&mut self, path: String, error: &io::Error) {
        let why = Unreadable::Io(error.to_string());
        self.unreadable.push((path, why));
    }

    fn add_unnamed(&mut self, path: String, size: u64) {
        let Some(Ok(name)) = hash_of(&path).map(Name::new) else {
            return;
        };
        self.unnamed.push(Found {
            name,
            size,
            sealed: false,
            path,
            key: None,
        });
    }

    /// Opens what was found, as plaintext.
    ///
    /// # Errors
    /// The operating system's.
    pub fn open(&self, found: &Found) -> io::Result<impl Read + use<>> {
        let file = self.vfs.open_read(&found.path)?;
        let mut source = Source {
            file,
            at: 0,
            end: found.size,
            cipher: None,
        };
        if let Some(key) = &found.key {
            let mut iv = [0; IV_LEN as usize];
            source.end = IV_LEN + found.size;
            source.read_exact(&mut iv)?;
            source.cipher = Some(key.stream(&iv));
        }
        Ok(source)
    }

    /// Puts a file that was found into the namespace, unless that has the same
    /// bytes under its name already. `moved` is told how many bytes have been
    /// read so far, for one reason or the other.
    ///
    /// # Errors
    /// [`PutError`]; the name then has what it had, or that is not known.
    pub fn import(
        &self,
        found: &Found,
        into: &Blocking,
        writer: &Writer,
        mut moved: impl FnMut(u64),
    ) -> Result<Imported, PutError> {
        let open = || self.open(found).map_err(PutError::Source);
        if is_there(into, writer, found, open()?, &mut moved)? {
            return Ok(Imported::Unchanged);
        }
        let put = Put {
            writer: writer.clone(),
            name: found.name.clone(),
            modified: None,
        };
        let mut done = 0;
        let source = Told {
            inner: open()?,
            tell: |count| {
                done += count as u64;
                moved(done);
            },
        };
        into.put_from(put, source)?;
        Ok(Imported::Stored)
    }

    /// The root that was looked at.
    pub fn root(&self) -> &Path {
        self.vfs.root()
    }
}

/// Whether the namespace has these bytes under this name.
fn is_there(
    into: &Blocking,
    writer: &Writer,
    found: &Found,
    mut source: impl Read,
    moved: &mut impl FnMut(u64),
) -> Result<bool, PutError> {
    let mut held = match into.get(Get::newest(writer.reader(), &found.name)) {
        Ok(held) if held.info().size == found.size => held,
        Ok(_) | Err(ClientError::Op(OpError::NotFound)) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let (mut done, mut ours) = (0, Vec::new());
    loop {
        // What cannot be read there is put anew, or fails in being put.
        let Ok(theirs) = held.fill_buf() else {
            return Ok(false);
        };
        if theirs.is_empty() {
            return Ok(done == found.size);
        }
        ours.resize(theirs.len(), 0);
        source.read_exact(&mut ours).map_err(PutError::Source)?;
        if ours != theirs {
            return Ok(false);
        }
        let count = theirs.len();
        held.consume(count);
        done += count as u64;
        moved(done);
    }
}

/// A file's bytes, opened if they are sealed.
struct Source<F> {
    file: F,
    at: u64,
    end: u64,
    cipher: Option<CtrStream>,
}

impl<F: VfsFile> Read for Source<F> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let len = buf.len().min(left);
        let buf = &mut buf[..len];
        let count = self.file.read_at(buf, self.at)?;
        if count == 0 && len > 0 {
            let shorter = "it has become shorter while it was read";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, shorter));
        }
        self.at += count as u64;
        if let Some(cipher) = &mut self.cipher {
            // No file has so many bytes that this could fail.
            cipher.apply(&mut buf[..count]).map_err(io::Error::other)?;
        }
        Ok(count)
    }
}

/// Tells how much is read.
struct Told<R, F> {
    inner: R,
    tell: F,
}

impl<R: Read, F: FnMut(usize)> Read for Told<R, F> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buf)?;
        (self.tell)(count);
        Ok(count)
    }
}

/// The SHA-1 by which a file lies, if it lies where the Go program would have put
/// it: below its owner, eight parts of five digits, and then all of them.
fn hash_of(path: &str) -> Option<&str> {
    let mut parts = path.split('/').skip(1);
    let dirs: String = parts.by_ref().take(DEPTH).collect();
    let hash = parts.next()?;
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let fits = hash == dirs && hash.len() == 40 && hash.bytes().all(hex);
    (fits && parts.next().is_none()).then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const ID: OwnerId = OwnerId([0xaa; 32]);
    const PEER: OwnerId = OwnerId([0xbb; 32]);
    const KEY: [u8; 32] = [7; 32];

    fn lay(root: &Path, path: &FilePath, bytes: &[u8]) {
        let place = root.join(path.as_str());
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, bytes).unwrap();
    }

    fn import(root: &Path, key: Option<[u8; 32]>, names: &[&str]) -> Import {
        Import {
            root: root.to_owned(),
            id: ID,
            key: key.map(OwnerKey::from_bytes),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn sealed(bytes: &[u8]) -> Vec<u8> {
        let iv = [3; 16];
        let mut all = bytes.to_vec();
        CtrStream::new(&KEY, &iv).apply(&mut all).unwrap();
        [&iv[..], &all].concat()
    }

    fn read(survey: &Survey, found: &Found) -> Vec<u8> {
        let mut bytes = Vec::new();
        survey.open(found).unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, found.size);
        bytes
    }

    #[test]
    fn what_is_there_is_found_and_what_is_not_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        lay(root, &FilePath::own(&ID, "a"), b"plain");
        lay(root, &FilePath::own(&ID, "secret"), b"nobody said its name");
        lay(root, &FilePath::own(&ID, "bad\0name"), b"x");
        lay(
            root,
            &FilePath::replica(&ID, &FileKey::of("b")),
            &sealed(b"of a peer's disk"),
        );
        lay(
            root,
            &FilePath::replica(&ID, &FileKey::of("short")),
            b"short",
        );
        lay(
            root,
            &FilePath::replica(&PEER, &FileKey::of("c")),
            &[1; 100],
        );
        fs::write(root.join("notes.txt"), b"x").unwrap();
        fs::write(root.join(ID.to_string()).join("stray"), b"x").unwrap();
        let names = ["a", "b", "short", "bad\0name", "none", "a"];
        let survey = import(root, Some(KEY), &names).survey().unwrap();
        let found: Vec<_> = survey
            .files
            .iter()
            .map(|found| (found.name.as_str(), found.sealed))
            .collect();
        assert_eq!(found, [("a", false), ("b", true)]);
        assert_eq!(read(&survey, &survey.files[0]), b"plain");
        assert_eq!(read(&survey, &survey.files[1]), b"of a peer's disk");
        let unnamed: Vec<_> = survey
            .unnamed
            .iter()
            .map(|found| read(&survey, found))
            .collect();
        assert!(
            unnamed.contains(&b"nobody said its name".to_vec()),
            "{unnamed:?}"
        );
        assert_eq!(survey.unnamed[0].name.as_str().len(), 40);
        assert_eq!(survey.replicas, [(PEER, 1, 100)]);
        let why = |name: &str| {
            let mut all = survey.unreadable.iter();
            all.find(|(of, _)| of.ends_with(name))
                .map(|(_, why)| why.clone())
        };
        assert_eq!(why("none"), Some(Unreadable::Missing));
        assert_eq!(why("short"), Some(Unreadable::NotSealed(5)));
        assert_eq!(why("notes.txt"), Some(Unreadable::Strange));
        assert_eq!(why("stray"), Some(Unreadable::Strange));
        assert!(matches!(why("bad\0name"), Some(Unreadable::Name(_))));
        assert!(!root.join(".peerhold").exists(), "the root was written to");

        let survey = import(root, None, &["b"]).survey().unwrap();
        assert_eq!(survey.unreadable[0], ("b".to_owned(), Unreadable::NoKey));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_strange_and_no_root_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        let error = import(&root, None, &[]).survey().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(!root.exists());
        let outside = dir.path().join("outside");
        lay(&outside, &FilePath::own(&ID, "a"), b"plain");
        fs::create_dir(&root).unwrap();
        let link = root.join(ID.to_string());
        std::os::unix::fs::symlink(outside.join(ID.to_string()), link).unwrap();
        let survey = import(&root, None, &["a"]).survey().unwrap();
        assert!(survey.files.is_empty() && survey.unnamed.is_empty());
        assert_eq!(survey.unreadable.len(), 2, "{:?}", survey.unreadable);
    }

    #[test]
    fn a_file_that_becomes_shorter_is_not_read_as_if_it_had_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = FilePath::own(&ID, "a");
        lay(dir.path(), &path, &[1; 100]);
        let survey = import(dir.path(), None, &["a"]).survey().unwrap();
        lay(dir.path(), &path, &[1; 50]);
        let mut source = survey.open(&survey.files[0]).unwrap();
        let error = source.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
