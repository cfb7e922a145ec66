//! Scores of the SSIM family: one pass over a pair for all that is asked of it.
//!
//! SSIM, contrast and the errors of pixels are made of sums over the images, MS-SSIM also of sums over images at half the size, a
//! quarter, …; see [`ssim`](super::ssim) for the formula at a place and [`MsSsimConfig`] for that of the scales.

use std::ops::Range;

use candle_core::Tensor;
use metrics_core::Result;

use super::ms_ssim::{ChannelPower, MsSsimConfig, Normalize, product_of_powers};
use super::ssim::{Plan, SsimPlaces};
use crate::engine::backend::{self, Program, Scales};
use crate::engine::reference::{self, PlaneMeans};
use crate::engine::{
    Batch, CoarserMasks, Downsampling, ErrorSlopes, Errors, Gradients, OddSides, Plane, RowReader, Scanned, Upstream,
    add_coarser, add_coarser_masked, downsample_masked, with_dense_pairs,
};
use crate::measure::Measure;
use crate::op::{self, Fused, FusedScore, Mapped, Output, Score};
use crate::pair::Pair;
use crate::planes::{Computed, Planes, weights_or_size};

/// One number of an image.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Term {
    /// Mean SSIM.
    Ssim,
    /// Mean contrast, over the windows inside the image.
    Contrast,
    /// MS-SSIM. All of a pass have the same scales.
    MsSsim(MsSsimConfig),
    /// Sum of squared errors.
    Squared,
    /// Sum of absolute errors.
    Absolute,
    /// Sum of Charbonnier's `√(e² + ε²)`; all of a pass have the same ε.
    Charbonnier(f64),
    /// How many values there are, or the sum of their weights.
    Values,
}

/// Numbers that one pass makes.
#[derive(Clone, Debug)]
pub(crate) struct Similarity {
    pub(crate) plan: Plan,
    pub(crate) terms: Vec<Term>,
    pub(crate) mixture: Option<Mixture>,
}

/// One number of several terms.
#[derive(Clone, Debug)]
pub(crate) struct Mixture {
    /// The weight of each term; that of a sum of errors is the weight of its mean.
    pub(crate) weights: Vec<f64>,
    pub(crate) offset: f64,
}

impl Mixture {
    /// Weights of terms as they are, sums of errors of `values` values included.
    pub(crate) fn of_sums(&self, terms: &[Term], values: f64) -> Vec<f64> {
        let weight = |(weight, term): (&f64, &Term)| if term.is_error() { weight / values } else { *weight };
        self.weights.iter().zip(terms).map(weight).collect()
    }
}

impl Similarity {
    pub(crate) fn new(plan: Plan, terms: Vec<Term>) -> Self {
        Self { plan, terms, mixture: None }
    }

    /// `Σ weights · terms + offset` instead of the terms.
    pub(crate) fn mixed(self, weights: Vec<f64>, offset: f64) -> Self {
        Self { mixture: Some(Mixture { weights, offset }), ..self }
    }

    fn scales(&self) -> Option<Scales> {
        self.terms.iter().find_map(|term| match term {
            Term::MsSsim(config) => Some(config.scales()),
            _ => None,
        })
    }

    fn epsilon(&self) -> Option<f64> {
        self.terms.iter().find_map(|term| if let Term::Charbonnier(epsilon) = term { Some(*epsilon) } else { None })
    }

    /// Which of the maps of [`SsimPlaces`] the only term is the mean of.
    fn map_number(&self) -> usize {
        usize::from(self.terms == [Term::Contrast])
    }

    /// `scale · number + offset` as the kernels of a GPU make it.
    pub(crate) fn program(&self, values: usize, [scale, offset]: [f64; 2]) -> Program {
        let is_affine = [scale, offset] != [1.0, 0.0];
        let mixture = match &self.mixture {
            Some(mixture) => {
                let weights = mixture.of_sums(&self.terms, values as f64).into_iter().map(|weight| scale * weight);
                Some((weights.collect(), scale * mixture.offset + offset))
            }
            None => is_affine.then(|| (vec![scale; self.terms.len()], offset)),
        };
        let scales = self.scales().unwrap_or(Scales::ONE);
        Program { plan: Some(self.plan.clone()), scales, terms: self.terms.clone(), mixture, by_range: false }
    }

    fn too_small(&self, dims: [usize; 3]) -> candle_core::Error {
        let window: Vec<usize> = self.plan.taps.iter().map(Vec::len).collect();
        candle_core::Error::msg(format!("planes of {dims:?} are too small for a window of {window:?}"))
    }

    /// What is made of the terms of the images, and with a mixture what it is mixed of.
    fn numbers(&self, mut terms: Vec<Vec<f64>>, values: &[f64]) -> (Vec<f64>, Vec<Vec<f64>>) {
        let Some(Mixture { weights, offset }) = &self.mixture else { return (terms.concat(), Vec::new()) };
        for (numbers, _) in terms.iter_mut().zip(&self.terms).filter(|(_, term)| term.is_error()) {
            numbers.iter_mut().zip(values).for_each(|(number, values)| *number /= values);
        }
        let mix = |image: usize| weights.iter().zip(&terms).map(|(weight, term)| weight * term[image]).sum::<f64>();
        ((0..terms[0].len()).map(|image| mix(image) + offset).collect(), terms)
    }
}

impl Score for Similarity {
    fn name(&self) -> &'static str {
        "similarity"
    }

    fn count(&self) -> usize {
        if self.mixture.is_some() { 1 } else { self.terms.len() }
    }

    fn composed(&self, pair: &Pair) -> Result<Tensor> {
        let terms: Vec<Tensor> =
            self.terms.iter().map(|term| term.composed(pair, &self.plan)).collect::<Result<_>>()?;
        let Some(Mixture { weights, offset }) = &self.mixture else {
            return Ok(if terms.len() == 1 { terms[0].clone() } else { Tensor::stack(&terms, 0)? });
        };
        let values = reference::values(pair)?;
        let mut sum = terms[0].affine(0.0, *offset)?.detach();
        for ((term, &weight), kind) in terms.iter().zip(weights).zip(&self.terms) {
            let mean = if kind.is_error() { (term / &values)? } else { term.clone() };
            sum = (sum + mean.affine(weight, 0.0)?)?;
        }
        Ok(sum)
    }

    fn on_gpu(&self, pair: &Pair, output: Output, affine: [f64; 2]) -> Option<Result<Tensor>> {
        backend::numbers(pair, || self.program(pair.image_len(), affine), output)
    }

    fn composed_map(&self, pair: &Pair) -> Result<Tensor> {
        let score = if self.map_number() == 0 { backend::Score::Ssim } else { backend::Score::Contrast };
        backend::map(pair, &self.plan, score)
    }
}

impl<T: Computed> FusedScore<T> for Similarity {
    fn fused(&self, planes: &Planes<T>, upstream: Option<&op::Upstream>) -> candle_core::Result<Fused<T>> {
        let pass = Pass::new(self, planes, upstream);
        let (mut scales, terms) = pass.scan()?;
        let gradients = match upstream {
            Some(upstream) => pass.gradients(&mut scales, upstream)?,
            None => [None, None],
        };
        let (numbers, terms) = self.numbers(terms, &pass.values);
        Ok(Fused { numbers, terms, gradients })
    }

    fn fused_map(&self, planes: &Planes<T>) -> candle_core::Result<Mapped<T>> {
        let (measure, number) = (SsimPlaces(self.plan.clone()), self.map_number());
        let maps = [0, 1].map(|map| map == number);
        let (pairs, ranges, masks) = (planes.pairs(), planes.ranges(), planes.masks());
        let batch = Batch { wanted: maps, maps, masks: &masks, ..Batch::new(&measure, &pairs, &ranges) };
        let (scanned, dims) = (batch.scan(None), measure.filters().map_dims(planes.dims()));
        let (Some(Scanned { sums, mut maps, .. }), Some(dims)) = (scanned, dims) else {
            return Err(self.too_small(planes.dims()));
        };
        let counts = planes.weights(&measure.regions(planes.dims())[number]);
        let of_image = |(sums, counts): (&[[f64; 2]], &[f64])| {
            1.0 - sums.iter().map(|sums| sums[number]).sum::<f64>() / counts.iter().sum::<f64>()
        };
        let means = sums.chunks(planes.channels()).zip(counts.chunks(planes.channels())).map(of_image).collect();
        Ok(Mapped { map: maps[number].take().unwrap_or_default(), dims, means })
    }

    fn map_gradients(
        &self,
        planes: &Planes<T>,
        upstream: &[T],
        wanted: [bool; 2],
    ) -> candle_core::Result<[Option<Vec<T>>; 2]> {
        let (measure, number) = (SsimPlaces(self.plan.clone()), self.map_number());
        let (pairs, ranges, masks) = (planes.pairs(), planes.ranges(), planes.masks());
        let Some(dims) = measure.filters().map_dims(planes.dims()) else { return Err(self.too_small(planes.dims())) };
        let upstream: Vec<_> =
            upstream.chunks_exact(dims.iter().product()).filter_map(|plane| Plane::dense(plane, dims)).collect();
        let of_plane = |plane| [0, 1].map(|map| (map == number).then_some(plane as &dyn RowReader<T>)).into();
        let gradients = Gradients {
            upstream: upstream.iter().map(|plane| Upstream::Maps(of_plane(plane))).collect(),
            errors: vec![ErrorSlopes::default(); pairs.len()],
            wanted,
        };
        let scanned = Batch { masks: &masks, ..Batch::new(&measure, &pairs, &ranges) }.scan(Some(&gradients));
        Ok(scanned.ok_or_else(|| self.too_small(planes.dims()))?.gradients)
    }
}

impl Term {
    /// Where it stands in a list.
    pub(crate) fn order(&self) -> usize {
        match self {
            Self::Ssim => 0,
            Self::Contrast => 1,
            Self::MsSsim(_) => 2,
            Self::Squared => 3,
            Self::Absolute => 4,
            Self::Charbonnier(_) => 5,
            Self::Values => 6,
        }
    }

    /// Whether it is a sum of errors.
    pub(crate) fn is_error(&self) -> bool {
        matches!(self, Self::Squared | Self::Absolute | Self::Charbonnier(_))
    }

    /// `[N]`, of ordinary operations.
    fn composed(&self, pair: &Pair, plan: &Plan) -> Result<Tensor> {
        Ok(match self {
            Self::Ssim => reference::means(pair, plan, backend::Score::Ssim)?.of_images()?,
            Self::Contrast => reference::means(pair, plan, backend::Score::Contrast)?.of_images()?,
            Self::Squared => reference::squared(pair)?,
            Self::Absolute => reference::absolute(pair)?,
            Self::Charbonnier(epsilon) => reference::charbonnier(pair, *epsilon)?,
            Self::Values => reference::values(pair)?,
            Self::MsSsim(config) => {
                let scales = reference::scales(pair, plan, config.scales())?;
                match config.power {
                    ChannelPower::AfterMean => {
                        let means = scales.iter().map(PlaneMeans::of_images).collect::<Result<Vec<_>>>()?;
                        product_of_powers(&Tensor::stack(&means, 0)?, config)?
                    }
                    ChannelPower::PerChannel => {
                        let means: Vec<&Tensor> = scales.iter().map(|scale| &scale.means).collect();
                        let products = product_of_powers(&Tensor::stack(&means, 0)?, config)?;
                        PlaneMeans { means: products, weights: scales[0].weights.clone() }.of_images()?
                    }
                }
            }
        })
    }
}

/// When the gradient of a scale is made.
#[derive(Clone, Copy, PartialEq)]
enum When {
    Never,
    /// In the same scan as the values: its weights are known.
    Known,
    /// In the same scan as the values, with weight 1; it is a multiple of that.
    Multiple,
    /// In another scan.
    After,
}

/// Both images at a coarser scale, and their masks if there are any.
struct Coarser<T> {
    images: [Vec<T>; 2],
    masks: Option<CoarserMasks<T>>,
}

/// The scales, and the terms of each image.
type AllScales<T> = (Vec<Scale<T>>, Vec<Vec<f64>>);

/// A pass over all scales.
struct Pass<'a, 'p, T: Computed> {
    similarity: &'a Similarity,
    planes: &'a Planes<'p, T>,
    measure: SsimPlaces,
    scales: usize,
    odd_sides: OddSides,
    when: When,
    upstream: Option<&'a op::Upstream>,
    ranges: Vec<f64>,
    /// How many values of each image count, or the sum of their weights: asked for where there are errors.
    values: Vec<f64>,
}

/// What is known of the images at one scale.
struct Scale<T> {
    dims: [usize; 3],
    /// The images of all but the first.
    images: Option<Coarser<T>>,
    /// For each plane, what SSIM and contrast lack of 1, summed over the places of their maps, and how many places count.
    lacks: Vec<[f64; 2]>,
    counts: Vec<[f64; 2]>,
    errors: Vec<Errors>,
    gradients: [Option<Vec<T>>; 2],
}

impl<T> Scale<T> {
    /// The mean of a map over planes.
    fn mean(&self, map: usize, planes: Range<usize>) -> f64 {
        let sum = |of: &[[f64; 2]]| of[planes.clone()].iter().map(|of_plane| of_plane[map]).sum::<f64>();
        1.0 - sum(&self.lacks) / sum(&self.counts)
    }
}

impl<'a, 'p, T: Computed> Pass<'a, 'p, T> {
    fn new(similarity: &'a Similarity, planes: &'a Planes<'p, T>, upstream: Option<&'a op::Upstream>) -> Self {
        let scales = similarity.scales();
        let is_ms_ssim = |term: &Term| matches!(term, Term::MsSsim(_));
        let when = match upstream {
            None => When::Never,
            Some(_) if scales.is_none() => When::Known,
            Some(_) if similarity.terms.iter().all(is_ms_ssim) => When::Multiple,
            Some(_) => When::After,
        };
        let Scales { count, odd_sides } = scales.unwrap_or(Scales::ONE);
        let (measure, ranges) = (SsimPlaces(similarity.plan.clone()), planes.ranges());
        let has_values = similarity.terms.iter().any(|term| term.is_error() || *term == Term::Values);
        let values = if has_values { planes.values() } else { Vec::new() };
        Self { similarity, planes, measure, scales: count, odd_sides, when, upstream, ranges, values }
    }

    /// The statistics of all scales, and the terms of each image.
    fn scan(&self) -> candle_core::Result<AllScales<T>> {
        let mut scales: Vec<Scale<T>> = Vec::with_capacity(self.scales);
        let mut images = None;
        for scale in 0..self.scales {
            let (made, coarser) = self.scan_scale(scale, images.take(), scales.last())?;
            scales.push(made);
            images = coarser;
        }
        let terms = self.similarity.terms.iter().map(|term| self.term(term, &scales)).collect();
        Ok((scales, terms))
    }

    /// One scale, and both images at the next.
    fn scan_scale(
        &self,
        scale: usize,
        images: Option<Coarser<T>>,
        finer: Option<&Scale<T>>,
    ) -> candle_core::Result<(Scale<T>, Option<Coarser<T>>)> {
        let dims = finer.map_or(self.planes.dims(), |finer| self.downsampling(finer.dims).dims());
        let downsampling = (scale + 1 < self.scales).then(|| self.downsampling(dims));
        let (wanted, planes) = (self.wanted(scale), self.ranges.len());
        self.with_pairs(images.as_ref(), dims, |pairs, masks| {
            let counts = self.counts(wanted, dims, masks);
            let gradients = self.known_gradients(scale, &counts);
            let batch = Batch {
                wanted,
                // With masks, in a pass of its own.
                downsampling: downsampling.filter(|_| masks.is_empty()),
                errors: scale == 0 && self.has(Term::is_error),
                epsilon: self.similarity.epsilon().map(T::of),
                masks,
                ..Batch::new(&self.measure, pairs, &self.ranges)
            };
            let scanned = batch.scan(gradients.as_ref()).ok_or_else(|| self.similarity.too_small(dims))?;
            let Scanned { sums: lacks, errors, coarser, gradients, .. } = scanned;
            debug_assert_eq!(lacks.len(), planes);
            let coarser = match (coarser, downsampling) {
                (Some(images), _) => Some(Coarser { images, masks: None }),
                (None, Some(downsampling)) => {
                    let (images, masks) = downsample_masked(pairs, masks, downsampling);
                    Some(Coarser { images, masks: Some(masks) })
                }
                (None, None) => None,
            };
            Ok((Scale { dims, images: None, lacks, counts, errors, gradients }, coarser))
        })
        .map(|(made, coarser)| (Scale { images, ..made }, coarser))
    }

    /// How many places of the wanted maps count, or the sum of their weights, plane by plane.
    fn counts(&self, wanted: [bool; 2], dims: [usize; 3], masks: &[Option<&dyn RowReader<T>>]) -> Vec<[f64; 2]> {
        let (regions, planes) = (self.measure.regions(dims), self.ranges.len());
        let [ssim, contrast] = [0, 1]
            .map(|map| if wanted[map] { weights_or_size(masks, planes, &regions[map]) } else { vec![0.0; planes] });
        ssim.into_iter().zip(contrast).map(|(ssim, contrast)| [ssim, contrast]).collect()
    }

    /// The gradient that is made together with the values.
    fn known_gradients(&self, scale: usize, counts: &[[f64; 2]]) -> Option<Gradients<'static, [f64; 2], T>> {
        let upstream = self.upstream?;
        let (weights, errors) = match self.when {
            When::Known => self.linear_weights(counts, upstream),
            When::Multiple => {
                let weights = if scale + 1 == self.scales { [1.0, 0.0] } else { [0.0, 1.0] };
                (vec![weights; counts.len()], vec![ErrorSlopes::default(); counts.len()])
            }
            When::Never | When::After => return None,
        };
        Some(objective(&weights, counts, errors, upstream.wanted))
    }

    fn has(&self, wanted: fn(&Term) -> bool) -> bool {
        self.similarity.terms.iter().any(wanted)
    }

    /// Whether SSIM and contrast are wanted at a scale.
    fn wanted(&self, scale: usize) -> [bool; 2] {
        let (last, scaled) = (scale + 1 == self.scales, self.similarity.scales().is_some());
        let mut wanted = [scaled && last, scaled && !last];
        if scale == 0 {
            wanted[0] |= self.has(|term| matches!(term, Term::Ssim));
            wanted[1] |= self.has(|term| matches!(term, Term::Contrast));
        }
        wanted
    }

    fn downsampling(&self, dims: [usize; 3]) -> Downsampling {
        Downsampling::new(dims, self.planes.axes() == 2, self.odd_sides)
    }

    /// Runs `scan` on the images at a scale and their masks: those given, or at the first the images themselves.
    fn with_pairs<R>(
        &self,
        images: Option<&Coarser<T>>,
        dims: [usize; 3],
        scan: impl FnOnce(&[[&dyn RowReader<T>; 2]], &[Option<&dyn RowReader<T>>]) -> candle_core::Result<R>,
    ) -> candle_core::Result<R> {
        match images {
            None => scan(&self.planes.pairs(), &self.planes.masks()),
            Some(Coarser { images, masks: None }) => with_dense_pairs(images, dims, |pairs| scan(pairs, &[])),
            Some(Coarser { images, masks: Some(masks) }) => {
                with_dense_pairs(images, dims, |pairs| masks.with(|masks| scan(pairs, masks)))
            }
        }
    }

    /// The derivatives with respect to the means of SSIM and of contrast, and with respect to the sums of errors, of all terms but
    /// MS-SSIM.
    fn linear_weights(&self, counts: &[[f64; 2]], upstream: &op::Upstream) -> (Vec<[f64; 2]>, Vec<ErrorSlopes>) {
        let (images, channels) = (self.planes.images(), self.planes.channels());
        let mut weights = vec![[0.0; 2]; images * channels];
        let mut errors = vec![ErrorSlopes::default(); images * channels];
        for (number, term) in self.similarity.terms.iter().enumerate() {
            for plane in 0..images * channels {
                let weight = self.weight(upstream, number, plane / channels);
                match term {
                    Term::Ssim => weights[plane][0] += weight * share(counts, 0, plane, channels),
                    Term::Contrast => weights[plane][1] += weight * share(counts, 1, plane, channels),
                    Term::Squared => errors[plane][0] += weight,
                    Term::Absolute => errors[plane][1] += weight,
                    Term::Charbonnier(_) => errors[plane][2] += weight,
                    Term::MsSsim(_) | Term::Values => {}
                }
            }
        }
        (weights, errors)
    }

    /// The weight of a term of an image, from the derivatives of what becomes of the numbers.
    fn weight(&self, upstream: &op::Upstream, term: usize, image: usize) -> f64 {
        let Some(Mixture { weights, .. }) = &self.similarity.mixture else {
            return upstream.weights[term * self.planes.images() + image];
        };
        let weight = weights[term] * upstream.weights[image];
        match self.similarity.terms[term].is_error() {
            true if self.values[image] > 0.0 => weight / self.values[image],
            true => 0.0,
            false => weight,
        }
    }

    /// A term of each image.
    fn term(&self, term: &Term, scales: &[Scale<T>]) -> Vec<f64> {
        let (images, channels) = (self.planes.images(), self.planes.channels());
        let mean =
            |map| (0..images).map(|image| scales[0].mean(map, image * channels..(image + 1) * channels)).collect();
        let sum = |error: fn(&Errors) -> f64| {
            scales[0].errors.chunks(channels).map(|image| image.iter().map(error).sum()).collect()
        };
        match term {
            Term::Ssim => mean(0),
            Term::Contrast => mean(1),
            Term::Squared => sum(|errors| errors.squared),
            Term::Absolute => sum(|errors| errors.absolute),
            Term::Charbonnier(_) => sum(|errors| errors.charbonnier),
            Term::Values => self.values.clone(),
            Term::MsSsim(config) => (0..images).map(|image| powers(config, scales, image, channels).0).collect(),
        }
    }

    /// The gradients with respect to the images: from the coarsest scale to the finest, each adds its own to what comes down to it.
    fn gradients(&self, scales: &mut [Scale<T>], upstream: &op::Upstream) -> candle_core::Result<[Option<Vec<T>>; 2]> {
        if self.when == When::Known {
            return Ok(std::mem::take(&mut scales[0].gradients));
        }
        let weights = self.weights_of_scales(scales, upstream);
        let mut coarser: [Option<Vec<T>>; 2] = [None, None];
        for number in (0..scales.len()).rev() {
            let mut factors = vec![1.0; self.ranges.len()];
            if self.when == When::Multiple {
                factors = weights[number].iter().map(|[ssim, contrast]| ssim + contrast).collect();
            } else {
                scales[number].gradients =
                    self.gradient_of_scale(number, &scales[number], &weights[number], upstream)?;
            }
            let mut gradients = std::mem::take(&mut scales[number].gradients);
            for (gradient, coarser) in gradients.iter_mut().zip(coarser) {
                if let Some(gradient) = gradient {
                    self.add_coarser(&scales[number], scales.get(number + 1), gradient, &factors, coarser)?;
                }
            }
            coarser = gradients;
        }
        Ok(coarser)
    }

    /// Adds what comes down from the next scale to the gradient at a scale, which is multiplied by a factor for each plane.
    fn add_coarser(
        &self,
        scale: &Scale<T>,
        next: Option<&Scale<T>>,
        gradient: &mut [T],
        factors: &[f64],
        coarser: Option<Vec<T>>,
    ) -> candle_core::Result<()> {
        let downsampling = self.downsampling(scale.dims);
        match (coarser, next.and_then(|next| next.images.as_ref()?.masks.as_ref())) {
            (None, _) => crate::planes::scale(gradient, factors),
            (Some(coarser), None) => add_coarser(downsampling, gradient, factors, &coarser),
            (Some(mut coarser), Some(coarse)) => self.with_pairs(scale.images.as_ref(), scale.dims, |_, masks| {
                add_coarser_masked(downsampling, gradient, factors, &mut coarser, (masks, coarse));
                Ok(())
            })?,
        }
        Ok(())
    }

    fn gradient_of_scale(
        &self,
        number: usize,
        scale: &Scale<T>,
        weights: &[[f64; 2]],
        upstream: &op::Upstream,
    ) -> candle_core::Result<[Option<Vec<T>>; 2]> {
        let (mut weights, mut errors) = (weights.to_vec(), vec![ErrorSlopes::default(); weights.len()]);
        if number == 0 {
            let (linear, of_errors) = self.linear_weights(&scale.counts, upstream);
            for (weights, linear) in weights.iter_mut().zip(linear) {
                *weights = [weights[0] + linear[0], weights[1] + linear[1]];
            }
            errors = of_errors;
        }
        let objective = objective(&weights, &scale.counts, errors, upstream.wanted);
        self.with_pairs(scale.images.as_ref(), scale.dims, |pairs, masks| {
            let epsilon = self.similarity.epsilon().map(T::of);
            let batch = Batch { masks, epsilon, ..Batch::new(&self.measure, pairs, &self.ranges) };
            Ok(batch.scan(Some(&objective)).ok_or_else(|| self.similarity.too_small(scale.dims))?.gradients)
        })
    }

    /// The derivatives of the weighted MS-SSIM terms with respect to mean SSIM and mean contrast, of each scale and plane.
    fn weights_of_scales(&self, scales: &[Scale<T>], upstream: &op::Upstream) -> Vec<Vec<[f64; 2]>> {
        let (images, channels) = (self.planes.images(), self.planes.channels());
        let mut weights = vec![vec![[0.0; 2]; images * channels]; scales.len()];
        for (number, term) in self.similarity.terms.iter().enumerate() {
            let Term::MsSsim(config) = term else { continue };
            for image in 0..images {
                let weight = self.weight(upstream, number, image);
                let derivatives = powers(config, scales, image, channels).1;
                for (channel, derivatives) in derivatives.iter().enumerate() {
                    for (scale, derivative) in derivatives.iter().enumerate() {
                        let map = usize::from(scale + 1 < scales.len());
                        weights[scale][image * channels + channel][map] += weight * derivative;
                    }
                }
            }
        }
        weights
    }
}

/// The share of a plane in the mean of a map over the planes of its image.
fn share(counts: &[[f64; 2]], map: usize, plane: usize, channels: usize) -> f64 {
    let first = plane / channels * channels;
    let all = counts[first..first + channels].iter().map(|counts| counts[map]).sum::<f64>();
    if all > 0.0 { counts[plane][map] / all } else { 0.0 }
}

/// The gradient to make of weighted means of SSIM and of contrast, plane by plane, and of weighted sums of errors.
fn objective<T>(
    weights: &[[f64; 2]],
    counts: &[[f64; 2]],
    errors: Vec<ErrorSlopes>,
    wanted: [bool; 2],
) -> Gradients<'static, [f64; 2], T> {
    // A scan sums up what scores lack of 1.
    let of_sum = |(weights, counts): (&[f64; 2], &[f64; 2])| {
        Upstream::Sums([0, 1].map(|map| if counts[map] > 0.0 { -weights[map] / counts[map] } else { 0.0 }))
    };
    Gradients { upstream: weights.iter().zip(counts).map(of_sum).collect(), errors, wanted }
}

/// MS-SSIM of an image, and the derivatives with respect to the mean of each channel at each scale, `[channel][scale]`: of contrast, at
/// the last scale of SSIM.
fn powers<T>(config: &MsSsimConfig, scales: &[Scale<T>], image: usize, channels: usize) -> (f64, Vec<Vec<f64>>) {
    let planes = image * channels..(image + 1) * channels;
    let map = |scale: usize| usize::from(scale + 1 < scales.len());
    let means = |planes: Range<usize>| -> Vec<f64> {
        scales.iter().enumerate().map(|(scale, of)| of.mean(map(scale), planes.clone())).collect()
    };
    let share = |scale: usize, plane: usize| share(&scales[scale].counts, map(scale), plane, channels);
    // Of some planes, at every scale.
    let have_windows = |planes: Range<usize>| {
        let at = |(scale, of): (usize, &Scale<T>)| planes.clone().any(|plane| of.counts[plane][map(scale)] > 0.0);
        scales.iter().enumerate().all(at)
    };
    // A channel without weight does not count, one that has no windows at some scale has no score.
    let each_has_windows = || planes.clone().all(|plane| share(0, plane) == 0.0 || have_windows(plane..plane + 1));
    if !have_windows(planes.clone()) || (config.power == ChannelPower::PerChannel && !each_has_windows()) {
        return (f64::NAN, vec![vec![0.0; scales.len()]; channels]);
    }
    match config.power {
        ChannelPower::AfterMean => {
            let (score, derivatives) = product(config, &means(planes.clone()));
            let of_plane =
                |plane| derivatives.iter().enumerate().map(|(scale, slope)| slope * share(scale, plane)).collect();
            (score, planes.map(of_plane).collect())
        }
        ChannelPower::PerChannel => {
            let (mut score, mut derivatives) = (0.0, Vec::with_capacity(channels));
            for plane in planes {
                let share = share(0, plane);
                // A channel without weight has no score.
                if share > 0.0 {
                    let (of_plane, slopes) = product(config, &means(plane..plane + 1));
                    score += share * of_plane;
                    derivatives.push(slopes.into_iter().map(|slope| share * slope).collect());
                } else {
                    derivatives.push(vec![0.0; scales.len()]);
                }
            }
            (score, derivatives)
        }
    }
}

/// `Π termⱼ^βⱼ`, and the derivative with respect to each term.
fn product(config: &MsSsimConfig, terms: &[f64]) -> (f64, Vec<f64>) {
    let powers: Vec<_> =
        terms.iter().zip(&config.betas).map(|(&term, &beta)| power(config.normalize, term, beta)).collect();
    let others = |scale: usize| {
        let other = powers.iter().enumerate().filter(|(other, _)| *other != scale);
        other.map(|(_, (power, _))| power).product::<f64>()
    };
    // Where a derivative is 0, it stays so beside whatever there is.
    let derivative =
        |(scale, (_, slope)): (usize, &(f64, f64))| if *slope == 0.0 { 0.0 } else { slope * others(scale) };
    (powers.iter().map(|(power, _)| power).product(), powers.iter().enumerate().map(derivative).collect())
}

/// A term to the power of beta, and its derivative.
fn power(normalize: Normalize, term: f64, beta: f64) -> (f64, f64) {
    match normalize {
        _ if term.is_nan() => (term, term),
        // 1 whatever the term is.
        _ if beta == 0.0 => (1.0, 0.0),
        Normalize::Relu if term <= 0.0 => (0.0, 0.0),
        Normalize::Simple if term <= -1.0 => (0.0, 0.0),
        Normalize::Simple => {
            let half = (term + 1.0) / 2.0;
            (half.powf(beta), beta / 2.0 * half.powf(beta - 1.0))
        }
        Normalize::Relu | Normalize::None => (term.powf(beta), beta * term.powf(beta - 1.0)),
    }
}
