//! Prefetching: rows of a tile lie too far apart for the hardware to see them coming.

use super::scratch::LINE_BYTES;

/// Memory that will be read soon, of two images.
#[derive(Clone, Copy, Default)]
pub(super) struct Ahead<'a>(pub(super) [&'a [u8]; 2]);

impl Ahead<'_> {
    /// Prefetches the next cache line of each image, if there is one left.
    #[inline(always)]
    pub(super) fn fetch(&mut self) {
        for bytes in &mut self.0 {
            let (line, rest) = bytes.split_at(bytes.len().min(LINE_BYTES));
            if let Some(first) = line.first() {
                prefetch(first);
            }
            *bytes = rest;
        }
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|bytes| bytes.is_empty())
    }

    /// Prefetches all that is left.
    #[inline(always)]
    pub(super) fn fetch_rest(&mut self) {
        while !self.is_empty() {
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
fn prefetch<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch has no effect but on the cache; the address is that of a live place. SSE is always there.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
