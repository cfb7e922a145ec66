//! One channel of one image, wherever and however it lies in memory, and where results go.

use std::ops::Range;

use super::lanes::Real;
use super::pixel::Pixel;

/// A view of one plane of pixels: any strides, 0 (broadcast) included.
#[derive(Clone, Copy)]
pub(crate) struct Plane<'a, P> {
    data: &'a [P],
    /// Depth (1 in two dimensions), height, width.
    dims: [usize; 3],
    strides: [usize; 3],
}

impl<'a, P: Pixel> Plane<'a, P> {
    /// `None` if a side is 0 or the view reaches beyond `data`.
    pub(crate) fn new(data: &'a [P], dims: [usize; 3], strides: [usize; 3]) -> Option<Self> {
        let mut last = 0usize;
        for (dim, stride) in dims.into_iter().zip(strides) {
            last = last.checked_add(dim.checked_sub(1)?.checked_mul(stride)?)?;
        }
        (last < data.len()).then_some(Self { data, dims, strides })
    }

    /// A view of pixels that lie densely in row-major order.
    pub(crate) fn dense(data: &'a [P], dims: [usize; 3]) -> Option<Self> {
        Self::new(data, dims, [dims[1].checked_mul(dims[2])?, dims[2], 1])
    }

    pub(crate) fn dims(&self) -> [usize; 3] {
        self.dims
    }

    fn at(&self, [z, y, x]: [usize; 3]) -> P {
        self.data[z * self.strides[0] + y * self.strides[1] + x * self.strides[2]]
    }
}

/// A plane as the kernels see it: rows of the type they compute in.
pub(super) trait Source<T>: Sync {
    /// Part of a row: the pixels themselves if they can be used as they are, else copied into `buffer`.
    fn row<'b>(&'b self, at: [usize; 2], columns: Range<usize>, buffer: &'b mut [T]) -> &'b [T];

    /// Part of a row, copied.
    fn copy_row(&self, at: [usize; 2], columns: Range<usize>, out: &mut [T]);

    /// Pixels of a row.
    fn width(&self) -> usize;

    /// The memory of part of a row, to be fetched ahead of its use; empty where there is none, or it lies scattered.
    fn bytes(&self, at: [usize; 2], columns: Range<usize>) -> &[u8];

    /// A number near the middle of the plane's values, the same whenever the values are: the mean of the finite ones among up to
    /// 16 lines of each axis.
    fn pivot(&self) -> f64;
}

impl<P: Pixel> Source<P::Real> for Plane<'_, P> {
    fn row<'b>(&'b self, [z, y]: [usize; 2], columns: Range<usize>, buffer: &'b mut [P::Real]) -> &'b [P::Real] {
        if self.strides[2] == 1 {
            let start = z * self.strides[0] + y * self.strides[1];
            if let Some(reals) = P::as_reals(&self.data[start + columns.start..start + columns.end]) {
                return reals;
            }
        }
        let row = &mut buffer[..columns.len()];
        self.copy_row([z, y], columns, row);
        row
    }

    fn copy_row(&self, [z, y]: [usize; 2], columns: Range<usize>, out: &mut [P::Real]) {
        let start = z * self.strides[0] + y * self.strides[1];
        if self.strides[2] == 1 {
            return P::widen(&self.data[start + columns.start..start + columns.end], out);
        }
        for (real, x) in out.iter_mut().zip(columns) {
            let pixel = self.data[start + x * self.strides[2]];
            P::widen(std::slice::from_ref(&pixel), std::slice::from_mut(real));
        }
    }

    fn width(&self) -> usize {
        self.dims[2]
    }

    fn bytes(&self, [z, y]: [usize; 2], columns: Range<usize>) -> &[u8] {
        if self.strides[2] != 1 || y >= self.dims[1] {
            return &[];
        }
        let start = z * self.strides[0] + y * self.strides[1];
        pulp::bytemuck::cast_slice(&self.data[start + columns.start..start + columns.end])
    }

    fn pivot(&self) -> f64 {
        let places = |side: usize| (0..side).step_by(side.div_ceil(16));
        let (mut sum, mut count) = (0.0, 0.0);
        for z in places(self.dims[0]) {
            for y in places(self.dims[1]) {
                for x in places(self.dims[2]) {
                    let mut real = [P::Real::default()];
                    P::widen(&[self.at([z, y, x])], &mut real);
                    let value = real[0].wide();
                    if value.is_finite() {
                        sum += value;
                        count += 1.0;
                    }
                }
            }
        }
        if count > 0.0 { sum / count } else { 0.0 }
    }
}

/// The same plane of two images.
#[derive(Clone, Copy)]
pub(crate) struct Pair<'a, P> {
    pub(crate) x: Plane<'a, P>,
    pub(crate) y: Plane<'a, P>,
}

/// A pair as the kernels see it.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a, T> {
    pub(super) x: &'a dyn Source<T>,
    pub(super) y: &'a dyn Source<T>,
}

impl<'a, P: Pixel> From<&'a Pair<'_, P>> for Sources<'a, P::Real> {
    fn from(pair: &'a Pair<'_, P>) -> Self {
        Self { x: &pair.x, y: &pair.y }
    }
}

/// Part of a dense result, written row by row.
pub(super) trait Target<T>: Send {
    /// Rounds `row` to what lies from `at` on.
    fn write(&mut self, at: usize, row: &[T]);

    /// Asks for the memory of `len` places from `at` on, as far as there are so many: they will be written soon.
    fn fetch(&self, at: usize, len: usize);
}

/// Where each of two results goes, if it is wanted.
pub(super) type Targets<'a, T> = [Option<Box<dyn Target<T> + 'a>>; 2];
