//! Small free pieces of glibc's heap.

use std::fs;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};

/// Pieces of this length and above are left: who allocates in one has most of its pages for itself.
const LARGE: usize = 32 << 10;

/// The first length that is asked for, below that from which on glibc has memory from the system.
const LARGEST: usize = 96 << 10;

/// Most that is left at the end of the heap when it was trimmed: a page, and as much as rounding adds.
const END: usize = 8 << 10;

/// Pieces that are taken, each of which begins with the address of the next one.
pub(super) struct Pieces(*mut Piece);

struct Piece {
    next: *mut Self,
}

/// The pieces that are kept from all that is allocated.
static KEPT: AtomicPtr<Piece> = AtomicPtr::new(ptr::null_mut());

impl Pieces {
    const NONE: Self = Self(ptr::null_mut());

    /// Takes the small free pieces of the heap, which was trimmed before.
    ///
    /// Pieces are asked for, the large ones first, until one comes from behind the heap's end: there is none of that
    /// length any more. The large ones are given back at last, so that no small piece is cut from one.
    pub(super) fn of_the_heap() -> Self {
        let (mut small, mut others) = (Self::NONE, Self::NONE);
        let Some(heap) = heap() else { return small };
        // If this is not the heap that is allocated from, it never ends otherwise.
        let mut left = heap.len();
        let mut length = LARGEST;
        while length >= size_of::<Piece>() {
            let Some(piece) = allocate(length) else { break };
            let is_inside = heap.contains(&piece.addr().get());
            let to = if is_inside && length < LARGE { &mut small } else { &mut others };
            to.push(piece);
            if !is_inside {
                length -= (length / 8).max(1);
                continue;
            }
            let Some(rest) = left.checked_sub(length) else { break };
            left = rest;
        }
        others.free();
        small
    }

    /// Keeps them from all that is allocated, in this process and those that it starts.
    pub(super) fn keep(self) {
        KEPT.store(self.0, Ordering::Relaxed);
    }

    /// Gives those that are kept back to the heap; tells whether there were any.
    pub(super) fn free_kept() -> bool {
        let kept = Self(KEPT.swap(ptr::null_mut(), Ordering::Relaxed));
        let are_any = !kept.0.is_null();
        kept.free();
        are_any
    }

    /// Gives them back to the heap.
    fn free(self) {
        let mut next = self.0;
        while let Some(piece) = NonNull::new(next) {
            // SAFETY: a piece of a list is allocated, and begins with the address of the next one.
            next = unsafe { piece.read() }.next;
            // SAFETY: it was allocated by `malloc`, and nobody else knows it.
            unsafe { libc::free(piece.as_ptr().cast()) };
        }
    }

    fn push(&mut self, piece: NonNull<Piece>) {
        // SAFETY: it is not shorter than that, and as well aligned as anything that `malloc` gives.
        unsafe { piece.write(Piece { next: self.0 }) };
        self.0 = piece.as_ptr();
    }
}

fn allocate(length: usize) -> Option<NonNull<Piece>> {
    // SAFETY: any length may be asked for.
    NonNull::new(unsafe { libc::malloc(length) }.cast())
}

/// Finds the heap of this process, without its end. `None`: there is none, or the system does not tell.
fn heap() -> Option<Range<usize>> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let mut parts = maps.lines().filter(|line| line.ends_with("[heap]")).filter_map(|line| {
        let (from, to) = line.split_whitespace().next()?.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        Some(number(from)?..number(to)?)
    });
    let first = parts.next()?;
    let end = parts.next_back().map_or(first.end, |last| last.end);
    Some(first.start..end.checked_sub(END)?)
}
