//! Where dense results go: memory that need not hold anything before.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::border::{runs, whole};
use super::prefetch::prefetch_all;

/// A box of a plane: slices, rows, columns.
pub(crate) type Region = [Range<usize>; 3];

/// Planes of one size, one after another, to be filled: not cleared first, which would take as long as a good part of the filling.
pub(crate) struct Fresh<T> {
    memory: Vec<T>,
    len: usize,
    /// How many elements have been written, each by the one writer whose it is, and once.
    written: AtomicUsize,
}

impl<T: Copy> Fresh<T> {
    pub(crate) fn new(len: usize) -> Self {
        Self { memory: Vec::with_capacity(len), len, written: AtomicUsize::new(0) }
    }

    /// Writers for the boxes that runs of slices, of rows and of columns cut every plane of size `dims` into, in the order of the
    /// planes, then of the runs. The runs of an axis are disjoint and in order.
    pub(super) fn writers<'a>(
        &'a mut self,
        dims: [usize; 3],
        cuts: &'a [Vec<Range<usize>>; 3],
    ) -> impl Iterator<Item = RowWriter<'a, T>> {
        for (runs, side) in cuts.iter().zip(dims) {
            assert!(runs.iter().all(|run| run.start <= run.end && run.end <= side));
            assert!(runs.windows(2).all(|pair| pair[0].end <= pair[1].start));
        }
        let (len, written) = (dims.iter().product::<usize>(), &self.written);
        let planes = self.memory.spare_capacity_mut()[..self.len].chunks_exact_mut(len.max(1));
        let planes: Vec<*mut MaybeUninit<T>> = planes.map(<[_]>::as_mut_ptr).collect();
        let [slices, rows, columns] = cuts;
        let regions = move |memory| {
            slices.iter().flat_map(move |slices| {
                rows.iter().flat_map(move |rows| {
                    columns.iter().map(move |columns| {
                        let region = [slices.clone(), rows.clone(), columns.clone()];
                        RowWriter::new(memory, dims, region, written)
                    })
                })
            })
        };
        planes.into_iter().flat_map(regions)
    }

    /// The memory.
    ///
    /// # Panics
    /// If not all of it was written.
    pub(crate) fn filled(mut self) -> Vec<T> {
        assert_eq!(*self.written.get_mut(), self.len, "part of a result was not written");
        // SAFETY: the capacity is at least `len`. Writers have disjoint boxes and count an element only when they write it, which
        // they do once; as many have been counted as there are, so each of them is initialized.
        unsafe { self.memory.set_len(self.len) };
        self.memory
    }
}

/// `count` rows of `width`, one after another; `make` fills the row of a number, whatever is in it.
pub(crate) fn rows<T: Copy + Default + Send>(
    count: usize,
    width: usize,
    make: impl Fn(usize, &mut [T]) + Sync,
) -> Vec<T> {
    const ROWS: usize = 64;
    let mut fresh = Fresh::new(count * width);
    let cuts = [whole(1), runs(count, ROWS, 1).collect(), whole(width)];
    let writers: Vec<_> = fresh.writers([1, count, width], &cuts).collect();
    writers.into_par_iter().for_each(|mut writer| {
        let mut row = vec![T::default(); width];
        for number in writer.region()[1].clone() {
            make(number, &mut row);
            writer.write([0, number], 0, &row);
        }
    });
    fresh.filled()
}

/// A box of a dense plane, to be written row by row, each from left to right.
pub(crate) struct RowWriter<'a, T> {
    /// The plane.
    memory: *mut MaybeUninit<T>,
    dims: [usize; 3],
    region: Region,
    /// How much of each row has been written.
    filled: Vec<usize>,
    written: &'a AtomicUsize,
}

// SAFETY: a writer is the only one that reaches its box, see [`Fresh::writers`].
unsafe impl<T: Send> Send for RowWriter<'_, T> {}

impl<'a, T> RowWriter<'a, T> {
    fn new(memory: *mut MaybeUninit<T>, dims: [usize; 3], region: Region, written: &'a AtomicUsize) -> Self {
        let filled = vec![0; region[0].len() * region[1].len()];
        Self { memory, dims, region, filled, written }
    }

    /// The box.
    pub(super) fn region(&self) -> &Region {
        &self.region
    }

    /// Where `column` of a row lies in the plane, if the row is one of the box.
    fn place(&self, [z, y]: [usize; 2], column: usize) -> Option<usize> {
        let inside = self.region[0].contains(&z) && self.region[1].contains(&y);
        inside.then(|| (z * self.dims[1] + y) * self.dims[2] + column)
    }

    /// Whether a row is one of the box.
    pub(super) fn wants(&self, at: [usize; 2]) -> bool {
        self.place(at, 0).is_some()
    }

    /// Prefetches part of a row, if it is one of the box: it will be written soon.
    pub(super) fn prefetch(&self, at: [usize; 2], columns: Range<usize>) {
        let columns = columns.start.max(self.region[2].start)..columns.end.min(self.region[2].end);
        if let Some(place) = self.place(at, columns.start).filter(|_| columns.start < columns.end) {
            // SAFETY: the box lies within the plane, and elements that are `MaybeUninit` may hold anything. Nothing is read.
            prefetch_all(unsafe { std::slice::from_raw_parts(self.memory.add(place), columns.len()) });
        }
    }
}

impl<T: Copy> RowWriter<'_, T> {
    /// Writes `values` from `column` of a row on.
    ///
    /// # Panics
    /// If the row's next element is due elsewhere, or they reach beyond the box.
    pub(super) fn write(&mut self, at: [usize; 2], column: usize, values: &[T]) {
        let place = self.place(at, column).expect("a row of the box");
        let row = (at[0] - self.region[0].start) * self.region[1].len() + at[1] - self.region[1].start;
        let due = self.region[2].start + self.filled[row];
        assert!(
            column == due && column + values.len() <= self.region[2].end,
            "{column} of {:?}, due {due}",
            self.region
        );
        // SAFETY: the row and the columns are within the box, which lies within the plane, and only this writer reaches it.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), self.memory.add(place).cast(), values.len()) };
        self.filled[row] += values.len();
    }
}

impl<T> Drop for RowWriter<'_, T> {
    fn drop(&mut self) {
        self.written.fetch_add(self.filled.iter().sum(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cuts() -> [Vec<Range<usize>>; 3] {
        [vec![0..1, 1..2], super::super::border::whole(3), vec![0..2, 2..5]]
    }

    #[test]
    fn boxes_make_up_the_planes() {
        let (mut fresh, cuts) = (Fresh::new(60), cuts());
        for (number, mut writer) in fresh.writers([2, 3, 5], &cuts).enumerate() {
            let [slices, rows, columns] = writer.region.clone();
            for z in slices {
                for y in rows.clone() {
                    let first = columns.start + 1;
                    writer.write([z, y], columns.start, &[number; 1]);
                    writer.write([z, y], first, &vec![number; columns.end - first]);
                }
            }
        }
        let filled = fresh.filled();
        assert_eq!((filled[0], filled[4], filled[15], filled[59]), (0, 1, 2, 7));
    }

    #[test]
    #[should_panic = "not written"]
    fn what_nobody_wrote_is_not_shown() {
        let (mut fresh, cuts) = (Fresh::<u8>::new(60), cuts());
        fresh
            .writers([2, 3, 5], &cuts)
            .for_each(|mut writer| writer.write([writer.region[0].start, 0], writer.region[2].start, &[1]));
        fresh.filled();
    }

    #[test]
    #[should_panic = "due"]
    fn nothing_is_written_twice() {
        let (mut fresh, cuts) = (Fresh::<u8>::new(60), cuts());
        let mut writer = fresh.writers([2, 3, 5], &cuts).next().unwrap();
        writer.write([0, 0], 0, &[1]);
        writer.write([0, 0], 0, &[1]);
    }
}
