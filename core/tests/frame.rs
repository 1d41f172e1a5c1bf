//! Frames: any cutting of the stream gives the same frames, bodies are not
//! copied without need, and limits hold before anything is taken.

use bytes::{Buf, Bytes, BytesMut};
use peerhold_core::wire::frame::{
    BODY_MAX, BODY_MAX_UNADMITTED, Decoder, Flags, Frame, FrameError, FrameLimits, HEADER_LEN,
    encode, encode_header,
};
use quickcheck::{Arbitrary, Gen, quickcheck};

const LIMITS: FrameLimits = FrameLimits { body_max: BODY_MAX };

quickcheck! {
    fn any_cutting_gives_the_same_frames(stream: Stream, cuts: Vec<u16>) -> bool {
        let mut decoder = Decoder::new(LIMITS);
        let mut left = stream.bytes();
        let mut frames = Vec::new();
        for cut in cuts {
            let piece = left.split_to(left.len().min(usize::from(cut) % 200));
            frames.extend(drain(&mut decoder, piece));
        }
        frames.extend(drain(&mut decoder, left));
        frames == stream.0 && !decoder.is_mid_frame()
    }

    fn one_byte_at_a_time_gives_the_same_frames(stream: Stream) -> bool {
        let mut decoder = Decoder::new(LIMITS);
        let bytes = stream.bytes();
        let frames: Vec<_> = (0..bytes.len())
            .flat_map(|at| drain(&mut decoder, bytes.slice(at..at + 1)))
            .collect();
        frames == stream.0 && !decoder.is_mid_frame()
    }

    fn no_proper_prefix_of_a_frame_is_a_frame(frame: AnyFrame) -> bool {
        let bytes = Stream(vec![frame.0]).bytes();
        (0..bytes.len()).all(|end| {
            let mut decoder = Decoder::new(LIMITS);
            drain(&mut decoder, bytes.slice(..end)).is_empty()
                && decoder.is_mid_frame() == (end > 0)
        })
    }

    fn a_body_that_lies_in_the_input_is_a_slice_of_it(stream: Stream, header_cut: u8) -> bool {
        let bytes = stream.bytes();
        let mut decoder = Decoder::new(LIMITS);
        // Cutting inside the first header, or right behind it, cuts no body.
        let mut input = bytes.clone();
        let head = input.split_to(input.len().min(usize::from(header_cut) % (HEADER_LEN + 1)));
        let mut frames = drain(&mut decoder, head);
        frames.extend(drain(&mut decoder, input));
        let whole = bytes.as_ptr_range();
        frames == stream.0
            && frames.iter().filter(|frame| !frame.body.is_empty()).all(|frame| {
                let body = frame.body.as_ptr_range();
                whole.start <= body.start && body.end <= whole.end
            })
    }

    fn a_body_in_pieces_is_gathered_into_its_exact_size(frame: AnyFrame, cut: u16) -> bool {
        let bytes = Stream(vec![frame.0.clone()]).bytes();
        let body_len = frame.0.body.len();
        if body_len < 2 {
            return true;
        }
        let mut last = bytes.clone();
        let first = last.split_to(HEADER_LEN + 1 + usize::from(cut) % (body_len - 1));
        let mut decoder = Decoder::new(LIMITS);
        let mut frames = drain(&mut decoder, first);
        frames.extend(drain(&mut decoder, last));
        let body = frames.pop().expect("one frame").body;
        body == frame.0.body && body.try_into_mut().expect("its only owner").capacity() == body_len
    }

    fn arbitrary_bytes_pass_the_fuzz_check(data: Vec<u8>) -> bool {
        peerhold_core::check::frame(&data);
        true
    }

    fn cut_streams_pass_the_fuzz_check(stream: Stream, cuts: Vec<u8>, tail: Vec<u8>) -> bool {
        let cuts = &cuts[..cuts.len().min(255)];
        let mut data = vec![2, 0, cuts.len() as u8];
        data.extend_from_slice(cuts);
        data.extend_from_slice(&stream.bytes());
        data.extend_from_slice(&tail);
        peerhold_core::check::frame(&data);
        true
    }
}

#[test]
fn the_header_is_laid_out_as_written_down() {
    let frame = Frame {
        kind: 0x2a,
        flags: Flags::MORE | Flags::RESPONSE,
        request: 0x0102_0304,
        body: Bytes::from_static(b"abc"),
    };
    let mut out = BytesMut::from(&b"before"[..]);
    encode(&mut out, &frame).unwrap();
    assert_eq!(
        out,
        &b"before\x00\x00\x00\x03\x01\x02\x03\x04\x2a\x03abc"[..]
    );
}

#[test]
fn an_empty_body_is_a_frame_as_soon_as_its_header_is_there() {
    let bytes = header(0, 9, 0);
    let frames = drain(&mut Decoder::new(LIMITS), bytes);
    assert_eq!(frames.len(), 1);
    assert!(frames[0].body.is_empty());
}

#[test]
fn a_body_of_the_limit_is_taken_and_one_more_byte_is_not() {
    for body_max in [0, 1, BODY_MAX_UNADMITTED, BODY_MAX] {
        let limits = FrameLimits { body_max };
        let mut bytes = header(body_max, 1, 0).to_vec();
        bytes.resize(bytes.len() + body_max as usize, 0);
        let frames = drain(&mut Decoder::new(limits), bytes.into());
        assert_eq!(frames.len(), 1);

        let error = FrameError::TooLong {
            length: u64::from(body_max) + 1,
            max: body_max,
        };
        let result = Decoder::new(limits).decode(&mut header(body_max + 1, 1, 0));
        assert_eq!(result, Err(error));
    }
}

#[test]
fn the_longest_length_is_refused_by_its_header_alone() {
    for length in [1 << 24, (1 << 31) - 1, 1 << 31, (1 << 31) + 1, u32::MAX] {
        let mut decoder = Decoder::new(LIMITS);
        let refused = Err(FrameError::TooLong {
            length: length.into(),
            max: BODY_MAX,
        });
        // Its flags and kind are not waited for with a body.
        assert_eq!(decoder.decode(&mut header(length, 1, 0)), refused);
        assert_eq!(decoder.decode(&mut Bytes::from_static(&[0])), refused);
        assert!(!decoder.is_mid_frame());
    }
}

#[test]
fn every_unknown_flag_is_refused() {
    for flags in 0..=u8::MAX {
        let result = Decoder::new(LIMITS).decode(&mut header(0, 1, flags));
        match flags {
            0..=3 => assert_eq!(result.unwrap().unwrap().flags.bits(), flags),
            _ => assert_eq!(result, Err(FrameError::UnknownFlags { flags })),
        }
    }
}

#[test]
fn a_decoder_that_failed_takes_nothing_more() {
    let mut decoder = Decoder::new(LIMITS);
    let error = decoder.decode(&mut header(0, 1, 0x80)).unwrap_err();
    let mut good = header(0, 1, 0);
    for _ in 0..3 {
        assert_eq!(decoder.decode(&mut good), Err(error));
        assert_eq!(good.remaining(), HEADER_LEN);
    }
    assert!(!decoder.is_mid_frame());
}

#[test]
fn frames_before_a_bad_one_are_delivered() {
    let mut input = BytesMut::from(&header(0, 1, 0)[..]);
    input.extend_from_slice(&header(0, 2, 0x80));
    let mut input = input.freeze();
    let mut decoder = Decoder::new(LIMITS);
    assert_eq!(decoder.decode(&mut input).unwrap().unwrap().request, 1);
    assert_eq!(
        decoder.decode(&mut input),
        Err(FrameError::UnknownFlags { flags: 0x80 })
    );
}

#[test]
fn a_raised_limit_holds_from_the_next_whole_header_on() {
    let mut decoder = Decoder::new(FrameLimits {
        body_max: BODY_MAX_UNADMITTED,
    });
    assert_eq!(drain(&mut decoder, header(0, 1, 0)).len(), 1);
    let mut next = header(BODY_MAX, 2, 0);
    assert_eq!(decoder.decode(&mut next.split_to(4)), Ok(None));
    decoder.set_body_max(BODY_MAX);
    assert_eq!(decoder.decode(&mut next), Ok(None));
    let frames = drain(&mut decoder, vec![0; BODY_MAX as usize].into());
    assert_eq!(frames.len(), 1);
}

#[test]
fn too_long_a_body_is_not_encoded() {
    let mut out = BytesMut::new();
    let frame = Frame {
        kind: 0,
        flags: Flags::NONE,
        request: 0,
        body: vec![0; BODY_MAX as usize + 1].into(),
    };
    let error = FrameError::TooLong {
        length: u64::from(BODY_MAX) + 1,
        max: BODY_MAX,
    };
    assert_eq!(encode(&mut out, &frame), Err(error));
    assert_eq!(
        encode_header(&mut out, 0, Flags::NONE, 0, BODY_MAX + 1),
        Err(error)
    );
    assert!(out.is_empty());
}

#[test]
fn the_committed_fuzz_corpus_passes() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/frame");
    let mut inputs = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is in the repository") {
        peerhold_core::check::frame(&std::fs::read(entry.unwrap().path()).unwrap());
        inputs += 1;
    }
    assert!(inputs > 0);
}

#[derive(Clone, Debug)]
struct AnyFrame(Frame);

impl Arbitrary for AnyFrame {
    fn arbitrary(g: &mut Gen) -> Self {
        Self(Frame {
            kind: u8::arbitrary(g),
            flags: Flags::from_bits(u8::arbitrary(g) & 3).expect("both are known"),
            request: u32::arbitrary(g),
            body: Vec::arbitrary(g).into(),
        })
    }
}

#[derive(Clone, Debug)]
struct Stream(Vec<Frame>);

impl Stream {
    fn bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        for frame in &self.0 {
            encode(&mut out, frame).expect("small bodies");
        }
        out.freeze()
    }
}

impl Arbitrary for Stream {
    fn arbitrary(g: &mut Gen) -> Self {
        let frames: Vec<AnyFrame> = Vec::arbitrary(g);
        Self(frames.into_iter().take(8).map(|frame| frame.0).collect())
    }
}

/// A header as a peer might write it, checked by nobody.
fn header(length: u32, request: u32, flags: u8) -> Bytes {
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(&request.to_be_bytes());
    bytes.extend_from_slice(&[0, flags]);
    bytes.into()
}

fn drain(decoder: &mut Decoder, mut input: Bytes) -> Vec<Frame> {
    let frames = std::iter::from_fn(|| decoder.decode(&mut input).expect("good frames")).collect();
    assert!(input.is_empty());
    frames
}
