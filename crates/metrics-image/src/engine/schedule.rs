//! A filter made ready for planes of one size, and how these are cut into work.
//!
//! ```text
//!            tile      tile      tile          A *tile* is as many columns as stay in the caches (of a volume: rows and columns).
//!          ┌─────────┬─────────┬─────────┐     A *strip* is a run of rows (of a volume: slices) that a thread scans in one go,
//!  strip   │  block  │         │         │     one tile of it at a time. A *sum block* is a run of rows that is summed by itself;
//!          │  block  │         │         │     strips are made of whole sum blocks, and sums are added in the order of blocks and
//!          ├─────────┼─────────┼─────────┤     tiles, so that results depend neither on the strips nor on the threads.
//!  strip   │  block  │         │         │
//!          │  block  │         │         │
//!          └─────────┴─────────┴─────────┘
//! ```

use std::ops::Range;

use pulp::Arch;

use super::border::{Border, runs, whole};
use super::filter::BLOCK;
use super::rows::RowReader;
use super::simd::Real;
use super::sums::ERROR_RUN;
use super::taps::{Filters, Taps};
use crate::engine::Padding;

/// Columns of a tile: wide enough that its halo costs little, narrow enough that its rows stay in the first two caches.
const TILE: usize = 320;
/// Rows of a sum block at least: few enough to give many threads something to do.
const SUM_BLOCK: usize = 60;
/// Rows of the longest strips, up to whole sum blocks: enough to make the halo cheap; longer ones are slower again.
const STRIP: usize = 540;
/// Rows and columns of a tile of a volume: the line buffer of slices should stay in the second cache.
const VOLUME_TILE: [usize; 2] = [32, 64];
/// Slices of a sum block of a volume at least, and of the longest strips.
const VOLUME_SUM_BLOCK: usize = 24;
const VOLUME_STRIP: usize = 128;
/// Work items for each thread: waits at the end are short then.
const ITEMS: usize = 4;

/// The best instruction set of this machine.
pub(super) fn arch() -> Arch {
    #[cfg(test)]
    if let Some(arch) = super::tests::FORCED.get() {
        return arch;
    }
    Arch::new()
}

/// Taps and borders along depth, height and width; in two dimensions depth has one tap.
pub(super) struct Window<T> {
    /// The instruction set to use.
    pub(super) arch: Arch,
    pub(super) taps: [Taps<T>; 3],
    /// Those of the adjoint.
    pub(super) adjoint_taps: [Taps<T>; 3],
    pub(super) borders: [Border; 3],
    /// Lines at either end of the map whose windows reach beyond the border.
    crop: [usize; 3],
}

/// Runs of lines of each axis that work is cut into: every combination is a work item.
pub(super) type Cuts = [Vec<Range<usize>>; 3];

impl<T: Real> Window<T> {
    /// `None` if the plane is too small for the filter, or has another number of axes, or the border is replicated.
    pub(super) fn new(filters: &Filters, dims: [usize; 3]) -> Option<Self> {
        let first = 3usize.checked_sub(filters.axes.len())?;
        if first > 1 || dims[..first].iter().any(|&dim| dim != 1) {
            return None;
        }
        let mut taps = [Taps::none(), Taps::none(), Taps::none()];
        for (taps, axis) in taps[first..].iter_mut().zip(&filters.axes) {
            *taps = Taps::new(axis);
        }
        let radius = taps.each_ref().map(|taps| taps.len() / 2);
        let longest = |side: usize| match filters.padding {
            Padding::Reflect => side.saturating_sub(1),
            Padding::Symmetric => side,
            // Its adjoint is none of those below; images are extended before they come here.
            Padding::Replicate => 0,
            Padding::Zero | Padding::Valid => usize::MAX,
        };
        if (0..3).any(|axis| radius[axis] > longest(dims[axis])) {
            return None;
        }
        let borders = [0, 1, 2].map(|axis| Border::forward(dims[axis], radius[axis], filters.padding));
        if borders.iter().any(|border| border.output == 0) {
            return None;
        }
        let crop = if filters.padding == Padding::Valid { [0; 3] } else { radius };
        let adjoint_taps = taps.each_ref().map(Taps::reversed);
        Some(Self { arch: arch(), taps, adjoint_taps, borders, crop })
    }

    /// What the taps of a window sum up to.
    pub(super) fn total(&self) -> f64 {
        self.taps.iter().map(|taps| taps.sum).product()
    }

    pub(super) fn dims(&self) -> [usize; 3] {
        self.borders.map(|border| border.input)
    }

    pub(super) fn map_dims(&self) -> [usize; 3] {
        self.borders.map(|border| border.output)
    }

    /// The map's lines whose windows lie inside the image.
    pub(super) fn inner(&self, axis: usize) -> Range<usize> {
        let (len, crop) = (self.borders[axis].output, self.crop[axis]);
        crop.min(len)..len.saturating_sub(crop).max(crop.min(len))
    }

    /// The factor of a mirrored border at row `y` of slice `z`; see [`Border::fold`].
    pub(super) fn row_factor(&self, [z, y]: [usize; 2]) -> f64 {
        self.borders[0].fold(z) * self.borders[1].fold(y)
    }

    /// Applies the factors of a mirrored border to part of row `y` of slice `z`; see [`Border::fold`].
    pub(super) fn fold(&self, at: [usize; 2], columns: &Range<usize>, row: &mut [T], apply: impl Fn(f64, f64) -> f64) {
        let horizontal = self.borders[2];
        let scale = |value: &mut T, factor: f64| *value = T::of(apply(value.wide(), factor));
        let factor = self.row_factor(at);
        if factor != 1.0 {
            row.iter_mut().for_each(|value| scale(value, factor));
        }
        for end in horizontal.ends().filter(|end| columns.contains(end)) {
            scale(&mut row[end - columns.start], horizontal.fold(end));
        }
    }

    /// How much each place of part of a row of the map counts.
    pub(super) fn weights(&self, mask: &dyn RowReader<T>, [z, y]: [usize; 2], columns: &Range<usize>, out: &mut [T]) {
        // Where windows lie inside the image, the map starts where the first of them has its center.
        let [slices, rows, first] = self.borders.map(|border| (border.input - border.output) / 2);
        mask.copy_row([z + slices, y + rows], columns.start + first..columns.end + first, out);
    }

    /// Whether the planes are volumes.
    pub(super) fn is_volume(&self) -> bool {
        self.borders[0].input > 1 || self.taps[0].len() > 1
    }

    /// The axis that is cut into strips: depth, or of planes height.
    pub(super) fn axis(&self) -> usize {
        if self.is_volume() { 0 } else { 1 }
    }

    /// The sum blocks; all but the last are of one length. About a power of two, so that they make even strips.
    pub(super) fn sum_blocks(&self) -> impl Iterator<Item = Range<usize>> + Clone {
        let least = if self.is_volume() { VOLUME_SUM_BLOCK } else { SUM_BLOCK };
        let len = self.borders[self.axis()].output;
        let count = 1 << (len / least).max(1).ilog2();
        runs(len, len.div_ceil(count), BLOCK)
    }

    /// The work items for `planes` planes, of the map or of the gradient: as few strips as keep `threads` threads busy.
    pub(super) fn cuts(&self, planes: usize, threads: usize, of_gradient: bool) -> Cuts {
        let mut cuts = self.tiles();
        let tiles: usize = planes * cuts.iter().map(Vec::len).product::<usize>();
        let (axis, longest) = (self.axis(), if self.is_volume() { VOLUME_STRIP } else { STRIP });
        let blocks: Vec<_> = self.sum_blocks().collect();
        let fewest = self.borders[axis].output.div_ceil(longest);
        let wanted = if threads == 1 { 1 } else { (ITEMS * threads).div_ceil(tiles).next_power_of_two() };
        let count = fewest.max(wanted).min(blocks.len());
        let first = |strip: usize| strip * blocks.len() / count;
        cuts[axis] = (0..count).map(|strip| blocks[first(strip)].start..blocks[first(strip + 1) - 1].end).collect();
        if of_gradient { [0, 1, 2].map(|axis| self.owned(axis, &cuts[axis])) } else { cuts }
    }

    /// The map in one strip, cut into tiles.
    fn tiles(&self) -> Cuts {
        let [depth, vertical, horizontal] = self.borders.map(|border| border.output);
        if self.is_volume() {
            [
                whole(depth),
                runs(vertical, VOLUME_TILE[0], 4).collect(),
                runs(horizontal, VOLUME_TILE[1], ERROR_RUN).collect(),
            ]
        } else {
            [whole(depth), whole(vertical), runs(horizontal, TILE, ERROR_RUN).collect()]
        }
    }

    /// The lines of the image that runs of lines of the map own: each belongs to one run, those beyond the map to the last.
    pub(super) fn owned(&self, axis: usize, runs: &[Range<usize>]) -> Vec<Range<usize>> {
        runs.iter().map(|run| owned(run, self.borders[axis])).collect()
    }
}

/// The lines of the image that a run of lines of the map owns.
pub(super) fn owned(run: &Range<usize>, border: Border) -> Range<usize> {
    run.start..if run.end == border.output { border.input } else { run.end }
}

/// The part of `run` that lies in `bounds`, counted from the start of `run`.
pub(super) fn clip(run: &Range<usize>, bounds: &Range<usize>) -> Range<usize> {
    let place = |at: usize| at.clamp(run.start, run.end) - run.start;
    place(bounds.start)..place(bounds.end)
}

pub(super) fn common(a: &Range<usize>, b: &Range<usize>) -> Range<usize> {
    let start = a.start.max(b.start);
    start..a.end.min(b.end).max(start)
}
