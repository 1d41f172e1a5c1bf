//! How the faults of a schedule strike.

use std::time::Duration;

use crate::check::{Check, holds};
use crate::disk::DiskFaults;
use crate::liar::Lies;
use crate::model::Trust;
use crate::run::Run;
use crate::script::Fault;
use crate::violation::Invariant;

impl Run {
    pub(crate) fn strike(&mut self, fault: &Fault) -> Check {
        let cluster = &mut self.cluster;
        match *fault {
            Fault::Crash { at, death, back } => {
                cluster.crash(at, death);
                cluster.start_after(at, back);
            }
            Fault::CrashAtOutput { at, outputs, back } => {
                cluster.crash_at_output(at, outputs);
                cluster.start_after(at, back);
            }
            Fault::Pause { at, time } => cluster.pause(at, time),
            Fault::Skew { at, ms } => {
                let far = ms.unsigned_abs() > 3_600_000;
                let name = if far {
                    "clock jumps by years"
                } else {
                    "clock jumps"
                };
                cluster.fired.count(name);
                cluster.tell(|| format!("node{at}'s clock is off by {ms} ms"));
                cluster.skew(at, ms);
            }
            Fault::Freeze { at, time } => cluster.freeze(at, time),
            Fault::OneWay { from, to, time } => cluster.clog(from, to, time),
            Fault::Cut { one, other, time } => cluster.cut(one, other, time),
            Fault::Split { ref group, time } => cluster.split(group, time),
            Fault::Reset { at, other, bytes } => cluster.reset(at, other, bytes),
            Fault::HalfOpen { at, other } => cluster.half_open(at, other),
            Fault::SlowReader { at, bytes, time } => cluster.slow_reader(at, bytes, time),
            Fault::SlowNetwork { times, time } => cluster.slow_network(times, time),
            Fault::SmallPieces { most, bytes } => cluster.small_pieces(most, bytes),
            Fault::Storm { at, connections } => cluster.storm(at, connections),
            Fault::SlowDisk { at, more, time } => cluster.slow_disk(at, more, time),
            _ => return self.strike_disk(fault),
        }
        Ok(())
    }

    fn strike_disk(&mut self, fault: &Fault) -> Check {
        let (cluster, suspects) = (&mut self.cluster, &mut self.suspects);
        match *fault {
            Fault::CrashInStore {
                at,
                calls,
                death,
                back,
            } => cluster.crash_in_disk(at, calls, death, back),
            Fault::FailDisk {
                at,
                rates: [read, write, sync],
                free,
                time,
            } => {
                suspects.failing.insert(at);
                let faults = DiskFaults {
                    read_error: read,
                    write_error: write,
                    name_error: write,
                    sync_error: sync,
                    ..cluster.disk_faults.clone()
                };
                cluster.fail_disk(at, faults, free, time);
            }
            Fault::NoSpace { at, rate, time } => {
                suspects.failing.insert(at);
                let full = rate;
                let faults = cluster.disk_faults.clone();
                cluster.fail_disk(at, DiskFaults { full, ..faults }, None, time);
            }
            Fault::Swap { one, other } => {
                // An empty disk is nobody's.
                if [one, other]
                    .iter()
                    .any(|at| suspects.newcomers.contains(at))
                {
                    return Ok(());
                }
                let refused = cluster.swap_disks(one, other);
                cluster.start_after(one, Duration::from_secs(1));
                cluster.start_after(other, Duration::from_secs(1));
                holds(refused, Invariant::Authority, || {
                    format!("node{one} or node{other} took the other's disk for its own")
                })?;
            }
            Fault::Rot {
                at,
                bits,
                rate,
                time,
            } => {
                suspects.disks.insert(at);
                let disk = cluster.disk(at);
                (0..bits).for_each(|_| {
                    disk.rot("blobs/");
                });
                let faults = DiskFaults {
                    rot_once: rate,
                    rot: rate,
                    misdirected: rate,
                    // A blob's file is written under another name.
                    rot_under: vec!["blobs/", "tmp/"],
                    ..cluster.disk_faults.clone()
                };
                cluster.fail_disk(at, faults, None, time);
            }
            Fault::LogRot {
                at,
                bits,
                rate,
                time,
            } => {
                suspects.lose(at);
                let disk = cluster.disk(at);
                let flipped = (0..bits).filter(|_| disk.rot("log/")).count();
                cluster.fired.add("rot of the log", flipped as u64);
                let faults = DiskFaults {
                    rot_once: rate,
                    rot: rate,
                    rot_under: vec!["log/"],
                    ..cluster.disk_faults.clone()
                };
                cluster.fail_disk(at, faults, None, time);
            }
            Fault::Wipe { at, back } => {
                suspects.lose(at);
                cluster.wipe(at);
                cluster.start_after(at, back);
            }
            Fault::Keep { at } => {
                let image = cluster.disk(at).image();
                self.images.insert(at, image);
            }
            Fault::SetBack { at, back } => {
                if let Some(image) = self.images.get(&at) {
                    suspects.set_back.insert(at);
                    cluster.roll_back(at, image.clone());
                    cluster.start_after(at, back);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Ends all faults and starts what is off, or takes no writes any more.
    pub(crate) fn mend(&mut self) -> Check {
        self.cluster.heal();
        // Lies that do not end sessions go on where the others are enough.
        let go_on = self.model.trust != Trust::Own;
        for at in 0..self.cluster.machines() {
            let lies = self.cluster.lies(at).filter(|_| go_on);
            self.cluster.lie(at, lies.map(Lies::quiet));
            self.cluster.restart_if_read_only(at);
            if !self.cluster.is_on(at) {
                self.cluster.start(at);
            }
        }
        self.look()
    }
}
