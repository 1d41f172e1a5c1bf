//! What a node takes from the operating system: randomness, the clocks and
//! the file that holds its identity.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
#[cfg(unix)]
use std::os::fd::AsFd as Handle;
#[cfg(windows)]
use std::os::windows::io::AsSocket as Handle;
use std::path::{Path, PathBuf};
use std::time::{Instant as OsInstant, SystemTime, UNIX_EPOCH};

use bytes::BufMut;
use ed25519_dalek::SigningKey;
use peerhold_core::{Instant, NodeId, UnixMillis};
use peerhold_tls::{ChannelError, Endpoint, Limits};
use socket2::SockRef;
use zeroize::Zeroizing;

/// The identity's file in the data directory.
pub const KEY_FILE: &str = "node.key";
/// Where a new one is written before it takes that name.
const KEY_TEMP: &str = "node.key.new";
/// What the file starts with; 64 hex digits and a line feed follow.
const KEY_PREFIX: &[u8] = b"peerhold-node-key-1 ";
const KEY_LEN: usize = KEY_PREFIX.len() + 64 + 1;

/// 32 bytes from the operating system's generator.
///
/// # Errors
/// The generator's own, where the system has none or it is not ready.
pub fn seed() -> io::Result<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut()).map_err(io::Error::other)?;
    Ok(bytes)
}

/// The monotonic clock as the core counts it, and the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    epoch: OsInstant,
}

impl Clock {
    /// A clock whose epoch is now.
    pub fn start() -> Self {
        Self {
            epoch: OsInstant::now(),
        }
    }

    /// Nanoseconds since its start.
    pub fn now(&self) -> Instant {
        Instant::from_nanos(
            self.epoch
                .elapsed()
                .as_nanos()
                .try_into()
                .unwrap_or(u64::MAX),
        )
    }

    /// The operating system's instant for one of the core's. `None` lies
    /// beyond what the system can express, which is as good as never.
    pub fn when(&self, at: Instant) -> Option<OsInstant> {
        self.epoch.checked_add(at.saturating_since(Instant::ZERO))
    }

    /// The wall clock; the Unix epoch if it is set before that.
    pub fn wall(&self) -> UnixMillis {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        UnixMillis(since.as_millis().try_into().unwrap_or(u64::MAX))
    }
}

/// A node's key pair. Its public half is the [`NodeId`]; the secret half is
/// wiped when this is dropped and never printed.
#[derive(Clone)]
pub struct Identity {
    key: SigningKey,
}

impl Identity {
    /// The identity with this secret seed (RFC 8032, section 5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self {
            key: SigningKey::from_bytes(seed),
        }
    }

    /// Who it is: its public key.
    pub fn id(&self) -> NodeId {
        NodeId(self.key.verifying_key().to_bytes())
    }

    /// Reads the identity kept in `dir`, or makes one and keeps it there:
    /// readable by its owner only, and on stable storage before this returns.
    /// None is made beside a store that belongs to `owner` already.
    ///
    /// The caller holds the directory's lock, so that no two processes make
    /// one at the same time.
    ///
    /// # Errors
    /// [`KeyError`]; an existing file is never changed.
    pub fn load_or_create(dir: &Path, owner: Option<NodeId>) -> Result<Self, KeyError> {
        let path = dir.join(KEY_FILE);
        match (open_key(&path), owner) {
            (Ok(file), _) => Self::read(&path, file),
            (Err(error), _) if error.kind() != io::ErrorKind::NotFound => Err(KeyError::Io {
                path,
                source: error,
            }),
            (Err(_), Some(owner)) => Err(KeyError::Missing { path, owner }),
            (Err(_), None) => {
                Self::create(dir, &path).map_err(|source| KeyError::Io { path, source })
            }
        }
    }

    /// This identity as the end of secure channels, for whoever speaks to nodes
    /// without an engine.
    ///
    /// # Errors
    /// If secure channels cannot be made of this machine's cryptography.
    pub fn endpoint(&self, limits: Limits) -> Result<Endpoint, ChannelError> {
        Endpoint::new(self.key.clone(), limits)
    }

    fn read(path: &Path, mut file: File) -> Result<Self, KeyError> {
        let io = |source| KeyError::Io {
            path: path.to_owned(),
            source,
        };
        refuse_exposed(path, &file)?;
        // One byte more than there must be, so that a longer file is noticed
        // without being read whole. Allocated once: a buffer that grows would
        // leave the secret behind in freed memory.
        let mut text = Zeroizing::new([0; KEY_LEN + 1]);
        let mut len = 0;
        while let Some(rest) = text.get_mut(len..).filter(|rest| !rest.is_empty()) {
            match file.read(rest).map_err(io)? {
                0 => break,
                n => len = len.saturating_add(n),
            }
        }
        let seed = text.get(..len).and_then(parse);
        let seed = seed.ok_or_else(|| KeyError::Malformed(path.to_owned()))?;
        Ok(Self::from_seed(&seed))
    }

    fn create(dir: &Path, path: &Path) -> io::Result<Self> {
        let identity = Self::from_seed(&*seed()?);
        let temp = dir.join(KEY_TEMP);
        match fs::remove_file(&temp) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = private_file(&temp)?;
        file.write_all(&*identity.text())?;
        file.sync_all()?;
        fs::rename(&temp, path)?;
        sync_dir(dir)?;
        Ok(identity)
    }

    fn text(&self) -> Zeroizing<[u8; KEY_LEN]> {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let digit = |half: u8| HEX.get(usize::from(half)).copied().unwrap_or_default();
        let mut text = Zeroizing::new([b'\n'; KEY_LEN]);
        let mut to = text.as_mut_slice();
        to.put_slice(KEY_PREFIX);
        for byte in self.key.as_bytes() {
            to.put_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        text
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.id()).finish()
    }
}

/// Why a node's identity could not be had. The file is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Others may read or change the secret.
    #[error("{0} is open to others (mode {mode:03o}): if nobody has read it, make it yours alone with `chmod 600 {0}`", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The content is not a key.
    #[error("{} does not hold a node key: restore it from a backup", .0.display())]
    Malformed(PathBuf),
    /// There is none, although the store beside it has an owner.
    #[error("the store belongs to node {owner}, and its key {} is missing: restore it from a backup, or start with an empty directory", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// Whose store it is.
        owner: NodeId,
    },
    /// The operating system said no.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

fn parse(text: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let hex = text.strip_prefix(KEY_PREFIX)?.strip_suffix(b"\n")?;
    if hex.len() != 64 {
        return None;
    }
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(c.wrapping_sub(b'a' - 10)),
        _ => None,
    };
    let (pairs, _) = hex.as_chunks();
    let mut seed = Zeroizing::new([0; 32]);
    for (byte, [high, low]) in seed.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(seed)
}

/// Opens the file of a key. What is no regular file is neither followed nor waited
/// for.
fn open_key(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let flags = flags.bits().cast_signed();
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags);
    }
    let odd = || io::Error::new(io::ErrorKind::InvalidData, "it is not a regular file");
    match options.open(path) {
        Ok(file) if file.metadata()?.is_file() => Ok(file),
        Ok(_) => Err(odd()),
        // A link is refused with words that tell nobody why.
        Err(error) => match path.symlink_metadata() {
            Ok(meta) if !meta.is_file() => Err(odd()),
            _ => Err(error),
        },
    }
}

#[cfg(unix)]
fn refuse_exposed(path: &Path, file: &File) -> Result<(), KeyError> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = file.metadata().map_err(|source| KeyError::Io {
        path: path.to_owned(),
        source,
    })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    Ok(())
}

#[cfg(not(unix))]
fn refuse_exposed(_: &Path, _: &File) -> Result<(), KeyError> {
    Ok(())
}

/// Makes a directory for a node's files, which its owner alone may use, unless it
/// is there.
///
/// # Errors
/// The operating system's; that it is the root of a file system, over which files
/// would be strewn; or that everybody may write there, and so put files in place of
/// the node's.
pub(crate) fn own_dir(path: &Path) -> io::Result<()> {
    let refused = |why| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)?;
    if fs::canonicalize(path)?.parent().is_none() {
        return refused("it is the root of the file system: name a directory in it");
    }
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path)?.permissions()) & 0o002 != 0 {
        return refused("everybody may write to it: take that away with `chmod o-w`");
    }
    Ok(())
}

/// Whether an error says that this machine has no more of something, rather
/// than what another one has answered.
pub(crate) fn is_scarcity(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        let scarce = [
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOBUFS,
            Errno::NOMEM,
            Errno::ADDRNOTAVAIL,
        ];
        Errno::from_io_error(error).is_some_and(|errno| scarce.contains(&errno))
    }
    #[cfg(not(unix))]
    {
        let kinds = [io::ErrorKind::OutOfMemory, io::ErrorKind::AddrNotAvailable];
        kinds.contains(&error.kind())
    }
}

/// What a connection's socket is set to once it stands, see
/// [`Engine::tuning`](crate::Engine::tuning).
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// [`HostConfig::unsent`](crate::HostConfig::unsent).
    pub(crate) unsent: u32,
}

impl Tuning {
    /// Sets a socket: small frames are sent at once, and little waits in it.
    pub fn apply(self, socket: &impl Handle) {
        let socket = SockRef::from(socket);
        // One that is gone already shows when it is read from.
        let _ = socket.set_tcp_nodelay(true);
        // Otherwise Linux takes megabytes for a peer that does not read.
        #[cfg(any(target_os = "android", target_os = "linux"))]
        let _ = socket.set_tcp_notsent_lowat(self.unsent);
    }
}

/// How many file descriptors this process may have at most, where the system
/// says so.
pub(crate) fn descriptors_max() -> Option<u64> {
    #[cfg(unix)]
    {
        rustix::process::getrlimit(rustix::process::Resource::Nofile).current
    }
    #[cfg(not(unix))]
    {
        None
    }
}

/// A new file that only its owner may read.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(unix)]
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(not(unix))]
fn sync_dir(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_made_once_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let first = Identity::load_or_create(dir.path(), None).unwrap();
        let second = Identity::load_or_create(dir.path(), None).unwrap();
        assert_eq!(first.id(), second.id());
        let other = tempfile::tempdir().unwrap();
        assert_ne!(
            Identity::load_or_create(other.path(), None).unwrap().id(),
            first.id()
        );
    }

    #[test]
    fn a_socket_sends_small_frames_at_once_and_takes_little_that_it_cannot_send() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let mut socket = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let unsent = 8 << 10;
        Tuning { unsent }.apply(&socket);
        assert!(socket.nodelay().unwrap());
        // Nobody reads at the other end.
        socket.set_nonblocking(true).unwrap();
        let mut taken = 0;
        while let Ok(count) = socket.write(&[0; 4096]) {
            taken += count;
        }
        if cfg!(any(target_os = "android", target_os = "linux")) {
            assert!(taken < 2 << 20, "{taken}");
        }
    }

    #[test]
    fn the_node_id_is_the_public_key_of_rfc_8032() {
        // RFC 8032, section 7.1, test 1.
        let secret = *b"\x9d\x61\xb1\x9d\xef\xfd\x5a\x60\xba\x84\x4a\xf4\x92\xec\x2c\xc4\
            \x44\x49\xc5\x69\x7b\x32\x69\x19\x70\x3b\xac\x03\x1c\xae\x7f\x60";
        let id = Identity::from_seed(&secret).id();
        assert_eq!(
            id.to_hex(),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_new_key_is_private_and_an_exposed_one_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        Identity::load_or_create(dir.path(), None).unwrap();
        let path = dir.path().join(KEY_FILE);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = Identity::load_or_create(dir.path(), None).unwrap_err();
        assert!(
            matches!(error, KeyError::Exposed { mode: 0o640, .. }),
            "{error}"
        );
        let advice = format!("`chmod 600 {}`", path.display());
        assert!(error.to_string().contains(&advice), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o602)).unwrap();
        let error = Identity::load_or_create(dir.path(), None).unwrap_err();
        assert!(matches!(error, KeyError::Exposed { mode: 0o602, .. }));
    }

    #[cfg(unix)]
    #[test]
    fn a_nodes_directory_is_made_for_its_owner_and_refused_where_everybody_writes() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let made = dir.path().join("a/b");
        own_dir(&made).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&made), 0o700);
        // What its owner has opened to others stays as it is.
        for (open, refused) in [(0o755, false), (0o775, false), (0o777, true), (0o702, true)] {
            fs::set_permissions(&made, fs::Permissions::from_mode(open)).unwrap();
            let said = own_dir(&made).err().map(|error| error.to_string());
            let advised = said.is_some_and(|said| said.contains("`chmod o-w`"));
            assert_eq!((advised, mode(&made)), (refused, open));
        }
    }

    #[test]
    fn the_root_of_the_file_system_is_no_place_for_files() {
        let dir = tempfile::tempdir().unwrap();
        let up = "../".repeat(dir.path().components().count());
        for root in [PathBuf::from("/"), dir.path().join(up)] {
            let error = own_dir(&root).unwrap_err();
            assert!(error.to_string().contains("root of the file system"));
        }
        assert!(own_dir(Path::new("")).is_err());
    }

    #[test]
    fn no_new_identity_is_made_beside_a_store_that_has_an_owner() {
        let dir = tempfile::tempdir().unwrap();
        let owner = NodeId([9; 32]);
        let error = Identity::load_or_create(dir.path(), Some(owner)).unwrap_err();
        assert!(matches!(
            error,
            KeyError::Missing {
                owner: NodeId([9, ..]),
                ..
            }
        ));
        assert!(error.to_string().contains(&owner.to_string()), "{error}");
        assert!(!dir.path().join(KEY_FILE).exists());
    }

    #[test]
    fn a_malformed_key_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity::load_or_create(dir.path(), None).unwrap();
        let path = dir.path().join(KEY_FILE);
        let good = *identity.text();
        let mut capital = good;
        capital[KEY_PREFIX.len()] = b'F';
        let mut longer = good.to_vec();
        longer.push(b'\n');
        for bad in [&[][..], &good[..KEY_LEN - 1], &capital, &longer] {
            fs::write(&path, bad).unwrap();
            let error = Identity::load_or_create(dir.path(), None).unwrap_err();
            assert!(matches!(error, KeyError::Malformed(_)), "{error}");
            assert_eq!(fs::read(&path).unwrap(), bad);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_is_no_file_is_neither_followed_nor_waited_for_and_is_named() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Identity::load_or_create(dir.path(), None).unwrap();
        let (path, kept) = (dir.path().join(KEY_FILE), elsewhere.path().join("kept"));
        fs::rename(&path, &kept).unwrap();
        let denied = |path: &Path| {
            fs::copy(&kept, path).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
            File::open(path).is_err()
        };
        type Make<'a> = &'a dyn Fn(&Path) -> bool;
        let cases: [(&str, Make<'_>); 6] = [
            ("a link to a key", &|path| symlink(&kept, path).is_ok()),
            ("a link to nothing", &|path| {
                symlink("nothing", path).is_ok()
            }),
            ("a directory", &|path| fs::create_dir(path).is_ok()),
            ("a pipe", &|path| special(path, false)),
            ("a device", &|path| special(path, true)),
            ("a key of mode 000", &denied),
        ];
        for (what, make) in cases {
            if !make(&path) {
                eprintln!("{what} instead of a key: not run, as it cannot be made here");
                let _ = fs::remove_file(&path);
                continue;
            }
            let there = path.symlink_metadata().unwrap().file_type();
            let error = Identity::load_or_create(dir.path(), None).unwrap_err();
            assert!(matches!(error, KeyError::Io { .. }), "{what}: {error}");
            assert!(error.to_string().contains(KEY_FILE), "{what}: {error}");
            assert_eq!(path.symlink_metadata().unwrap().file_type(), there);
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
        }
        assert!(elsewhere.path().join("nothing").symlink_metadata().is_err());
    }

    /// Makes a device or a pipe; says whether it could.
    #[cfg(all(unix, not(target_vendor = "apple")))]
    fn special(path: &Path, device: bool) -> bool {
        use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
        let (kind, number) = match device {
            true => (FileType::CharacterDevice, makedev(1, 7)),
            false => (FileType::Fifo, 0),
        };
        mknodat(CWD, path, kind, Mode::RUSR | Mode::WUSR, number).is_ok()
    }

    /// There is no call for that here.
    #[cfg(all(unix, target_vendor = "apple"))]
    fn special(_: &Path, _: bool) -> bool {
        false
    }

    #[test]
    fn a_half_written_key_of_an_earlier_start_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(KEY_TEMP), "half").unwrap();
        Identity::load_or_create(dir.path(), None).unwrap();
        assert!(!dir.path().join(KEY_TEMP).exists());
    }

    #[test]
    fn the_secret_is_not_printed() {
        let identity = Identity::from_seed(&[7; 32]);
        let shown = format!("{identity:?}");
        assert_eq!(shown, format!("Identity({:?})", identity.id()));
    }

    #[test]
    fn the_clock_translates_its_own_instants() {
        let clock = Clock::start();
        let before = OsInstant::now();
        let now = clock.now();
        let after = OsInstant::now();
        let when = clock.when(now).unwrap();
        assert!(before <= when && when <= after);
        assert!(clock.wall() > UnixMillis(1_700_000_000_000));
    }
}
