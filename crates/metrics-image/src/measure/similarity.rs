//! Scores of the SSIM family: one pass over a pair for all that is asked of it.
//!
//! SSIM, contrast and the errors of pixels are made of sums over the images, MS-SSIM also of sums over images at half the size, a
//! quarter, …; see [`ssim`](super::ssim) for the formula at a place and [`MsSsimConfig`] for that of the scales.

use candle_core::{D, Tensor};
use metrics_core::Result;

use super::ms_ssim::{ChannelPower, MsSsimConfig, Normalize, product_of_powers};
use super::ssim::{Plan, SsimPlaces};
use crate::engine::backend::{self, Program, Scales};
use crate::engine::reference;
use crate::engine::{
    Batch, Downsampling, Errors, Gradients, OddSides, Plane, RowReader, Scanned, Upstream, add_coarser,
    with_dense_pairs,
};
use crate::measure::Measure;
use crate::op::{self, Fused, FusedScore, Mapped, Output, Score};
use crate::pair::Pair;
use crate::planes::{Computed, Planes};

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
}

/// Numbers that one pass makes.
#[derive(Clone, Debug)]
pub(crate) struct Similarity {
    pub(crate) plan: Plan,
    pub(crate) terms: Vec<Term>,
    /// Weights that make one number of them, and what is added to it.
    pub(crate) mixture: Option<(Vec<f64>, f64)>,
}

impl Similarity {
    pub(crate) fn new(plan: Plan, terms: Vec<Term>) -> Self {
        Self { plan, terms, mixture: None }
    }

    /// `Σ weights · terms + offset` instead of the terms.
    pub(crate) fn mixed(self, weights: Vec<f64>, offset: f64) -> Self {
        Self { mixture: Some((weights, offset)), ..self }
    }

    fn scales(&self) -> Option<Scales> {
        self.terms.iter().find_map(|term| match term {
            Term::MsSsim(config) => Some(config.scales()),
            _ => None,
        })
    }

    /// The weight of a term of an image, from the derivatives of what becomes of the numbers.
    fn weight(&self, upstream: &op::Upstream, images: usize, term: usize, image: usize) -> f64 {
        match &self.mixture {
            Some((weights, _)) => weights[term] * upstream.weights[image],
            None => upstream.weights[term * images + image],
        }
    }

    /// Which of the maps of [`SsimPlaces`] the only term is the mean of.
    fn map_number(&self) -> usize {
        usize::from(self.terms == [Term::Contrast])
    }

    /// `scale · number + offset` as the kernels of a GPU make it.
    pub(crate) fn program(&self, [scale, offset]: [f64; 2]) -> Program {
        let is_affine = [scale, offset] != [1.0, 0.0];
        let mixture = match &self.mixture {
            Some((weights, constant)) => {
                let weights = weights.iter().map(|weight| scale * weight).collect();
                Some((weights, scale * constant + offset))
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

    fn numbers(&self, terms: Vec<Vec<f64>>) -> Vec<f64> {
        let Some((weights, offset)) = &self.mixture else { return terms.concat() };
        let mix = |image: usize| weights.iter().zip(&terms).map(|(weight, term)| weight * term[image]).sum::<f64>();
        (0..terms[0].len()).map(|image| mix(image) + offset).collect()
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
        let Some((weights, offset)) = &self.mixture else {
            return Ok(if terms.len() == 1 { terms[0].clone() } else { Tensor::stack(&terms, 0)? });
        };
        let mut sum = terms[0].affine(weights[0], *offset)?;
        for (term, &weight) in terms.iter().zip(weights).skip(1) {
            sum = (sum + term.affine(weight, 0.0)?)?;
        }
        Ok(sum)
    }

    fn on_gpu(&self, pair: &Pair, output: Output, affine: [f64; 2]) -> Option<Result<Tensor>> {
        backend::numbers(pair, || self.program(affine), output)
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
        Ok(Fused { numbers: self.numbers(terms), gradients })
    }

    fn fused_map(&self, planes: &Planes<T>) -> candle_core::Result<Mapped<T>> {
        let (measure, number) = (SsimPlaces(self.plan.clone()), self.map_number());
        let maps = [0, 1].map(|map| map == number);
        let (pairs, ranges) = (planes.pairs(), planes.ranges());
        let scanned = Batch { wanted: maps, maps, ..Batch::new(&measure, &pairs, &ranges) }.scan(None);
        let dims = measure.filters().map_dims(planes.dims());
        let (Some(Scanned { sums, mut maps, .. }), Some(dims)) = (scanned, dims) else {
            return Err(self.too_small(planes.dims()));
        };
        let count = measure.counts(planes.dims())[number];
        let mean =
            |image: &[[f64; 2]]| image.iter().map(|sums| 1.0 - sums[number] / count).sum::<f64>() / image.len() as f64;
        let means = sums.chunks(planes.channels()).map(mean).collect();
        Ok(Mapped { map: maps[number].take().unwrap_or_default(), dims, means })
    }

    fn map_gradients(
        &self,
        planes: &Planes<T>,
        upstream: &[T],
        wanted: [bool; 2],
    ) -> candle_core::Result<[Option<Vec<T>>; 2]> {
        let (measure, number) = (SsimPlaces(self.plan.clone()), self.map_number());
        let (pairs, ranges) = (planes.pairs(), planes.ranges());
        let Some(dims) = measure.filters().map_dims(planes.dims()) else { return Err(self.too_small(planes.dims())) };
        let upstream: Vec<_> =
            upstream.chunks_exact(dims.iter().product()).filter_map(|plane| Plane::dense(plane, dims)).collect();
        let of_plane = |plane| [0, 1].map(|map| (map == number).then_some(plane as &dyn RowReader<T>)).into();
        let gradients = Gradients {
            upstream: upstream.iter().map(|plane| Upstream::Maps(of_plane(plane))).collect(),
            errors: vec![[0.0; 2]; pairs.len()],
            wanted,
        };
        let scanned = Batch::new(&measure, &pairs, &ranges).scan(Some(&gradients));
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
        }
    }

    /// `[N]`, of ordinary operations.
    fn composed(&self, pair: &Pair, plan: &Plan) -> Result<Tensor> {
        Ok(match self {
            Self::Ssim => reference::means(pair, plan, backend::Score::Ssim)?.mean(D::Minus1)?,
            Self::Contrast => reference::means(pair, plan, backend::Score::Contrast)?.mean(D::Minus1)?,
            Self::Squared => reference::squared(pair)?,
            Self::Absolute => reference::absolute(pair)?,
            Self::MsSsim(config) => {
                let scales = reference::scales(pair, plan, config.scales())?;
                match config.power {
                    ChannelPower::AfterMean => product_of_powers(&scales.mean(D::Minus1)?, config)?,
                    ChannelPower::PerChannel => product_of_powers(&scales, config)?.mean(D::Minus1)?,
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

/// Both images at a coarser scale.
type Coarser<T> = [Vec<T>; 2];

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
}

/// What is known of the images at one scale.
struct Scale<T> {
    dims: [usize; 3],
    /// Both images, of all but the first.
    images: Option<[Vec<T>; 2]>,
    /// Mean SSIM and mean contrast of each plane.
    means: Vec<[f64; 2]>,
    errors: Vec<Errors>,
    gradients: [Option<Vec<T>>; 2],
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
        Self { similarity, planes, measure, scales: count, odd_sides, when, upstream, ranges }
    }

    /// The statistics of all scales, and the terms of each image.
    fn scan(&self) -> candle_core::Result<AllScales<T>> {
        let mut scales: Vec<Scale<T>> = Vec::with_capacity(self.scales);
        let mut images = None;
        for scale in 0..self.scales {
            let (made, coarser) = self.scan_scale(scale, images.take(), scales.last().map(|scale| scale.dims))?;
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
        images: Option<[Vec<T>; 2]>,
        finer: Option<[usize; 3]>,
    ) -> candle_core::Result<(Scale<T>, Option<Coarser<T>>)> {
        let dims = finer.map_or(self.planes.dims(), |finer| self.downsampling(finer).dims());
        let planes = self.ranges.len();
        let gradients = match (self.when, self.upstream) {
            (When::Known, Some(upstream)) => Some(self.known(dims, upstream)),
            (When::Multiple, Some(upstream)) => {
                let weights = vec![if scale + 1 == self.scales { [1.0, 0.0] } else { [0.0, 1.0] }; planes];
                Some(self.objective(dims, &weights, vec![[0.0; 2]; planes], upstream.wanted))
            }
            _ => None,
        };
        let scanned = self.with_pairs(images.as_ref(), dims, |pairs| {
            let batch = Batch {
                wanted: self.wanted(scale),
                downsampling: (scale + 1 < self.scales).then(|| self.downsampling(dims)),
                errors: scale == 0 && (self.has(|term| matches!(term, Term::Squared | Term::Absolute))),
                ..Batch::new(&self.measure, pairs, &self.ranges)
            };
            batch.scan(gradients.as_ref())
        });
        let Scanned { sums, errors, coarser, gradients, .. } = scanned?;
        let counts = self.measure.counts(dims);
        let means = sums.iter().map(|sums| [0, 1].map(|map| 1.0 - sums[map] / counts[map])).collect();
        Ok((Scale { dims, images, means, errors, gradients }, coarser))
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

    /// Runs `scan` on the images at a scale: those given, or at the first the images themselves.
    fn with_pairs<R>(
        &self,
        images: Option<&[Vec<T>; 2]>,
        dims: [usize; 3],
        scan: impl FnOnce(&[[&dyn RowReader<T>; 2]]) -> Option<R>,
    ) -> candle_core::Result<R> {
        let scanned = match images {
            None => scan(&self.planes.pairs()),
            Some(images) => with_dense_pairs(images, dims, scan),
        };
        scanned.ok_or_else(|| self.similarity.too_small(dims))
    }

    /// The gradient to make of weighted means of SSIM and of contrast, plane by plane, and of weighted sums of errors.
    fn objective(
        &self,
        dims: [usize; 3],
        weights: &[[f64; 2]],
        errors: Vec<[f64; 2]>,
        wanted: [bool; 2],
    ) -> Gradients<'static, SsimPlaces, T> {
        let counts = self.measure.counts(dims);
        // A scan sums up what scores lack of 1.
        let of_sum = |weights: &[f64; 2]| {
            Upstream::Sums([0, 1].map(|map| if counts[map] > 0.0 { -weights[map] / counts[map] } else { 0.0 }))
        };
        Gradients { upstream: weights.iter().map(of_sum).collect(), errors, wanted }
    }

    /// The weights of all but MS-SSIM.
    fn linear_weights(&self, upstream: &op::Upstream) -> (Vec<[f64; 2]>, Vec<[f64; 2]>) {
        let (images, channels) = (self.planes.images(), self.planes.channels());
        let (mut weights, mut errors) = (vec![[0.0; 2]; images * channels], vec![[0.0; 2]; images * channels]);
        for (number, term) in self.similarity.terms.iter().enumerate() {
            for plane in 0..images * channels {
                let weight = self.similarity.weight(upstream, images, number, plane / channels);
                match term {
                    Term::Ssim => weights[plane][0] += weight / channels as f64,
                    Term::Contrast => weights[plane][1] += weight / channels as f64,
                    Term::Squared => errors[plane][0] += weight,
                    Term::Absolute => errors[plane][1] += weight,
                    Term::MsSsim(_) => {}
                }
            }
        }
        (weights, errors)
    }

    fn known(&self, dims: [usize; 3], upstream: &op::Upstream) -> Gradients<'static, SsimPlaces, T> {
        let (weights, errors) = self.linear_weights(upstream);
        self.objective(dims, &weights, errors, upstream.wanted)
    }

    /// A term of each image.
    fn term(&self, term: &Term, scales: &[Scale<T>]) -> Vec<f64> {
        let channels = self.planes.channels();
        let mean = |map: usize| {
            let means = scales[0].means.chunks(channels);
            means.map(|image| image.iter().map(|means| means[map]).sum::<f64>() / channels as f64).collect()
        };
        let sum = |error: fn(&Errors) -> f64| {
            scales[0].errors.chunks(channels).map(|image| image.iter().map(error).sum()).collect()
        };
        match term {
            Term::Ssim => mean(0),
            Term::Contrast => mean(1),
            Term::Squared => sum(|errors| errors.squared),
            Term::Absolute => sum(|errors| errors.absolute),
            Term::MsSsim(config) => {
                (0..self.planes.images()).map(|image| powers(config, &self.terms_of(scales, image)).0).collect()
            }
        }
    }

    /// The mean contrast of every scale but the last and the mean SSIM of that, for each channel of an image.
    fn terms_of(&self, scales: &[Scale<T>], image: usize) -> Vec<Vec<f64>> {
        let channels = self.planes.channels();
        let of_channel = |channel: usize| {
            let of_scale = |(number, scale): (usize, &Scale<T>)| {
                scale.means[image * channels + channel][usize::from(number + 1 < scales.len())]
            };
            scales.iter().enumerate().map(of_scale).collect()
        };
        (0..channels).map(of_channel).collect()
    }

    /// The gradients with respect to the images: from the coarsest scale to the finest, each adds its own to what comes down to it.
    fn gradients(&self, scales: &mut [Scale<T>], upstream: &op::Upstream) -> candle_core::Result<[Option<Vec<T>>; 2]> {
        if self.when == When::Known {
            return Ok(std::mem::take(&mut scales[0].gradients));
        }
        let weights = self.weights_of_scales(scales, upstream);
        let mut coarser: [Option<Vec<T>>; 2] = [None, None];
        for (number, scale) in scales.iter_mut().enumerate().rev() {
            let factors = if self.when == When::Multiple {
                weights[number].iter().map(|[ssim, contrast]| ssim + contrast).collect()
            } else {
                scale.gradients = self.gradient_of_scale(number, scale, &weights[number], upstream)?;
                vec![1.0; weights[number].len()]
            };
            let downsampling = self.downsampling(scale.dims);
            for (gradient, coarser) in scale.gradients.iter_mut().zip(coarser) {
                let Some(gradient) = gradient else { continue };
                match coarser {
                    Some(coarser) => add_coarser(downsampling, gradient, &factors, &coarser),
                    None => crate::planes::scale(gradient, &factors),
                }
            }
            coarser = std::mem::take(&mut scale.gradients);
        }
        Ok(coarser)
    }

    fn gradient_of_scale(
        &self,
        number: usize,
        scale: &Scale<T>,
        weights: &[[f64; 2]],
        upstream: &op::Upstream,
    ) -> candle_core::Result<[Option<Vec<T>>; 2]> {
        let (mut weights, mut errors) = (weights.to_vec(), vec![[0.0; 2]; weights.len()]);
        if number == 0 {
            let (linear, of_errors) = self.linear_weights(upstream);
            for (weights, linear) in weights.iter_mut().zip(linear) {
                *weights = [weights[0] + linear[0], weights[1] + linear[1]];
            }
            errors = of_errors;
        }
        let objective = self.objective(scale.dims, &weights, errors, upstream.wanted);
        let scanned = self.with_pairs(scale.images.as_ref(), scale.dims, |pairs| {
            Batch::new(&self.measure, pairs, &self.ranges).scan(Some(&objective))
        });
        Ok(scanned?.gradients)
    }

    /// The derivatives of the weighted MS-SSIM terms with respect to mean SSIM and mean contrast, of each scale and plane.
    fn weights_of_scales(&self, scales: &[Scale<T>], upstream: &op::Upstream) -> Vec<Vec<[f64; 2]>> {
        let (images, channels) = (self.planes.images(), self.planes.channels());
        let mut weights = vec![vec![[0.0; 2]; images * channels]; scales.len()];
        for (number, term) in self.similarity.terms.iter().enumerate() {
            let Term::MsSsim(config) = term else { continue };
            for image in 0..images {
                let weight = self.similarity.weight(upstream, images, number, image);
                let derivatives = powers(config, &self.terms_of(scales, image)).1;
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

/// MS-SSIM of an image from its terms, `[channel][scale]`, and the derivative with respect to each.
fn powers(config: &MsSsimConfig, terms: &[Vec<f64>]) -> (f64, Vec<Vec<f64>>) {
    let channels = terms.len() as f64;
    match config.power {
        ChannelPower::AfterMean => {
            let mean = |scale: usize| terms.iter().map(|channel| channel[scale]).sum::<f64>() / channels;
            let means: Vec<f64> = (0..config.betas.len()).map(mean).collect();
            let (score, derivatives) = product(config, &means);
            let of_channel: Vec<f64> = derivatives.iter().map(|derivative| derivative / channels).collect();
            (score, vec![of_channel; terms.len()])
        }
        ChannelPower::PerChannel => {
            let products: Vec<_> = terms.iter().map(|channel| product(config, channel)).collect();
            let score = products.iter().map(|(score, _)| score).sum::<f64>() / channels;
            let scaled = |derivatives: &Vec<f64>| derivatives.iter().map(|derivative| derivative / channels).collect();
            (score, products.iter().map(|(_, derivatives)| scaled(derivatives)).collect())
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
