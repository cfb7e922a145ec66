//! The types that pixels are stored in.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::simd::Real;

/// A type pixels are stored in.
pub(crate) trait Pixel: pulp::bytemuck::Pod + Default + Send + Sync {
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
