//! A peer that is written out by hand: it speaks the protocol through the
//! public decoder, messages and admission, as well or as badly as a test
//! wants.

use bytes::{Bytes, BytesMut};
use minicbor::Encode;
use peerhold_core::admission::Admission;
use peerhold_core::input::CloseReason;
use peerhold_core::wire::frame::{BODY_MAX, Decoder, Flags, Frame, FrameLimits};
use peerhold_core::wire::message::{self, kind};
use peerhold_core::{ConnId, Event, Input, NodeId, PeerFault, Role};

use crate::host::{Host, ME, key};

/// A peer's name: some id that is not the node's.
pub(crate) const fn id(byte: u8) -> NodeId {
    NodeId([byte; 32])
}

/// One end of a connection with the node under test.
pub(crate) struct Peer {
    pub(crate) id: NodeId,
    pub(crate) conn: ConnId,
    pub(crate) admission: Admission,
    decoder: Decoder,
    /// The number of its next request.
    next: u32,
    /// What was read and not looked at yet.
    inbox: Vec<Frame>,
}

impl Peer {
    /// Connects to the node and says nothing yet.
    pub(crate) fn open(host: &mut Host, id: NodeId) -> Self {
        let conn = host.node.accept(host.now).expect("a free connection");
        Self::on(host, id, conn, Role::Listener)
    }

    /// Takes part in a connection that the node accepts or dials.
    pub(crate) fn on(host: &mut Host, id: NodeId, conn: ConnId, role: Role) -> Self {
        let peer = id;
        host.handle(Input::Opened { conn, role, peer });
        Self {
            id,
            conn,
            admission: Admission::new(id, role.other(), ME, [id.0[0]; 32], 64),
            decoder: Decoder::new(FrameLimits { body_max: BODY_MAX }),
            next: 0,
            inbox: Vec::new(),
        }
    }

    /// Connects and is admitted.
    pub(crate) fn admitted(host: &mut Host, id: NodeId) -> Self {
        let mut peer = Self::open(host, id);
        peer.admit(host);
        peer
    }

    /// Connects as one that allows the node so many requests.
    pub(crate) fn allowing(host: &mut Host, id: NodeId, requests: u32) -> Self {
        let mut peer = Self::open(host, id);
        peer.admission = Admission::new(id, Role::Dialer, ME, [id.0[0]; 32], requests);
        peer.admit(host);
        peer
    }

    /// Does its part of the admission.
    pub(crate) fn admit(&mut self, host: &mut Host) {
        let hello = self.received(host).remove(0);
        assert_eq!(hello.kind, kind::HELLO);
        let proof = self.admission.take_hello(&hello.body, &key()).unwrap();
        let own = self.admission.hello().clone();
        self.send(host, kind::HELLO, Flags::NONE, 0, &own);
        self.send(host, kind::PROOF, Flags::NONE, 0, &proof);
        let mut frames = self.received(host);
        let first = frames.remove(0);
        self.inbox = frames;
        self.admission.take_proof(&first.body, &[key()]).unwrap();
    }

    /// Sends one frame.
    pub(crate) fn send(&self, host: &mut Host, kind: u8, flags: Flags, request: u32, body: &[u8]) {
        self.send_raw(host, frame(kind, flags, request, body));
    }

    /// Sends any bytes.
    pub(crate) fn send_raw(&self, host: &mut Host, data: Bytes) {
        let conn = self.conn;
        host.handle(Input::Received { conn, data });
        host.run();
    }

    /// Asks something and gives the number of the request.
    pub(crate) fn ask(&mut self, host: &mut Host, kind: u8, message: &impl Encode<()>) -> u32 {
        let request = self.next;
        self.next += 1;
        let body = message::encode(message);
        self.send(host, kind, Flags::NONE, request, &body);
        request
    }

    /// Tells something.
    pub(crate) fn tell(&self, host: &mut Host, kind: u8, message: &impl Encode<()>) {
        self.send(host, kind, Flags::NONE, 0, &message::encode(message));
    }

    /// Answers a request of the node's.
    pub(crate) fn answer(&self, host: &mut Host, to: &Frame, message: &impl Encode<()>) {
        let body = message::encode(message);
        self.send(host, to.kind, Flags::RESPONSE, to.request, &body);
    }

    /// Refuses a request of the node's.
    pub(crate) fn refuse(&self, host: &mut Host, to: &Frame, reason: message::Refusal) {
        let body = message::encode(&message::Refused { reason });
        self.send(host, kind::REFUSED, Flags::RESPONSE, to.request, &body);
    }

    /// Sends a blob in answer to a fetch.
    pub(crate) fn data(&self, host: &mut Host, to: &Frame, blob: &[u8]) {
        let mut out = BytesMut::new();
        let mut pieces = blob.chunks(BODY_MAX as usize).peekable();
        while let Some(piece) = pieces.next() {
            let more = pieces.peek().map_or(Flags::NONE, |_| Flags::MORE);
            let flags = Flags::RESPONSE | more;
            message::append(&mut out, kind::DATA, flags, to.request, piece).unwrap();
        }
        self.send_raw(host, out.freeze());
    }

    /// Reads all that the node has for it.
    pub(crate) fn received(&mut self, host: &mut Host) -> Vec<Frame> {
        host.run();
        while let Some(mut bytes) = host.node.poll_transmit(self.conn, usize::MAX) {
            while let Some(frame) = self.decoder.decode(&mut bytes).unwrap() {
                self.inbox.push(frame);
            }
            host.run();
        }
        std::mem::take(&mut self.inbox)
    }

    /// Reads the requests of a kind that the node makes of it; the rest stays
    /// to be looked at later.
    pub(crate) fn asked(&mut self, host: &mut Host, kind: u8) -> Vec<Frame> {
        let frames = self.received(host);
        let asked = |frame: &Frame| frame.kind == kind && !frame.flags.contains(Flags::RESPONSE);
        let (asked, rest) = frames.into_iter().partition(asked);
        self.inbox = rest;
        asked
    }

    /// The connection breaks.
    pub(crate) fn reset(&self, host: &mut Host) {
        let (conn, reason) = (self.conn, CloseReason::Reset);
        host.handle(Input::Closed { conn, reason });
        host.run();
    }

    /// Why the node has ended the connection. It must have.
    pub(crate) fn fault(&self, host: &mut Host) -> Option<PeerFault> {
        assert!(host.has_closed(self.conn), "the connection still stands");
        let fault = host.events.iter().find_map(|event| match event {
            Event::PeerDown { peer, fault } if *peer == self.id => Some(*fault),
            Event::Refused { conn, fault, .. } if *conn == self.conn => Some(*fault),
            _ => None,
        });
        fault.expect("an end is told")
    }
}

/// One frame's bytes.
pub(crate) fn frame(kind: u8, flags: Flags, request: u32, body: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    message::append(&mut out, kind, flags, request, body).unwrap();
    out.freeze()
}
