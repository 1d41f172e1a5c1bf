//! The pauses around messages.

use super::ctx::Ctx;
use super::output::Wake;

//# GO-5: A reader of the Go program takes what one read of at most 1,028 bytes behind the
//# mark gives it for the whole message. So a node MUST hand a message to its socket in one
//# piece that is no longer than that, and MUST leave a pause before it and behind it, of 5
//# ms or more, counted from when all bytes before were written. It MUST leave such a pause
//# behind the mark of raw bytes too: there that program takes them in another goroutine,
//# and ends if they are taken before the mark is.
/// When what may go out. The pause begins when everything taken is written, so
/// a full socket or a slow driver does not shorten it.
#[derive(Debug)]
pub(super) struct Pace {
    /// Something was taken and is not known to be written.
    unwritten: bool,
    /// The last that was taken is a message.
    behind_message: bool,
    /// It has been quiet long enough since all was written.
    rested: bool,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            unwritten: false,
            behind_message: false,
            rested: true,
        }
    }

    pub(super) fn message_may_go(&self) -> bool {
        !self.unwritten && self.rested
    }

    pub(super) fn bytes_may_go(&self) -> bool {
        !self.behind_message || self.message_may_go()
    }

    pub(super) fn gave_message(&mut self, ctx: &mut Ctx) {
        self.gave_bytes(ctx);
        self.behind_message = true;
    }

    pub(super) fn gave_bytes(&mut self, ctx: &mut Ctx) {
        ctx.timers.cancel(Wake::Pause);
        self.unwritten = true;
        self.behind_message = false;
        self.rested = false;
    }

    pub(super) fn written(&mut self, ctx: &mut Ctx) {
        if !self.unwritten {
            return;
        }
        self.unwritten = false;
        if ctx.config.timing.pause.is_zero() {
            self.rested = true;
        } else {
            ctx.arm(Wake::Pause, ctx.config.timing.pause);
        }
    }

    pub(super) fn pause_over(&mut self) {
        self.rested = !self.unwritten;
    }
}
