//! Who may make a node keep bytes: what claims show, what it allows, and what
//! quotas and placement leave of it.

use std::time::Duration;

use bytes::Bytes;
use peerhold_core::disk::{Debt, DiskError, DiskKind, Owed, StoredRecord};
use peerhold_core::members::{Member, MemberEntry, State};
use peerhold_core::seal::{BLOB_MAX, Content, Grant, SealedBlob};
use peerhold_core::wire::frame::Flags;
use peerhold_core::wire::message::{
    self, Authority, ClaimBlobs, Found, Keep, MembersUpdate, Quota, RecordParts, Refusal, Refused,
    kind,
};
use peerhold_core::{
    BlobId, Event, Input, NamespaceSecret, NodeId, OpError, Outcome, PutId, QuotaOf, UnixMillis,
};

use crate::asking::{PUT, blob, claim_of, claimed, grant, granted};
use crate::fake_peer::{Peer, id};
use crate::host::{Disk, Host, ME, WALL, active, config, member, noise, put_of};
use crate::lies::{chunked, record, record_of};
use crate::writing::{cluster, talk};

/// What a claim of one blob came to.
#[derive(Debug, PartialEq)]
enum Came {
    /// The node asks for the blob.
    Asks,
    Held,
    Refused(Refusal),
}

/// Makes a claim and looks what comes of it.
fn try_claim(host: &mut Host, peer: &mut Peer, claim: &ClaimBlobs) -> Came {
    peer.ask(host, kind::CLAIM, claim);
    if !peer.asked(host, kind::FETCH).is_empty() {
        return Came::Asks;
    }
    let frames = peer.received(host);
    if let Some((_, answer)) = claimed(&frames).first() {
        return answer.refusal.map_or(Came::Held, Came::Refused);
    }
    let refused = frames.iter().find(|frame| frame.kind == kind::REFUSED);
    let Refused { reason } = message::decode(&refused.unwrap().body).unwrap();
    Came::Refused(reason)
}

/// A claim of one blob with this authority.
fn showing(blob: &Bytes, authority: Option<Authority>) -> ClaimBlobs {
    ClaimBlobs {
        authority,
        ..claim_of(&[(BlobId::of(blob), blob.len())])
    }
}

/// What comes of a first claim with this authority, and who is said to lie.
fn first(authority: Option<Authority>) -> (Came, bool) {
    let (mut host, blob) = (Host::new(config(ME)), blob(1000, 7));
    let mut peer = Peer::admitted(&mut host, id(1));
    let came = try_claim(&mut host, &mut peer, &showing(&blob, authority));
    assert!(host.disk.blobs.is_empty() && host.disk.claims.is_empty());
    (came, host.events.contains(&Event::Lied { peer: id(1) }))
}

const UNAUTHORIZED: Came = Came::Refused(Refusal::Unauthorized);

#[test]
fn a_claim_without_a_right_grant_has_nothing_fetched() {
    assert_eq!(first(Some(granted(&grant()))), (Came::Asks, false));
    assert_eq!(first(None), (UNAUTHORIZED, false));
    assert_eq!(
        first(Some(Authority::Grant(vec![7; 100].into()))),
        (UNAUTHORIZED, false)
    );

    let other = NamespaceSecret::from_bytes([8; 32]).writer();
    let foreign = Grant {
        namespace: other.namespace(),
        ..grant()
    };
    let signed = foreign.sign(&other).to_vec();
    assert_eq!(
        first(Some(Authority::Grant(signed.into()))),
        (UNAUTHORIZED, false)
    );
    let put = PutId([4; 16]);
    let replayed = granted(&Grant { put, ..grant() });
    assert_eq!(first(Some(replayed)), (UNAUTHORIZED, false));

    // Only this one is a lie that the peer must know of.
    let forged = grant().sign(&other).to_vec();
    assert_eq!(
        first(Some(Authority::Grant(forged.into()))),
        (UNAUTHORIZED, true)
    );
}

#[test]
fn a_grant_holds_until_ten_minutes_behind_its_end() {
    let expiring = |millis: u64| {
        let expires = UnixMillis(WALL - millis);
        first(Some(granted(&Grant { expires, ..grant() }))).0
    };
    assert_eq!(expiring(600_000), Came::Asks);
    assert_eq!(expiring(600_001), UNAUTHORIZED);
}

#[test]
fn a_grant_that_was_checked_expires_all_the_same() {
    let mut host = Host::new(config(ME));
    let mut peer = Peer::admitted(&mut host, id(1));
    let claims = [1, 2].map(|byte| showing(&blob(1000, byte), Some(granted(&grant()))));
    assert_eq!(try_claim(&mut host, &mut peer, &claims[0]), Came::Asks);
    host.handle(Input::Wall(UnixMillis(WALL + 3_600_000 + 600_001)));
    assert_eq!(try_claim(&mut host, &mut peer, &claims[1]), UNAUTHORIZED);
}

#[test]
fn blobs_beyond_a_grants_limit_are_refused_in_whatever_session() {
    let mut host = Host::new(config(ME));
    let mut peers = [1, 2].map(|byte| Peer::admitted(&mut host, id(byte)));
    let [first, second, small] = [(1000, 1), (1000, 2), (492, 3)].map(|(len, of)| blob(len, of));
    let limit = (first.len() + small.len()) as u64;
    let show = |blob| showing(blob, Some(granted(&Grant { limit, ..grant() })));
    let [one, two] = &mut peers;
    one.ask(&mut host, kind::CLAIM, &show(&first));
    let asked = one.asked(&mut host, kind::FETCH).remove(0);
    one.data(&mut host, &asked, &first);
    assert_eq!(claimed(&one.received(&mut host)).len(), 1);
    assert_eq!(try_claim(&mut host, two, &show(&second)), UNAUTHORIZED);
    // What is there already takes nothing more.
    assert_eq!(try_claim(&mut host, two, &show(&first)), Came::Held);
    assert_eq!(try_claim(&mut host, two, &show(&small)), Came::Asks);
    assert_eq!(try_claim(&mut host, one, &show(&second)), UNAUTHORIZED);
    // A greater one lets the put go on.
    let more = showing(&second, Some(granted(&grant())));
    assert_eq!(try_claim(&mut host, one, &more), Came::Asks);
}

#[test]
fn what_could_not_be_had_leaves_a_grant_as_it_was() {
    let mut host = Host::new(config(ME));
    let mut peer = Peer::admitted(&mut host, id(1));
    let blobs = [1, 2].map(|byte| blob(1000, byte));
    let limit = blobs[0].len() as u64;
    let claims = blobs
        .each_ref()
        .map(|blob| showing(blob, Some(granted(&Grant { limit, ..grant() }))));
    peer.ask(&mut host, kind::CLAIM, &claims[0]);
    let asked = peer.asked(&mut host, kind::FETCH).remove(0);
    peer.refuse(&mut host, &asked, Refusal::Missing);
    assert_eq!(try_claim(&mut host, &mut peer, &claims[1]), Came::Asks);
}

/// A claim of a record's blob that shows this head.
fn headed(record: &StoredRecord, sealed: &SealedBlob, head: &StoredRecord) -> ClaimBlobs {
    ClaimBlobs {
        tag: record.key.tag,
        ..showing(
            &sealed.bytes,
            Some(Authority::Head(head.head.to_vec().into())),
        )
    }
}

#[test]
fn a_head_has_the_blobs_of_its_own_put_kept_and_no_others() {
    let (right, sealed) = chunked("file", &noise(1000));
    let (_, elsewhere) = chunked("file", &noise(999));
    let (other_name, _) = chunked("other", &noise(1000));
    let inline = record("file", b"data", WALL);
    let removal = record_of("file", &Content::Removed, 0, WALL);
    let mut forged = right.clone();
    forged.head = [&right.head[..right.head.len() - 64], &[1; 64]]
        .concat()
        .into();
    let mut host = Host::new(config(ME));
    let mut peer = Peer::admitted(&mut host, id(1));
    for (sealed, head) in [
        (&sealed, &other_name),
        (&sealed, &inline),
        (&sealed, &removal),
        (&sealed, &forged),
        (&elsewhere, &right),
    ] {
        let claim = headed(&right, sealed, head);
        assert_eq!(try_claim(&mut host, &mut peer, &claim), UNAUTHORIZED);
    }
    let other_put = ClaimBlobs {
        put: PutId([4; 16]),
        ..headed(&right, &sealed, &right)
    };
    assert_eq!(try_claim(&mut host, &mut peer, &other_put), UNAUTHORIZED);
    let lies = host.events.iter();
    let lies = lies.filter(|event| **event == Event::Lied { peer: id(1) });
    assert_eq!(lies.count(), 1);
    let claim = headed(&right, &sealed, &right);
    assert_eq!(try_claim(&mut host, &mut peer, &claim), Came::Asks);
}

#[test]
fn a_claim_that_asks_is_answered_and_has_nothing_fetched_or_kept() {
    let (mut host, blob) = (Host::new(config(ME)), blob(1000, 7));
    let mut peer = Peer::admitted(&mut host, id(1));
    let claim = showing(&blob, Some(Authority::Ask));
    let missing = Came::Refused(Refusal::Missing);
    assert_eq!(try_claim(&mut host, &mut peer, &claim), missing);
    host.disk.blobs.insert(BlobId::of(&blob), blob.clone());
    assert_eq!(try_claim(&mut host, &mut peer, &claim), Came::Held);
    assert!(host.disk.claims.is_empty());
}

#[test]
fn a_forged_removal_is_not_kept_and_its_sender_named() {
    let (mut host, stored) = (Host::new(config(ME)), record("file", b"data", WALL));
    host.disk.records.insert(stored.key, vec![stored.clone()]);
    let mut removal = record_of("file", &Content::Removed, 0, WALL + 1);
    removal.head = [&removal.head[..removal.head.len() - 64], &[1; 64]]
        .concat()
        .into();
    let mut peer = Peer::admitted(&mut host, id(1));
    let record = RecordParts::from(&removal);
    for repair in [false, true] {
        let keep = Keep {
            record: record.clone(),
            repair,
        };
        peer.ask(&mut host, kind::KEEP, &keep);
        let answer = peer.received(&mut host).pop().unwrap();
        let reason = Refusal::Invalid;
        assert_eq!(message::decode(&answer.body), Ok(Refused { reason }));
    }
    assert_eq!(host.disk.records[&stored.key], [stored]);
    assert!(host.events.contains(&Event::Lied { peer: id(1) }));
}

// Quotas.

#[test]
fn a_peer_with_as_much_on_its_way_as_it_may_is_refused_until_that_is_there() {
    let mut config = config(ME);
    config.limits.peer_bytes = Some(BLOB_MAX as u64);
    let mut host = Host::new(config);
    let mut peers = [1, 2].map(|byte| Peer::admitted(&mut host, id(byte)));
    let blobs = [1, 2].map(|byte| blob(600_000, byte));
    let [one, two] = &mut peers;
    let claims = blobs
        .each_ref()
        .map(|blob| claim_of(&[(BlobId::of(blob), blob.len())]));
    one.ask(&mut host, kind::CLAIM, &claims[0]);
    let asked = one.asked(&mut host, kind::FETCH).remove(0);
    let over = Came::Refused(Refusal::PeerQuota(Quota {
        limit: BLOB_MAX as u64,
        used: 600_008,
    }));
    assert_eq!(try_claim(&mut host, one, &claims[1]), over);
    assert_eq!(try_claim(&mut host, two, &claims[1]), Came::Asks);
    one.data(&mut host, &asked, &blobs[0]);
    one.received(&mut host);
    let third = blob(600_000, 3);
    let claim = claim_of(&[(BlobId::of(&third), third.len())]);
    assert_eq!(try_claim(&mut host, one, &claim), Came::Asks);
}

#[test]
fn a_namespace_over_its_quota_is_told_so_with_numbers() {
    let mut host = Host::new(config(ME));
    let (limit, used) = (5000, 4500);
    host.fault = Some(Box::new(move |kind| match kind {
        DiskKind::Claim(_) | DiskKind::PutRecord(_) => Some(DiskError::Quota { limit, used }),
        _ => None,
    }));
    let mut peer = Peer::admitted(&mut host, id(1));
    let blob = blob(1000, 7);
    let reason = Refusal::NamespaceQuota(Quota { limit, used });
    let claim = claim_of(&[(BlobId::of(&blob), blob.len())]);
    let over = Came::Refused(reason);
    assert_eq!(try_claim(&mut host, &mut peer, &claim), over);
    let record = RecordParts::from(&record("file", b"data", WALL));
    let repair = false;
    peer.ask(&mut host, kind::KEEP, &Keep { record, repair });
    let answer = peer.received(&mut host).pop().unwrap();
    assert_eq!(message::decode(&answer.body), Ok(Refused { reason }));
}

#[test]
fn a_put_that_quotas_leave_too_few_copies_fails_at_once_and_says_why() {
    let (limit, used) = (5000, 4500);
    let says = Some(Err(Refusal::NamespaceQuota(Quota { limit, used })));
    let over = |unknown| OpError::OverQuota {
        member: id(1),
        of: QuotaOf::Namespace,
        limit,
        used,
        unknown,
    };
    for small in [false, true] {
        let (mut host, mut replicas) = cluster();
        for replica in &mut replicas {
            (replica.claims, replica.keeps) = (says, says);
        }
        let size = if small { 5 } else { 100_000 };
        let op = host.put("file", &noise(size));
        talk(&mut host, &mut replicas, 0);
        let Some(Err(mut error)) = host.result(op) else {
            panic!("{size}");
        };
        if let OpError::OverQuota { member, .. } = &mut error {
            assert!([id(1), id(2)].contains(member));
            *member = id(1);
        }
        // This node has the record: it may be the newest one day.
        assert_eq!(error, over(small));
        assert_eq!(host.memory(), 0);
    }
    // One that has no room is owed, like one that is away.
    let (mut host, mut replicas) = cluster();
    (replicas[0].claims, replicas[0].keeps) = (says, says);
    let op = host.put("file", &noise(100_000));
    talk(&mut host, &mut replicas, 1);
    assert!(matches!(host.result(op), Some(Ok(Outcome::Stored(_)))));
    assert!(host.node.status().debts > 0);
}

// Writers and payers.

/// Grants that claims show, with how many bytes each claim is of.
fn shown(peer: &mut Peer, host: &mut Host) -> Vec<(Grant, u64)> {
    let claims = peer.asked(host, kind::CLAIM);
    let shown = claims.iter().map(|frame| {
        let claim: ClaimBlobs = message::decode(&frame.body).unwrap();
        let Some(Authority::Grant(bytes)) = claim.authority else {
            panic!("{:?}", claim.authority);
        };
        let grant = Grant::verify(&bytes).unwrap();
        assert_eq!((grant.namespace, grant.put), (claim.namespace, claim.put));
        let bytes = claim.blobs.iter().map(|blob| u64::from(blob.len)).sum();
        (grant, bytes)
    });
    shown.collect()
}

#[test]
fn a_put_that_outlives_its_grant_makes_another() {
    let mut host = Host::founded(config(ME), &[id(1), id(2)]);
    let mut peer = Peer::admitted(&mut host, id(1));
    let op = host.node.put(host.now, put_of("file")).unwrap();
    let push = |host: &mut Host, byte: u8| {
        let data = Bytes::from(vec![byte; 65_536]);
        host.node.push(host.now, op, data).unwrap();
        host.run();
    };
    let hours = |n: u64| UnixMillis(WALL + n * 3_600_000);
    push(&mut host, 1);
    push(&mut host, 2);
    let grants = shown(&mut peer, &mut host);
    assert_eq!(grants[0].0.expires, hours(4));
    assert_eq!(grants[0].0.limit, 32 << 20);
    for (at, expires) in [(1, 4), (2, 4), (9, 13)] {
        host.handle(Input::Wall(hours(at)));
        push(&mut host, 2 + at as u8);
        let grants = shown(&mut peer, &mut host);
        assert_eq!(grants.last().unwrap().0.expires, hours(expires), "{at}");
    }
}

/// A client that owes id(1) a blob of this record's.
fn owing_blob(record: &StoredRecord, sealed: &SealedBlob) -> (Host, [Peer; 3]) {
    let claim = peerhold_core::disk::Claim {
        blob: sealed.id,
        len: sealed.bytes.len() as u32,
        namespace: record.key.namespace,
        tag: record.key.tag,
        put: PUT,
    };
    let id_ = record.id();
    let owed = Owed::Blob { claim, id: id_ };
    let target = id(1);
    let mut config = config(ME);
    config.weight = 0;
    let disk = Disk {
        members: Some(active(&[id(1), id(2), id(3)])),
        debts: [Debt { target, owed }].into(),
        ..Disk::default()
    };
    let mut host = Host::with_disk(config, disk);
    let [three, two, one] = [3, 2, 1].map(|byte| Peer::admitted(&mut host, id(byte)));
    (host, [one, two, three])
}

/// Answers look-ups for a while; the claims that id(1) is made.
fn answer_lookups(
    host: &mut Host,
    peers: &mut [Peer; 3],
    told: impl Fn(NodeId) -> Option<StoredRecord>,
) -> Vec<ClaimBlobs> {
    for _ in 0..8 {
        for peer in peers.iter_mut() {
            for frame in peer.asked(host, kind::LOOKUP) {
                let record = told(peer.id).map(|record| RecordParts::from(&record));
                peer.answer(host, &frame, &Found { record });
            }
        }
    }
    let claims = peers[0].asked(host, kind::CLAIM);
    let claims = claims.iter().map(|frame| message::decode(&frame.body));
    claims.collect::<Result<_, _>>().unwrap()
}

#[test]
fn a_blob_that_is_owed_is_claimed_with_the_head_of_its_record() {
    let (record, sealed) = chunked("file", &noise(1000));
    let mut forged = record.clone();
    forged.head = [&record.head[..record.head.len() - 64], &[1; 64]]
        .concat()
        .into();
    for liar in [2, 3] {
        let (mut host, mut peers) = owing_blob(&record, &sealed);
        let told = |peer| match peer {
            _ if peer == id(1) => None,
            _ if peer == id(liar) => Some(forged.clone()),
            _ => Some(record.clone()),
        };
        let claims = answer_lookups(&mut host, &mut peers, told);
        let head = Authority::Head(record.head.to_vec().into());
        assert_eq!(claims.len(), 1);
        assert_eq!(claims[0].authority, Some(head));
        assert_eq!(claims[0].blobs[0].id, sealed.id);
    }
}

#[test]
fn a_blob_of_a_put_that_came_to_nothing_is_owed_no_more_when_all_have_told() {
    let (record, sealed) = chunked("file", &noise(1000));
    let (mut host, mut peers) = owing_blob(&record, &sealed);
    let frames = peers
        .each_mut()
        .map(|peer| peer.asked(&mut host, kind::LOOKUP));
    assert_eq!(frames.iter().flatten().count(), 1);
    for (peer, frame) in peers
        .iter_mut()
        .zip(&frames)
        .filter_map(|(peer, frames)| Some((peer, frames.first()?)))
    {
        peer.answer(&mut host, frame, &Found { record: None });
    }
    assert_eq!(host.node.status().debts, 1);
    assert_eq!(answer_lookups(&mut host, &mut peers, |_| None), []);
    assert_eq!(host.node.status().debts, 0);
    assert!(host.disk.debts.is_empty());
}

#[test]
fn a_blob_whose_record_only_the_debtor_has_and_damaged_is_owed_no_more() {
    let (record, sealed) = chunked("file", &noise(1000));
    let (mut host, mut peers) = owing_blob(&record, &sealed);
    host.disk.damaged.insert(record.id());
    host.disk
        .records
        .insert(record.key, [record.clone()].into());
    assert_eq!(host.node.status().debts, 1);
    assert_eq!(answer_lookups(&mut host, &mut peers, |_| None), []);
    assert_eq!(host.node.status().debts, 0);

    // Whoever else has it shows it.
    let (mut host, mut peers) = owing_blob(&record, &sealed);
    host.disk.damaged.insert(record.id());
    host.disk
        .records
        .insert(record.key, [record.clone()].into());
    let told = |peer| (peer == id(3)).then(|| record.clone());
    assert_eq!(answer_lookups(&mut host, &mut peers, told).len(), 1);
    assert_eq!(host.node.status().debts, 1);
}

#[test]
fn what_a_put_owes_for_its_blobs_is_written_down_before_its_record_is_sent() {
    let (mut host, mut replicas) = cluster();
    replicas[0].claims = Some(Err(Refusal::NoSpace));
    replicas[1].keeps = None;
    host.hold_back = Some(|kind| matches!(kind, DiskKind::PutDebts(_)));
    let op = host.put("file", &noise(100_000));
    talk(&mut host, &mut replicas, 0);
    assert_eq!(host.held_back.len(), 1);
    assert!(replicas[1].peer.asked(&mut host, kind::KEEP).is_empty());
    host.release();
    assert_eq!(replicas[1].peer.asked(&mut host, kind::KEEP).len(), 1);
    assert_eq!(host.result(op), None);
}

// Placement.

/// Tells a member map in which these are active.
fn tell_map(host: &mut Host, peer: &Peer, nodes: &[NodeId]) {
    let member: Member = member(State::Active);
    let entries = nodes.iter().map(|node| MemberEntry {
        node: *node,
        member,
    });
    let update = MembersUpdate {
        entries: entries.collect(),
        holding: true,
    };
    peer.tell(host, kind::MEMBERS, &update);
}

/// A blob that placement gives to the node, or does not.
fn placed(nodes: &[NodeId], here: bool) -> Bytes {
    let members = nodes.iter().map(|node| (*node, member(State::Active)));
    let map: peerhold_core::Members = members.collect();
    let mut placement = peerhold_core::placement::Placement::new(&map.candidates(), 3, nodes.len());
    let mut blobs = (0..=u8::MAX).map(|byte| blob(1000, byte));
    let mut is_here = |blob: &Bytes| {
        let slot = peerhold_core::placement::Slot::of_blob(&BlobId::of(blob));
        placement.replicas(slot).contains(&ME)
    };
    blobs.find(|blob| is_here(blob) == here).unwrap()
}

#[test]
fn a_blob_is_refused_for_placement_only_by_a_map_that_both_have() {
    let others = [1, 2, 3, 4].map(id);
    let all: Vec<NodeId> = others.into_iter().chain([ME]).collect();
    for (told, here, came) in [
        (Some(&all[..]), false, Came::Refused(Refusal::NotReplica)),
        (Some(&all[..]), true, Came::Asks),
        (Some(&all[..4]), false, Came::Asks),
        (None, false, Came::Asks),
    ] {
        let mut host = Host::founded(config(ME), &others);
        let mut peer = Peer::admitted(&mut host, id(1));
        if let Some(told) = told {
            tell_map(&mut host, &peer, told);
        }
        let blob = placed(&all, here);
        let claim = claim_of(&[(BlobId::of(&blob), blob.len())]);
        assert_eq!(try_claim(&mut host, &mut peer, &claim), came);
    }
}

#[test]
fn a_record_is_refused_for_placement_only_by_a_map_that_both_have() {
    let others = [1, 2, 3, 4].map(id);
    let all: Vec<NodeId> = others.into_iter().chain([ME]).collect();
    let mut refusals = 0;
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        for repair in [false, true] {
            let mut host = Host::founded(config(ME), &others);
            let mut peer = Peer::admitted(&mut host, id(1));
            tell_map(&mut host, &peer, &all);
            let stored = record(name, b"data", WALL);
            let record = RecordParts::from(&stored);
            let keep = Keep { record, repair };
            peer.ask(&mut host, kind::KEEP, &keep);
            let answer = peer.received(&mut host).pop().unwrap();
            let refused = answer.kind == kind::REFUSED;
            assert_eq!(host.disk.records.contains_key(&stored.key), !refused);
            if refused {
                refusals += 1;
                let reason = Refusal::NotReplica;
                assert_eq!(message::decode(&answer.body), Ok(Refused { reason }));
                // As soon as the peer knows fewer members, it may be right.
                tell_map(&mut host, &peer, &all[..4]);
                peer.ask(&mut host, kind::KEEP, &keep);
                assert!(host.disk.records.contains_key(&stored.key));
            }
        }
    }
    assert!((1..16).contains(&refusals), "{refusals}");
}

#[test]
fn a_writer_goes_on_when_a_replica_says_that_it_is_none() {
    let (mut host, mut replicas) = cluster();
    replicas[0].claims = Some(Err(Refusal::NotReplica));
    replicas[0].keeps = Some(Err(Refusal::NotReplica));
    let op = host.put("file", &noise(100_000));
    talk(&mut host, &mut replicas, 1);
    assert!(matches!(host.result(op), Some(Ok(Outcome::Stored(_)))));
    // By this node's map it is one: what it lacks stays owed.
    assert!(host.node.status().debts > 0);
    (replicas[0].claims, replicas[0].keeps) = (Some(Ok(())), Some(Ok(())));
    for _ in 0..3 {
        talk(&mut host, &mut replicas, 1);
        host.pass(Duration::from_secs(16));
        for replica in &replicas {
            replica
                .peer
                .send(&mut host, kind::PONG, Flags::NONE, 0, &[]);
        }
    }
    talk(&mut host, &mut replicas, 1);
    assert_eq!(host.node.status().debts, 0);
}
