//! The parameters of a launch, as they lie in memory; see `base.h` and `pool.h`.

use crate::op::Output;

pub(super) const MAX_TAPS: usize = 33;
pub(super) const MAX_VOLUME_TAPS: usize = 11;
pub(super) const MAX_SCALES: usize = 8;
/// The numbers of an image that are made at once.
pub(super) const MAX_TERMS: usize = 8;

/// What is summed over a plane: `1 - ssim` and `1 - cs` at each place, squared and absolute errors of pixels.
pub(super) const QUANTITIES: usize = 4;
pub(super) const SSIM: usize = 0;
pub(super) const CONTRAST: usize = 1;
pub(super) const SQUARED: usize = 2;
pub(super) const ABSOLUTE: usize = 3;
/// What a number of an image is made of, besides one of the sums.
pub(super) const MS_SSIM: usize = QUANTITIES;
pub(super) const GMSD: usize = QUANTITIES + 1;
pub(super) const VIF: usize = QUANTITIES + 2;

/// Where the upstream of a gradient comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(i32)]
pub(super) enum Source {
    /// The parameters.
    Known,
    /// 1 for the term of MS-SSIM at each scale.
    Unit,
    /// A table of numbers, for each scale, quantity and plane.
    Table,
}

/// The buffers of a launch that it may lack.
pub(super) mod with {
    pub(in super::super) const MAP: i32 = 1;
    pub(in super::super) const DERIVATIVES: i32 = 2;
    pub(in super::super) const UPSTREAM: i32 = 4;
    pub(in super::super) const TABLE: i32 = 8;
    pub(in super::super) const RANGES: i32 = 16;
    pub(in super::super) const FINE: i32 = 32;
}

/// `Scale` of `base.h`, which says what the fields mean.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub(super) struct Scale {
    pub(super) offset: i64,
    pub(super) places: i64,
    pub(super) counts: [i64; 2],
    pub(super) input: [i32; 3],
    pub(super) map: [i32; 3],
    pub(super) owned: [i32; 3],
    pub(super) tiles: [i32; 3],
    pub(super) lead: [i32; 3],
    pub(super) first: i32,
}

/// The integers of `Params` of `base.h`, which says what they mean.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub(super) struct Sizes {
    pub(super) strides: [[i64; 2]; 2],
    pub(super) fields: i64,
    pub(super) scale: [Scale; MAX_SCALES],
    pub(super) steps: [[i32; 3]; 2],
    pub(super) window: [i32; 3],
    pub(super) border: [i32; 3],
    pub(super) scales: i32,
    pub(super) images: i32,
    pub(super) group: i32,
    pub(super) channels: i32,
    pub(super) planes: i32,
    pub(super) mirror: i32,
    pub(super) per_image: i32,
    pub(super) upstream: i32,
    pub(super) errors: i32,
    pub(super) map_of: i32,
    pub(super) repeat: i32,
    pub(super) flat: i32,
    pub(super) dense: i32,
    pub(super) of_images: i32,
    pub(super) lines: i32,
    pub(super) finest: i32,
    pub(super) with: i32,
    pub(super) unused: i32,
}

/// The numbers of `Params` that are computed with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub(super) struct Reals<T: Copy + Default> {
    pub(super) taps: [Taps<T>; 3],
    pub(super) constants: [T; 2],
    pub(super) range: T,
    pub(super) spread: T,
    pub(super) known: [T; QUANTITIES],
    pub(super) sign: T,
}

/// `Params` of `base.h`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub(super) struct Params<T: Copy + Default> {
    pub(super) sizes: Sizes,
    pub(super) reals: Reals<T>,
}

/// Room for the taps of one axis.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(transparent)]
pub(super) struct Taps<T>(pub(super) [T; MAX_TAPS]);

impl<T: Copy + Default> Default for Taps<T> {
    fn default() -> Self {
        Self([T::default(); MAX_TAPS])
    }
}

impl Params<f64> {
    /// Computed in f32.
    pub(super) fn narrow(&self) -> Params<f32> {
        let Self { sizes, reals } = *self;
        let Reals { taps, constants, range, spread, known, sign } = reals;
        let reals = Reals {
            taps: taps.map(|taps| Taps(taps.0.map(|tap| tap as f32))),
            constants: constants.map(|constant| constant as f32),
            range: range as f32,
            spread: spread as f32,
            known: known.map(|slope| slope as f32),
            sign: sign as f32,
        };
        Params { sizes, reals }
    }
}

/// `Pool` of `pool.h`, which says what the fields mean.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub(super) struct Pool<N> {
    pub(super) weights: [N; MAX_TERMS],
    pub(super) betas: [[N; MAX_SCALES]; MAX_TERMS],
    pub(super) offset: N,
    pub(super) slope: N,
    pub(super) constants: [N; 2],
    pub(super) kinds: [i32; MAX_TERMS],
    pub(super) normalize: [i32; MAX_TERMS],
    pub(super) per_channel: [i32; MAX_TERMS],
    pub(super) terms: i32,
    pub(super) mixed: i32,
    pub(super) output: i32,
    pub(super) by_range: i32,
}

impl Pool<f64> {
    /// What becomes of the numbers of so many images.
    pub(super) fn new(output: Output, images: usize) -> Self {
        Self {
            slope: if output == Output::Mean { 1.0 / images as f64 } else { 1.0 },
            output: match output {
                Output::PerImage | Output::PerChannel => 0,
                Output::Mean => 1,
                Output::Sum => 2,
            },
            ..Self::default()
        }
    }

    /// For devices without f64.
    pub(super) fn narrow(&self) -> Pool<f32> {
        let Self {
            weights,
            betas,
            offset,
            slope,
            constants,
            kinds,
            normalize,
            per_channel,
            terms,
            mixed,
            output,
            by_range,
        } = *self;
        Pool {
            weights: weights.map(|weight| weight as f32),
            betas: betas.map(|betas| betas.map(|beta| beta as f32)),
            offset: offset as f32,
            slope: slope as f32,
            constants: constants.map(|constant| constant as f32),
            kinds,
            normalize,
            per_channel,
            terms,
            mixed,
            output,
            by_range,
        }
    }
}

/// Parameters as a kernel gets them.
///
/// # Safety
/// The type has no padding.
pub(super) unsafe trait AsBytes: Sized {
    fn bytes(&self) -> &[u8] {
        // SAFETY: all bytes are those of fields.
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(self).cast(), size_of::<Self>()) }
    }
}

const _: () = assert!(size_of::<Sizes>() == 40 + MAX_SCALES * 96 + 30 * 4 && size_of::<Scale>() == 32 + 16 * 4);
const _: () = assert!(size_of::<Params<f32>>() == size_of::<Sizes>() + 4 * 108);
const _: () = assert!(size_of::<Params<f64>>() == size_of::<Sizes>() + 8 * 108);
const _: () = assert!(size_of::<Pool<f32>>() == 4 * 76 + 4 * 28 && size_of::<Pool<f64>>() == 8 * 76 + 4 * 28);

// SAFETY: the fields are numbers, and their sizes, summed above, leave no padding between them.
unsafe impl AsBytes for Params<f32> {}
// SAFETY: as above.
unsafe impl AsBytes for Params<f64> {}
// SAFETY: as above.
unsafe impl AsBytes for Pool<f32> {}
// SAFETY: as above.
unsafe impl AsBytes for Pool<f64> {}
