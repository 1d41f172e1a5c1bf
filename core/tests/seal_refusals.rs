//! What is sealed opens to what it was; what was changed anywhere does not.

use bytes::Bytes;
use peerhold_core::id::{BlobId, PutId};
use peerhold_core::seal::{
    BLOB_HEADER, BlobHeader, BlobKey, BlobKind, ChunkBuffer, Content, Draft, Entry, FANOUT_MAX,
    HEAD_MAX, Head, HeaderError, INLINE_MAX, Meta, Name, NamespaceSecret, NodeError, OpenError,
    PAYLOAD_MAX, RecordError, RecordKind, Root, SealError, SealedBlob, SealedRecord, Shape,
    SignedHead, Writer, children, open_chunk, open_meta, open_node, open_record, seal_chunk,
    seal_node, seal_record, verify_blob,
};
use peerhold_core::time::UnixMillis;
use peerhold_core::version::Version;

quickcheck::quickcheck! {
    fn chunks_open_to_what_was_sealed(plain: Vec<u8>, pad_to: u16, shared: bool, verified: bool) -> bool {
        let plain = [&plain[..], b"."].concat();
        let sealed = chunk(&plain, pad_to.into());
        let padded = sealed.bytes.len() - BLOB_HEADER;
        let kept = shared.then(|| sealed.bytes.clone());
        let len = sealed.len as u32;
        let opened = open_chunk(&sealed.id, &sealed.key, len, sealed.bytes, verified);
        drop(kept);
        padded == plain.len().next_multiple_of(usize::from(pad_to).max(1))
            && opened.as_deref() == Ok(&plain[..])
    }

    fn inline_records_open_to_what_was_sealed(plain: Vec<u8>, modified: Option<u64>, name: String) -> bool {
        let Ok(name) = Name::new(&name) else { return true };
        let size = plain.len() as u64;
        let meta = Meta { name, size, modified: modified.map(UnixMillis), chunk_size: 512 };
        let content = Content::Inline(plain.into());
        let sealed = seal_record(&writer(), draft(), &meta, &content).unwrap();
        let stored = SealedRecord::from_stored(sealed.to_stored()).unwrap();
        let head = SignedHead::verify(stored.head.bytes().clone()).unwrap();
        head == sealed.head
            && open_meta(writer().reader(), &head, &stored.meta).as_ref() == Ok(&meta)
            && open_record(writer().reader(), &head, &stored.meta, &stored.content) == Ok((meta, content))
    }

    fn no_bytes_make_a_decoder_panic(noise: Vec<u8>, at: usize) -> bool {
        // Noise by itself, and noise written over something real.
        let record = record();
        let node = node(&[chunk(b"one", 1).entry()]).bytes;
        for real in [&node, record.head.bytes(), &record.meta] {
            let mut bytes = real.to_vec();
            let at = at % bytes.len();
            bytes.iter_mut().skip(at).zip(&noise).for_each(|(byte, noise)| *byte = *noise);
            for bytes in [&bytes, &noise] {
                let _ = BlobHeader::parse(bytes);
                let _ = children(bytes);
                let _ = Head::decode(bytes);
                let _ = SignedHead::verify(Bytes::copy_from_slice(bytes));
                let _ = open_chunk(&BlobId::of(bytes), &key(), 3, Bytes::copy_from_slice(bytes), true);
                let _ = open_node(writer().reader(), &BlobId::of(bytes), &key(), &shape(1, 3), bytes);
            }
        }
        true
    }
}

#[test]
fn a_full_chunk_is_sealed_where_it_lies() {
    let mut buffer = ChunkBuffer::with_capacity(PAYLOAD_MAX);
    assert_eq!(buffer.extend(&vec![5; PAYLOAD_MAX + 9]), PAYLOAD_MAX);
    assert_eq!(
        (buffer.len(), buffer.remaining(), buffer.extend(b"more")),
        (PAYLOAD_MAX, 0, 0)
    );
    let sealed = seal_chunk(writer().reader(), buffer, 3000).unwrap();
    assert_eq!(sealed.bytes.len(), BLOB_HEADER + PAYLOAD_MAX);
    let place = sealed.bytes.as_ptr() as usize;
    let opened = open_chunk(
        &sealed.id,
        &sealed.key,
        PAYLOAD_MAX as u32,
        sealed.bytes,
        false,
    )
    .unwrap();
    assert_eq!(opened.as_ptr() as usize, place + BLOB_HEADER);
    assert!(opened.iter().all(|byte| *byte == 5));
}

#[test]
fn small_files_leave_the_chunk_buffer_as_they_are() {
    let mut buffer = ChunkBuffer::with_capacity(4);
    assert_eq!(
        (
            buffer.is_empty(),
            buffer.extend(b"abc"),
            buffer.extend(b"de")
        ),
        (true, 3, 1)
    );
    assert_eq!(buffer.into_plain(), "abcd");
    let empty = seal_chunk(writer().reader(), ChunkBuffer::with_capacity(4), 8);
    assert_eq!(empty, Err(SealError::EmptyChunk));
}

#[test]
fn a_chunk_with_any_byte_changed_is_refused() {
    let sealed = chunk(b"some plaintext", 32);
    each_change(&sealed.bytes, |bytes| {
        assert!(!verify_blob(&sealed.id, bytes));
        let bytes = Bytes::copy_from_slice(bytes);
        let opened = open_chunk(&sealed.id, &sealed.key, 14, bytes, false);
        assert_eq!(opened, Err(OpenError::OtherBlob));
    });
    each_cut(&sealed.bytes, |bytes| {
        assert!(!verify_blob(&sealed.id, bytes))
    });
    assert!(verify_blob(&sealed.id, &sealed.bytes));
    assert!(!verify_blob(
        &BlobId::of(b"no blob at all"),
        b"no blob at all"
    ));
}

#[test]
fn a_manifest_node_is_no_chunk() {
    let node = node(&[chunk(b"one!", 1).entry()]);
    let opened = open_chunk(&node.id, &node.key, 4, node.bytes, false);
    assert_eq!(opened, Err(OpenError::Manifest));
}

#[test]
fn padding_that_is_not_zero_and_lengths_that_do_not_fit_are_refused() {
    let sealed = chunk(b"some plaintext", 32);
    let open = |key: &BlobKey, len| open_chunk(&sealed.id, key, len, sealed.bytes.clone(), false);
    assert_eq!(open(&sealed.key, 13), Err(OpenError::Padding));
    assert_eq!(open(&key(), 14), Err(OpenError::Padding));
    for len in [0, 33, u32::MAX] {
        assert_eq!(
            open(&sealed.key, len),
            Err(OpenError::Length { len, payload: 32 })
        );
    }
    assert_eq!(open(&sealed.key, 15).unwrap(), "some plaintext\0");
}

#[test]
fn headers_are_strict() {
    let real = chunk(b"abc", 1).bytes;
    let with = |at: usize, byte: u8| {
        let mut bytes = real.to_vec();
        bytes[at] = byte;
        BlobHeader::parse(&bytes)
    };
    assert_eq!(
        BlobHeader::parse(&real),
        Ok(BlobHeader {
            kind: BlobKind::Chunk,
            payload: 3
        })
    );
    assert_eq!(
        BlobHeader::parse(&real[..7]),
        Err(HeaderError::Short { len: 7 })
    );
    assert_eq!(with(0, 0), Err(HeaderError::Magic));
    assert_eq!(with(2, 2), Err(HeaderError::Format(2)));
    assert_eq!(with(3, 0), Err(HeaderError::Kind(0)));
    assert_eq!(
        with(7, 4),
        Err(HeaderError::Length {
            stated: 4,
            actual: 3
        })
    );
    assert_eq!(with(7, 0), Err(HeaderError::Payload(0)));
    assert_eq!(with(5, 0x10), Err(HeaderError::Payload(0x10_0003)));
}

#[test]
fn a_node_with_any_byte_changed_is_refused_even_under_its_own_id() {
    let entries = [chunk(b"one!", 1).entry(), chunk(b"two", 1).entry()];
    let sealed = node(&entries);
    let open = |id: &BlobId, bytes: &[u8]| {
        open_node(writer().reader(), id, &sealed.key, &shape(1, 7), bytes)
    };
    assert_eq!(open(&sealed.id, &sealed.bytes).unwrap().entries, entries);
    each_change(&sealed.bytes, |bytes| {
        assert_eq!(open(&sealed.id, bytes), Err(OpenError::OtherBlob));
        assert!(open(&BlobId::of(bytes), bytes).is_err());
    });
    each_cut(&sealed.bytes, |bytes| {
        assert!(open(&BlobId::of(bytes), bytes).is_err());
        assert!(children(bytes).is_err());
    });
    let wrong_key = open_node(
        writer().reader(),
        &sealed.id,
        &key(),
        &shape(1, 7),
        &sealed.bytes,
    );
    assert_eq!(wrong_key, Err(OpenError::OtherKey));
}

#[test]
fn a_node_must_fit_its_place() {
    let sealed = node(&[chunk(b"one!", 1).entry(), chunk(b"two", 1).entry()]);
    let open = |shape: Shape| match open_node(
        writer().reader(),
        &sealed.id,
        &sealed.key,
        &shape,
        &sealed.bytes,
    ) {
        Err(OpenError::Node(error)) => Some(error),
        _ => None,
    };
    assert_eq!(open(shape(1, 7)), None);
    assert_eq!(
        open(shape(2, 7)),
        Some(NodeError::OtherLevel {
            expected: 2,
            found: 1
        })
    );
    assert_eq!(open(shape(1, 8)), Some(NodeError::Sum));
    for chunk_size in [0, 2, 8] {
        let odd = Shape {
            chunk_size,
            ..shape(1, 7)
        };
        assert_eq!(open(odd), Some(NodeError::ChunkSize(chunk_size)));
    }
    let chunk = chunk(b"one!", 1);
    assert_eq!(children(&chunk.bytes), Err(NodeError::Chunk));
}

#[test]
fn children_must_fit_the_chunk_size() {
    let entry = |len| Entry {
        len,
        ..chunk(b"x", 1).entry()
    };
    let refused = |level: u8, lens: &[u64]| {
        let entries: Vec<Entry> = lens.iter().map(|len| entry(*len)).collect();
        let sealed = seal_node(writer().reader(), level, &entries).unwrap();
        let shape = shape(level, sealed.len);
        let opened = open_node(
            writer().reader(),
            &sealed.id,
            &sealed.key,
            &shape,
            &sealed.bytes,
        );
        opened == Err(OpenError::Node(NodeError::ChunkSize(4)))
    };
    assert!(refused(1, &[5]));
    assert!(refused(1, &[8, 8, 1]));
    assert!(refused(2, &[10, 10]));
    assert!(!refused(1, &[3]));
    assert!(!refused(1, &[4, 4, 1]));
    assert!(!refused(2, &[12, 11]));
}

#[test]
fn a_node_is_as_long_as_its_children_take() {
    let sealed = node(&[chunk(b"one!", 1).entry()]).bytes;
    // The header is made to fit: the node itself must see it.
    let refit = |payload: &[u8]| {
        let len = (payload.len() as u32).to_be_bytes();
        children(&[&sealed[..4], &len, payload].concat())
    };
    let payload = &sealed[BLOB_HEADER..];
    assert_eq!(
        refit(payload).map(|(level, ids)| (level, ids.len())),
        Ok((1, 1))
    );
    for len in (1..payload.len()).chain([payload.len() + 1]) {
        let cut = [payload, &[0]].concat();
        assert!(
            matches!(refit(&cut[..len]), Err(NodeError::Length { .. })),
            "{len}"
        );
    }
}

#[test]
fn nodes_that_no_tree_has_are_not_sealed() {
    let entry = |len| Entry {
        len,
        ..chunk(b"x", 1).entry()
    };
    let seal = |level, lens: &[u64]| {
        let entries: Vec<Entry> = lens.iter().map(|len| entry(*len)).collect();
        match seal_node(writer().reader(), level, &entries) {
            Err(SealError::Node(error)) => Some(error),
            _ => None,
        }
    };
    assert_eq!(seal(0, &[1]), Some(NodeError::Level(0)));
    assert_eq!(seal(9, &[1]), Some(NodeError::Level(9)));
    assert_eq!(seal(1, &[]), Some(NodeError::Count(0)));
    assert_eq!(
        seal(1, &[4; FANOUT_MAX + 1]),
        Some(NodeError::Count(FANOUT_MAX + 1))
    );
    assert_eq!(seal(1, &[4, 0]), Some(NodeError::EmptyChild(1)));
    assert_eq!(seal(1, &[4, 5]), Some(NodeError::Uneven(1)));
    assert_eq!(seal(1, &[4, 3, 4]), Some(NodeError::Uneven(1)));
    assert_eq!(seal(1, &[u64::MAX, 1]), Some(NodeError::Sum));
    assert_eq!(seal(1, &[4; FANOUT_MAX]), None);
}

#[test]
fn a_record_with_any_byte_changed_is_refused() {
    let sealed = record();
    each_change(sealed.head.bytes(), |bytes| {
        assert!(SignedHead::verify(Bytes::copy_from_slice(bytes)).is_err());
    });
    each_cut(sealed.head.bytes(), |bytes| {
        assert!(SignedHead::verify(Bytes::copy_from_slice(bytes)).is_err());
    });
    each_change(&sealed.meta, |meta| {
        assert_eq!(
            sealed.head.check_parts(meta, &sealed.content),
            Err(RecordError::OtherMeta)
        );
        assert_eq!(
            open_meta(writer().reader(), &sealed.head, meta),
            Err(RecordError::OtherMeta)
        );
    });
    each_change(&sealed.content, |content| {
        let refused = Err(RecordError::OtherContent);
        assert_eq!(sealed.head.check_parts(&sealed.meta, content), refused);
        let opened = open_record(writer().reader(), &sealed.head, &sealed.meta, content);
        assert_eq!(opened, Err(RecordError::OtherContent));
    });
    assert_eq!(
        sealed.head.check_parts(&sealed.meta, &sealed.content),
        Ok(())
    );
}

#[test]
fn a_stored_record_is_refused_under_another_key_version_or_hash() {
    let stored = record().to_stored();
    assert!(SealedRecord::from_stored(stored.clone()).is_ok());
    let mut other = stored.clone();
    other.key.tag.0[0] ^= 1;
    assert_eq!(
        SealedRecord::from_stored(other),
        Err(RecordError::OtherRecord)
    );
    let mut other = stored.clone();
    other.version = Version::ZERO;
    assert_eq!(
        SealedRecord::from_stored(other),
        Err(RecordError::OtherRecord)
    );
    let mut other = stored.clone();
    other.head_hash[31] ^= 1;
    assert_eq!(
        SealedRecord::from_stored(other),
        Err(RecordError::OtherRecord)
    );
    let mut other = stored;
    other.content = Bytes::new();
    assert!(SignedHead::from_stored(&other).is_ok());
    assert_eq!(
        SealedRecord::from_stored(other),
        Err(RecordError::OtherContent)
    );
}

#[test]
fn a_head_has_one_encoding() {
    let head = record().head.head().clone();
    let bytes = head.encode();
    assert_eq!(Head::decode(&bytes), Ok(head.clone()));
    assert_eq!(
        Head::decode(&[&bytes[..], &[0]].concat()),
        Err(RecordError::Head)
    );
    // An indefinite array, a longer array, a format in two bytes instead of one.
    let indefinite = [&[0x9f], &bytes[1..], &[0xff]].concat();
    let longer = [&[0x8f], &bytes[1..], &[0xf6]].concat();
    let unshort = [&[0x8e, 0x18, 0x01], &bytes[2..]].concat();
    let unshort_array = [&[0x98, 0x0e], &bytes[1..]].concat();
    for other in [indefinite, longer, unshort, unshort_array] {
        assert_eq!(Head::decode(&other), Err(RecordError::Head));
    }
    let with = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        Head::decode(&bytes)
    };
    assert_eq!(with(1, 2), Err(RecordError::Format(2)));
    assert_eq!(with(2, 7), Err(RecordError::Suite(7)));
    let long = Head {
        ext: vec![0; HEAD_MAX].into(),
        ..head.clone()
    }
    .encode();
    assert_eq!(
        Head::decode(&long),
        Err(RecordError::HeadLength(long.len()))
    );
    assert_eq!(Head::decode(&[]), Err(RecordError::HeadLength(0)));
}

#[test]
fn a_head_must_make_sense() {
    let head = record().head.head().clone();
    let root = Content::Root(root(0, 10));
    let decode = |head: Head| Head::decode(&head.encode()).err();
    let zero = Head {
        version: Version::ZERO,
        ..head.clone()
    };
    assert_eq!(decode(zero), Some(RecordError::NoVersion));
    let dead = Head {
        floor: Version::from_bytes([0xff; 16]),
        ..head.clone()
    };
    assert_eq!(decode(dead), Some(RecordError::BelowFloor));
    let sealed = seal_record(&writer(), draft(), &meta(10), &root).unwrap();
    let rooted = sealed.head.head().clone();
    let removed = Head {
        kind: RecordKind::Remove,
        ..rooted.clone()
    };
    assert_eq!(decode(removed), Some(RecordError::RemovedContent));
    let mut deep = rooted;
    deep.root.as_mut().unwrap().depth = 9;
    assert_eq!(decode(deep), Some(RecordError::Depth(9)));
    let at_floor = Head {
        floor: head.version,
        ..head
    };
    assert_eq!(decode(at_floor), None);
}

#[test]
fn a_record_of_any_epoch_and_extension_is_kept_and_opened_as_it_is() {
    let plain = record();
    for (epoch, ext) in [
        (0, vec![]),
        (1, vec![0]),
        (u32::MAX, b"\xa1\x00\x01".to_vec()),
        (300, vec![0xff; 1700]),
    ] {
        let draft = Draft {
            epoch,
            ext: ext.clone().into(),
            ..draft()
        };
        let content = Content::Inline(Bytes::from_static(b"content"));
        let sealed = seal_record(&writer(), draft, &meta(7), &content).unwrap();
        let stored = SealedRecord::from_stored(sealed.to_stored()).unwrap();
        assert_eq!(stored.head.bytes(), sealed.head.bytes());
        let head = stored.head.head();
        assert_eq!((head.epoch, &head.ext[..]), (epoch, &ext[..]));
        let opened = open_record(
            writer().reader(),
            &stored.head,
            &stored.meta,
            &stored.content,
        );
        assert_eq!(opened, Ok((meta(7), content)));
        // Which of the two is the newer, only version and hash decide.
        assert_eq!(stored.head.version(), plain.head.version());
        let by_hash = stored.head.hash().cmp(plain.head.hash());
        assert_eq!(stored.head.id().cmp(&plain.head.id()), by_hash);
    }
}

#[test]
fn an_epoch_is_32_bits_and_an_extension_is_bytes() {
    let head = record().head.head().clone();
    let with = |epoch: &[u8], ext: &[u8]| {
        let bytes = head.encode();
        // Behind the array, the format and the suite; ext lies before three
        // hashes, each with two bytes in front.
        let (fields, hashes) = bytes.split_at(bytes.len() - 3 * 34);
        let ext_at = fields.len() - 1;
        Head::decode(&[&fields[..3], epoch, &fields[4..ext_at], ext, hashes].concat())
    };
    assert_eq!(with(&[0], &[0x40]), Ok(head.clone()));
    let greatest = with(&[0x1a, 0xff, 0xff, 0xff, 0xff], &[0x41, 7]).unwrap();
    assert_eq!((greatest.epoch, &greatest.ext[..]), (u32::MAX, &[7][..]));
    for (epoch, ext) in [
        // 2^32, -1, none, and one that is not in its shortest form.
        (&[0x1b, 0, 0, 0, 1, 0, 0, 0, 0][..], &[0x40][..]),
        (&[0x20], &[0x40]),
        (&[0xf6], &[0x40]),
        (&[0x18, 1], &[0x40]),
        // No bytes, a text, a map, bytes of indefinite length, no ext at all.
        (&[0], &[0xf6]),
        (&[0], &[0x60]),
        (&[0], &[0xa0]),
        (&[0], &[0x5f, 0xff]),
        (&[0], &[]),
    ] {
        assert_eq!(
            with(epoch, ext),
            Err(RecordError::Head),
            "{epoch:x?} {ext:x?}"
        );
    }
}

#[test]
fn a_removed_record_is_empty() {
    let sealed = seal_record(&writer(), draft(), &meta(0), &Content::Removed).unwrap();
    assert_eq!(
        (sealed.head.head().kind, sealed.head.head().root),
        (RecordKind::Remove, None)
    );
    assert!(sealed.content.is_empty());
    let opened = open_record(
        writer().reader(),
        &sealed.head,
        &sealed.meta,
        &sealed.content,
    );
    assert_eq!(opened, Ok((meta(0), Content::Removed)));
}

#[test]
fn a_record_of_a_tree_gives_back_its_root() {
    let content = Content::Root(root(2, 1 << 20));
    let sealed = seal_record(&writer(), draft(), &meta(1 << 20), &content).unwrap();
    let opened = open_record(
        writer().reader(),
        &sealed.head,
        &sealed.meta,
        &sealed.content,
    );
    assert_eq!(opened, Ok((meta(1 << 20), content)));
}

#[test]
fn records_that_contradict_themselves_are_not_sealed() {
    let seal = |draft: Draft, meta: Meta, content: Content| match seal_record(
        &writer(),
        draft,
        &meta,
        &content,
    ) {
        Err(SealError::Record(error)) => Some(error),
        _ => None,
    };
    let inline = |len: usize| Content::Inline(vec![1; len].into());
    assert_eq!(
        seal(draft(), meta(2), inline(3)),
        Some(RecordError::Size(2))
    );
    assert_eq!(
        seal(draft(), meta(1), Content::Removed),
        Some(RecordError::Size(1))
    );
    let above = INLINE_MAX + 1;
    assert_eq!(
        seal(draft(), meta(above as u64), inline(above)),
        Some(RecordError::InlineLength(above))
    );
    assert_eq!(
        seal(draft(), meta(INLINE_MAX as u64), inline(INLINE_MAX)),
        None
    );
    // Chunks have 512 bytes here.
    assert_eq!(
        seal(draft(), meta(513), Content::Root(root(0, 513))),
        Some(RecordError::Size(513))
    );
    assert_eq!(
        seal(draft(), meta(512), Content::Root(root(1, 512))),
        Some(RecordError::Size(512))
    );
    let too_much = 512 * 512 + 1;
    assert_eq!(
        seal(draft(), meta(too_much), Content::Root(root(1, too_much))),
        Some(RecordError::Size(too_much))
    );
    assert_eq!(
        seal(draft(), meta(too_much), Content::Root(root(2, too_much))),
        None
    );
    assert_eq!(
        seal(draft(), meta(0), Content::Root(root(0, 0))),
        Some(RecordError::Size(0))
    );
    for chunk_size in [0, (1 << 20) + 1] {
        let odd = Meta {
            chunk_size,
            ..meta(3)
        };
        assert_eq!(
            seal(draft(), odd, inline(3)),
            Some(RecordError::ChunkSize(chunk_size))
        );
    }
    let unversioned = Draft {
        version: Version::ZERO,
        ..draft()
    };
    assert_eq!(
        seal(unversioned, meta(3), inline(3)),
        Some(RecordError::NoVersion)
    );
    let long = Draft {
        ext: vec![0; HEAD_MAX].into(),
        ..draft()
    };
    assert!(matches!(
        seal(long, meta(3), inline(3)),
        Some(RecordError::HeadLength(_))
    ));
}

fn each_change(bytes: &[u8], mut check: impl FnMut(&[u8])) {
    let mut changed = bytes.to_vec();
    for at in 0..changed.len() {
        for bit in [1, 0x80] {
            changed[at] ^= bit;
            check(&changed);
            changed[at] ^= bit;
        }
    }
}

/// Every proper prefix, and one byte too many.
fn each_cut(bytes: &[u8], mut check: impl FnMut(&[u8])) {
    (0..bytes.len()).for_each(|end| check(&bytes[..end]));
    check(&[bytes, &[0]].concat());
}

fn writer() -> Writer {
    NamespaceSecret::from_bytes([7; 32]).writer()
}

fn key() -> BlobKey {
    BlobKey::from_bytes([1; 32])
}

fn chunk(plain: &[u8], pad_to: usize) -> SealedBlob {
    let mut buffer = ChunkBuffer::with_capacity(plain.len());
    assert_eq!(buffer.extend(plain), plain.len());
    seal_chunk(writer().reader(), buffer, pad_to).unwrap()
}

fn node(entries: &[Entry]) -> SealedBlob {
    seal_node(writer().reader(), 1, entries).unwrap()
}

fn shape(level: u8, len: u64) -> Shape {
    Shape {
        level,
        len,
        chunk_size: 4,
    }
}

fn root(depth: u8, len: u64) -> Root {
    Root {
        id: BlobId([4; 32]),
        key: key(),
        depth,
        len,
    }
}

fn record() -> SealedRecord {
    let content = Content::Inline(Bytes::from_static(b"content"));
    seal_record(&writer(), draft(), &meta(7), &content).unwrap()
}

fn meta(size: u64) -> Meta {
    let name = Name::new("a name").unwrap();
    Meta {
        name,
        size,
        modified: None,
        chunk_size: 512,
    }
}

fn draft() -> Draft {
    let version = Version::next(UnixMillis(1_000), Version::ZERO, [1; 8]).unwrap();
    Draft {
        epoch: 0,
        version,
        put: PutId([3; 16]),
        floor: Version::ZERO,
        ext: Bytes::new(),
    }
}
