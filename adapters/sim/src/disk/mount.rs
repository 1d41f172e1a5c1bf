//! A disk as a process uses it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use peerhold_store::vfs::{Kind, Vfs, VfsFile};
use rand_core::Rng;

use super::file::PAGE;
use super::state::{Call, State, failed, lock};

/// A simulated disk in the hands of one process: what a
/// [`Store`](peerhold_store::Store) is opened over. After a crash it answers
/// nothing any more.
#[derive(Clone, Debug)]
pub struct Mount {
    pub(super) disk: Arc<Mutex<State>>,
    pub(super) epoch: u64,
}

/// An open file of a [`Mount`].
#[derive(Debug)]
pub struct SimFile {
    mount: Mount,
    id: u64,
    /// Its path when it was opened.
    path: String,
}

/// A lock in a [`Mount`], held until dropped.
#[derive(Debug)]
pub struct SimLock(#[expect(dead_code, reason = "its being alive is the lock")] Arc<()>);

impl Mount {
    fn begin(&self, call: Call) -> io::Result<(MutexGuard<'_, State>, u64)> {
        let mut state = lock(&self.disk);
        let number = state.begin(self.epoch, call)?;
        Ok((state, number))
    }

    fn file(&self, state: &mut State, id: u64, path: &str) -> SimFile {
        *state.open.entry(id).or_default() += 1;
        SimFile {
            mount: self.clone(),
            id,
            path: path.to_owned(),
        }
    }
}

impl Vfs for Mount {
    type File = SimFile;
    type Lock = SimLock;

    fn create_new(&self, path: &str) -> io::Result<SimFile> {
        let (mut state, call) = self.begin(Call::Names)?;
        let id = state.image.create(call, path)?;
        state.changed();
        Ok(self.file(&mut state, id, path))
    }

    fn open(&self, path: &str) -> io::Result<SimFile> {
        let (mut state, _) = self.begin(Call::Read)?;
        let id = state.image.open(path)?;
        Ok(self.file(&mut state, id, path))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (mut state, call) = self.begin(Call::Names)?;
        let replaced = state.image.rename(call, from, to)?;
        if let Some(replaced) = replaced {
            state.unnamed(replaced);
        }
        state.changed();
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        // Space is given back, not taken: only an error can be in its way.
        let (mut state, call) = self.begin(Call::Look)?;
        let rate = state.faults.name_error;
        if state.fires("disk: error at a name", rate) {
            return Err(failed());
        }
        let removed = state.image.remove(call, path)?;
        state.unnamed(removed);
        state.changed();
        Ok(())
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        let (mut state, call) = self.begin(Call::Names)?;
        if state.image.kind(path)?.is_none() {
            state.image.create_dir(call, path)?;
            state.changed();
            return Ok(());
        }
        state.image.create_dir(call, path)
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        let (mut guard, _) = self.begin(Call::Sync)?;
        let state = &mut *guard;
        let rate = state.faults.sync_error;
        if state.is_failing() || state.fires("disk: failed sync of a directory", rate) {
            state.image.sync_dir_failed(path, &mut state.rng)?;
            state.changed();
            return Err(failed());
        }
        let changes = state.image.sync_dir(path)?;
        state.pay_sync(changes);
        state.changed();
        Ok(())
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let (state, _) = self.begin(Call::Read)?;
        state.image.list(path)
    }

    fn kind(&self, path: &str) -> io::Result<Option<Kind>> {
        let (state, _) = self.begin(Call::Read)?;
        state.image.kind(path)
    }

    fn try_lock(&self, path: &str) -> io::Result<Option<SimLock>> {
        let (mut state, call) = self.begin(Call::Names)?;
        let held = state.locks.get(path);
        if held.is_some_and(|held| held.strong_count() > 0) {
            return Ok(None);
        }
        if state.image.kind(path)?.is_none() {
            state.image.create(call, path)?;
            state.changed();
        }
        let held = Arc::new(());
        state.locks.insert(path.to_owned(), Arc::downgrade(&held));
        Ok(Some(SimLock(held)))
    }
}

impl SimFile {
    fn begin(&self, call: Call) -> io::Result<(MutexGuard<'_, State>, u64)> {
        self.mount.begin(call)
    }

    fn rots(&self, state: &State) -> bool {
        let mut under = state.faults.rot_under.iter();
        under.any(|start| self.path.starts_with(start))
    }

    /// Bits that go bad under a read of `buf`, which `n` bytes long begins at
    /// `offset`.
    fn rot(&self, state: &mut State, buf: &mut [u8], offset: u64) -> io::Result<()> {
        if buf.is_empty() || !self.rots(state) {
            return Ok(());
        }
        let (once, always) = (state.faults.rot_once, state.faults.rot);
        if state.fires("disk: bit flipped once", once) {
            let at = state.rng.next_u64() as usize % buf.len();
            buf[at] ^= 1 << (state.rng.next_u32() % 8);
        }
        if state.fires("disk: bit flipped for good", always) {
            let at = state.rng.next_u64() % buf.len() as u64;
            let bit = (state.rng.next_u32() % 8) as u8;
            if state.image.file_mut(self.id)?.flip(offset + at, bit) {
                buf[at as usize] ^= 1 << bit;
            }
        }
        Ok(())
    }

    fn write(&self, state: &mut State, call: u64, bytes: &[u8], offset: usize) -> io::Result<()> {
        let room = state.room();
        let file = state.image.file_mut(self.id)?;
        let (fits, taken) = file.fits(offset, bytes.len(), room);
        let lands = offset / PAGE;
        let before = file.now.page(lands);
        file.write(call, &bytes[..fits], offset);
        let written = file.now.page(lands);
        state.take(taken);
        let rate = state.faults.misdirected;
        if fits > 0 && rate > 0 && self.rots(state) && state.fires("disk: misdirected write", rate)
        {
            let elsewhere = self.elsewhere(state, lands);
            state.image.file_mut(self.id)?.put_page(call, lands, before);
            if let Some((file, at)) = elsewhere {
                state.image.file_mut(file)?.put_page(call, at, written);
            }
        }
        if fits < bytes.len() {
            state.fired.count("disk: full");
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// Some other page that can be hit.
    fn elsewhere(&self, state: &mut State, lands: usize) -> Option<(u64, usize)> {
        let under = &state.faults.rot_under;
        let files = state.image.named();
        let hit: Vec<_> = files
            .iter()
            .filter(|(path, _)| under.iter().any(|start| path.starts_with(start)))
            .filter_map(|(_, id)| Some((*id, state.image.file(*id)?)))
            .flat_map(|(id, file)| file.held().map(move |at| (id, at)))
            .filter(|hit| *hit != (self.id, lands))
            .collect();
        let drawn = state.rng.next_u64() as usize % hit.len().max(1);
        hit.get(drawn).copied()
    }
}

impl VfsFile for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let (mut state, _) = self.begin(Call::Read)?;
        state.pay(buf.len().div_ceil(PAGE));
        let n = state.image.file_mut(self.id)?.now.read(buf, offset);
        self.rot(&mut state, &mut buf[..n], offset)?;
        Ok(n)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut state = lock(&self.mount.disk);
        let was_stopped = state.is_stopped();
        let begun = state.begin(self.mount.epoch, Call::Write);
        state.pay(bytes.len().div_ceil(PAGE));
        match begun {
            Err(error) => {
                // The machine stops within this very write.
                if state.epoch == self.mount.epoch && !was_stopped {
                    let call = state.calls;
                    let half = &bytes[..bytes.len() / 2];
                    let _ = self.write(&mut state, call, half, offset);
                    state.changed();
                }
                Err(error)
            }
            Ok(call) => {
                let (error, full) = (state.faults.write_error, state.faults.full);
                let failure = if state.is_failing() || state.fires("disk: write error", error) {
                    Some(failed())
                } else if state.fires("disk: full", full) {
                    Some(io::ErrorKind::StorageFull.into())
                } else {
                    None
                };
                let part = match failure {
                    Some(_) => state.rng.next_u64() as usize % (bytes.len() + 1),
                    None => bytes.len(),
                };
                let written = self.write(&mut state, call, &bytes[..part], offset);
                state.changed();
                failure.map_or(written, Err)
            }
        }
    }

    fn len(&self) -> io::Result<u64> {
        let (state, _) = self.begin(Call::Look)?;
        let file = state.image.file(self.id);
        Ok(file.ok_or(io::ErrorKind::NotFound)?.now.len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let (mut state, call) = self.begin(Call::Length)?;
        let file = state.image.file_mut(self.id)?;
        let before = file.now.used();
        file.set_len(call, len);
        let after = file.now.used();
        state.give_back(before - after);
        state.changed();
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let (mut guard, _) = self.begin(Call::Sync)?;
        let state = &mut *guard;
        let rate = state.faults.sync_error;
        let fails = state.is_failing() || state.fires("disk: failed sync of a file", rate);
        let file = state.image.file_mut(self.id)?;
        let synced = if fails {
            file.sync_failed(&mut state.rng);
            Err(failed())
        } else {
            let pages = file.sync();
            state.pay_sync(pages);
            Ok(())
        };
        if fails && state.capacity.is_some() {
            state.measure();
        }
        state.changed();
        synced
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = lock(&self.mount.disk);
        if state.epoch == self.mount.epoch {
            state.closed(self.id);
        }
    }
}
