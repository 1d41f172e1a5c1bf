//! An allocator that counts what it is asked for.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The system's allocator, counted. A block that grows is another block: it is
/// counted anew, and for as long as it is copied both are held.
pub(crate) struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static TOTAL: AtomicUsize = AtomicUsize::new(0);
static BLOCKS: AtomicUsize = AtomicUsize::new(0);

#[expect(
    unsafe_code,
    reason = "there is no other way to see every allocation: each call goes to the system's allocator as it is"
)]
// SAFETY: what is asked for, and what is given back, is the system's own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract, which is the same.
        let block = unsafe { System.alloc(layout) };
        if !block.is_null() {
            let held = HELD.fetch_add(layout.size(), Relaxed);
            PEAK.fetch_max(held + layout.size(), Relaxed);
            TOTAL.fetch_add(layout.size(), Relaxed);
            BLOCKS.fetch_add(1, Relaxed);
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) };
        HELD.fetch_sub(layout.size(), Relaxed);
    }
}

/// What some work has allocated.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// The most bytes that were held at once, beyond those held before.
    pub(crate) peak: usize,
    /// Bytes in all, those given back counted too.
    pub(crate) total: usize,
    /// How many blocks they were.
    pub(crate) blocks: usize,
}

/// What this allocates, if nothing else runs meanwhile.
pub(crate) fn cost_of(work: impl FnOnce()) -> Cost {
    let before = HELD.load(Relaxed);
    let (total, blocks) = (TOTAL.load(Relaxed), BLOCKS.load(Relaxed));
    PEAK.store(before, Relaxed);
    work();
    Cost {
        peak: PEAK.load(Relaxed).saturating_sub(before),
        total: TOTAL.load(Relaxed) - total,
        blocks: BLOCKS.load(Relaxed) - blocks,
    }
}
