//! Prefetching: rows of a tile lie too far apart for the hardware to see them coming.

use super::scratch::LINE_BYTES;

/// Memory that will be read soon.
#[derive(Clone, Copy, Default)]
pub(super) struct Ahead<'a> {
    /// For each part of a row, that of both images.
    parts: [[&'a [u8]; 2]; PARTS],
    /// The first part that is left.
    part: usize,
}

/// The most planes that a row is made of: those of R, G and B.
pub(crate) const PARTS: usize = 3;

impl<'a> Ahead<'a> {
    pub(super) fn new([x, y]: [[&'a [u8]; PARTS]; 2]) -> Self {
        Self { parts: [[x[0], y[0]], [x[1], y[1]], [x[2], y[2]]], part: 0 }
    }

    /// Prefetches the next cache line of each image, if there is one left.
    #[inline(always)]
    pub(super) fn fetch(&mut self) {
        let Some(part) = self.parts.get_mut(self.part) else { return };
        for bytes in &mut *part {
            let (line, rest) = bytes.split_at(bytes.len().min(LINE_BYTES));
            if let Some(first) = line.first() {
                prefetch(first);
            }
            *bytes = rest;
        }
        self.part += usize::from(part.iter().all(|bytes| bytes.is_empty()));
    }

    /// Prefetches all that is left.
    #[inline(always)]
    pub(super) fn fetch_rest(&mut self) {
        while self.part < PARTS {
            self.fetch();
        }
    }
}

/// Prefetches all cache lines of `places`.
pub(super) fn prefetch_all<T>(places: &[T]) {
    places.iter().step_by(LINE_BYTES / size_of::<T>()).for_each(prefetch);
}

/// Prefetches the cache line that `place` starts in.
#[inline(always)]
pub(super) fn prefetch<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch has no effect but on the cache; the address is that of a live place. SSE is always there.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
