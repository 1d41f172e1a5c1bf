//! Files in the Go program's layout.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use peerhold_core::Instant;
use peerhold_core::disk::DiskError;
use peerhold_core::foreverstore::{
    Config, Connection, Event, FileKey, FilePath, Input, Message, OwnerId, OwnerKey, Wake,
};
use peerhold_store::OpenError;
use peerhold_store::foreverstore::Files;
use peerhold_store::vfs::{FailAfter, MemVfs, OsVfs, Vfs};
use tempfile::tempdir;

use crate::support::{device, pipe};

const OWNER: OwnerId = OwnerId([0xaa; 32]);

fn path(name: &str) -> FilePath {
    FilePath::own(&OWNER, name)
}

fn put<V: Vfs>(files: &Files<V>, name: &str, bytes: &[u8]) -> Result<(), DiskError> {
    let mut file = files.begin()?;
    bytes
        .chunks(1000)
        .try_for_each(|piece| file.append(piece))?;
    files.commit(file, &path(name))
}

fn get<V: Vfs>(files: &Files<V>, name: &str) -> Result<Bytes, DiskError> {
    let file = files.look_up(&path(name))?;
    file.read_at(0, usize::try_from(file.len()).unwrap())
}

/// What is below a root, without what is ours.
fn tree(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            if meta.is_dir() {
                todo.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap();
                found.push(name.to_str().unwrap().to_owned());
            }
        }
    }
    found.retain(|name| !name.starts_with(".peerhold/"));
    found.sort_unstable();
    found
}

fn begun(root: &Path) -> usize {
    fs::read_dir(root.join(".peerhold/tmp")).unwrap().count()
}

#[test]
fn what_a_peer_has_kept_lies_where_the_go_program_looks_and_is_served() {
    let dir = tempdir().unwrap();
    let files = Files::open_dir(dir.path()).unwrap();
    let (owner, key) = (OwnerId([0xcc; 32]), FileKey::of("picture_0.png"));
    let sealed = Bytes::from(vec![7; 200_000]);
    let (id, text) = (owner.to_string(), key.to_string());
    let store = Message::Store {
        id: id.clone(),
        key: text.clone(),
        size: sealed.len() as i64,
    };
    let sent = [&[1], &store.encode()[..], &[2], &sealed].concat();
    let (events, _) = run(&files, &sent);
    let size = sealed.len() as u64;
    assert_eq!(events, [Event::Kept { owner, key, size }]);
    // As in the vectors: the SHA-1 of the key's 32 digits, in eight parts.
    let place = FilePath::replica(&owner, &key);
    assert_eq!(tree(dir.path()), [place.as_str()]);
    assert!(place.as_str().starts_with(&format!("{id}/")));
    assert_eq!(fs::read(dir.path().join(place.as_str())).unwrap(), sealed);

    let get = Message::Get { id, key: text };
    let (events, answer) = run(&files, &[&[1], &get.encode()[..]].concat());
    assert_eq!(events, [Event::Served { owner, key, size }]);
    assert_eq!(answer, [&[2], &size.to_le_bytes()[..], &sealed].concat());
    assert_eq!((files.open_files(), begun(dir.path())), (0, 0));
}

/// What a connection says and sends to a peer that sends this.
fn run<V: Vfs>(files: &Files<V>, sent: &[u8]) -> (Vec<Event>, Vec<u8>) {
    let config = Config::new(OWNER, OwnerKey::from_bytes([7; 32]));
    let mut now = Instant::ZERO;
    let mut conn = Connection::new(config, now).unwrap();
    let (mut events, mut answer) = (Vec::new(), Vec::new());
    let mut left = Bytes::copy_from_slice(sent);
    loop {
        if let Some(op) = conn.poll_file() {
            conn.handle(now, Input::File(files.execute(1, op)));
        } else if let Some(event) = conn.poll_event() {
            events.push(event);
        } else if let Some(bytes) = conn.poll_transmit(usize::MAX) {
            answer.extend_from_slice(&bytes);
            conn.handle(now, Input::Written);
        } else if !left.is_empty() {
            let piece = left.split_to(left.len().min(conn.read_budget()));
            conn.handle(now, Input::Received(piece));
        } else if let Some((at, Wake::Pause)) = conn.poll_timeout() {
            now = at;
            conn.handle_timeout(now);
        } else {
            return (events, answer);
        }
        now = now.saturating_add(Duration::from_nanos(1));
    }
}

#[test]
fn files_come_back_as_they_were_and_are_replaced_whole() {
    let dir = tempdir().unwrap();
    let files = Files::open_dir(dir.path()).unwrap();
    assert_eq!(get(&files, "n"), Err(DiskError::NotFound));
    for len in [5000, 0, 1, 3000] {
        put(&files, "n", &vec![9; len]).unwrap();
        assert_eq!(get(&files, "n").unwrap(), vec![9; len]);
    }
    let before = files.look_up(&path("n")).unwrap();
    put(&files, "n", b"after").unwrap();
    assert_eq!(before.read_at(2990, 100).unwrap(), vec![9; 10]);
    assert_eq!(get(&files, "n").unwrap(), &b"after"[..]);
    drop(files);
    let files = Files::open_dir(dir.path()).unwrap();
    assert_eq!(get(&files, "n").unwrap(), &b"after"[..]);
}

#[test]
fn wherever_the_machine_stops_the_old_file_or_the_new_one_is_there() {
    let (old, new) = (vec![1; 2500], vec![2; 3500]);
    let mut acknowledged = false;
    for calls in 0.. {
        let disk = MemVfs::new();
        put(&Files::open(disk.clone()).unwrap(), "n", &old).unwrap();
        let failing = FailAfter::new(disk.clone(), calls);
        let done = match Files::open(failing.clone()) {
            Ok(files) => put(&files, "n", &new),
            Err(_) => Err(DiskError::NotFound),
        };
        acknowledged |= done.is_ok();
        let files = Files::open(disk.snapshot()).unwrap();
        let found = get(&files, "n").unwrap();
        if done.is_ok() {
            assert!(found == new, "acknowledged, and lost at call {calls}");
        }
        assert!(found == old || found == new, "torn at call {calls}");
        let left = disk.snapshot();
        drop(Files::open(left.clone()).unwrap());
        assert_eq!(left.files(), [path("n").as_str()], "at call {calls}");
        if !failing.burnt() {
            break;
        }
    }
    assert!(acknowledged);
}

#[test]
fn a_removal_takes_the_file_that_is_named_and_nothing_beside_it() {
    let dir = tempdir().unwrap();
    let files = Files::open_dir(dir.path()).unwrap();
    // The Go program removes everything that shares the first five digits.
    let first = |name: &str| path(name).as_str()[65..70].to_owned();
    let names: Vec<String> = (0..3000).map(|n| format!("{n}")).collect();
    let twin = |name: &&String| *name != &names[0] && first(name) == first(&names[0]);
    let twin = names.iter().find(twin).cloned();
    let (a, b) = (names[0].clone(), twin.unwrap_or_else(|| "other".into()));
    put(&files, &a, b"a").unwrap();
    put(&files, &b, b"b").unwrap();
    // A neighbour in the same directory, as the Go program would never make.
    let neighbour = dir
        .path()
        .join(path(&a).as_str())
        .with_file_name("neighbour");
    fs::write(&neighbour, b"c").unwrap();
    assert_eq!(files.remove(&path(&a)), Ok(true));
    assert_eq!(files.remove(&path(&a)), Ok(false));
    assert_eq!(get(&files, &a), Err(DiskError::NotFound));
    assert_eq!(get(&files, &b).unwrap(), &b"b"[..]);
    assert_eq!(fs::read(neighbour).unwrap(), b"c");
}

#[test]
fn no_link_below_the_root_is_followed() {
    let whole = path("n").as_str().to_owned();
    let ends = whole.match_indices('/').map(|(end, _)| end);
    let dirs: Vec<usize> = ends.collect();
    for end in dirs.iter().copied().chain([whole.len()]) {
        let (dir, outside) = (tempdir().unwrap(), tempdir().unwrap());
        // The whole path exists outside, with a file that is not to be touched.
        let out = outside.path().join("out");
        let target = format!("{}{}", out.display(), &whole[end..]);
        fs::create_dir_all(Path::new(&target).parent().unwrap()).unwrap();
        fs::write(&target, b"secret").unwrap();
        let link = dir.path().join(&whole[..end]);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(&out, &link).unwrap();

        let files = Files::open_dir(dir.path()).unwrap();
        assert_eq!(
            get(&files, "n"),
            Err(DiskError::Corrupt),
            "read through {end}"
        );
        let is_last = end == whole.len();
        // In the last place a link is a name like another, and is replaced.
        assert_eq!(put(&files, "n", b"ours").is_ok(), is_last, "{end}");
        assert_eq!(files.remove(&path("n")).is_ok(), is_last, "{end}");
        assert_eq!(
            fs::read(&target).unwrap(),
            b"secret",
            "changed through {end}"
        );
        assert_eq!(begun(dir.path()), 0);
    }
}

#[test]
fn what_is_no_file_is_neither_served_nor_replaced() {
    let dir = tempdir().unwrap();
    let files = Files::open_dir(dir.path()).unwrap();
    let place = dir.path().join(path("n").as_str());
    fs::create_dir_all(place.join("inside")).unwrap();
    assert_eq!(get(&files, "n"), Err(DiskError::Corrupt));
    assert!(put(&files, "n", b"ours").is_err());
    assert!(files.remove(&path("n")).is_err());
    assert!(place.join("inside").is_dir());
    assert_eq!(begun(dir.path()), 0);
}

#[test]
fn a_pipe_or_a_device_is_neither_waited_for_nor_served_and_is_replaced() {
    type Make = fn(&Path) -> bool;
    let makers: [(&str, Make); 2] = [("pipe", pipe), ("device", device)];
    for (what, make) in makers {
        let dir = tempdir().unwrap();
        let files = Files::open_dir(dir.path()).unwrap();
        put(&files, "n", b"before").unwrap();
        let place = dir.path().join(path("n").as_str());
        fs::remove_file(&place).unwrap();
        if !make(&place) {
            eprintln!("a {what} instead of a file: not run, as none can be made here");
            continue;
        }
        assert_eq!(get(&files, "n"), Err(DiskError::Corrupt), "{what}");
        put(&files, "n", b"ours").unwrap();
        assert_eq!(get(&files, "n").unwrap(), &b"ours"[..]);
        fs::remove_file(&place).unwrap();
        assert!(make(&place));
        assert_eq!(files.remove(&path("n")), Ok(true), "{what}");
        assert_eq!(begun(dir.path()), 0);
    }
}

#[test]
fn a_file_that_may_not_be_read_is_an_error_and_served_once_it_may() {
    let dir = tempdir().unwrap();
    let files = Files::open_dir(dir.path()).unwrap();
    put(&files, "n", b"text").unwrap();
    let place = dir.path().join(path("n").as_str());
    let allow = |mode| fs::set_permissions(&place, fs::Permissions::from_mode(mode)).unwrap();
    allow(0o000);
    let got = get(&files, "n");
    if fs::File::open(&place).is_err() {
        assert!(matches!(got, Err(DiskError::Io(_))), "{got:?}");
    } else {
        eprintln!("a file of mode 000: the refusal was not run, as nothing is denied to root");
    }
    allow(0o600);
    assert_eq!(get(&files, "n").unwrap(), &b"text"[..]);
    // In its place another is put all the same.
    allow(0o000);
    put(&files, "n", b"ours").unwrap();
    assert_eq!(get(&files, "n").unwrap(), &b"ours"[..]);
}

#[test]
fn a_file_that_may_only_be_read_is_served() {
    let dir = tempdir().unwrap();
    let files = Files::open_dir(dir.path()).unwrap();
    put(&files, "n", b"text").unwrap();
    let place = dir.path().join(path("n").as_str());
    let mut mode = fs::metadata(&place).unwrap().permissions();
    mode.set_readonly(true);
    fs::set_permissions(&place, mode).unwrap();
    assert_eq!(get(&files, "n").unwrap(), &b"text"[..]);
}

#[test]
fn what_was_begun_is_gone_when_it_is_dropped_and_at_the_next_start() {
    let dir = tempdir().unwrap();
    let files = Files::open_dir(dir.path()).unwrap();
    let mut file = files.begin().unwrap();
    file.append(b"some").unwrap();
    assert_eq!(begun(dir.path()), 1);
    drop(file);
    assert_eq!(begun(dir.path()), 0);
    // As after the process was killed.
    std::mem::forget(files.begin().unwrap());
    assert_eq!(begun(dir.path()), 1);
    let second = Files::open_dir(dir.path()).map(drop);
    assert!(matches!(second, Err(OpenError::InUse)), "{second:?}");
    assert_eq!(begun(dir.path()), 1, "swept under another's feet");
    drop(files);
    drop(Files::open_dir(dir.path()).unwrap());
    assert_eq!(begun(dir.path()), 0);
}

#[test]
fn directories_that_the_go_program_has_removed_are_made_anew() {
    let dir = tempdir().unwrap();
    let files = Files::open_dir(dir.path()).unwrap();
    put(&files, "n", b"one").unwrap();
    fs::remove_dir_all(dir.path().join(OWNER.to_string())).unwrap();
    assert_eq!(files.remove(&path("n")), Ok(false));
    put(&files, "n", b"two").unwrap();
    assert_eq!(get(&files, "n").unwrap(), &b"two"[..]);
}

#[test]
fn a_full_disk_leaves_what_was_there_and_no_rest() {
    let disk = MemVfs::new();
    let files = Files::open(disk.clone()).unwrap();
    put(&files, "n", b"before").unwrap();
    disk.set_capacity(Some(disk.used() + 8192));
    assert_eq!(put(&files, "n", &[1; 20_000]), Err(DiskError::NoSpace));
    assert_eq!(get(&files, "n").unwrap(), &b"before"[..]);
    let mut half = files.begin().unwrap();
    assert_eq!(half.append(&[1; 20_000]), Err(DiskError::NoSpace));
    disk.set_capacity(None);
    assert!(half.append(b"more").is_err() || files.commit(half, &path("n")).is_err());
    assert_eq!(get(&files, "n").unwrap(), &b"before"[..]);
    put(&files, "n", &[1; 20_000]).unwrap();
    assert_eq!(disk.files(), [path("n").as_str()]);
}

#[test]
fn a_root_has_no_more_bytes_than_it_may() {
    let disk = MemVfs::new();
    let open = || {
        let files = Files::open(disk.clone()).unwrap();
        files.with_capacity(1000).unwrap()
    };
    let room_for = |files: &Files<MemVfs>, bytes: usize| {
        let mut filler = files.begin().unwrap();
        filler.append(&vec![0; bytes]).unwrap();
        assert_eq!(filler.append(&[0]), Err(DiskError::NoSpace));
        // It has been refused something: it is not whole.
        assert!(files.commit(filler, &path("filler")).is_err());
    };
    let files = open();
    put(&files, "a", &[1; 300]).unwrap();
    put(&files, "b", &[2; 300]).unwrap();
    room_for(&files, 400);
    // A file that replaces another needs its room beside it, and then has that.
    assert_eq!(put(&files, "a", &[3; 401]), Err(DiskError::NoSpace));
    assert_eq!(get(&files, "a").unwrap(), vec![1; 300]);
    put(&files, "a", &[3; 400]).unwrap();
    room_for(&files, 300);
    // What is dropped, or removed, leaves its room.
    let mut dropped = files.begin().unwrap();
    dropped.append(&[4; 300]).unwrap();
    drop(dropped);
    assert_eq!(files.remove(&path("b")), Ok(true));
    assert_eq!(files.remove(&path("b")), Ok(false));
    room_for(&files, 600);
    // A start counts what there is.
    drop(files);
    room_for(&open(), 600);
    // More than may be is served all the same, and can be removed.
    let files = Files::open(disk.clone()).unwrap();
    let files = files.with_capacity(10).unwrap();
    assert_eq!(put(&files, "c", &[5; 1]), Err(DiskError::NoSpace));
    assert_eq!(get(&files, "a").unwrap(), vec![3; 400]);
    assert_eq!(files.remove(&path("a")), Ok(true));
    put(&files, "c", &[5; 10]).unwrap();
}

#[test]
fn a_root_in_which_our_place_is_taken_is_refused() {
    let dir = tempdir().unwrap();
    fs::write(dir.path().join(".peerhold"), b"").unwrap();
    let opened = Files::<OsVfs>::open_dir(dir.path()).map(drop);
    assert!(
        matches!(opened, Err(OpenError::NotADirectory(_))),
        "{opened:?}"
    );
}
