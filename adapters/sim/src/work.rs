//! Operations of a run: how they begin, and what is made of their ends.

use bytes::Bytes;
use peerhold_core::{
    FileInfo, Forget, Get, History, List, OpError, Outcome, Put, Remove, Restore, Stored,
};

use crate::check::{Asked, Check, Wish, Wrong, chunks, holders, holds, is_unknown};
use crate::model::{Content, Fate, Met, Model};
use crate::run::Run;
use crate::script::{Act, Op};
use crate::task::{Finished, Running, Task, Told};
use crate::violation::Invariant;

/// An operation that runs.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) op: Op,
    asked: Asked,
    wish: Wish,
    /// Which write it is.
    write: Option<usize>,
    /// It must end well.
    sure: bool,
}

/// What an operation needs to begin.
enum Command {
    Put(Put, Content),
    Remove(Remove),
    Restore(Restore, Option<Content>),
    Get(Get),
    List(List),
    History(History),
    Forget(Forget),
}

impl Run {
    /// Begins an operation, if some node can.
    pub(crate) fn begin(&mut self, op: &Op) -> Check {
        self.begin_as(op, false)
    }

    /// Begins one that must end well.
    pub(crate) fn begin_sure(&mut self, op: &Op) -> Check {
        self.begin_as(op, true)
    }

    fn begin_as(&mut self, op: &Op, sure: bool) -> Check {
        if let Act::Cancel { pick } = op.act {
            self.cancel(pick);
            return Ok(());
        }
        let Some((command, wish)) = self.model.command(op) else {
            self.ended.count("nothing to do");
            return Ok(());
        };
        let machines = self.cluster.machines();
        let node = (0..machines)
            .map(|more| (op.node + more) % machines)
            .find(|at| self.can_ask(*at));
        let Some(node) = node else {
            self.ended.count("nobody to ask");
            return Ok(());
        };
        let life = self.cluster.machines[node].starts;
        let content = match &command {
            Command::Put(_, content) => Some(Some(*content)),
            Command::Restore(_, content) => Some(*content),
            Command::Remove(_) => Some(None),
            _ => None,
        };
        let write = content.map(|content| self.model.begin(op.name, content));
        let asked = Asked {
            name: op.name,
            node,
            life,
            begun: self.model.tick(),
        };
        let work = Work {
            op: *op,
            asked,
            wish,
            write,
            sure,
        };
        match self.start(node, command) {
            Some(task) => {
                self.forgot |= op.act == Act::Forget;
                self.cluster
                    .tell(|| format!("node{node} begins {op:?} as {task:?}"));
                self.model.may_see(asked);
                self.work.insert(task, work);
                Ok(())
            }
            None => {
                if let Some(write) = write {
                    let busy = OpError::Cancelled { unknown: false };
                    self.model.has_not_written(asked, write, &busy)?;
                }
                self.ended.count("busy");
                holds(!sure, Invariant::Convergence, || {
                    format!("node{node} is busy with nothing: {op:?}")
                })
            }
        }
    }

    /// Whether a node can be asked for something: it runs, and its answers are
    /// worth something.
    fn can_ask(&self, at: usize) -> bool {
        let cluster = &self.cluster;
        let honest = !self.suspects.liars.contains(&cluster.id(at));
        let awake = cluster.machines[at].paused <= cluster.now();
        honest && awake && cluster.is_ready(at)
    }

    fn start(&mut self, node: usize, command: Command) -> Option<Task> {
        let cluster = &mut self.cluster;
        let none = Running::default();
        match command {
            Command::Put(put, content) => {
                let running = Running {
                    data: Bytes::from(content.bytes()),
                    unfinished: true,
                    ..none
                };
                cluster.try_begin(node, running, |node, now| node.put(now, put))
            }
            Command::Remove(remove) => {
                cluster.try_begin(node, none, |node, now| node.remove(now, remove))
            }
            Command::Restore(restore, _) => {
                cluster.try_begin(node, none, |node, now| node.restore(now, restore))
            }
            Command::Get(get) => cluster.try_begin(node, none, |node, now| node.get(now, get)),
            Command::List(list) => cluster.try_begin(node, none, |node, now| node.list(now, list)),
            Command::History(history) => {
                cluster.try_begin(node, none, |node, now| node.history(now, history))
            }
            Command::Forget(forget) => {
                cluster.try_begin(node, none, |node, now| node.forget(now, forget))
            }
        }
    }

    fn cancel(&mut self, pick: u64) {
        let running = self.work.len() as u64;
        let task = pick.checked_rem(running);
        let task = task.and_then(|pick| self.work.keys().nth(pick as usize).copied());
        let Some(task) = task.filter(|task| self.cluster.is_life(task.node, task.life)) else {
            return;
        };
        self.ended.count("cancels");
        self.cluster.cancel(task);
    }

    /// News of an operation.
    pub(crate) fn on_told(&mut self, task: Task, told: Told) -> Check {
        match told {
            Told::Began => {
                let put = self.cluster.look_at(task).and_then(|state| state.put);
                let write = self
                    .work
                    .get(&task)
                    .and_then(|work| Some((work.op.name, work.write?)));
                let (Some(put), Some((name, write))) = (put, write) else {
                    return Ok(());
                };
                holds(self.model.began(name, write, put), Invariant::Keys, || {
                    format!("{put:?} has been drawn twice")
                })
            }
            Told::Settled => match self.settling.remove(&task) {
                Some((name, write)) => self.model.has_settled(name, write),
                None => Ok(()),
            },
            Told::Lost => {
                self.cluster.take(task);
                if let Some(work) = self.work.remove(&task) {
                    self.ended.count("lost with their node");
                    if let Some(write) = work.write {
                        self.model.is_lost(work.op.name, write);
                    }
                }
                Ok(())
            }
            Told::Finished => {
                let finished = self.cluster.take(task);
                let work = self.work.remove(&task);
                let (Some(finished), Some(work)) = (finished, work) else {
                    return Ok(());
                };
                self.model.may_have_seen(work.asked);
                self.has_ended(task, &work, finished)
            }
        }
    }

    fn has_ended(&mut self, task: Task, work: &Work, finished: Finished) -> Check {
        let Some(result) = &finished.result else {
            return Ok(());
        };
        self.cluster.tell(|| match result {
            Ok(outcome) => format!("{task:?} has ended: {outcome:?}"),
            Err(error) => format!("{task:?} has failed: {error}"),
        });
        let how = match result {
            Ok(_) => "ok",
            Err(error) if is_unknown(error) => "unknown",
            Err(_) => "failed",
        };
        self.ended.count(how);
        if let (Err(error), true) = (result, work.sure) {
            let right = *error == OpError::NotFound && work.wish.version.is_none();
            holds(right, Invariant::Durability, || {
                format!("with everything mended, {:?} fails: {error}", work.op)
            })?;
        }
        match (work.write, result) {
            (Some(write), Ok(Outcome::Stored(stored) | Outcome::Removed(stored))) => {
                self.settling.insert(task, (work.op.name, write));
                let copies = self.copies;
                self.model.has_written(work.asked, write, stored, copies)?;
                self.is_durable(work, write, stored)
            }
            (Some(write), Err(error)) => self.model.has_not_written(work.asked, write, error),
            (None, Ok(Outcome::Read(file))) => {
                let bytes = &finished.bytes;
                self.model.has_read(work.asked, work.wish, file, bytes)?;
                self.is_confirmed(work, file)
            }
            (None, Ok(Outcome::Listed(listed))) => {
                let (asked, entries) = (work.asked, &finished.entries);
                match work.op.act {
                    Act::List { removed } => self.model.has_listed(asked, removed, entries, listed),
                    _ => self.model.has_told_history(asked, entries, listed),
                }
            }
            (None, Ok(Outcome::Forgotten { .. })) => Ok(()),
            (None, Err(error))
                if matches!(work.op.act, Act::Get { .. } | Act::GetVersion { .. }) =>
            {
                self.model.has_not_read(work.asked, work.wish, error)
            }
            (None, Err(_)) => Ok(()),
            (_, Ok(other)) => Err(Wrong(
                Invariant::Honesty,
                format!("{:?} ended as {other:?}", work.op),
            )),
        }
    }

    /// W replicas hold what was read as confirmed, or something newer.
    fn is_confirmed(&self, work: &Work, file: &FileInfo) -> Check {
        if work.wish.version.is_some() || file.unconfirmed.is_some() {
            return Ok(());
        }
        let (cluster, suspects) = (&self.cluster, &self.suspect_places);
        let needed = usize::from(self.copies.1);
        let (key, version) = (self.model.names[work.op.name].key, file.id.version);
        let found = holders(cluster, suspects, |at| cluster.has_from(at, key, version));
        holds(found >= needed, Invariant::Durability, || {
            let held = |at| (at, cluster.has_from(at, key, version));
            let held: Vec<_> = (0..cluster.machines()).map(held).collect();
            format!("{file:?} was read as confirmed with {found} of {needed} copies: {held:?}")
        })
    }

    /// W replicas hold what was acknowledged, at this very moment.
    fn is_durable(&self, work: &Work, write: usize, stored: &Stored) -> Check {
        let (cluster, suspects) = (&self.cluster, &self.suspect_places);
        let needed = usize::from(self.copies.1);
        let named = &self.model.names[work.op.name];
        let found = holders(cluster, suspects, |at| {
            cluster.has(at, named.key, stored.version)
        });
        holds(found >= needed, Invariant::Durability, || {
            format!("{stored:?} was acknowledged with {found} of {needed} copies")
        })?;
        let content = named.writes[write].content;
        let large = content.filter(|content| content.size > peerhold_core::seal::INLINE_MAX);
        let Some(content) = large else { return Ok(()) };
        let (chunk, pad) = self.chunk;
        for blob in chunks(named.reader(), &content.bytes(), chunk, pad) {
            let found = holders(cluster, suspects, |at| cluster.has_blob(at, blob));
            holds(found >= needed, Invariant::Durability, || {
                format!("{stored:?}: a chunk has {found} of {needed} copies")
            })?;
        }
        Ok(())
    }
}

impl Model {
    /// Makes a command of an operation. None if there is nothing for it to do.
    fn command(&self, op: &Op) -> Option<(Command, Wish)> {
        let named = &self.names[op.name];
        let (name, writer, reader) = (named.name.clone(), named.writer.clone(), named.reader());
        let mut wish = Wish {
            confirmed: false,
            older: false,
            version: None,
        };
        let command = match op.act {
            Act::Put { size, fill } => {
                let put = Put {
                    writer,
                    name,
                    modified: None,
                };
                Command::Put(put, Content { fill, size })
            }
            Act::Remove => Command::Remove(Remove { writer, name }),
            Act::Restore { pick } => {
                let met = self.pick(op.name, pick)?;
                let content = self.content(met);
                let id = met.id;
                Command::Restore(Restore { writer, name, id }, content)
            }
            Act::Get {
                confirmed,
                older,
                range,
            } => {
                (wish.confirmed, wish.older) = (confirmed, older);
                let size = self.names[op.name]
                    .met
                    .last()
                    .and_then(|met| self.content(met));
                let size = size.map_or(0, |content| content.size as u64);
                let range = range
                    .map(|(from, to)| size * u64::from(from) / 1000..size * u64::from(to) / 1000);
                Command::Get(Get {
                    confirmed,
                    older,
                    range,
                    ..Get::newest(reader, &name)
                })
            }
            Act::GetVersion { pick, shared } => {
                let met = self.pick(op.name, pick)?;
                wish.version = Some(met.id);
                let share = met.file.as_ref().filter(|_| shared);
                Command::Get(match share.and_then(|file| file.share(reader)) {
                    Some(capability) => Get::shared(&capability),
                    None => Get::version(reader, &name, met.id),
                })
            }
            Act::List { removed } => Command::List(List {
                reader: reader.clone(),
                prefix: None,
                after: None,
                removed,
            }),
            Act::History => Command::History(History {
                reader: reader.clone(),
                name,
                below: None,
            }),
            Act::Forget => Command::Forget(Forget {
                reader: reader.clone(),
                name,
            }),
            Act::Cancel { .. } => return None,
        };
        Some((command, wish))
    }

    /// One of the versions that were met and have a content.
    fn pick(&self, name: usize, pick: u64) -> Option<&Met> {
        let met = &self.names[name].met;
        let at = pick.checked_rem(met.len() as u64)?;
        met.get(at as usize).filter(|met| !met.removed)
    }

    fn content(&self, met: &Met) -> Option<Content> {
        let (name, write) = self.of_put(&met.put)?;
        self.names[name].writes[write].content
    }

    /// Whether a version that was met has been acknowledged and has a content:
    /// then it can be read for ever.
    pub(crate) fn is_to_be_read(&self, name: usize, met: usize) -> bool {
        let met = &self.names[name].met[met];
        let write = self.of_put(&met.put);
        !met.removed
            && write.is_some_and(|(name, write)| self.names[name].writes[write].fate == Fate::Done)
    }
}
