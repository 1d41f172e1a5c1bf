//! The simulated disk keeps what a sync has promised, and nothing else for
//! certain.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use peerhold_sim::disk::{DiskFaults, Image, Mount, SimDisk};
use peerhold_store::vfs::{Kind, Vfs, VfsFile};

fn write(mount: &Mount, path: &str, bytes: &[u8]) -> io::Result<()> {
    mount.create_new(path)?.write_at(bytes, 0)
}

fn read(mount: &Mount, path: &str) -> io::Result<Vec<u8>> {
    let file = mount.open(path)?;
    let mut bytes = vec![0; file.len()? as usize];
    let n = file.read_at(&mut bytes, 0)?;
    assert_eq!(n, bytes.len());
    Ok(bytes)
}

/// Every image that a crash of this disk may leave, mounted.
fn after_crashes(disk: &SimDisk) -> Vec<Mount> {
    let image = disk.image();
    let unsynced = image.unsynced(4);
    let mut all = Vec::new();
    let mut fates = vec![0; unsynced.len()];
    loop {
        let left = image.after_crash(&unsynced, &fates, None);
        all.push(SimDisk::with(0, left).mount());
        let Some(at) = (0..fates.len()).find(|at| fates[*at] + 1 < unsynced[*at].fates) else {
            return all;
        };
        fates[at] += 1;
        fates[..at].fill(0);
    }
}

#[test]
fn a_crash_keeps_or_loses_what_was_not_synced_and_nothing_else() {
    let disk = SimDisk::new(1);
    let mount = disk.mount();
    let file = mount.create_new("a").unwrap();
    file.write_at(&[1; 5000], 0).unwrap();
    file.sync().unwrap();
    mount.sync_dir("").unwrap();
    assert_eq!(disk.image().unsynced(4).len(), 0);
    file.write_at(&[2; 5000], 0).unwrap();
    file.write_at(&[3; 10], 5000).unwrap();
    write(&mount, "b", b"new").unwrap();
    let mut seen = BTreeSet::new();
    for left in after_crashes(&disk) {
        let a = read(&left, "a").unwrap();
        assert!(a.len() == 5000 || a.len() == 5010, "{}", a.len());
        assert!(a[..4096] == [1; 4096] || a[..4096] == [2; 4096]);
        let tail = (a[4096], a.get(5000).copied());
        let b = read(&left, "b").ok();
        assert!(
            b.as_ref()
                .is_none_or(|b| [&b""[..], b"\0\0\0", b"new"].contains(&&b[..]))
        );
        seen.insert((a[0], tail, b));
    }
    // 2 first pages, 5 ends, and no b, an empty one, a hole or the whole.
    assert_eq!(seen.len(), 2 * 5 * 4);
}

#[test]
fn a_name_is_durable_only_when_its_directory_was_synced() {
    let disk = SimDisk::new(1);
    let mount = disk.mount();
    mount.create_dir("tmp").unwrap();
    mount.create_dir("dir").unwrap();
    mount.sync_dir("").unwrap();
    let file = mount.create_new("tmp/x").unwrap();
    file.write_at(b"whole", 0).unwrap();
    file.sync().unwrap();
    mount.sync_dir("tmp").unwrap();
    mount.rename("tmp/x", "dir/y").unwrap();
    let there = |left: &Mount| ["tmp/x", "dir/y"].map(|path| left.kind(path).unwrap().is_some());
    let seen: BTreeSet<_> = after_crashes(&disk).iter().map(there).collect();
    assert_eq!(seen.len(), 4, "each directory has its part by itself");
    mount.sync_dir("dir").unwrap();
    let seen: BTreeSet<_> = after_crashes(&disk).iter().map(there).collect();
    assert_eq!(seen, BTreeSet::from([[false, true], [true, true]]));
    mount.rename("dir/y", "dir/z").unwrap();
    for left in after_crashes(&disk) {
        let names = left.list("dir").unwrap();
        assert!(names == ["y"] || names == ["z"], "{names:?}");
        assert_eq!(read(&left, &format!("dir/{}", names[0])).unwrap(), b"whole");
    }
}

#[test]
fn a_directory_whose_name_was_not_synced_takes_all_in_it_along() {
    let disk = SimDisk::new(1);
    let mount = disk.mount();
    mount.create_dir("dir").unwrap();
    let file = mount.create_new("dir/x").unwrap();
    file.write_at(b"whole", 0).unwrap();
    file.sync().unwrap();
    mount.sync_dir("dir").unwrap();
    let kinds = after_crashes(&disk)
        .iter()
        .map(|left| left.kind("dir/x").unwrap())
        .collect::<Vec<_>>();
    assert_eq!(kinds, [None, Some(Kind::File(5))]);
    mount.sync_dir("").unwrap();
    assert_eq!(after_crashes(&disk).len(), 1);
}

#[test]
fn a_crash_tears_pages_at_sectors_and_leaves_alone_what_was_not_changed() {
    let mut torn = 0;
    for seed in 0..200 {
        let disk = SimDisk::new(seed);
        let faults = DiskFaults {
            lose: 0,
            tear: 1_000_000,
            ..DiskFaults::none()
        };
        disk.set_faults(faults);
        let mount = disk.mount();
        let file = mount.create_new("a").unwrap();
        file.write_at(&[1; 1000], 0).unwrap();
        file.sync().unwrap();
        mount.sync_dir("").unwrap();
        file.write_at(&[2; 3096], 1000).unwrap();
        disk.crash();
        assert!(read(&mount, "a").is_err(), "who used it is dead");
        let a = read(&disk.mount(), "a").unwrap();
        assert_eq!(a[..1000], [1; 1000], "what was synced");
        assert_eq!(a.len(), 4096);
        torn += u64::from(a[1000..] != [2; 3096]);
        assert_eq!(disk.fired().of("disk: page torn at a crash"), 1);
    }
    assert!(
        (150..200).contains(&torn),
        "a first sector alone changes nothing: {torn}"
    );
}

#[test]
fn after_a_failed_sync_the_next_one_writes_nothing_of_what_was_lost() {
    let (mut lost, mut dropped) = (0, 0);
    for seed in 0..100 {
        let disk = SimDisk::new(seed);
        let mount = disk.mount();
        let file = mount.create_new("a").unwrap();
        file.write_at(&[1; 4096], 0).unwrap();
        file.sync().unwrap();
        mount.sync_dir("").unwrap();
        file.write_at(&[2; 4096], 0).unwrap();
        let faults = DiskFaults {
            sync_error: 1_000_000,
            ..DiskFaults::none()
        };
        disk.set_faults(faults);
        assert!(file.sync().is_err());
        disk.set_faults(DiskFaults::none());
        assert!(file.sync().is_ok(), "it says that all is well");
        let seen = read(&mount, "a").unwrap()[0];
        disk.crash();
        let left = read(&disk.mount(), "a").unwrap()[0];
        lost += u64::from(left == 1);
        dropped += u64::from(seen == 1);
        assert!(left <= seen);
    }
    assert!(
        (40..95).contains(&lost) && (10..lost).contains(&dropped),
        "{lost} {dropped}"
    );
}

#[test]
fn every_fault_fires_and_is_counted() {
    let all = DiskFaults {
        read_error: 100_000,
        write_error: 100_000,
        name_error: 100_000,
        sync_error: 100_000,
        full: 100_000,
        slow: 100_000,
        slow_max: Duration::from_secs(1),
        rot_once: 100_000,
        rot: 100_000,
        misdirected: 100_000,
        rot_under: vec!["log"],
        ..DiskFaults::none()
    };
    let run = |faults: DiskFaults| {
        let disk = SimDisk::new(7);
        disk.set_faults(faults);
        let mut seen = Vec::new();
        for round in 0..300_u32 {
            let mount = disk.mount();
            let path = format!("log{}", round % 20);
            let mut bytes = [0; 6000];
            let file = mount.open(&path).or_else(|_| mount.create_new(&path));
            let done = file.and_then(|file| {
                file.write_at(&[round as u8; 5000], u64::from(round % 3) * 2000)?;
                file.set_len(u64::from(round % 5) * 1000)?;
                file.read_at(&mut bytes, 0)?;
                file.sync()
            });
            let done = done.and_then(|()| mount.sync_dir(""));
            seen.push((done.map_err(|error| error.to_string()), bytes.to_vec()));
            if round % 10 == 0 {
                disk.crash();
            }
        }
        (disk.fired(), seen, disk.take_cost())
    };
    let (fired, seen, cost) = run(all.clone());
    let names: Vec<_> = fired.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 18, "{fired}");
    assert!(cost > Duration::from_secs(10), "{cost:?}");
    let again = run(all);
    assert_eq!((&fired, &seen, cost), (&again.0, &again.1, again.2));
    let (fired, seen, cost) = run(DiskFaults::none());
    assert!(
        fired.iter().all(|(name, _)| name.contains("crash")),
        "{fired}"
    );
    assert!(seen.iter().all(|(done, _)| done.is_ok()));
    assert!(cost < Duration::from_secs(1), "{cost:?}");
}

#[test]
fn a_full_disk_takes_what_fits_and_more_when_something_goes() {
    let disk = SimDisk::new(1);
    disk.set_capacity(Some(3 * 4096));
    let mount = disk.mount();
    let file = mount.create_new("a").unwrap();
    let full = file.write_at(&[1; 5 * 4096], 0).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    assert_eq!((file.len().unwrap(), disk.free()), (3 * 4096, Some(0)));
    file.write_at(&[2; 4096], 0).unwrap();
    file.set_len(4096).unwrap();
    assert_eq!(disk.free(), Some(2 * 4096));
    write(&mount, "b", &[1; 5000]).unwrap();
    assert_eq!((disk.free(), disk.used()), (Some(0), 3 * 4096));
    mount.remove("a").unwrap();
    assert_eq!(disk.free(), Some(0), "it is still open");
    drop(file);
    assert_eq!(disk.free(), Some(4096));
    disk.kill();
    assert_eq!(disk.free(), Some(4096));
}

#[test]
fn a_machine_that_stops_answers_nothing_until_it_is_started_again() {
    let disk = SimDisk::new(1);
    let mount = disk.mount();
    let file = mount.create_new("a").unwrap();
    disk.stop_after(1);
    file.write_at(b"one", 0).unwrap();
    assert!(!disk.is_stopped());
    assert!(file.write_at(b"twoTWO", 3).is_err());
    assert!(disk.is_stopped());
    assert!(file.len().is_err() && mount.list("").is_err());
    disk.kill();
    assert!(file.len().is_err(), "the dead stay dead");
    assert_eq!(read(&disk.mount(), "a").unwrap(), b"onetwo");
}

#[test]
fn images_roll_back_wipe_and_swap() {
    let (one, two) = (SimDisk::new(1), SimDisk::new(2));
    write(&one.mount(), "a", b"first").unwrap();
    let old = one.image();
    one.mount()
        .open("a")
        .unwrap()
        .write_at(b"after", 0)
        .unwrap();
    write(&two.mount(), "b", b"other").unwrap();
    one.swap(&two);
    assert_eq!(one.image().files(), ["b"]);
    assert_eq!(read(&two.mount(), "a").unwrap(), b"after");
    two.restore(old);
    assert_eq!(read(&two.mount(), "a").unwrap(), b"first");
    let held = two.mount();
    two.wipe();
    assert!(held.list("").is_err());
    assert_eq!(two.image().files(), Image::new().files());
}

#[test]
fn a_lock_holds_until_it_is_dropped_or_its_holder_dies() {
    let disk = SimDisk::new(1);
    let mount = disk.mount();
    let lock = mount.try_lock("lock").unwrap();
    assert!(lock.is_some() && mount.try_lock("lock").unwrap().is_none());
    drop(lock);
    let lock = mount.try_lock("lock").unwrap();
    disk.kill();
    assert!(disk.mount().try_lock("lock").unwrap().is_some());
    drop(lock);
}
