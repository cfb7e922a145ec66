//! One channel of one image, wherever and however it lies in memory.

use std::ops::Range;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::lanes::Real;

/// A type pixels are stored in.
pub(crate) trait Pixel: Copy + Default + Send + Sync + 'static {
    /// The type the kernels compute in.
    type Real: Real;

    fn widen(pixels: &[Self], reals: &mut [Self::Real]);
    /// Rounds to nearest; only asked of types that can hold a gradient or a map.
    fn narrow(reals: &[Self::Real], pixels: &mut [Self]);
    /// The pixels themselves where they need no conversion.
    fn as_reals(_pixels: &[Self]) -> Option<&[Self::Real]> {
        None
    }
}

macro_rules! same_pixel {
    ($real:ty) => {
        impl Pixel for $real {
            type Real = $real;

            fn widen(pixels: &[Self], reals: &mut [Self]) {
                reals.copy_from_slice(pixels);
            }
            fn narrow(reals: &[Self], pixels: &mut [Self]) {
                pixels.copy_from_slice(reals);
            }
            fn as_reals(pixels: &[Self]) -> Option<&[Self]> {
                Some(pixels)
            }
        }
    };
}
same_pixel!(f32);
same_pixel!(f64);

macro_rules! half_pixel {
    ($half:ty) => {
        impl Pixel for $half {
            type Real = f32;

            fn widen(pixels: &[Self], reals: &mut [f32]) {
                pixels.convert_to_f32_slice(reals);
            }
            fn narrow(reals: &[f32], pixels: &mut [Self]) {
                pixels.convert_from_f32_slice(reals);
            }
        }
    };
}
half_pixel!(f16);
half_pixel!(bf16);

impl Pixel for u8 {
    type Real = f32;

    fn widen(pixels: &[Self], reals: &mut [f32]) {
        for (real, &pixel) in reals.iter_mut().zip(pixels) {
            *real = f32::from(pixel);
        }
    }
    fn narrow(reals: &[f32], pixels: &mut [Self]) {
        for (pixel, &real) in pixels.iter_mut().zip(reals) {
            *pixel = real.round() as u8;
        }
    }
}

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

    pub(super) fn at(&self, [z, y, x]: [usize; 3]) -> P {
        self.data[z * self.strides[0] + y * self.strides[1] + x * self.strides[2]]
    }

    /// Part of a row in the computing type: the pixels themselves if they can be used as they are, else copied into `buffer`.
    #[inline(always)]
    pub(super) fn row<'b>(&self, z: usize, y: usize, columns: Range<usize>, buffer: &'b mut [P::Real]) -> &'b [P::Real]
    where
        'a: 'b,
    {
        if self.strides[2] == 1 {
            let start = z * self.strides[0] + y * self.strides[1];
            if let Some(reals) = P::as_reals(&self.data[start + columns.start..start + columns.end]) {
                return reals;
            }
        }
        let row = &mut buffer[..columns.len()];
        self.copy_row(z, y, columns, row);
        row
    }

    /// Part of a row, copied.
    #[inline(always)]
    pub(super) fn copy_row(&self, z: usize, y: usize, columns: Range<usize>, out: &mut [P::Real]) {
        let start = z * self.strides[0] + y * self.strides[1];
        if self.strides[2] == 1 {
            return P::widen(&self.data[start + columns.start..start + columns.end], out);
        }
        for (real, x) in out.iter_mut().zip(columns) {
            let pixel = self.data[start + x * self.strides[2]];
            P::widen(std::slice::from_ref(&pixel), std::slice::from_mut(real));
        }
    }

    /// Asks for part of a row ahead of its use: rows of a tile lie too far apart for the hardware to see them coming.
    #[inline(always)]
    pub(super) fn prefetch(&self, z: usize, y: usize, columns: Range<usize>) {
        #[cfg(target_arch = "x86_64")]
        if self.strides[2] == 1 && y < self.dims[1] {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let start = z * self.strides[0] + y * self.strides[1];
            let row = &self.data[start + columns.start..start + columns.end];
            for line in row.chunks(64 / size_of::<P>()) {
                // SAFETY: a prefetch has no effect but on the cache; the address is that of a live pixel. SSE is always there.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (z, y, columns);
    }

    /// A number near the middle of the plane's values, the same whenever the values are: the mean of the finite ones among up to
    /// 16 lines of each axis.
    pub(super) fn pivot(&self) -> f64 {
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
