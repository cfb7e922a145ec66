//! One pass over a pair: means of SSIM and contrast, the terms of MS-SSIM, errors of pixels, all from reading it once.

use std::any::Any;
use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, WithDType};

use super::early::{Early, Gradients};
use super::planes::{Images, Stored, Wanted, dense, numbers, scale_dims, with_images, with_views};
use crate::kernel::cpu::{Fresh, Pair, Pixel, PlaneStats, PlaneWeights, Room, Walk};
use crate::kernel::rows::Rows;
use crate::kernel::{Plan, Scales, Slopes, Wants};

/// `[N, C, …]` twice to `[rows, N, C]` in f64; see [`Rows`].
///
/// If an input tracks, the coarser scales of both images (a third of their size in all) wait for backward.
pub(super) struct Pass {
    plan: Plan,
    ranges: Vec<f64>,
    rows: Rows,
    tracked: bool,
    early: Early,
    /// A [`Pyramid`], from the second scale on.
    pyramid: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// The coarser scales of images.
type Pyramid<P> = Vec<Coarse<<P as Pixel>::Real>>;

/// What each plane scores at one scale.
type Stats = Vec<PlaneStats>;

/// Both images at one of the coarser scales: dense planes one after another.
struct Coarse<T> {
    images: [Vec<T>; 2],
    dims: [usize; 3],
}

impl<T: Pixel> Coarse<T> {
    fn pairs(&self) -> Result<Vec<Pair<'_, T>>> {
        dense(&self.images[0], &self.images[1], self.dims)
    }
}

impl Pass {
    pub(super) fn new(
        plan: &Plan,
        ranges: Vec<f64>,
        wants: Wants,
        slopes: Option<Slopes>,
        tracked: [bool; 2],
    ) -> (Rows, Self) {
        let rows = Rows::new(wants);
        let (early, tracked) = (Early::new(rows.foreseen(slopes), tracked), tracked.contains(&true));
        (rows, Self { plan: plan.clone(), ranges, rows, tracked, early, pyramid: OnceLock::new() })
    }

    /// A walk over one of the scales.
    fn walk(&self, scale: usize) -> Walk<'_> {
        let (scored, errors) = (self.rows.scored(scale), self.rows.errors && scale == 0);
        Walk { plan: &self.plan, ranges: &self.ranges, scored, errors }
    }

    fn forward<P: Stored>(&self, images: &Images<P>) -> Result<Vec<f64>> {
        let (stats, pyramid) = self.all_scales(images)?;
        let planes = images.pairs.len();
        let mut rows = vec![0.0; self.rows.count() * planes];
        let mut put = |row: usize, stats: &[PlaneStats], number: &dyn Fn(&PlaneStats) -> f64| {
            for (place, stats) in rows[row * planes..].iter_mut().zip(stats) {
                *place = number(stats);
            }
        };
        put(Rows::SSIM, &stats[0], &|stats| stats.ssim);
        put(Rows::CONTRAST, &stats[0], &|stats| stats.contrast);
        if self.rows.errors {
            put(self.rows.squared(), &stats[0], &|stats| stats.errors.unwrap_or_default().squared);
            put(self.rows.squared() + 1, &stats[0], &|stats| stats.errors.unwrap_or_default().absolute);
        }
        for (scale, stats) in stats.iter().enumerate().skip(1) {
            let last = self.rows.is_last(scale);
            put(Rows::scale(scale), stats, &|stats| if last { stats.ssim } else { stats.contrast });
        }
        if self.tracked && !pyramid.is_empty() {
            self.pyramid.get_or_init(|| Box::new(pyramid));
        }
        Ok(rows)
    }

    /// The statistics of every scale, and the images of the coarser ones.
    fn all_scales<P: Stored>(&self, images: &Images<P>) -> Result<(Vec<Stats>, Pyramid<P>)> {
        let Scales { count, odd_sides } = self.rows.scales;
        if count == 1 {
            return Ok((vec![self.one_scale(images)?], Vec::new()));
        }
        let dims = scale_dims(images.dims, &self.plan, odd_sides, count);
        let too_small = || images.too_small(&self.plan);
        let (first, coarse) = self.halve(0, &images.pairs, dims[1]).ok_or_else(too_small)?;
        let (mut stats, mut pyramid) = (vec![first], vec![coarse]);
        for scale in 1..count {
            let pairs = pyramid[scale - 1].pairs()?;
            if scale + 1 == count {
                stats.push(self.walk(scale).stats(&pairs).ok_or_else(too_small)?);
            } else {
                let (next, coarse) = self.halve(scale, &pairs, dims[scale + 1]).ok_or_else(too_small)?;
                stats.push(next);
                pyramid.push(coarse);
            }
        }
        Ok((stats, pyramid))
    }

    /// The statistics of the images, with early gradients if they were foreseen.
    fn one_scale<P: Stored>(&self, images: &Images<P>) -> Result<Stats> {
        let Some((slopes, wanted)) = self.early.order() else {
            return self.walk(0).stats(&images.pairs).ok_or_else(|| images.too_small(&self.plan));
        };
        let weights = vec![self.weights(slopes); images.pairs.len()];
        let (stats, gradients) = self.gradient(images, &weights, wanted, &[None, None])?;
        self.early.keep(gradients);
        Ok(stats)
    }

    fn halve<P: Pixel>(&self, scale: usize, pairs: &[Pair<P>], dims: [usize; 3]) -> Option<(Stats, Coarse<P::Real>)> {
        let len = pairs.len() * dims.iter().product::<usize>();
        let mut images = [(); 2].map(|()| Fresh::new(len));
        let stats = self.walk(scale).halve(pairs, self.rows.scales.odd_sides, images.each_mut().map(Fresh::room))?;
        Some((stats, Coarse { images: images.map(Fresh::filled), dims }))
    }

    /// From the coarsest scale to the finest: each adds its own gradient to that which comes down to it.
    fn backward<P: Stored>(&self, images: &Images<P>, upstream: &[f64], wanted: [bool; 2]) -> Result<Gradients> {
        let planes = images.pairs.len();
        let none = Vec::new();
        let pyramid = self.pyramid.get().and_then(|pyramid| pyramid.downcast_ref::<Pyramid<P>>());
        let pyramid = pyramid.unwrap_or(&none);
        if pyramid.len() + 1 != self.rows.scales.count {
            return Err(candle_core::Error::msg("ssim-pass: backward without forward"));
        }
        let mut coarser: [Option<Vec<P::Real>>; 2] = [None, None];
        for (scale, coarse) in pyramid.iter().enumerate().rev().map(|(index, coarse)| (index + 1, coarse)) {
            let last = self.rows.is_last(scale);
            let weight = |&weight: &f64| match last {
                true => PlaneWeights { ssim: weight, ..PlaneWeights::default() },
                false => PlaneWeights { contrast: weight, ..PlaneWeights::default() },
            };
            let weights: Vec<_> = upstream[Rows::scale(scale) * planes..][..planes].iter().map(weight).collect();
            let mut gradients = Wanted::new(wanted, coarse.images[0].len());
            self.run_gradient(scale, &coarse.pairs()?, &weights, gradients.rooms(), &coarser)
                .ok_or_else(|| images.too_small(&self.plan))?;
            coarser = gradients.filled();
        }
        let of_plane = |plane: usize| upstream.iter().skip(plane).step_by(planes).copied().collect::<Vec<_>>();
        let weights: Vec<_> = (0..planes).map(|plane| self.weights(&of_plane(plane))).collect();
        Ok(self.gradient(images, &weights, wanted, &coarser)?.1)
    }

    /// The weights of the images' own statistics, from one number for each row.
    fn weights(&self, rows: &[f64]) -> PlaneWeights {
        let squared = self.rows.squared();
        let errors = if self.rows.errors { [rows[squared], rows[squared + 1]] } else { [0.0; 2] };
        PlaneWeights { ssim: rows[Rows::SSIM], contrast: rows[Rows::CONTRAST], errors }
    }

    fn gradient<P: Stored>(
        &self,
        images: &Images<P>,
        weights: &[PlaneWeights],
        wanted: [bool; 2],
        coarser: &[Option<Vec<P::Real>>; 2],
    ) -> Result<(Stats, Gradients)> {
        let mut gradients = images.gradients(wanted);
        let stats = self.run_gradient(0, &images.pairs, weights, gradients.rooms(), coarser);
        Ok((stats.ok_or_else(|| images.too_small(&self.plan))?, gradients.tensors(images.shape)))
    }

    fn run_gradient<P: Pixel>(
        &self,
        scale: usize,
        pairs: &[Pair<P>],
        weights: &[PlaneWeights],
        outputs: [Option<Room<P>>; 2],
        coarser: &[Option<Vec<P::Real>>; 2],
    ) -> Option<Stats> {
        let coarser = coarser.each_ref().map(|gradient| gradient.as_deref());
        self.walk(scale).gradient(pairs, weights, outputs, self.rows.scales.odd_sides, coarser)
    }
}

impl CustomOp2 for Pass {
    fn name(&self) -> &'static str {
        "ssim-pass"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        with_images!((x, x_layout), (y, y_layout), |images| {
            let (n, c) = images.outer();
            Ok((f64::to_cpu_storage_owned(self.forward(&images)?), (self.rows.count(), n, c).into()))
        })
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, _: &Tensor, upstream: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (upstream, wanted) = (numbers(upstream)?, [x.track_op(), y.track_op()]);
        let gradients = match self.early.take(&upstream, wanted)? {
            Some(gradients) => gradients,
            None => with_views(x, y, |x, y| with_images!(x, y, |images| self.backward(&images, &upstream, wanted)))?,
        };
        Ok(gradients.into())
    }
}
