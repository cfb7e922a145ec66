//! How images of one size are cut, and what that and the plan make of the parameters of a launch.

use candle_core::{DType, Layout, Result, bail};

use super::params::{MAX_TAPS, MAX_VOLUME_TAPS, Params, QUANTITIES, Taps};
use crate::OddSides;
use crate::kernel::{Padding, Plan};

/// Threads of a block that works on a flat image; the columns of its tile. As in `kernels.h`.
const LINE: usize = 128;
/// Rows and columns of threads of a block that works on a volume; half the columns in f64.
const DEEP: [usize; 2] = [16, 32];
/// Threads of all other blocks.
pub(super) const WORKERS: usize = 128;
/// Pixels whose errors one block sums.
const ERRORS_RUN: usize = 64 * WORKERS;
/// Slices that a block walks along: few enough to keep a GPU busy with a small image, many enough to make the halo cheap.
const BAND: [usize; 2] = [32, 128];
/// Pixels of a plane from which on bands are long.
const LARGE: usize = 1 << 20;

/// Whether there are kernels for the windows of a plan.
pub(super) fn fits(plan: &Plan) -> bool {
    let most = if plan.taps.len() == 2 { MAX_TAPS } else { MAX_VOLUME_TAPS };
    plan.taps.iter().all(|taps| taps.len() <= most)
}

/// Images of one size, with axes of slices, rows and columns: the lines of a flat image are its slices.
#[derive(Clone, Copy)]
pub(super) struct Geometry {
    images: usize,
    channels: usize,
    sides: [usize; 3],
    flat: bool,
    strides: [[i64; 5]; 2],
}

impl Geometry {
    /// Of a pair of views.
    pub(super) fn of(layouts: [&Layout; 2]) -> Result<Self> {
        let dims = layouts[0].dims();
        let (flat, sides) = match *dims {
            [_, _, height, width] => (true, [height, 1, width]),
            [_, _, depth, height, width] => (false, [depth, height, width]),
            _ => bail!("expected [N, C, H, W] or [N, C, D, H, W], got {dims:?}"),
        };
        let strides = layouts.map(|layout| match *layout.stride() {
            [image, channel, slice, column] => [image, channel, slice, 0, column].map(|stride| stride as i64),
            ref all => std::array::from_fn(|axis| all[axis] as i64),
        });
        Ok(Self { images: dims[0], channels: dims[1], sides, flat, strides })
    }

    /// Of dense images of half the size.
    pub(super) fn halved(&self, odd_sides: OddSides) -> Self {
        let leads = self.leads(odd_sides);
        let mut sides = self.sides;
        for axis in self.meeting() {
            sides[axis] = (sides[axis] + leads[axis]) / 2;
        }
        let [slices, rows, columns] = sides.map(|side| side as i64);
        let plane = slices * rows * columns;
        let strides = [[plane * self.channels as i64, plane, rows * columns, columns, 1]; 2];
        Self { sides, strides, ..*self }
    }

    /// The axes whose lines meet in pairs.
    fn meeting(&self) -> impl Iterator<Item = usize> {
        let flat = self.flat;
        (0..3).filter(move |&axis| !(flat && axis == 1))
    }

    fn leads(&self, odd_sides: OddSides) -> [usize; 3] {
        let axes: Vec<usize> = self.meeting().collect();
        let sides: Vec<usize> = axes.iter().map(|&axis| self.sides[axis]).collect();
        let mut leads = [0; 3];
        for (&axis, lead) in axes.iter().zip(odd_sides.lead(&sides)) {
            leads[axis] = lead;
        }
        leads
    }

    pub(super) fn planes(&self) -> usize {
        self.images * self.channels
    }

    /// Pixels of all planes.
    pub(super) fn len(&self) -> usize {
        self.planes() * self.plane_len()
    }

    fn plane_len(&self) -> usize {
        self.sides.iter().product()
    }

    /// What depends on the images alone; the tiles are those of the error kernels.
    pub(super) fn params(&self) -> Params<f64> {
        let [slices, rows, columns] = self.sides.map(|side| side as i64);
        let dense = [rows * columns, columns, 1];
        let is_dense = |strides: &[i64; 5]| {
            // The stride of an axis of one line is never used.
            (2..5).all(|axis| strides[axis] == dense[axis - 2] || self.sides[axis - 2] == 1)
        };
        Params {
            strides: self.strides,
            counts: [slices * rows * columns; 2],
            input: ints(self.sides),
            map: ints(self.sides),
            window: [1; 3],
            owned: [1, 1, ERRORS_RUN as i32],
            tiles: [1, 1, self.plane_len().div_ceil(ERRORS_RUN) as i32],
            rows: [-1; QUANTITIES],
            channels: self.channels as i32,
            planes: self.planes() as i32,
            map_of: -1,
            sign: 1.0,
            flat: self.flat.into(),
            dense: self.strides.iter().all(is_dense).into(),
            ..Params::default()
        }
    }

    /// What halving them takes.
    pub(super) fn halving(&self, odd_sides: OddSides) -> Params<f64> {
        Params {
            coarse: ints(self.halved(odd_sides).sides),
            coarse_lead: ints(self.leads(odd_sides)),
            repeat: (odd_sides == OddSides::Replicate).into(),
            ..self.params()
        }
    }

    /// A window over them.
    pub(super) fn windowed(&self, plan: &Plan) -> Result<Windowed> {
        let one = vec![1.0];
        let taps: [&[f64]; 3] = match &plan.taps[..] {
            [down, along] if self.flat => [down, &one, along],
            [depth, down, along] if !self.flat => [depth, down, along],
            taps => bail!("a window with {} axes does not fit images of {:?}", taps.len(), self.sides),
        };
        let window = taps.map(<[f64]>::len);
        let mut map = self.sides;
        for axis in 0..3 {
            let too_small = match plan.padding {
                Padding::Valid => self.sides[axis] < window[axis],
                Padding::Reflect => self.sides[axis] <= window[axis] / 2,
                Padding::Zero => false,
            };
            if too_small {
                bail!("images of {:?} are too small for a window of {window:?}", self.sides);
            }
            if plan.padding == Padding::Valid {
                map[axis] -= window[axis] - 1;
            }
        }
        let margin = if plan.padding == Padding::Valid { [0; 3] } else { window.map(|taps| taps / 2) };
        let inner = (0..3).map(|axis| map[axis].saturating_sub(2 * margin[axis]) as i64).product();
        let params = Params {
            counts: [map.iter().product::<usize>() as i64, inner],
            taps: taps.map(padded),
            luminance: 2.0 * plan.k1 * plan.k1,
            contrast: 2.0 * plan.k2 * plan.k2 / plan.covariance,
            spread: if plan.is_one_pixel() { 0.0 } else { 1.0 },
            map: ints(map),
            window: ints(window),
            lead: ints(margin),
            crop: ints(margin),
            mirror: (plan.padding == Padding::Reflect).into(),
            ..self.params()
        };
        Ok(Windowed { params, large: self.plane_len() >= LARGE })
    }
}

/// A window over images of one size, not yet cut into tiles.
pub(super) struct Windowed {
    params: Params<f64>,
    large: bool,
}

impl Windowed {
    /// How the names of its kernels begin, for pixels that are computed in `real`; see `kernels.h`.
    pub(super) fn family(&self, real: DType) -> &'static str {
        match self.params.window {
            _ if self.params.flat == 0 => "deep_",
            [11, _, 11] if real == DType::F32 => "",
            _ => "wide_",
        }
    }

    /// The dimensions of the map.
    pub(super) fn map(&self) -> [usize; 3] {
        self.params.map.map(|side| side as usize)
    }

    /// Cut for values or for a gradient computed in `real`, and the threads of a block.
    pub(super) fn cut(&self, gradient: bool, real: DType) -> (Params<f64>, usize) {
        let [rows, columns] = match (self.params.flat, real) {
            (0, DType::F64) => [DEEP[0], DEEP[1] / 2],
            (0, _) => DEEP,
            _ => [1, LINE],
        };
        let band = if self.params.flat != 0 && self.large { BAND[1] } else { BAND[0] };
        let mut params = Params { owned: ints([band, rows, columns]), ..self.params };
        for axis in 0..3 {
            let results = if gradient { params.input[axis] } else { params.map[axis] };
            if gradient && axis > 0 {
                params.owned[axis] -= params.window[axis] - 1;
            }
            params.tiles[axis] = (results + params.owned[axis] - 1) / params.owned[axis];
        }
        (params, rows * columns)
    }
}

fn ints<const N: usize>(sizes: [usize; N]) -> [i32; N] {
    sizes.map(|size| size as i32)
}

fn padded(taps: &[f64]) -> Taps<f64> {
    let mut all = Taps::default();
    for (to, &tap) in all.0.iter_mut().zip(taps) {
        *to = tap;
    }
    all
}
