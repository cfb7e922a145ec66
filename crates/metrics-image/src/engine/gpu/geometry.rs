//! How images of one size are cut, and what that and the plan make of the parameters of a launch.

use candle_core::{DType, Error, Layout, Result, bail};

use super::launch::Grid;
use super::params::{MAX_TAPS, MAX_VOLUME_TAPS, Params, QUANTITIES, Taps};
use crate::OddSides;
use crate::engine::Padding;
use crate::measure::ssim::Plan;

/// Threads of a block that works on a flat image; the columns of its tile. As in `kernels.h`.
const LINE: i32 = 128;
/// Rows and columns of threads of a block that works on a volume; half the columns in f64.
const DEEP: [i32; 2] = [16, 32];
/// Threads of all other blocks.
pub(super) const WORKERS: usize = 128;
/// Pixels whose errors one block sums.
const ERRORS_RUN: i32 = 64 * 128;
/// Lines of the longest side that a window is moved over: kernels add up to two sides and two windows in 32 bits.
const LONGEST: i32 = i32::MAX / 2 - 64;

/// How many slices a block walks along: few enough to keep a GPU busy with a small image, many enough to make the halo cheap.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bands {
    /// Of volumes and of small flat images.
    pub(super) short: i32,
    /// Of large flat images.
    pub(super) long: i32,
    /// Pixels of a plane from which on a flat image is large.
    pub(super) large: usize,
}

impl Bands {
    /// On devices.
    pub(super) const DEVICE: Self = Self { short: 32, long: 128, large: 1 << 20 };

    fn of(self, flat: bool, pixels: usize) -> i32 {
        if flat && pixels >= self.large { self.long } else { self.short }
    }
}

/// Whether there are kernels for the windows of a plan.
pub(super) fn fits(plan: &Plan) -> bool {
    let most = if plan.taps.len() == 2 { MAX_TAPS } else { MAX_VOLUME_TAPS };
    plan.taps.iter().all(|taps| taps.len() <= most)
}

/// Images of one size, with axes of slices, rows and columns: the lines of a flat image are its slices.
///
/// There are no more of anything than its type says: kernels count lines, planes and blocks in 32 bits and pixels in 64.
#[derive(Clone, Copy)]
pub(super) struct Geometry {
    images: i32,
    channels: i32,
    planes: i32,
    sides: [i32; 3],
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
        let product = |sides: &[usize]| sides.iter().try_fold(1usize, |all, &side| all.checked_mul(side));
        if product(dims).and_then(|pixels| i64::try_from(pixels).ok()).is_none() {
            bail!("images of {dims:?}: more pixels than {}, the most that the kernels of a GPU count", i64::MAX);
        }
        let line = |what: &str, number: usize| {
            i32::try_from(number).map_err(|_| too_many(dims, what, number, i32::MAX.into()))
        };
        let mut strides = [[0; 5]; 2];
        for (strides, layout) in strides.iter_mut().zip(layouts) {
            let axes: &[usize] = if flat { &[0, 1, 2, 4] } else { &[0, 1, 2, 3, 4] };
            for (&axis, &stride) in axes.iter().zip(layout.stride()) {
                strides[axis] = i64::try_from(stride).map_err(|_| too_many(dims, "stride", stride, i64::MAX))?;
            }
        }
        Ok(Self {
            images: line("images", dims[0])?,
            channels: line("channels", dims[1])?,
            planes: line("planes", dims[0] * dims[1])?,
            sides: [line("lines", sides[0])?, line("lines", sides[1])?, line("columns", sides[2])?],
            flat,
            strides,
        })
    }

    /// Dimensions of the tensors, for messages.
    fn dims(&self) -> Vec<usize> {
        let [slices, rows, columns] = self.sides;
        let sides = if self.flat { vec![slices, columns] } else { vec![slices, rows, columns] };
        [self.images, self.channels].into_iter().chain(sides).map(size).collect()
    }

    /// So many blocks of so many threads; `None` is more than can be counted.
    pub(super) fn grid(&self, blocks: Option<usize>, workers: usize) -> Result<Grid> {
        Ok(Grid { blocks: size(self.blocks(blocks)?), workers })
    }

    fn blocks(&self, blocks: Option<usize>) -> Result<i32> {
        let blocks = blocks.unwrap_or(usize::MAX);
        i32::try_from(blocks).map_err(|_| too_many(&self.dims(), "blocks of threads", blocks, i32::MAX.into()))
    }

    /// A thread for each pixel, on a device that numbers `most` of them.
    pub(super) fn grid_of_pixels(&self, most: i64) -> Result<Grid> {
        let grid = self.grid(Some(self.len().div_ceil(WORKERS)), WORKERS)?;
        match i64::try_from(grid.blocks * WORKERS) {
            Ok(threads) if threads <= most => Ok(grid),
            _ => Err(too_many(&self.dims(), "pixels", self.len(), most)),
        }
    }

    /// Of dense images of half the size.
    pub(super) fn halved(&self, odd_sides: OddSides) -> Self {
        let leads = self.leads(odd_sides);
        let mut sides = self.sides;
        for axis in self.meeting() {
            // Rounded up without the sum, which may not be an `i32`.
            sides[axis] = sides[axis] / 2 + (sides[axis] % 2 + leads[axis]) / 2;
        }
        let [slices, rows, columns] = sides.map(i64::from);
        let plane = slices * rows * columns;
        let strides = [[plane * i64::from(self.channels), plane, rows * columns, columns, 1]; 2];
        Self { sides, strides, ..*self }
    }

    /// The axes whose lines meet in pairs.
    fn meeting(&self) -> impl Iterator<Item = usize> {
        let flat = self.flat;
        (0..3).filter(move |&axis| !(flat && axis == 1))
    }

    fn leads(&self, odd_sides: OddSides) -> [i32; 3] {
        let axes: Vec<usize> = self.meeting().collect();
        let sides: Vec<usize> = axes.iter().map(|&axis| size(self.sides[axis])).collect();
        let mut leads = [0; 3];
        for (&axis, lead) in axes.iter().zip(odd_sides.lead(&sides)) {
            leads[axis] = i32::from(lead != 0);
        }
        leads
    }

    pub(super) fn planes(&self) -> usize {
        size(self.planes)
    }

    /// Pixels of all planes.
    pub(super) fn len(&self) -> usize {
        self.planes() * self.plane_len()
    }

    fn plane_len(&self) -> usize {
        self.sides.iter().map(|&side| size(side)).product()
    }

    /// What depends on the images alone.
    pub(super) fn params(&self) -> Params<f64> {
        let [slices, rows, columns] = self.sides.map(i64::from);
        let dense = [rows * columns, columns, 1];
        let is_dense = |strides: &[i64; 5]| {
            // The stride of an axis of one line is never used.
            (2..5).all(|axis| strides[axis] == dense[axis - 2] || self.sides[axis - 2] == 1)
        };
        Params {
            strides: self.strides,
            counts: [slices * rows * columns; 2],
            input: self.sides,
            map: self.sides,
            window: [1; 3],
            rows: [-1; QUANTITIES],
            channels: self.channels,
            planes: self.planes,
            map_of: -1,
            sign: 1.0,
            flat: self.flat.into(),
            dense: self.strides.iter().all(is_dense).into(),
            ..Params::default()
        }
    }

    /// Cut into runs of pixels for the error kernels, a block for each.
    pub(super) fn runs(&self) -> Result<(Params<f64>, Grid)> {
        let runs = self.blocks(Some(self.plane_len().div_ceil(size(ERRORS_RUN))))?;
        let grid = self.grid(self.planes().checked_mul(size(runs)), WORKERS)?;
        Ok((Params { owned: [1, 1, ERRORS_RUN], tiles: [1, 1, runs], ..self.params() }, grid))
    }

    /// What halving them takes.
    pub(super) fn halving(&self, odd_sides: OddSides) -> Params<f64> {
        Params {
            coarse: self.halved(odd_sides).sides,
            coarse_lead: self.leads(odd_sides),
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
            taps => bail!("a window with {} axes does not fit images of {:?}", taps.len(), self.dims()),
        };
        if let Some(&side) = self.sides.iter().find(|&&side| side > LONGEST) {
            return Err(too_many(&self.dims(), "lines under a window", size(side), LONGEST.into()));
        }
        let mut window = [1; 3];
        for (side, taps) in window.iter_mut().zip(taps) {
            *side = i32::try_from(taps.len()).map_err(Error::wrap)?;
        }
        let mut map = self.sides;
        for axis in 0..3 {
            let too_small = match plan.padding {
                Padding::Valid => self.sides[axis] < window[axis],
                Padding::Reflect => self.sides[axis] <= window[axis] / 2,
                Padding::Zero => false,
            };
            if too_small {
                bail!("images of {:?} are too small for a window of {window:?}", self.dims());
            }
            if plan.padding == Padding::Valid {
                map[axis] -= window[axis] - 1;
            }
        }
        let margin = if plan.padding == Padding::Valid { [0; 3] } else { window.map(|taps| taps / 2) };
        let inner = (0..3).map(|axis| i64::from((map[axis] - 2 * margin[axis]).max(0))).product();
        let params = Params {
            counts: [map.iter().copied().map(i64::from).product(), inner],
            taps: taps.map(padded),
            luminance: 2.0 * plan.k1 * plan.k1,
            contrast: 2.0 * plan.k2 * plan.k2 / plan.covariance,
            spread: if plan.is_one_pixel() { 0.0 } else { 1.0 },
            map,
            window,
            lead: margin,
            crop: margin,
            mirror: (plan.padding == Padding::Reflect).into(),
            ..self.params()
        };
        Ok(Windowed { params, geometry: *self })
    }
}

/// A window over images of one size, not yet cut into tiles.
pub(super) struct Windowed {
    params: Params<f64>,
    geometry: Geometry,
}

impl Windowed {
    /// How the names of its kernels begin, for pixels that are computed in `real`; see `kernels.h`.
    pub(super) fn family(&self, real: DType) -> &'static str {
        match self.params.window {
            _ if !self.geometry.flat => "deep_",
            [11, _, 11] if real == DType::F32 => "",
            _ => "wide_",
        }
    }

    /// The dimensions of the map.
    pub(super) fn map(&self) -> [usize; 3] {
        self.params.map.map(size)
    }

    /// Cut for values or for a gradient computed in `real`.
    pub(super) fn cut(&self, gradient: bool, real: DType, bands: Bands) -> Result<(Params<f64>, Grid)> {
        let [rows, columns] = match (self.geometry.flat, real) {
            (false, DType::F64) => [DEEP[0], DEEP[1] / 2],
            (false, _) => DEEP,
            (true, _) => [1, LINE],
        };
        let band = bands.of(self.geometry.flat, self.geometry.plane_len());
        let mut params = Params { owned: [band, rows, columns], ..self.params };
        for axis in 0..3 {
            let results = if gradient { params.input[axis] } else { params.map[axis] };
            if gradient && axis > 0 {
                params.owned[axis] -= params.window[axis] - 1;
            }
            params.tiles[axis] = (results - 1) / params.owned[axis] + 1;
        }
        let tiles = params.tiles.map(size);
        let blocks = tiles.iter().try_fold(self.geometry.planes(), |blocks, &tiles| blocks.checked_mul(tiles));
        Ok((params, self.geometry.grid(blocks, size(rows * columns))?))
    }
}

/// A number that is not negative.
fn size(number: i32) -> usize {
    number.unsigned_abs() as usize
}

fn too_many(dims: &[usize], what: &str, number: usize, most: i64) -> Error {
    Error::msg(format!(
        "images of {dims:?}: {number} {what} are more than {most}, the most that the kernels of a GPU take"
    ))
}

fn padded(taps: &[f64]) -> Taps<f64> {
    let mut all = Taps::default();
    for (to, &tap) in all.0.iter_mut().zip(taps) {
        *to = tap;
    }
    all
}
