//! A plan made ready for planes of one size.

use std::ops::Range;

use pulp::Arch;

use super::super::plan::{Padding, Plan};
use super::border::{Border, runs};
use super::filter::BLOCK;
use super::lanes::Real;
use super::total::ERROR_RUN;

/// Columns of a tile: wide enough that its halo costs little, narrow enough that its rows stay in the first two caches.
const TILE: usize = 320;
/// Output lines of a band at least, the unit of sums: few enough to give many threads something to do.
const BAND: usize = 60;
/// Output lines of the longest stretches, up to whole bands: enough to make the halo cheap; longer ones are slower again.
const STRETCH: usize = 540;
/// Lines and columns of a tile of a volume: the rings of slices should stay in the second cache.
const VOLUME_TILE: [usize; 2] = [32, 64];
/// Slices of a band of a volume at least, and of the longest stretches.
const VOLUME_BAND: usize = 24;
const VOLUME_STRETCH: usize = 128;

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
    pub(super) taps: [Vec<T>; 3],
    pub(super) borders: [Border; 3],
    /// Lines at either end of the map that the mean of the contrast leaves out.
    crop: [usize; 3],
    /// Whether SSIM is to be scored, and contrast.
    pub(super) scored: [bool; 2],
}

impl<T: Real> Window<T> {
    /// `None` if the plane is too small for the window, or has another number of axes.
    pub(super) fn new(plan: &Plan, dims: [usize; 3], scored: [bool; 2]) -> Option<Self> {
        let mut all = [&[1.0][..]; 3];
        let first = 3usize.checked_sub(plan.taps.len())?;
        for (taps, given) in all[first..].iter_mut().zip(&plan.taps) {
            *taps = given;
        }
        if first > 1 || dims[..first].iter().any(|&dim| dim != 1) {
            return None;
        }
        let mut borders = [Border::forward(1, 0, plan.padding); 3];
        for (axis, border) in borders.iter_mut().enumerate() {
            let radius = all[axis].len() / 2;
            if plan.padding == Padding::Reflect && radius >= dims[axis] {
                return None;
            }
            *border = Border::forward(dims[axis], radius, plan.padding);
            if border.output == 0 {
                return None;
            }
        }
        let crop = match plan.padding {
            Padding::Valid => [0; 3],
            Padding::Reflect | Padding::Zero => all.map(|taps| taps.len() / 2),
        };
        Some(Self {
            arch: arch(),
            taps: all.map(|taps| taps.iter().map(|&tap| T::of(tap)).collect()),
            borders,
            crop,
            scored,
        })
    }

    pub(super) fn map_dims(&self) -> [usize; 3] {
        self.borders.map(|border| border.output)
    }

    /// The map's lines that count into the mean of the contrast.
    pub(super) fn contrast_lines(&self, axis: usize) -> Range<usize> {
        let (len, crop) = (self.borders[axis].output, self.crop[axis]);
        crop.min(len)..len.saturating_sub(crop).max(crop.min(len))
    }

    /// Pixels of the map, and those of them that count into the mean of the contrast.
    pub(super) fn counts(&self) -> [f64; 2] {
        let map: usize = self.map_dims().iter().product();
        let contrast: usize = (0..3).map(|axis| self.contrast_lines(axis).len()).product();
        [map as f64, contrast as f64]
    }

    /// The factor of a mirrored border at line `y` of slice `z`; see [`Border::fold`].
    pub(super) fn line_factor(&self, [z, y]: [usize; 2]) -> f64 {
        self.borders[0].fold(z) * self.borders[1].fold(y)
    }

    /// Applies the factors of a mirrored border to part of line `y` of slice `z`; see [`Border::fold`].
    pub(super) fn fold(
        &self,
        [z, y]: [usize; 2],
        columns: &Range<usize>,
        row: &mut [T],
        apply: impl Fn(f64, f64) -> f64,
    ) {
        let along = self.borders[2];
        let scale = |value: &mut T, factor: f64| *value = T::of(apply(value.wide(), factor));
        let factor = self.line_factor([z, y]);
        if factor != 1.0 {
            row.iter_mut().for_each(|value| scale(value, factor));
        }
        for end in along.ends().filter(|end| columns.contains(end)) {
            scale(&mut row[end - columns.start], along.fold(end));
        }
    }

    /// Whether the planes are volumes.
    pub(super) fn is_deep(&self) -> bool {
        self.borders[0].input > 1 || self.taps[0].len() > 1
    }

    /// The axis that is cut into bands, and bands into stretches: depth, or in flat planes height.
    pub(super) fn axis(&self) -> usize {
        if self.is_deep() { 0 } else { 1 }
    }

    /// Runs of the map's lines (of a volume: slices) that are summed up by themselves; all but the last are of one length. About a
    /// power of two, so that they make even stretches.
    pub(super) fn bands(&self) -> impl Iterator<Item = Range<usize>> + Clone {
        let (len, least) = (self.borders[self.axis()].output, if self.is_deep() { VOLUME_BAND } else { BAND });
        let count = 1 << (len / least).max(1).ilog2();
        runs(len, len.div_ceil(count), BLOCK)
    }

    /// How many bands a stretch has, or would have if it was of the map and not of the gradient.
    pub(super) fn bands_of(&self, stretch: &Range<usize>) -> usize {
        self.bands().filter(|band| stretch.contains(&band.start)).count()
    }

    /// Runs of whole bands, each to be walked by one thread, of the map or of the gradient: as few as keep `threads` threads busy
    /// with `planes` planes. Results do not depend on them.
    pub(super) fn stretches(&self, planes: usize, threads: usize, of_gradient: bool) -> Vec<Range<usize>> {
        let longest = if self.is_deep() { VOLUME_STRETCH } else { STRETCH };
        let bands: Vec<_> = self.bands().collect();
        let per_plane = |per_thread: usize| (per_thread * threads).div_ceil(planes).next_power_of_two();
        let fewest = self.borders[self.axis()].output.div_ceil(longest);
        // With four for each thread, waits at the end are short; but a stretch of one band has much halo, so then two have to do.
        let count = if threads == 1 { fewest } else { per_plane(4).min(per_plane(2).max(bands.len() / 2)).max(fewest) };
        let stretches =
            bands.chunks(bands.len().div_ceil(count)).map(|bands| bands[0].start..bands[bands.len() - 1].end);
        stretched(self.borders[self.axis()], of_gradient, stretches).collect()
    }

    /// Runs of columns that are worked on one after the other, of the map or of the gradient.
    pub(super) fn tiles(&self, of_gradient: bool) -> impl Iterator<Item = Range<usize>> + Clone {
        stretched(self.borders[2], of_gradient, runs(self.borders[2].output, TILE, ERROR_RUN))
    }

    /// Runs of lines and of columns of a volume's slices that are worked on one after the other.
    pub(super) fn volume_tiles(&self, of_gradient: bool) -> impl Iterator<Item = [Range<usize>; 2]> {
        let [_, down, along] = self.borders;
        let lines = stretched(down, of_gradient, runs(down.output, VOLUME_TILE[0], 4));
        let columns = stretched(along, of_gradient, runs(along.output, VOLUME_TILE[1], ERROR_RUN));
        lines.flat_map(move |lines| columns.clone().map(move |columns| [lines.clone(), columns]))
    }
}

/// Runs of the output; for the gradient the last goes on to the end of the input.
fn stretched(
    border: Border,
    of_gradient: bool,
    runs: impl Iterator<Item = Range<usize>> + Clone,
) -> impl Iterator<Item = Range<usize>> + Clone {
    runs.map(move |run| if of_gradient { owned(&run, border) } else { run })
}

/// The input lines that a run of output lines owns: each belongs to exactly one run, surplus ones at the end to the last.
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

/// The part of `run` below `len`.
pub(super) fn clamp(run: &Range<usize>, len: usize) -> Range<usize> {
    run.start.min(len)..run.end.min(len)
}
