//! Numbers of images, and one number of them all: from one scan over the images at all scales.
//!
//! Between the images and the result stand the scan, one block that makes the result of the sums, and for several scales the kernel
//! that makes those: no operation of Candle, and nothing that waits.

use std::sync::{Mutex, OnceLock, PoisonError};

use candle_core::{Result, Shape, Storage};

use super::launch::{Arg, Grid, View};
use super::op::{Gradients, Images, Operation, for_each};
use super::params::{
    ABSOLUTE, CONTRAST, MAX_SCALES, MAX_TERMS, MS_SSIM, Params, Pool, QUANTITIES, SQUARED, SSIM, Source, with,
};
use super::pooling::Pooling;
use super::scan::{ScaleGradients, Scan, Sums, Upstream, pyramid, with_ranges};
use crate::engine::backend::{Program, Scales};
use crate::measure::similarity::Term;
use crate::op::Output;
use crate::pair::Range;
use crate::{ChannelPower, Normalize, OddSides};

/// `[N, C, …]` twice to a scalar, or to `[N]` or `[N, C]`, of several terms that are not mixed with their number before.
///
/// If an input tracks, the gradient is made with the numbers where it can be: that of terms which are sums, times their weights, and
/// that of MS-SSIM for each scale by itself. `backward` puts these together.
pub(super) struct Numbers {
    program: Program,
    pooling: Pooling,
    tracked: [bool; 2],
    /// Where the gradient that is made in `forward` gets its upstream from; a table, if there is none.
    source: Source,
    saved: Mutex<[Option<ScaleGradients>; 2]>,
    kept: OnceLock<Kept>,
}

/// What `backward` needs of `forward`.
struct Kept {
    /// Means and sums of planes.
    rows: Storage,
    /// The derivatives of the result with respect to the terms of MS-SSIM.
    table: Option<Storage>,
}

/// Whether the kernels have room for a program.
pub(super) fn fits(program: &Program) -> bool {
    program.terms.len() <= MAX_TERMS
        && program.terms.iter().all(|term| kind(term).is_some())
        && program.scales.count <= MAX_SCALES
        && program.scales.odd_sides != OddSides::ReplicateLast
        && program.plan.as_ref().is_none_or(super::geometry::fits)
}

impl Numbers {
    pub(super) fn new(program: Program, output: Output, range: Range, images: usize, tracked: [bool; 2]) -> Self {
        let pool = pool_of(&program, output, images, &range);
        let single = program.mixture.is_some() || program.terms.len() == 1;
        let source = match &program.terms[..] {
            [Term::MsSsim(_)] => Source::Unit,
            terms if single && !terms.iter().any(|term| matches!(term, Term::MsSsim(_))) => Source::Known,
            _ => Source::Table,
        };
        let (saved, kept) = (Mutex::default(), OnceLock::new());
        let pooling = Pooling { pool, output, range, scales: program.scales };
        Self { program, pooling, tracked, source, saved, kept }
    }

    /// The upstream of the means and sums of every plane.
    fn known_upstream(&self, channels: f64) -> [f64; QUANTITIES] {
        let (mut known, pool) = ([0.0; QUANTITIES], &self.pooling.pool);
        for (number, term) in self.program.terms.iter().enumerate() {
            let weight = pool.slope * if pool.mixed != 0 { pool.weights[number] } else { 1.0 };
            let weight = if term.is_error() { weight } else { weight / channels };
            if let Some(known) = kind(term).and_then(|kind| known.get_mut(kind)) {
                *known += weight;
            }
        }
        known
    }

    /// What these numbers add to the parameters of a launch.
    fn refine(&self, params: &mut Params<f64>) {
        params.sizes.errors = self.program.terms.iter().any(Term::is_error).into();
        self.pooling.refine(params);
        if self.source == Source::Known {
            params.reals.known = self.known_upstream(f64::from(params.sizes.group));
        }
    }

    fn with_scan<R>(
        &self,
        images: &Images,
        coarse: Option<&[Storage; 2]>,
        f: impl FnOnce(&Scan) -> Result<R>,
    ) -> Result<Option<R>> {
        let Some(plan) = &self.program.plan else { return Ok(None) };
        with_ranges(&self.pooling.range, |ranges, range| {
            let refine = |params: &mut Params<f64>| self.refine(params);
            f(&Scan::new(images, (plan, self.program.scales), (ranges, range), coarse, refine)?)
        })
        .map(Some)
    }

    /// Parameters without a window, for blocks that go through planes line by line.
    fn in_lines(&self, images: &Images, scales: Scales) -> Result<(Params<f64>, Grid)> {
        let (mut params, grid) = images.geometry.in_lines(images.geometry.params(scales))?;
        self.refine(&mut params);
        Ok((params, grid))
    }

    /// Sums of errors alone.
    fn errors(&self, images: &Images) -> Result<Sums> {
        let (gpu, (params, grid)) = (&images.gpu, self.in_lines(images, Scales::ONE)?);
        let mut partials = gpu.alloc(gpu.real(), 2 * QUANTITIES * grid.blocks)?;
        let mut args = images.args();
        args.push(Arg::Write(&mut partials));
        gpu.launch("errors", grid, args, &params)?;
        Ok(Sums { partials, params })
    }

    /// The sums, and the gradients that can be made with them.
    fn measure(&self, images: &Images, coarse: Option<&[Storage; 2]>) -> Result<(Sums, [Option<ScaleGradients>; 2])> {
        let scanned = self.with_scan(images, coarse, |scan| {
            if self.tracked == [false; 2] || self.source == Source::Table {
                return Ok((scan.values(None)?, [None, None]));
            }
            let (mut sums, mut made) = (None, [None, None]);
            for side in (0..2).filter(|&side| self.tracked[side]) {
                let (gradients, of_side) = scan.gradient(side, Upstream::Parameters(self.source))?;
                made[side] = Some(gradients);
                sums.get_or_insert(of_side);
            }
            Ok((sums.map_or_else(|| scan.values(None), Ok)?, made))
        })?;
        scanned.map_or_else(|| Ok((self.errors(images)?, [None, None])), Ok)
    }

    /// The gradient with respect to an image, from those of all scales. `upstream` is what they are still to be multiplied by.
    fn combine(
        &self,
        images: &Images,
        mut gradients: ScaleGradients,
        upstream: Option<View>,
        table: Option<&Storage>,
    ) -> Result<Storage> {
        let (gpu, (mut params, grid)) = (&images.gpu, self.in_lines(images, self.program.scales)?);
        let in_place = gpu.dtype() == gpu.real();
        if in_place && upstream.is_none() && gradients.coarse.is_none() {
            return Ok(gradients.fine);
        }
        let source = if upstream.is_some() { self.source } else { Source::Known };
        params.sizes.upstream = source as i32;
        params.sizes.with = if in_place { 0 } else { with::FINE } | if upstream.is_some() { with::UPSTREAM } else { 0 };
        let mut converted = if in_place { None } else { Some(gpu.alloc(gpu.dtype(), images.geometry.len())?) };
        let ScaleGradients { fine, coarse } = &mut gradients;
        let coarse = coarse.as_ref().map(View::of).transpose()?;
        let table = table.map(View::of).transpose()?;
        let rest = [coarse, table, upstream].map(Arg::read);
        let ends = match &mut converted {
            Some(to) => [Arg::Read(View::of(fine)?), Arg::Write(to)],
            None => [Arg::Absent, Arg::Write(fine)],
        };
        let [first, last] = ends;
        let args = std::iter::once(first).chain(rest).chain([last]).collect();
        gpu.launch("combine", grid, args, &params)?;
        Ok(converted.unwrap_or(gradients.fine))
    }

    /// The gradient of errors alone.
    fn error_gradient(&self, images: &Images, side: usize, upstream: View, table: Option<&Storage>) -> Result<Storage> {
        let (gpu, (mut params, grid)) = (&images.gpu, self.in_lines(images, Scales::ONE)?);
        params.reals.sign = if side == 0 { 1.0 } else { -1.0 };
        let mut gradient = gpu.alloc(gpu.dtype(), images.geometry.len())?;
        with_ranges(&self.pooling.range, |ranges, _| {
            let mut args = images.args();
            let by_range = self.pooling.pool.by_range != 0 && table.is_none();
            params.sizes.with = if by_range { with::RANGES } else { 0 };
            match table {
                Some(table) => {
                    params.sizes.upstream = Source::Table as i32;
                    args.extend([Arg::Absent, Arg::Read(View::of(table)?), Arg::Absent]);
                }
                None => {
                    params.sizes.with |= with::UPSTREAM;
                    args.extend([Arg::read(ranges), Arg::Absent, Arg::Read(upstream)]);
                }
            }
            args.push(Arg::Write(&mut gradient));
            gpu.launch("error_gradient", grid, args, &params)
        })?;
        Ok(gradient)
    }

    fn take_saved(&self) -> [Option<ScaleGradients>; 2] {
        std::mem::take(&mut *self.saved.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Operation for Numbers {
    const NAME: &'static str = "similarity";

    fn forward(&self, images: &Images) -> Result<(Storage, Shape)> {
        let coarse = pyramid(images, self.program.scales)?;
        let (sums, saved) = self.measure(images, coarse.as_ref())?;
        let tracked = self.tracked != [false; 2];
        let wants_table = tracked && self.source == Source::Unit;
        let mut table = wants_table.then(|| self.pooling.table(images)).transpose()?;
        let (rows, numbers) = self.pooling.finish(images, &sums, table.as_mut())?;
        *self.saved.lock().unwrap_or_else(PoisonError::into_inner) = saved;
        if tracked {
            self.kept.get_or_init(|| Kept { rows, table });
        }
        Ok((numbers, self.pooling.shape(images)))
    }

    fn backward(&self, images: &Images, upstream: View, wanted: [bool; 2]) -> Result<Gradients> {
        let Some(kept) = self.kept.get() else {
            candle_core::bail!("{}: no gradient was asked for in the forward pass", Self::NAME)
        };
        let known = self.program.plan.is_none() && self.source == Source::Known;
        let mut saved = self.take_saved();
        if (0..2).all(|side| !wanted[side] || saved[side].is_some()) {
            return for_each(wanted, |side| match saved[side].take() {
                Some(gradients) => self.combine(images, gradients, Some(upstream), kept.table.as_ref()),
                None => candle_core::bail!("{}: a gradient was taken twice", Self::NAME),
            });
        }
        let table = if known { None } else { Some(self.pooling.distribute(images, &kept.rows, upstream)?) };
        if self.program.plan.is_none() {
            return for_each(wanted, |side| self.error_gradient(images, side, upstream, table.as_ref()));
        }
        let Some(table) = &table else { candle_core::bail!("{}: there is no upstream", Self::NAME) };
        // Made anew, so that a loss does not keep them for a gradient that it has saved.
        let coarse = pyramid(images, self.program.scales)?;
        let made = self.with_scan(images, coarse.as_ref(), |scan| {
            for_each(wanted, |side| {
                let (gradients, _) = scan.gradient(side, Upstream::Table(View::of(table)?))?;
                self.combine(images, gradients, None, None)
            })
        })?;
        made.map_or_else(|| candle_core::bail!("{}: there is no window", Self::NAME), Ok)
    }
}

/// The number of a quantity, or of MS-SSIM; `None` of what there are no kernels for.
fn kind(term: &Term) -> Option<usize> {
    match term {
        Term::Ssim => Some(SSIM),
        Term::Contrast => Some(CONTRAST),
        Term::Squared => Some(SQUARED),
        Term::Absolute => Some(ABSOLUTE),
        Term::MsSsim(_) => Some(MS_SSIM),
        Term::Charbonnier(_) | Term::Values => None,
    }
}

/// How results are made of sums.
fn pool_of(program: &Program, output: Output, images: usize, range: &Range) -> Pool<f64> {
    let mut pool = Pool {
        terms: program.terms.len() as i32,
        mixed: program.mixture.is_some().into(),
        by_range: (program.by_range && matches!(range, Range::PerImage(_))).into(),
        ..Pool::new(output, images)
    };
    if let Some((weights, offset)) = &program.mixture {
        pool.weights[..weights.len()].copy_from_slice(weights);
        pool.offset = *offset;
    }
    for (number, term) in program.terms.iter().enumerate() {
        pool.kinds[number] = kind(term).unwrap_or(SSIM) as i32; // programs of other terms do not fit
        let Term::MsSsim(config) = term else { continue };
        pool.betas[number][..config.betas.len()].copy_from_slice(&config.betas);
        pool.per_channel[number] = (config.power == ChannelPower::PerChannel).into();
        pool.normalize[number] = match config.normalize {
            Normalize::Relu => 0,
            Normalize::Simple => 1,
            Normalize::None => 2,
        };
    }
    pool
}
