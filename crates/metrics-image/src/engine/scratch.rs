//! Working memory of one thread, reused from task to task.

use super::simd::Real;

/// Rows start on a cache line, so that no aligned load touches two.
pub(super) const LINE_BYTES: usize = 64;

#[derive(Default)]
pub(super) struct Scratch<T> {
    memory: Vec<T>,
}

impl<T: Real> Scratch<T> {
    /// `len` rounded up so that the next row starts on a cache line.
    pub(super) fn padded(len: usize) -> usize {
        len.next_multiple_of(LINE_BYTES / size_of::<T>())
    }

    /// `len` rounded up to an odd number of cache lines: rows so far apart do not compete for the same few sets of the cache.
    pub(super) fn spread(len: usize) -> usize {
        let line = LINE_BYTES / size_of::<T>();
        (len.div_ceil(line) | 1) * line
    }

    /// Memory cut into pieces of the asked lengths (each should be [`padded`](Self::padded)), with whatever is left in it.
    pub(super) fn cut<const N: usize>(&mut self, lens: [usize; N]) -> [&mut [T]; N] {
        let slack = LINE_BYTES / size_of::<T>();
        let total = lens.iter().sum::<usize>() + slack;
        if self.memory.len() < total {
            self.memory.resize(total, T::default());
        }
        let skip = self.memory.as_ptr().align_offset(LINE_BYTES).min(slack);
        let mut rest = &mut self.memory[skip..];
        lens.map(|len| {
            let (piece, tail) = std::mem::take(&mut rest).split_at_mut(len);
            rest = tail;
            piece
        })
    }
}
