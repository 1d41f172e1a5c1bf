//! Between handles and the node: commands, and the bytes of puts and gets.

use std::sync::Arc;

use peerhold_core::{Busy, Entry, FileInfo, OpError, OpId, Outcome, PushError, PutId};

use super::Engine;
use crate::client::ClientError;
use crate::client::cell::Cell;
use crate::client::listing::ENTRIES;
use crate::client::mail::{Command, Waiting};

/// The most that is taken from a get at once.
const PULL_MAX: usize = 256 << 10;

/// An operation that the node knows.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) cell: Arc<Cell>,
    kind: Kind,
    /// The node has said how it ended; it is kept to learn that it settles.
    ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Put {
        /// The node has no room; it will say when.
        blocked: bool,
        /// The node knows that these were all bytes.
        finished: bool,
    },
    Get,
    Listing,
    Other,
}

/// The commands that the node refused when they were last tried: those that
/// wait are behind them.
#[derive(Debug, Default)]
pub(super) struct Stalled {
    write: Option<Waiting>,
    other: Option<Waiting>,
}

impl Stalled {
    pub(super) fn is_empty(&self) -> bool {
        self.write.is_none() && self.other.is_none()
    }

    /// The write goes first: the other was behind it, or it would have been
    /// tried in vain.
    pub(super) fn take(&mut self) -> Option<Waiting> {
        self.write.take().or_else(|| self.other.take())
    }

    fn drop_cell(&mut self, cell: &Arc<Cell>) {
        for slot in [&mut self.write, &mut self.other] {
            slot.take_if(|(_, stalled)| Arc::ptr_eq(stalled, cell));
        }
    }
}

impl Engine {
    /// Gives the node the commands that wait, in order. Behind a write that it
    /// refuses only the others are tried: it may owe its peers too much to
    /// take a write, and still have room for a get.
    pub(super) fn start_commands(&mut self, items: &mut usize) {
        let mut refused = false;
        while *items > 0 {
            let stalled = match refused {
                false => self.stalled.take(),
                true => self.stalled.other.take(),
            };
            let Some((command, cell)) = stalled.or_else(|| match refused {
                false => self.shared.next_command(),
                true => self.shared.next_other(),
            }) else {
                // The next command raises the signal.
                self.room = false;
                return;
            };
            if cell.state().gone {
                continue;
            }
            *items -= 1;
            let kind = match &command {
                Command::Put(_) => Kind::Put {
                    blocked: false,
                    finished: false,
                },
                Command::Get(_) => Kind::Get,
                Command::List(_) | Command::History(_) => Kind::Listing,
                Command::Remove(_) | Command::Restore(_) | Command::Forget(_) => Kind::Other,
            };
            match self.give(command) {
                Ok(op) => {
                    cell.state().op = Some(op);
                    self.running += 1;
                    self.changed = true;
                    self.ops.insert(
                        op,
                        Running {
                            cell,
                            kind,
                            ended: false,
                        },
                    );
                    self.feed(op);
                }
                Err(command) if command.writes() => {
                    self.stalled.write = Some((command, cell));
                    refused = true;
                }
                Err(command) => {
                    self.stalled.other = Some((command, cell));
                    self.room = false;
                    return;
                }
            }
        }
    }

    fn give(&mut self, command: Command) -> Result<OpId, Command> {
        let (node, now) = (&mut self.node, self.now);
        match command {
            Command::Put(put) => node.put(now, put).map_err(|Busy(put)| Command::Put(put)),
            Command::Get(get) => node.get(now, get).map_err(|Busy(get)| Command::Get(get)),
            Command::Remove(it) => node.remove(now, it).map_err(|Busy(it)| Command::Remove(it)),
            Command::Restore(it) => node
                .restore(now, it)
                .map_err(|Busy(it)| Command::Restore(it)),
            Command::Forget(it) => node.forget(now, it).map_err(|Busy(it)| Command::Forget(it)),
            Command::List(it) => node.list(now, it).map_err(|Busy(it)| Command::List(it)),
            Command::History(it) => node
                .history(now, it)
                .map_err(|Busy(it)| Command::History(it)),
        }
    }

    /// A caller has done something to its cell.
    pub(super) fn look_at(&mut self, cell: &Arc<Cell>) {
        cell.untouch();
        let (op, gone) = {
            let state = cell.state();
            (state.op, state.gone)
        };
        let Some(op) = op else {
            // It waits, and is looked at when its turn comes; nobody waits
            // behind one that is gone.
            if gone {
                self.stalled.drop_cell(cell);
            }
            return;
        };
        if gone {
            self.abandon(op);
        } else {
            self.feed_unless_blocked(op);
            self.pull(op);
        }
    }

    /// Nobody asks for this operation any more.
    fn abandon(&mut self, op: OpId) {
        match self.ops.get(&op) {
            Some(running) if running.ended => {
                self.ops.remove(&op);
            }
            Some(_) => self.node.cancel(self.now, op),
            None => {}
        }
    }

    fn feed_unless_blocked(&mut self, op: OpId) {
        match self.ops.get(&op) {
            Some(Running {
                kind: Kind::Put { blocked: true, .. },
                ..
            }) => {}
            _ => self.feed(op),
        }
    }

    /// Gives the node a put's bytes until it has no room.
    pub(super) fn feed(&mut self, op: OpId) {
        let Some(Running {
            cell,
            kind: Kind::Put { blocked, finished },
            ended: false,
        }) = self.ops.get_mut(&op)
        else {
            return;
        };
        *blocked = false;
        // The lock is not held while the node works.
        while let Some(data) = next_piece(cell) {
            match self.node.push(self.now, op, data) {
                Ok(()) => {}
                Err(PushError::Busy(data)) => {
                    *blocked = true;
                    cell.state().unpop(data);
                    break;
                }
                // How it ended is on its way.
                Err(PushError::Gone(_)) => cell.state().clear(),
            }
        }
        let (room, last) = {
            let state = cell.state();
            let room = state.wants_room && state.buffered < self.settings.put_buffer;
            (room, state.finish && state.data.is_empty())
        };
        if room {
            cell.tell(|state| state.wants_room = false);
        }
        if last && !*finished {
            *finished = true;
            self.node.finish(self.now, op);
        }
    }

    /// Takes what a get or a listing has, until its caller's buffer is full.
    pub(super) fn pull(&mut self, op: OpId) {
        match self.ops.get(&op) {
            Some(running) if running.ended => {}
            Some(Running {
                kind: Kind::Get, ..
            }) => self.pull_data(op),
            Some(Running {
                kind: Kind::Listing,
                ..
            }) => self.pull_entries(op),
            _ => {}
        }
    }

    fn pull_entries(&mut self, op: OpId) {
        let Some(Running { cell, .. }) = self.ops.get(&op) else {
            return;
        };
        let room = ENTRIES.saturating_sub(cell.state().entries.len());
        let mut entries: Vec<Entry> = Vec::new();
        while entries.len() < room
            && let Some(entry) = self.node.poll_entry(op)
        {
            entries.push(entry);
        }
        if !entries.is_empty() {
            cell.tell(|state| {
                if !state.gone {
                    state.entries.extend(entries);
                }
            });
        }
    }

    fn pull_data(&mut self, op: OpId) {
        let Some(Running { cell, .. }) = self.ops.get(&op) else {
            return;
        };
        let buffered = cell.state().buffered;
        let mut room = self.settings.get_buffer.saturating_sub(buffered);
        while room > 0 {
            let Some(data) = self.node.poll_data(op, room.min(PULL_MAX)) else {
                return;
            };
            room -= data.len().min(room);
            cell.tell(|state| {
                // Nobody will take what comes after the caller has gone.
                if !state.gone {
                    state.push(data);
                }
            });
        }
    }

    pub(super) fn opened(&mut self, op: OpId, file: FileInfo) {
        if let Some(running) = self.ops.get(&op) {
            running.cell.tell(|state| state.info = Some(file));
        }
    }

    pub(super) fn began(&mut self, op: OpId, put: PutId) {
        if let Some(running) = self.ops.get(&op) {
            running.cell.tell(|state| state.put = Some(put));
        }
    }

    pub(super) fn progress(&mut self, op: OpId, bytes: u64) {
        if let Some(running) = self.ops.get(&op) {
            let cell = &running.cell;
            let watched = {
                let mut state = cell.state();
                state.progress = bytes;
                state.watches.take_if(|seen| *seen != bytes).is_some()
            };
            if watched {
                cell.tell(|_| {});
            }
        }
    }

    pub(super) fn finished(&mut self, op: OpId, result: Result<Outcome, OpError>) {
        self.room = true;
        let Some(running) = self.ops.get_mut(&op) else {
            return;
        };
        self.running -= 1;
        self.changed = true;
        running.ended = true;
        let settles = matches!(result, Ok(Outcome::Stored(_) | Outcome::Removed(_)));
        running.cell.end(result.map_err(ClientError::Op));
        if !settles || running.cell.state().gone {
            self.ops.remove(&op);
        }
    }

    pub(super) fn settled(&mut self, op: OpId) {
        // Until now it counted as one of the node's operations.
        self.room = true;
        self.changed = true;
        if let Some(running) = self.ops.remove(&op) {
            running.cell.tell(|state| state.settled = true);
        }
    }

    /// The node is ending: what it has not begun, it does not begin.
    pub(super) fn refuse_waiting(&mut self) {
        while let Some((_, cell)) = self.stalled.take().or_else(|| self.shared.next_command()) {
            cell.end(Err(ClientError::ShuttingDown));
        }
    }

    pub(super) fn cancel_all(&mut self) {
        for (op, _) in self.ops.iter().filter(|(_, running)| !running.ended) {
            self.node.cancel(self.now, *op);
        }
    }
}

fn next_piece(cell: &Cell) -> Option<bytes::Bytes> {
    cell.state().pop()
}
