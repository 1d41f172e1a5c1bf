//! Where an engine keeps what is recorded of its node.

use std::io::Write;

use super::Engine;
use crate::client::events::Notice;

impl Engine {
    /// Appends what has been recorded to the tape's file. A failure ends the
    /// recording, and nothing else.
    pub(super) fn keep_tape(&mut self) {
        let Some(file) = &mut self.tape else { return };
        let piece = self.node.take();
        if let Err(error) = file.write_all(&piece) {
            self.node.drop_tape();
            self.tape = None;
            self.shared.publish(&Notice::Tape(error.to_string()));
        }
    }

    /// The node is told nothing more.
    pub(super) fn end_tape(&mut self) {
        // A panic may have come in the middle of a call.
        if !std::thread::panicking() {
            self.node.end_tape();
        }
        self.keep_tape();
        self.tape = None;
    }
}
