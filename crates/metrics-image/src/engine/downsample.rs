//! Means of 2×2 (2×2×2) pixels between two scales, and the adjoint.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::border::{runs, whole};
use super::buffer::{Fresh, Region, RowWriter};
use super::rows::RowReader;
use super::schedule::{Cuts, arch};
use super::simd::Real;

/// How a side of odd length is halved between two scales of MS-SSIM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OddSides {
    /// The last line is left out: TorchMetrics.
    #[default]
    Drop,
    /// A line of zeros comes before the first and is counted: pytorch-msssim.
    Zero,
    /// The first line comes twice, on every axis as soon as one of them is odd: piq.
    Replicate,
    /// The last line comes twice: TensorFlow. The kernels of a GPU do not have it: there the score is composed of Candle operations.
    ReplicateLast,
}

impl OddSides {
    /// How many lines come before the first on each axis of an image of size `dims`.
    pub(crate) fn lead(self, dims: &[usize]) -> Vec<usize> {
        match self {
            Self::Drop | Self::ReplicateLast => vec![0; dims.len()],
            Self::Zero => dims.iter().map(|side| side % 2).collect(),
            Self::Replicate => vec![dims.iter().map(|side| side % 2).max().unwrap_or(0); dims.len()],
        }
    }

    /// How many lines come after the last of a side.
    pub(crate) fn trail(self, side: usize) -> usize {
        if self == Self::ReplicateLast { side % 2 } else { 0 }
    }

    /// The shortest side that holds `window` pixels after `scales - 1` halvings.
    pub(crate) fn minimum_side(self, window: usize, scales: usize) -> usize {
        let shrink = 1usize.checked_shl(scales as u32 - 1).unwrap_or(usize::MAX);
        match self {
            Self::Drop => window.saturating_mul(shrink),
            Self::Zero | Self::Replicate | Self::ReplicateLast => (window - 1).saturating_mul(shrink).saturating_add(1),
        }
    }
}

/// How the lines of one axis are averaged in pairs.
#[derive(Clone, Copy, Debug)]
struct Axis {
    input: usize,
    /// Lines before the first.
    lead: usize,
    /// Lines after the last.
    trail: usize,
    /// Whether those are the first and the last line again, not zeros.
    repeat: bool,
    /// Whether the axis stays as it is: the depth of planes.
    planar: bool,
}

impl Axis {
    fn output(self) -> usize {
        if self.planar { self.input } else { (self.input + self.lead + self.trail) / 2 }
    }

    /// The lines whose mean is output line `line`; `None` for zeros.
    fn sources(self, line: usize) -> [Option<usize>; 2] {
        if self.planar {
            return [Some(line), None];
        }
        let first = if 2 * line < self.lead { self.repeat.then_some(0) } else { Some(2 * line - self.lead) };
        let second = 2 * line + 1 - self.lead;
        [first, if second < self.input { Some(second) } else { self.repeat.then_some(self.input - 1) }]
    }

    /// How many output lines are made of the input lines before `end`.
    fn made_of(self, end: usize) -> usize {
        if self.planar { end } else { (end + self.lead) / 2 }
    }

    /// The output line that input line `line` goes into and how many times, unless it is left out.
    fn destination(self, line: usize) -> Option<(usize, usize)> {
        if self.planar {
            return Some((line, 1));
        }
        let output = (line + self.lead) / 2;
        let padded = line == 0 && self.lead == 1 || line + 1 == self.input && self.trail == 1;
        let times = if padded && self.repeat { 2 } else { 1 };
        (output < self.output()).then_some((output, times))
    }
}

/// Means of 2×2 (2×2×2) pixels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Downsampling {
    axes: [Axis; 3],
}

impl Downsampling {
    /// As MS-SSIM downsamples planes of size `dims`; depth stays if they are `planar`.
    pub(crate) fn new(dims: [usize; 3], planar: bool, odd_sides: OddSides) -> Self {
        let first = usize::from(planar);
        let leads = odd_sides.lead(&dims[first..]);
        let repeat = matches!(odd_sides, OddSides::Replicate | OddSides::ReplicateLast);
        Self::of_axes(dims, planar, |axis| (leads[axis - first], repeat, odd_sides.trail(dims[axis])))
    }

    /// With a line of zeros after the last of an odd side, as MATLAB's `conv2(…, 'same')` and a step of 2 do.
    pub(crate) fn matlab(dims: [usize; 3], planar: bool) -> Self {
        Self::of_axes(dims, planar, |axis| (0, false, dims[axis] % 2))
    }

    fn of_axes(dims: [usize; 3], planar: bool, of: impl Fn(usize) -> (usize, bool, usize)) -> Self {
        let axis = |axis: usize| {
            let planar = planar && axis == 0;
            let (lead, repeat, trail) = if planar { (0, false, 0) } else { of(axis) };
            Axis { input: dims[axis], lead, repeat, trail, planar }
        };
        Self { axes: [axis(0), axis(1), axis(2)] }
    }

    /// Sides of the result.
    pub(crate) fn dims(&self) -> [usize; 3] {
        self.axes.map(Axis::output)
    }

    /// Adds to the means of weights those of the zeros beyond the border, each of weight 1, that are counted.
    pub(super) fn count_outside<T: Real>(&self, means: &mut [T]) {
        let [depth, height, width] = self.dims();
        let inside = |axis: Axis| {
            let of_line =
                move |line| if axis.planar { 1.0 } else { axis.sources(line).iter().flatten().count() as f64 / 2.0 };
            (0..axis.output()).map(of_line).collect::<Vec<f64>>()
        };
        let [slices, rows, columns] = self.axes.map(inside);
        for (row, means) in means.chunks_exact_mut(width).enumerate().take(depth * height) {
            let of_row = slices[row / height] * rows[row % height];
            for (mean, &of_column) in means.iter_mut().zip(&columns).filter(|(_, column)| of_row * **column < 1.0) {
                *mean = *mean + T::of(1.0 - of_row * of_column);
            }
        }
    }

    fn weight(&self) -> f64 {
        if self.axes[0].planar { 0.25 } else { 0.125 }
    }

    /// What of the result falls to each work item: each run of lines starts at an even one, and the last takes what is left.
    pub(super) fn cuts(&self, cuts: &Cuts) -> Cuts {
        [0, 1, 2].map(|at| {
            let axis = self.axes[at];
            let last = cuts[at].len() - 1;
            let share = |(number, run): (usize, &Range<usize>)| match axis.planar {
                true => run.clone(),
                false => run.start / 2..if number == last { axis.output() } else { run.end / 2 },
            };
            cuts[at].iter().enumerate().map(share).collect()
        })
    }

    /// A row of the result (its slice and its row are given), columns `columns`.
    #[inline(always)]
    fn row<T: Real>(
        &self,
        reader: &dyn RowReader<T>,
        [z, y]: [usize; 2],
        columns: &Range<usize>,
        buffers: &mut [Vec<T>; 4],
        out: &mut [T],
    ) {
        let [depth, vertical, horizontal] = self.axes;
        let read = (2 * columns.start).saturating_sub(horizontal.lead)
            ..(2 * columns.end - horizontal.lead).min(horizontal.input);
        let (mut rows, mut free) = ([&[][..]; 4], buffers.iter_mut().zip(0..));
        for z in depth.sources(z).into_iter().flatten() {
            for y in vertical.sources(y).into_iter().flatten() {
                if let Some((buffer, row)) = free.next() {
                    rows[row] = reader.row([z, y], read.clone(), buffer);
                }
            }
        }
        let weight = T::of(self.weight());
        let sum = |ends: [Option<&T>; 4]| ends.into_iter().flatten().fold(T::default(), |sum, &value| sum + value);
        let mut out = out;
        if 2 * columns.start < horizontal.lead {
            let first = sum(rows.map(<[T]>::first));
            out[0] = (if horizontal.repeat { first + first } else { first }) * weight;
            (rows, out) = (rows.map(|row| row.get(1..).unwrap_or_default()), &mut out[1..]);
        }
        if let ([.., last], true) = (&mut *out, rows[0].len() % 2 == 1) {
            let own = sum(rows.map(<[T]>::last));
            *last = (if horizontal.repeat { own + own } else { own }) * weight;
        }
        average(rows, weight, out);
    }
}

/// Means of two neighbors each of one, two or four rows; those that are not there are empty.
#[inline(always)]
fn average<T: Real>([a, b, c, d]: [&[T]; 4], weight: T, out: &mut [T]) {
    let (a, b, c, d) = (a.as_chunks::<2>().0, b.as_chunks::<2>().0, c.as_chunks::<2>().0, d.as_chunks::<2>().0);
    if b.is_empty() {
        for (mean, a) in out.iter_mut().zip(a) {
            *mean = (a[0] + a[1]) * weight;
        }
    } else if c.is_empty() {
        for (mean, (a, b)) in out.iter_mut().zip(a.iter().zip(b)) {
            *mean = ((a[0] + b[0]) + (a[1] + b[1])) * weight;
        }
    } else {
        for (mean, ((a, b), (c, d))) in out.iter_mut().zip(a.iter().zip(b).zip(c.iter().zip(d))) {
            *mean = ((a[0] + b[0] + c[0] + d[0]) + (a[1] + b[1] + c[1] + d[1])) * weight;
        }
    }
}

/// The part of both coarser planes that falls to a tile, made while the rows that it is made of are at hand.
pub(super) struct CoarserTile<'a, T: Real> {
    downsampling: Downsampling,
    writers: [RowWriter<'a, T>; 2],
    /// What is left to make.
    left: Region,
    /// Rows that had to be copied, and a row of the result.
    buffers: [Vec<T>; 4],
    out: Vec<T>,
}

impl<'a, T: Real> CoarserTile<'a, T> {
    pub(super) fn new(downsampling: Downsampling, writers: [RowWriter<'a, T>; 2]) -> Self {
        let left = writers[0].region().clone();
        let columns = left[2].len();
        // Twice as many columns as are made, and one more where they do not start with a pair.
        let buffers = [(); 4].map(|()| vec![T::default(); 2 * columns + 1]);
        Self { downsampling, writers, left, buffers, out: vec![T::default(); columns] }
    }

    /// Downsamples what is made of lines before `made` of `axis`.
    pub(super) fn up_to(&mut self, axis: usize, arch: Arch, readers: [&dyn RowReader<T>; 2], made: usize) {
        let left = self.left[axis].clone();
        let end = self.downsampling.axes[axis].made_of(made).clamp(left.start, left.end);
        let mut region = self.left.clone();
        region[axis].end = end;
        self.left[axis].start = end;
        arch.dispatch(DownsampleRows { coarser: self, readers, region });
    }

    /// Downsamples the rest.
    pub(super) fn finish(mut self, arch: Arch, readers: [&dyn RowReader<T>; 2]) {
        let region = self.left.clone();
        arch.dispatch(DownsampleRows { coarser: &mut self, readers, region });
    }
}

struct DownsampleRows<'h, 'a, T: Real> {
    coarser: &'h mut CoarserTile<'a, T>,
    readers: [&'h dyn RowReader<T>; 2],
    region: Region,
}

impl<T: Real> WithSimd for DownsampleRows<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let CoarserTile { downsampling, writers, buffers, out, .. } = self.coarser;
        let [slices, rows, columns] = self.region;
        if columns.is_empty() {
            return;
        }
        for (reader, writer) in self.readers.into_iter().zip(writers) {
            for z in slices.clone() {
                for y in rows.clone() {
                    writer.prefetch([z, y + 3], columns.clone());
                    downsampling.row(reader, [z, y], &columns, buffers, out);
                    writer.write([z, y], columns.start, out);
                }
            }
        }
    }
}

/// Rows of the result of a work item of [`downsample`].
const ROWS: usize = 64;

/// Both images of each pair downsampled: dense planes one after another.
pub(crate) fn downsample<T: Real>(pairs: &[[&dyn RowReader<T>; 2]], downsampling: Downsampling) -> [Vec<T>; 2] {
    let dims @ [depth, height, width] = downsampling.dims();
    let cuts = [runs(depth, 1, 1).collect(), runs(height, ROWS, 1).collect(), whole(width)];
    let mut coarser = [(); 2].map(|()| Fresh::new(pairs.len() * dims.iter().product::<usize>()));
    let [x, y] = &mut coarser;
    let items: usize = cuts.iter().map(Vec::len).product();
    let readers = pairs.iter().flat_map(|pair| std::iter::repeat_n(*pair, items));
    let writers = x.writers(dims, &cuts).zip(y.writers(dims, &cuts));
    let tasks: Vec<_> = readers.zip(writers).collect();
    let arch = arch();
    tasks.into_par_iter().for_each(|(readers, (x, y))| CoarserTile::new(downsampling, [x, y]).finish(arch, readers));
    coarser.map(Fresh::filled)
}

/// `factor · gradient + Hᵀ coarser` in place, plane by plane, with `H` the downsampling.
pub(crate) fn add_coarser<T: Real>(downsampling: Downsampling, gradient: &mut [T], factors: &[f64], coarser: &[T]) {
    let [depth, height, width] = downsampling.axes.map(|axis| axis.input);
    let (plane, coarse) = (depth * height * width, downsampling.dims().iter().product::<usize>());
    let arch = arch();
    let rows = gradient.par_chunks_mut(width * ROWS.min(height)).enumerate();
    rows.for_each(|(chunk, rows)| {
        let first = chunk * ROWS.min(height);
        let planes = (first..).zip(rows.chunks_exact_mut(width));
        for (row, out) in planes {
            let (at, row) = (row / (depth * height), row % (depth * height));
            let coarser = &coarser[at * coarse..][..coarse];
            let adjoint =
                AddRow { downsampling, at: [row / height, row % height], factor: T::of(factors[at]), coarser, out };
            arch.dispatch(adjoint);
        }
    });
    debug_assert_eq!(gradient.len(), plane * factors.len());
}

struct AddRow<'a, T> {
    downsampling: Downsampling,
    at: [usize; 2],
    factor: T,
    coarser: &'a [T],
    out: &'a mut [T],
}

impl<T: Real> WithSimd for AddRow<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { downsampling, at: [z, y], factor, coarser, mut out } = self;
        let [depth, vertical, horizontal] = downsampling.axes;
        let (Some((z, times_z)), Some((y, times_y))) = (depth.destination(z), vertical.destination(y)) else {
            return out.iter_mut().for_each(|value| *value = *value * factor);
        };
        let weight = T::of(downsampling.weight() * (times_z * times_y) as f64);
        let mut line = &coarser[(z * vertical.output() + y) * horizontal.output()..][..horizontal.output()];
        if horizontal.lead == 1 {
            // The first column's partner is before it.
            let times = if horizontal.repeat { T::of(2.0) } else { T::of(1.0) };
            out[0] = out[0] * factor + line[0] * weight * times;
            (line, out) = (&line[1..], &mut out[1..]);
        }
        let (pairs, last) = out.as_chunks_mut();
        for ([a, b], &value) in pairs.iter_mut().zip(line) {
            *a = *a * factor + value * weight;
            *b = *b * factor + value * weight;
        }
        // A last column without partner gets its own, if there is one.
        if let [last] = last {
            let times = if horizontal.repeat { T::of(2.0) } else { T::of(1.0) };
            let own = line.get(pairs.len()).map_or(T::default(), |&value| value * weight * times);
            *last = *last * factor + own;
        }
    }
}
