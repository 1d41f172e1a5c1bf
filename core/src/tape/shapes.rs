//! What stands on a tape of each type that a node takes or gives. A field or
//! variant that is added there has to be added here.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use super::value::{Decoder, Malformed, Out, Readable, Written, array_of, fields, fixed, variants};
use crate::config::{Bootstrap, ClusterKey, Config, Limits, Timing};
use crate::disk::{
    Claim, Debt, DiskData, DiskError, DiskKind, DiskOp, Loaded, Owed, Page, Part, RecordKey, Row,
    Seen, StoredRecord,
};
use crate::error::{Busy, OpError, PeerFault, PushError, QuotaOf};
use crate::id::{BlobId, ConnId, NameTag, NamespaceId, NodeId, OpId, PutId};
use crate::input::{CloseReason, PeerAddr, Role};
use crate::job::Job;
use crate::output::{
    Access, Damage, Entry, Event, FileInfo, Forget, Fork, Get, History, List, Listed, Outcome, Put,
    Remove, Restore, Stored, Told, Unconfirmed,
};
use crate::policy::{Policy, Storing, Terms};
use crate::seal::{FileCapability, Name, Reader, Writer};
use crate::time::{Instant, UnixMillis};
use crate::version::{RecordId, Version};

// What a node is made of.
fields!(Config {
    node,
    cluster_keys,
    replicas,
    durable,
    weight,
    zone,
    policy,
    deny,
    advertise,
    bootstrap,
    chunk_bytes,
    pad_bytes,
    limits,
    timing,
});
fields!(Bootstrap { addr, expect });
fields!(Policy {
    storing,
    weight_max,
});
variants!(Storing {
    Open,
    Allow(list),
});
fields!(Terms { weight_max, zone });
fields!(Limits {
    connections,
    operations,
    memory,
    disk_operations,
    requests,
    members,
    addresses,
    debts,
    peer_bytes,
    seen,
    upload,
    download,
});
fields!(Timing {
    admission,
    keep_alive,
    idle,
    request,
    answer,
    operation,
    grant,
    dial_min,
    dial_max,
});

// Commands.
fields!(Put {
    writer,
    name,
    modified,
});
fields!(Get {
    access,
    range,
    confirmed,
    older,
});
variants!(Access {
    Name { reader, name, version },
    File(file),
});
fields!(List {
    reader,
    prefix,
    after,
    removed,
});
fields!(History {
    reader,
    name,
    below,
});
fields!(Remove { writer, name });
fields!(Restore { writer, name, id });
fields!(Forget { reader, name });

// Facts.
variants!(Role { Dialer, Listener });
variants!(CloseReason {
    Eof,
    Reset,
    Channel,
    Local,
});

// What disk operations are and bring.
variants!(out DiskKind {
    Load,
    PutBlob { claim, bytes },
    Claim(claim),
    HasBlob(blob),
    GetBlob(blob),
    ForgetBlob(blob),
    PutRecord(record),
    GetRecord { key, at, part },
    ListNames { namespace, after, max },
    ListVersions { key, below, max },
    PutMembers(members),
    PutDebts(debts),
    ClearDebts(debts),
    NoteSeen { seen, forget },
});
variants!(DiskData {
    Done,
    Loaded(loaded),
    Claimed { held },
    Blob(bytes),
    Record(record),
    Page(page),
});
variants!(DiskError {
    NotFound,
    Corrupt,
    NoSpace,
    Quota { limit, used },
    SyncFailed,
    Io(words),
});
variants!(out Part { Head, Meta, All });
variants!(Row {
    Record(record),
    Damaged { tag, id },
});
variants!(Owed {
    Blob { claim, id },
    Record { key, id },
});
fields!(Page { rows, more });
fields!(Loaded {
    starts,
    members,
    debts,
    seen,
    records,
    blobs,
    lost,
    index_rebuilt,
});
fields!(Claim {
    blob,
    len,
    namespace,
    tag,
    put,
});
fields!(Debt { target, owed });
fields!(Seen { key, id, order });
fields!(RecordKey { namespace, tag });
fields!(StoredRecord {
    key,
    version,
    head_hash,
    head,
    meta,
    content,
});
fields!(RecordId { version, head });

// What a node says.
variants!(out Event {
    Ready,
    Dial { conn, addr, expect },
    Close { conn },
    PeerUp { peer },
    PeerDown { peer, fault },
    Refused { conn, peer, fault, reason },
    Crowded,
    Members,
    MapDiffers { peer },
    Began { op, put },
    Opened { op, file },
    Readable { op },
    Writable { op },
    Progress { op, bytes },
    Finished { op, result },
    Settled { op },
    Lied { peer },
    Unkept { peer, key },
    Forked(fork),
    Damaged(damage),
    Trouble(error),
});
variants!(out Damage {
    Blob(blob),
    Record(key),
    Log { entries },
    Index,
});
variants!(out Outcome {
    Stored(stored),
    Read(file),
    Listed(listed),
    Removed(stored),
    Forgotten { blobs, kept },
});
fields!(out Stored {
    version,
    put,
    size,
    copies,
    replicas,
});
fields!(out Fork { key, records });
fields!(out Told { id, head, by });
fields!(out FileInfo {
    key,
    name,
    size,
    modified,
    id,
    put,
    siv,
    range,
    unconfirmed,
});
fields!(out Entry {
    name,
    size,
    modified,
    tag,
    id,
    put,
    removed,
    copies,
    unconfirmed,
});
fields!(out Listed {
    entries,
    unreadable,
    answered,
    members,
    needed,
    unread,
});
fields!(out Unconfirmed {
    answered,
    needed,
    copies,
    durable,
});
variants!(out PeerFault {
    AdmissionTimeout,
    Version(version),
    WrongKey,
    Denied,
    Myself,
    WrongPeer,
    BadFrame,
    BadMessage,
    OutOfTurn,
    Unrequested,
    TooManyRequests,
    Silent,
});
variants!(out QuotaOf { Namespace, Peer });
variants!(out OpError {
    NotFound,
    NothingToRestore,
    Unavailable { copies, needed, unknown },
    Indebted { debts },
    OverQuota { member, of, limit, used, unknown },
    Older { found, seen },
    Unconfirmed { answered, needed },
    Missing,
    Unreadable(why),
    Range { start, end, size },
    NoVersion(version),
    TooLarge,
    Disk(error),
    Cancelled { unknown },
});

/// Where it is from does not matter: it came back as it was.
impl<T> Written for Busy<T> {
    fn write(&self, out: &mut Out<'_>) {
        out.text("Busy");
    }
}

impl Written for () {
    fn write(&self, out: &mut Out<'_>) {
        out.null();
    }
}

variants!(out PushError {
    Busy(data),
    Gone(data),
});

impl Written for DiskOp {
    fn write(&self, out: &mut Out<'_>) {
        out.array(2);
        self.ticket().write(out);
        self.kind().write(out);
    }
}

/// Which work it is, and how much: what it is done to came from elsewhere, and
/// what comes of it shows in what the node then does.
impl Written for Job {
    fn write(&self, out: &mut Out<'_>) {
        out.array(3);
        self.ticket().write(out);
        out.text(self.name());
        self.cost().write(out);
    }
}

macro_rules! fixed_bytes {
    ($($type:ident)*) => {
        $(
            impl Written for $type {
                fn write(&self, out: &mut Out<'_>) {
                    out.fixed(&self.0);
                }
            }

            impl Readable for $type {
                fn read(d: &mut Decoder<'_>) -> Result<Self, Malformed> {
                    fixed(d).map(Self)
                }
            }
        )*
    };
}

fixed_bytes!(NodeId NamespaceId BlobId NameTag PutId);

macro_rules! counters {
    ($($type:ident)*) => {
        $(
            impl Written for $type {
                fn write(&self, out: &mut Out<'_>) {
                    out.number(self.get());
                }
            }

            impl Readable for $type {
                fn read(d: &mut Decoder<'_>) -> Result<Self, Malformed> {
                    Readable::read(d).map(Self::from_number)
                }
            }
        )*
    };
}

counters!(ConnId OpId);

impl Written for [u8; 32] {
    fn write(&self, out: &mut Out<'_>) {
        out.fixed(self);
    }
}

impl Readable for [u8; 32] {
    fn read(d: &mut Decoder<'_>) -> Result<Self, Malformed> {
        fixed(d)
    }
}

impl Written for [Told; 2] {
    fn write(&self, out: &mut Out<'_>) {
        out.array(2);
        self.iter().for_each(|told| told.write(out));
    }
}

impl Written for Version {
    fn write(&self, out: &mut Out<'_>) {
        out.fixed(&self.to_bytes());
    }
}

impl Readable for Version {
    fn read(d: &mut Decoder<'_>) -> Result<Self, Malformed> {
        fixed(d).map(Self::from_bytes)
    }
}

impl Written for Instant {
    fn write(&self, out: &mut Out<'_>) {
        out.number(self.as_nanos());
    }
}

impl Readable for Instant {
    fn read(d: &mut Decoder<'_>) -> Result<Self, Malformed> {
        d.u64().map(Self::from_nanos)
    }
}

impl Written for UnixMillis {
    fn write(&self, out: &mut Out<'_>) {
        out.number(self.0);
    }
}

impl Readable for UnixMillis {
    fn read(d: &mut Decoder<'_>) -> Result<Self, Malformed> {
        d.u64().map(Self)
    }
}

impl Written for PeerAddr {
    fn write(&self, out: &mut Out<'_>) {
        out.text(self.as_str());
    }
}

impl Readable for PeerAddr {
    fn read(d: &mut Decoder<'_>) -> Result<Self, Malformed> {
        d.str().map(Self::from)
    }
}

impl Written for Name {
    fn write(&self, out: &mut Out<'_>) {
        out.text(self.as_str());
    }
}

impl Readable for Name {
    fn read(d: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let at = d.position();
        Self::new(d.str()?).map_err(|_| Malformed::message("no name of a file").at(at))
    }
}

impl Written for ClusterKey {
    fn write(&self, out: &mut Out<'_>) {
        out.fixed(self.expose());
    }
}

impl Readable for ClusterKey {
    fn read(d: &mut Decoder<'_>) -> Result<Self, Malformed> {
        fixed(d).map(Self::from_bytes)
    }
}

impl Written for Reader {
    fn write(&self, out: &mut Out<'_>) {
        let keys = self.expose();
        out.array(keys.len().saturating_add(1));
        self.namespace().write(out);
        keys.iter().for_each(|key| out.fixed(*key));
    }
}

impl Readable for Reader {
    fn read(d: &mut Decoder<'_>) -> Result<Self, Malformed> {
        array_of(d, 6)?;
        let namespace = Readable::read(d)?;
        let keys = [fixed(d)?, fixed(d)?, fixed(d)?, fixed(d)?, fixed(d)?];
        Ok(Self::from_exposed(namespace, keys))
    }
}

impl Written for FileCapability {
    fn write(&self, out: &mut Out<'_>) {
        out.fixed(&*self.to_bytes());
    }
}

impl Readable for FileCapability {
    fn read(d: &mut Decoder<'_>) -> Result<Self, Malformed> {
        fixed(d).map(|bytes| Self::from_bytes(&bytes))
    }
}

impl Written for Writer {
    fn write(&self, out: &mut Out<'_>) {
        out.array(2);
        out.fixed(&*self.expose_signing());
        out.fixed(&*self.read_key().to_bytes());
    }
}

impl Readable for Writer {
    fn read(d: &mut Decoder<'_>) -> Result<Self, Malformed> {
        array_of(d, 2)?;
        let signing = fixed(d)?;
        let read_key = fixed(d)?;
        Ok(Self::from_exposed(&signing, &read_key))
    }
}
