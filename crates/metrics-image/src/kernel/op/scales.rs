//! The terms of MS-SSIM.

use std::any::Any;
use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, WithDType};

use super::planes::{Images, Stored, dense, numbers, outputs, scale_dims, tensors, with_images, with_views};
use crate::kernel::cpu::{self, Pair, Pixel};
use crate::kernel::{OddSides, Plan};

/// `[N, C, …]` twice to `[scales, N, C]` in f64.
///
/// If an input tracks, the coarser scales of both images (a third of their size in all) wait for backward.
pub(super) struct Scales {
    pub(super) plan: Plan,
    pub(super) ranges: Vec<f64>,
    pub(super) scales: usize,
    pub(super) odd_sides: OddSides,
    pub(super) tracked: bool,
    /// A `Vec<Coarse<_>>`, from the second scale on.
    pub(super) pyramid: OnceLock<Box<dyn Any + Send + Sync>>,
}

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

impl Scales {
    fn forward<P: Stored>(&self, images: &Images<P>) -> Result<Vec<f64>> {
        let dims = scale_dims(images.dims, &self.plan, self.odd_sides, self.scales);
        let too_small = || images.too_small(&self.plan);
        let mut terms = Vec::with_capacity(self.scales * images.pairs.len());
        let mut pyramid: Vec<Coarse<P::Real>> = Vec::with_capacity(self.scales - 1);
        for (scale, &next) in dims.iter().enumerate().skip(1) {
            let (stats, coarse) = match scale {
                1 => self.halve(&images.pairs, next),
                _ => self.halve(&pyramid[scale - 2].pairs()?, next),
            }
            .ok_or_else(too_small)?;
            terms.extend(stats.into_iter().map(|stats| stats.contrast));
            pyramid.push(coarse);
        }
        let last = match pyramid.last() {
            Some(coarse) => cpu::stats(&coarse.pairs()?, &self.ranges, &self.plan),
            None => cpu::stats(&images.pairs, &self.ranges, &self.plan),
        };
        terms.extend(last.ok_or_else(too_small)?.into_iter().map(|stats| stats.ssim));
        if self.tracked {
            self.pyramid.get_or_init(|| Box::new(pyramid));
        }
        Ok(terms)
    }

    fn halve<P: Pixel>(&self, pairs: &[Pair<P>], dims: [usize; 3]) -> Option<(Vec<cpu::PlaneStats>, Coarse<P::Real>)> {
        let len = pairs.len() * dims.iter().product::<usize>();
        let mut images = [(); 2].map(|()| vec![P::Real::default(); len]);
        let halves = images.each_mut().map(|image| &mut image[..]);
        let stats = cpu::stats_and_halves(pairs, &self.ranges, &self.plan, self.odd_sides, halves)?;
        Some((stats, Coarse { images, dims }))
    }

    /// From the coarsest scale to the finest: each adds its own gradient to that which comes down to it.
    fn backward<P: Stored>(
        &self,
        images: &Images<P>,
        upstream: &[f64],
        wanted: [bool; 2],
    ) -> Result<[Option<Tensor>; 2]> {
        let pyramid = self.pyramid.get().and_then(|pyramid| pyramid.downcast_ref::<Vec<Coarse<P::Real>>>());
        let pyramid = pyramid.ok_or_else(|| candle_core::Error::msg("ms-ssim: backward without forward"))?;
        let planes = images.pairs.len();
        let mut coarser: [Option<Vec<P::Real>>; 2] = [None, None];
        for (scale, coarse) in pyramid.iter().enumerate().rev() {
            let mut gradients = wanted.map(|wanted| wanted.then(|| vec![P::Real::default(); coarse.images[0].len()]));
            let weights = self.weights(scale + 1, &upstream[(scale + 1) * planes..][..planes]);
            self.gradient(&coarse.pairs()?, &weights, outputs(&mut gradients), &coarser)
                .ok_or_else(|| images.too_small(&self.plan))?;
            coarser = gradients;
        }
        let mut gradients = images.gradients(wanted);
        let weights = self.weights(0, &upstream[..planes]);
        self.gradient(&images.pairs, &weights, outputs(&mut gradients), &coarser)
            .ok_or_else(|| images.too_small(&self.plan))?;
        Ok(tensors(gradients, images.shape))
    }

    /// Weights of SSIM and contrast at a scale.
    fn weights(&self, scale: usize, upstream: &[f64]) -> Vec<[f64; 2]> {
        let last = scale + 1 == self.scales;
        upstream.iter().map(|&weight| if last { [weight, 0.0] } else { [0.0, weight] }).collect()
    }

    fn gradient<P: Pixel>(
        &self,
        pairs: &[Pair<P>],
        weights: &[[f64; 2]],
        outputs: [Option<&mut [P]>; 2],
        coarser: &[Option<Vec<P::Real>>; 2],
    ) -> Option<Vec<cpu::PlaneStats>> {
        let coarser = coarser.each_ref().map(|gradient| gradient.as_deref());
        cpu::stats_and_whole_gradient(pairs, &self.ranges, &self.plan, weights, outputs, self.odd_sides, coarser)
    }
}

impl CustomOp2 for Scales {
    fn name(&self) -> &'static str {
        "ms-ssim-scales"
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
            Ok((f64::to_cpu_storage_owned(self.forward(&images)?), (self.scales, n, c).into()))
        })
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, _: &Tensor, upstream: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (upstream, wanted) = (numbers(upstream)?, [x.track_op(), y.track_op()]);
        let [dx, dy] = with_views(x, y, |x, y| with_images!(x, y, |images| self.backward(&images, &upstream, wanted)))?;
        Ok((dx, dy))
    }
}
