//! Known bugs, which tests switch on to show that they would be found.
//!
//! Only with the feature `bugs`, which no build but that of such tests has:
//! without it [`on`] is `false` when the program is compiled, and nothing of a
//! bug is left. The store has its bugs here too, so that there is one switch.
//! It is the whole process's: what runs beside it has the bug as well.

#[cfg(feature = "bugs")]
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use crate::disk::StoredRecord;
#[cfg(feature = "bugs")]
use crate::seal::{RecordKind, SignedHead};

macro_rules! bugs {
    ($($(#[doc = $says:literal])+ $name:ident,)+) => {
        /// Something that is done wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Bug {
            $($(#[doc = $says])+ $name,)+
        }

        #[cfg(feature = "bugs")]
        impl Bug {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// What is wrong, in a sentence.
            pub const fn says(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($says),+),)+
                }
            }

            /// Whether it is one of the store's.
            pub const fn is_of_store(self) -> bool {
                (self as u8) < Self::KeptEarly as u8
            }
        }
    };
}

bugs! {
    // The store.
    /// A blob's file gets its name without having been synced.
    FileUnsynced,
    /// The directory of a blob's name is not synced.
    NameUnsynced,
    /// The directory of a blob's name is synced before the name is in it.
    NameSyncedEarly,
    /// A blob's file is synced when it has its name already.
    FileSyncedLate,
    /// A blob's file gets its name before all of it is written.
    RenamedEarly,
    /// The directory that a new directory stands in is not synced.
    FanOutUnsynced,
    /// A write is complete before its entries have been synced.
    EarlyAck,
    /// A blob's file is removed before its drop is in the log.
    UnlinkedEarly,
    /// The name of a new segment is not synced.
    SegmentUnsynced,
    /// The index is durable before the entries that it names.
    IndexFirst,
    /// What a crash has left behind a gap stays there.
    GapKept,
    /// Compaction forgets drops that older segments still need.
    TombstoneForgotten,
    /// A sync that has failed is tried again, and believed.
    SyncRetried,
    /// What was not written whole stays in the log.
    Uncut,
    /// A start believes that what it reads of the last group is durable.
    LastGroupTrusted,
    /// In the middle of a replay, the index does not say how far it has come.
    ReplayUntold,
    /// What the index did not take is said to have failed, and is in the log.
    FailedYetThere,

    // Replicas.
    /// A replica answers that it keeps a record before that is durable.
    KeptEarly,
    /// A replica answers that it has a blob when it has only come.
    AcquiredEarly,
    /// A replica answers a claim as held that it does not hold.
    ClaimedUnheld,
    /// A replica keeps records without looking at signature and hashes.
    RecordUnchecked,
    /// A replica keeps a fetched blob whatever its hash is.
    BlobUnchecked,
    /// A request that has been answered still counts as being served.
    ServedForEver,
    /// Memory for a blob that has gone out is not given back.
    ServeRoomLeaked,
    /// Memory for a blob that has come is not given back.
    ReceiveRoomLeaked,

    // Writing.
    /// A record is finished with one copy less than W.
    RecordQuorumShort,
    /// A blob is finished with one copy less than W.
    BlobQuorumShort,
    /// A replica that refuses counts as one that has it.
    RefusalsCount,
    /// A write ends well once all have answered, whatever they said.
    FailedAsDone,
    /// A write that may have happened is said to have failed.
    UnknownAsFailed,
    /// A record is sent while blobs below it are on their way.
    RecordFirst,
    /// A writer does not go above the version that the read quorum told.
    VersionNotRaised,
    /// Two records of one millisecond may get one version.
    VersionTwice,
    /// A forget drops a copy without asking others for theirs.
    ForgetUnasked,

    // Debts.
    /// A copy of a record that failed is not written down.
    RecordNotOwed,
    /// A copy of a blob that failed is not written down.
    BlobNotOwed,
    /// A debt is struck out when its member says no.
    DebtStruckEarly,
    /// A debt that is paid stays on the disk.
    DebtStays,
    /// A start forgets the debts that were written down.
    DebtsForgotten,
    /// Debts that could not be paid at once are not tried again.
    DebtsNotRetried,

    // Reading.
    /// One answer is enough to confirm what is read.
    ReadQuorumOne,
    /// What only a minority of the answers tells of is not looked at.
    MinorityIgnored,
    /// The reader counts a copy too many.
    CopyCountedTwice,
    /// A removal that a replica tells of counts as nothing told.
    TombstoneIgnored,
    /// A get gives an older version than its node has seen.
    OlderGiven,
    /// A record of another name is taken for the one that was asked for.
    OtherNameTaken,
    /// A head is taken whatever its signature is.
    SignatureUnchecked,
    /// A chunk from a peer is opened whatever its hash is.
    ChunkUnchecked,
    /// A range that begins within a chunk is read one byte off.
    RangeShifted,
    /// A blob is asked for at one place only.
    OneSource,
    /// A list passes over the first of the names that are complete at once.
    FirstNameLost,
    /// The last row of a page is lost where another page follows.
    PageBorderLost,
    /// A list shows what was removed to who did not ask for it.
    RemovedListed,
    /// A list does not say that too few replicas have answered.
    ListDoubtHidden,

    // Sessions, members, time.
    /// A connection that is over is not closed.
    CloseForgotten,
    /// An address is not dialled again once its connection has ended.
    NotRedialled,
    /// The deadline for a sign of life is not set again.
    AliveNotRearmed,
    /// A connection on which nothing is proven may stay.
    AdmissionUnlimited,
    /// A request gets the number of one that is outstanding.
    RequestReused,
    /// More requests go out than the peer allows.
    RequestsUnlimited,
    /// What nobody asked for is no fault.
    UnrequestedTaken,
    /// The member map is said to be written down and is not.
    MembersUnkept,
    /// What was seen of names is not written down.
    SeenUnkept,
    /// Two disk operations have one ticket.
    TicketReused,
    /// What a job has made goes to whoever has waited longest.
    JobMisdelivered,

    // Drivers.
    /// A driver loses what is to be written while a commit is on its way.
    DriverLosesWrite,

    // Sealing.
    /// What is sealed is left in clear.
    LeftInClear,
    /// One key seals the bodies of all records.
    OneSiv,
}

/// The bug that is on, counted from 1; 0: none.
#[cfg(feature = "bugs")]
static ON: AtomicU8 = AtomicU8::new(0);

/// How often the bug that is on was met since it was switched on.
#[cfg(feature = "bugs")]
static MET: AtomicU64 = AtomicU64::new(0);

/// From now on the process has this bug, and no other.
#[cfg(feature = "bugs")]
pub fn set(bug: Option<Bug>) {
    MET.store(0, Relaxed);
    ON.store(bug.map_or(0, |bug| bug as u8 + 1), Relaxed);
}

/// How often the bug was met since it was switched on: where that is never,
/// nothing can have found it.
#[cfg(feature = "bugs")]
pub fn met() -> u64 {
    MET.load(Relaxed)
}

/// Whether this bug is to be had.
#[cfg(feature = "bugs")]
pub fn on(bug: Bug) -> bool {
    let on = ON.load(Relaxed) == bug as u8 + 1;
    if on {
        MET.fetch_add(1, Relaxed);
    }
    on
}

/// What is right, or what is wrong where the bug is on.
#[cfg(feature = "bugs")]
pub(crate) fn or<T>(bug: Bug, wrong: T, right: T) -> T {
    if on(bug) { wrong } else { right }
}

/// Whether a record is one that [`Bug::TombstoneIgnored`] passes over.
#[cfg(feature = "bugs")]
pub(crate) fn hides(record: &StoredRecord) -> bool {
    let removes =
        || SignedHead::from_stored(record).is_ok_and(|head| head.head().kind == RecordKind::Remove);
    on(Bug::TombstoneIgnored) && removes()
}

/// Whether this bug is to be had: never.
#[cfg(not(feature = "bugs"))]
#[inline(always)]
pub const fn on(_: Bug) -> bool {
    false
}

/// What is right.
#[cfg(not(feature = "bugs"))]
#[inline(always)]
pub(crate) fn or<T>(_: Bug, _wrong: T, right: T) -> T {
    right
}

/// Whether a record is passed over: none is.
#[cfg(not(feature = "bugs"))]
#[inline(always)]
pub(crate) const fn hides(_: &StoredRecord) -> bool {
    false
}
