//! The parameters of a launch, as they lie in memory; see `base.h`.

pub(super) const MAX_TAPS: usize = 33;
pub(super) const MAX_VOLUME_TAPS: usize = 11;

/// What a plane is measured for, in the order of partial sums, slopes and rows: SSIM, contrast, squared errors, absolute errors.
pub(super) const QUANTITIES: usize = 4;

/// Where the weights of a gradient come from.
#[derive(Clone, Copy, PartialEq)]
#[repr(i32)]
#[allow(dead_code)] // the first is what parameters of 0 say
pub(super) enum Weights {
    /// The slopes, before they are known.
    Foreseen,
    /// The rows that came from above.
    Upstream,
    /// Those rows, but what was made for the same slopes stays as it is.
    Corrected,
}

/// `Params` of `base.h`, which says what the fields mean.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub(super) struct Params<T: Copy + Default> {
    pub(super) strides: [[i64; 5]; 2],
    pub(super) counts: [i64; 2],
    pub(super) taps: [Taps<T>; 3],
    pub(super) luminance: T,
    pub(super) contrast: T,
    pub(super) range: T,
    pub(super) spread: T,
    pub(super) slopes: [T; QUANTITIES],
    pub(super) near: T,
    pub(super) sign: T,
    pub(super) unused_real: T,
    pub(super) input: [i32; 3],
    pub(super) map: [i32; 3],
    pub(super) window: [i32; 3],
    pub(super) lead: [i32; 3],
    pub(super) crop: [i32; 3],
    pub(super) owned: [i32; 3],
    pub(super) tiles: [i32; 3],
    pub(super) coarse: [i32; 3],
    pub(super) coarse_lead: [i32; 3],
    pub(super) rows: [i32; QUANTITIES],
    pub(super) channels: i32,
    pub(super) planes: i32,
    pub(super) mirror: i32,
    pub(super) per_image: i32,
    pub(super) scored: [i32; 2],
    pub(super) errors: i32,
    pub(super) map_of: i32,
    pub(super) weights: i32,
    pub(super) sums: i32,
    pub(super) repeat: i32,
    pub(super) flat: i32,
    pub(super) add_coarser: i32,
    pub(super) dense: i32,
    pub(super) unused: i32,
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
    /// Everything that is computed with in f32.
    pub(super) fn narrow(&self) -> Params<f32> {
        let &Self { strides, counts, taps, luminance, contrast, range, spread, slopes, near, sign, .. } = self;
        let &Self { input, map, window, lead, crop, owned, tiles, coarse, coarse_lead, rows, channels, planes, .. } =
            self;
        let &Self {
            mirror, per_image, scored, errors, map_of, weights, sums, repeat, flat, add_coarser, dense, ..
        } = self;
        Params {
            strides,
            counts,
            taps: taps.map(|taps| Taps(taps.0.map(|tap| tap as f32))),
            luminance: luminance as f32,
            contrast: contrast as f32,
            range: range as f32,
            spread: spread as f32,
            slopes: slopes.map(|slope| slope as f32),
            near: near as f32,
            sign: sign as f32,
            unused_real: 0.0,
            input,
            map,
            window,
            lead,
            crop,
            owned,
            tiles,
            coarse,
            coarse_lead,
            rows,
            channels,
            planes,
            mirror,
            per_image,
            scored,
            errors,
            map_of,
            weights,
            sums,
            repeat,
            flat,
            add_coarser,
            dense,
            unused: 0,
        }
    }
}

impl<T: Copy + Default> Params<T> {
    /// As a kernel gets them.
    pub(super) fn bytes(&self) -> &[u8] {
        const { assert!(size_of::<Params<f32>>() == 96 + 4 * 110 + 4 * 46) }
        const { assert!(size_of::<Params<f64>>() == 96 + 8 * 110 + 4 * 46) }
        // SAFETY: the fields are numbers, and their sizes, summed above, leave no padding between them.
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(self).cast(), size_of::<Self>()) }
    }
}
