//! How images of one size are cut, and what that and the plan make of the parameters of a launch.

use candle_core::{DType, Error, Layout, Result, bail};

use super::launch::Grid;
use super::params::{MAX_TAPS, MAX_VOLUME_TAPS, Params, Reals, Scale, Sizes, Taps};
use crate::OddSides;
use crate::engine::Padding;
use crate::engine::backend::Scales;
use crate::measure::ssim::Plan;

/// Columns of a strip of values, and of a gradient with its halo. As in `kernels.h`.
const STRIP: [i32; 2] = [128, 64];
/// Threads of a block that works on a flat image under a window of any length; the columns of its tile. As in `kernels.h`.
const LINE: i32 = 128;
/// Rows and columns of threads of a block that works on a volume; half the columns in f64. As in `kernels.h`.
const DEEP: [i32; 2] = [16, 32];
/// Threads of most other blocks, and of those that make results and pyramids.
pub(super) const WORKERS: usize = 128;
pub(super) const POOL_WORKERS: usize = 256;
pub(super) const PYRAMID_WORKERS: usize = 256;
/// Places of the side of a square of GMSD, and the threads of its blocks. As in `gmsd.h`.
const GMSD_SIDE: i32 = 32;
const GMSD_WORKERS: usize = 256;
/// Pixels of the side of what a block makes at the first scale of a pyramid, and the scales that it makes.
const PYRAMID_SIDE: i32 = 16;
const PYRAMID_LEVELS: i32 = 4;
/// Columns that a block goes through: a step beyond the last one is still counted in 32 bits.
const WIDEST: i32 = i32::MAX - 1024;
/// Lines of the longest side that a window is moved over: kernels add up to two sides and two windows in 32 bits.
const LONGEST: i32 = i32::MAX / 2 - 64;

/// What a block owns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cut {
    /// Places of the map.
    Values,
    /// Pixels of a gradient that is made with the values, in one scan.
    Gradient,
    /// Pixels of a gradient that is made in a pass of its own.
    Adjoint,
}

/// How many slices a block goes through.
#[derive(Clone, Copy, Debug)]
pub(super) enum Strips {
    /// On devices: few enough to keep a GPU busy, many enough to make the halo cheap. By the size of a plane alone, so that a plane
    /// has the same bits in any batch. These are what the scans were fastest with on an H100.
    Device,
    /// Always so many, for tests.
    #[cfg(all(test, target_os = "linux"))]
    Of(i32),
}

/// Pixels of a plane from which on it is not small, and is large: 128×128 and 1024×1024.
const SMALL: usize = 1 << 14;
const LARGE: usize = 1 << 20;
/// Other sizes at which strips change their length; the last is that of coarser scales.
const MEDIUM: usize = 1 << 16;
const HUGE: usize = 1 << 22;
const COARSE_LARGE: usize = 1 << 18;

impl Strips {
    fn slices(self, cut: Cut, flat: bool, scale: usize, pixels: usize) -> i32 {
        match self {
            Self::Device if !flat => 32,
            // Coarser scales are scanned beside the first.
            Self::Device if scale > 0 => match (cut, pixels) {
                (_, COARSE_LARGE..) => 32,
                (Cut::Gradient, _) => 24,
                _ => 16,
            },
            Self::Device => {
                let [values, gradient] = match pixels {
                    0..SMALL => [8, 8],
                    SMALL..MEDIUM => [16, 16],
                    MEDIUM..LARGE => [32, 64],
                    LARGE..HUGE => [64, 128],
                    HUGE.. => [64, 96],
                };
                if cut == Cut::Gradient { gradient } else { values }
            }
            #[cfg(all(test, target_os = "linux"))]
            Self::Of(slices) => slices,
        }
    }
}

/// Whether there are kernels for the windows and the border of a plan.
pub(super) fn fits(plan: &Plan) -> bool {
    if matches!(plan.padding, Padding::Symmetric | Padding::Replicate) {
        return false;
    }
    let most = if plan.taps.len() == 2 { MAX_TAPS } else { MAX_VOLUME_TAPS };
    plan.taps.iter().all(|taps| taps.len() <= most)
}

/// Images of one size, with axes of slices, rows and columns: the rows of a flat image are its slices.
///
/// There are no more of anything than its type says: kernels count lines, planes and blocks in 32 bits and pixels in 64.
#[derive(Clone, Copy)]
pub(super) struct Geometry {
    images: i32,
    channels: i32,
    planes: i32,
    sides: [i32; 3],
    flat: bool,
    strides: [[i64; 2]; 2],
    steps: [[i32; 3]; 2],
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
        let (mut strides, mut steps) = ([[0; 2]; 2], [[0; 3]; 2]);
        for (which, layout) in layouts.into_iter().enumerate() {
            for axis in 0..2 {
                strides[which][axis] = i64::try_from(layout.stride()[axis])
                    .map_err(|_| too_many(dims, "stride", layout.stride()[axis], i64::MAX))?;
            }
            let axes: &[usize] = if flat { &[0, 2] } else { &[0, 1, 2] };
            for (&axis, &step) in axes.iter().zip(&layout.stride()[2..]) {
                steps[which][axis] = line("stride", step)?;
            }
        }
        Ok(Self {
            images: line("images", dims[0])?,
            channels: line("channels", dims[1])?,
            planes: line("planes", dims[0] * dims[1])?,
            sides: [line("lines", sides[0])?, line("lines", sides[1])?, line("columns", sides[2])?],
            flat,
            strides,
            steps,
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

    pub(super) fn blocks(&self, blocks: Option<usize>) -> Result<i32> {
        let blocks = blocks.unwrap_or(usize::MAX);
        i32::try_from(blocks).map_err(|_| too_many(&self.dims(), "blocks of threads", blocks, i32::MAX.into()))
    }

    /// The sides at the next scale.
    fn halved(&self, sides: [i32; 3], odd_sides: OddSides) -> [i32; 3] {
        let leads = self.leads(sides, odd_sides);
        let mut halved = sides;
        for axis in self.halved_axes() {
            // Rounded up without the sum, which may not be an `i32`.
            halved[axis] = sides[axis] / 2 + (sides[axis] % 2 + leads[axis]) / 2;
        }
        halved
    }

    /// The axes whose lines are averaged in pairs.
    fn halved_axes(&self) -> impl Iterator<Item = usize> {
        let flat = self.flat;
        (0..3).filter(move |&axis| !(flat && axis == 1))
    }

    fn leads(&self, sides: [i32; 3], odd_sides: OddSides) -> [i32; 3] {
        let axes: Vec<usize> = self.halved_axes().collect();
        let lengths: Vec<usize> = axes.iter().map(|&axis| size(sides[axis])).collect();
        let mut leads = [0; 3];
        for (&axis, lead) in axes.iter().zip(odd_sides.lead(&lengths)) {
            leads[axis] = i32::from(lead != 0);
        }
        leads
    }

    pub(super) fn planes(&self) -> usize {
        size(self.planes)
    }

    pub(super) fn is_flat(&self) -> bool {
        self.flat
    }

    /// Pixels of all planes.
    pub(super) fn len(&self) -> usize {
        self.planes() * product(self.sides)
    }

    /// Pixels of all planes at all coarser scales.
    pub(super) fn coarse_len(&self, params: &Params<f64>) -> usize {
        let scales = &params.sizes.scale[..size(params.sizes.scales)];
        scales.iter().skip(1).map(|scale| self.planes() * product(scale.input)).sum()
    }

    /// What depends on the images alone, at all scales.
    pub(super) fn params(&self, scales: Scales) -> Params<f64> {
        let [_, rows, columns] = self.sides.map(i64::from);
        let dense = [rows * columns, columns, 1];
        // The stride of an axis of one line is never used.
        let is_dense =
            |steps: &[i32; 3]| (0..3).all(|axis| i64::from(steps[axis]) == dense[axis] || self.sides[axis] == 1);
        let (mut all, mut sides, mut offset) = ([Scale::default(); super::params::MAX_SCALES], self.sides, 0);
        for (number, scale) in all.iter_mut().enumerate().take(scales.count) {
            let len = product(sides) as i64;
            let lead = self.leads(sides, scales.odd_sides);
            *scale = Scale { offset, input: sides, map: sides, lead, counts: [len; 2], ..Scale::default() };
            offset += if number == 0 { 0 } else { i64::from(self.planes) * len };
            sides = self.halved(sides, scales.odd_sides);
        }
        Params {
            sizes: Sizes {
                strides: self.strides,
                steps: self.steps,
                scale: all,
                window: [1; 3],
                scales: scales.count as i32,
                images: self.images,
                group: self.channels,
                channels: self.channels,
                planes: self.planes,
                map_of: -1,
                repeat: (scales.odd_sides == OddSides::Replicate).into(),
                flat: self.flat.into(),
                dense: self.steps.iter().all(is_dense).into(),
                ..Sizes::default()
            },
            reals: Reals { sign: 1.0, ..Reals::default() },
        }
    }

    /// For blocks that go through planes line by line.
    pub(super) fn in_lines(&self, params: Params<f64>) -> Result<(Params<f64>, Grid)> {
        if self.sides[2] > WIDEST {
            return Err(too_many(&self.dims(), "columns", size(self.sides[2]), WIDEST.into()));
        }
        let [slices, rows, columns] = self.sides.map(size);
        let all = slices.checked_mul(rows).filter(|&all| i32::try_from(all).is_ok());
        let Some(all) = all else {
            return Err(too_many(&self.dims(), "lines", slices.saturating_mul(rows), i32::MAX.into()));
        };
        let lines = (run(slices.saturating_mul(rows).saturating_mul(columns)) / columns.max(1)).max(1);
        let runs = all.div_ceil(lines);
        let grid = self.grid(self.planes().checked_mul(runs), WORKERS)?;
        let mut params = params;
        params.sizes.lines = self.blocks(Some(lines))?;
        params.sizes.scale[0].tiles = [self.blocks(Some(runs))?, 1, 1];
        Ok((params, grid))
    }

    /// For blocks of GMSD, which own squares of places of flat images that are averaged over 2×2 pixels.
    pub(super) fn in_squares(&self) -> Result<(Params<f64>, Grid)> {
        let mut params = self.params(Scales::ONE);
        let scale = &mut params.sizes.scale[0];
        if let Some(&side) = scale.input.iter().find(|&&side| side > LONGEST) {
            return Err(too_many(&self.dims(), "lines under a filter", size(side), LONGEST.into()));
        }
        scale.map = [(scale.input[0] + 1) / 2, 1, (scale.input[2] + 1) / 2];
        scale.owned = [GMSD_SIDE, 1, GMSD_SIDE];
        for axis in 0..3 {
            scale.tiles[axis] = (scale.map[axis] - 1) / scale.owned[axis] + 1;
        }
        let tiles = size(scale.tiles[0]).checked_mul(size(scale.tiles[2]));
        let blocks = tiles.and_then(|tiles| tiles.checked_mul(self.planes()));
        Ok((params, self.grid(blocks, GMSD_WORKERS)?))
    }

    /// For the kernel that makes the scales after `finest`: how many, and its blocks.
    pub(super) fn pyramid(&self, params: &Params<f64>, finest: i32) -> Result<(i32, Params<f64>, Grid)> {
        let mut params = *params;
        params.sizes.finest = finest;
        if !self.flat {
            let [slices, rows, _] = params.sizes.scale[size(finest) + 1].input.map(size);
            let grid =
                self.grid(slices.checked_mul(rows).and_then(|lines| lines.checked_mul(self.planes())), WORKERS)?;
            return Ok((1, params, grid));
        }
        let levels = (params.sizes.scales - 1 - finest).min(PYRAMID_LEVELS);
        let mut blocks = [0; 2];
        for (axis, blocks) in [0, 2].into_iter().zip(&mut blocks) {
            let mut shift = 0;
            for level in (1..=levels).rev() {
                let scale = &params.sizes.scale[size(finest + level)];
                let side = PYRAMID_SIDE >> (level - 1);
                *blocks = (*blocks).max((scale.input[axis] + shift - 1) / side + 1);
                shift = 2 * shift + params.sizes.scale[size(finest + level) - 1].lead[axis];
            }
        }
        params.sizes.scale[size(finest) + 1].tiles = [blocks[0], 1, blocks[1]];
        let tiles = size(blocks[0]).checked_mul(size(blocks[1]));
        let grid = self.grid(tiles.and_then(|tiles| tiles.checked_mul(self.planes())), PYRAMID_WORKERS)?;
        Ok((levels, params, grid))
    }

    /// A window over them, at all scales.
    pub(super) fn windowed(&self, plan: &Plan, scales: Scales) -> Result<Windowed> {
        let mut params = self.params(scales);
        let one = vec![1.0];
        let taps: [&[f64]; 3] = match &plan.taps[..] {
            [down, along] if self.flat => [down, &one, along],
            [depth, down, along] if !self.flat => [depth, down, along],
            taps => bail!("a window with {} axes does not fit images of {:?}", taps.len(), self.dims()),
        };
        let mut window = [1; 3];
        for (side, taps) in window.iter_mut().zip(taps) {
            *side = i32::try_from(taps.len()).map_err(Error::wrap)?;
        }
        let border = if plan.padding == Padding::Valid { [0; 3] } else { window.map(|taps| taps / 2) };
        let mut places = 0;
        for scale in params.sizes.scale.iter_mut().take(scales.count) {
            if let Some(&side) = scale.input.iter().find(|&&side| side > LONGEST) {
                return Err(too_many(&self.dims(), "lines under a window", size(side), LONGEST.into()));
            }
            for axis in 0..3 {
                let too_small = match plan.padding {
                    Padding::Valid => scale.input[axis] < window[axis],
                    Padding::Reflect => scale.input[axis] <= window[axis] / 2,
                    Padding::Symmetric | Padding::Replicate | Padding::Zero => scale.input[axis] < 1,
                };
                if too_small {
                    bail!(
                        "images of {:?} are too small for a window of {window:?} at scales of {:?}",
                        self.dims(),
                        scale.input
                    );
                }
                if plan.padding == Padding::Valid {
                    scale.map[axis] -= window[axis] - 1;
                }
            }
            let map = scale.map;
            let inner = (0..3).map(|axis| i64::from((map[axis] - 2 * border[axis]).max(0))).product();
            scale.counts = [product(map) as i64, inner];
            scale.places = places;
            places += i64::from(self.planes) * scale.counts[0];
        }
        params.sizes =
            Sizes { fields: places, window, border, mirror: (plan.padding == Padding::Reflect).into(), ..params.sizes };
        params.reals = Reals {
            taps: taps.map(padded),
            constants: [2.0 * plan.k1 * plan.k1, 2.0 * plan.k2 * plan.k2 / plan.covariance],
            spread: if plan.is_one_pixel() { 0.0 } else { 1.0 },
            ..params.reals
        };
        let usual = match window {
            [taps @ (7 | 9 | 11), _, along] if self.flat && along == taps => Some(taps),
            _ => None,
        };
        Ok(Windowed { params, geometry: *self, usual })
    }
}

/// A window over images of one size, not yet cut into tiles.
pub(super) struct Windowed {
    pub(super) params: Params<f64>,
    geometry: Geometry,
    /// The number of taps, if values and gradient come from one scan; else there are two passes.
    pub(super) usual: Option<i32>,
}

impl Windowed {
    /// Cut for what is computed in `real`, with the number of threads of a block.
    pub(super) fn cut(&self, cut: Cut, real: DType, strips: Strips) -> Result<(Params<f64>, Grid)> {
        let flat = self.geometry.flat;
        let ([rows, columns], workers) = match (self.usual, flat, cut) {
            (Some(_), _, Cut::Values) => ([1, STRIP[0]], if real == DType::F64 { STRIP[0] } else { STRIP[0] / 2 }),
            (Some(taps), _, _) => {
                ([1, STRIP[1] - (taps - 1)], if real == DType::F64 { STRIP[1] } else { STRIP[1] / 2 })
            }
            (None, true, _) => ([1, LINE], LINE),
            (None, false, _) if real == DType::F64 => ([DEEP[0], DEEP[1] / 2], DEEP[0] * DEEP[1] / 2),
            (None, false, _) => (DEEP, DEEP[0] * DEEP[1]),
        };
        let (mut params, mut first) = (self.params, Some(0usize));
        for (number, scale) in params.sizes.scale.iter_mut().enumerate().take(size(params.sizes.scales)) {
            scale.first = self.geometry.blocks(first)?;
            scale.owned = [strips.slices(cut, flat, number, product(scale.input)), rows, columns];
            let results = if cut == Cut::Values { scale.map } else { scale.input };
            for axis in 0..3 {
                scale.tiles[axis] = (results[axis] - 1) / scale.owned[axis] + 1;
            }
            let tiles = scale
                .tiles
                .map(size)
                .iter()
                .try_fold(self.geometry.planes(), |blocks, &tiles| blocks.checked_mul(tiles));
            first = first.zip(tiles).and_then(|(first, tiles)| first.checked_add(tiles));
        }
        Ok((params, self.geometry.grid(first, size(workers))?))
    }
}

/// Pixels of a plane that a block goes through line by line: what was fastest on an H100, by the size of the plane alone.
fn run(pixels: usize) -> usize {
    match pixels {
        0..SMALL => 1 << 10,
        SMALL..LARGE => 1 << 12,
        LARGE.. => 1 << 13,
    }
}

fn product(sides: [i32; 3]) -> usize {
    sides.into_iter().map(size).product()
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

pub(super) fn padded(taps: &[f64]) -> Taps<f64> {
    let mut all = Taps::default();
    for (to, &tap) in all.0.iter_mut().zip(taps) {
        *to = tap;
    }
    all
}
