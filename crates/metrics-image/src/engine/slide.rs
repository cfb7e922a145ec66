//! Vectors that lie astride two others.
//!
//! A load that crosses a cache line takes as long as two, and at every offset but one a load of a whole 512-bit register
//! crosses one. Shuffles are made elsewhere in the machine: where half of the vectors are loaded and half are made of the two
//! that they lie astride, both halves take less time.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::__m512;

use pulp::Simd;
#[cfg(target_arch = "x86_64")]
use pulp::bytemuck;

use super::simd::{Lanes, Real};

/// The numbers from `row[at]` on, like [`Lanes::load`]; the row has two vectors.
#[inline(always)]
pub(super) fn slide<T: Real, S: Simd>(simd: S, row: &[T], at: usize) -> Lanes<T, S> {
    #[cfg(target_arch = "x86_64")]
    if at < Lanes::<T, S>::COUNT
        && let Some(simd_512) = (&simd as &dyn std::any::Any).downcast_ref::<pulp::x86::V4>()
    {
        let low = Lanes::<T, S>::load(simd, row, 0).vector();
        let high = Lanes::<T, S>::load(simd, row, Lanes::<T, S>::COUNT).vector();
        // In words of 32 bits, two of which are an f64.
        let first = at * (size_of::<T>() / size_of::<f32>());
        let vector = astride(*simd_512, bytemuck::cast(low), bytemuck::cast(high), first);
        return Lanes::new(simd, bytemuck::cast(vector));
    }
    Lanes::load(simd, row, at)
}

/// The words from word `first` of `low` on, then the first of `high`.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn astride(simd: pulp::x86::V4, low: __m512, high: __m512, first: usize) -> __m512 {
    let from_zero: [i32; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    let index = simd.avx512f._mm512_add_epi32(bytemuck::cast(from_zero), simd.avx512f._mm512_set1_epi32(first as i32));
    simd.avx512f._mm512_permutex2var_ps(low, index, high)
}
