//! Losses that are mixed of terms.

use candle_core::Tensor;
use metrics_core::{Error, Reduction, Result};
use metrics_detach::Detached;

use crate::config::{Input, Settings};
use crate::measure::errors::{self, PixelError, PixelErrors};
use crate::measure::ms_ssim::check_scales;
use crate::measure::similarity::{Similarity, Term};
use crate::measure::ssim;
use crate::op::{self, AnyPrepared, Prepared};
use crate::pair::{Images, Spread, compute_dtype};
use crate::score::{Kind, affine, check_reduction, scalar_output};
use crate::{Background, Channels, DataRange, GmsdConfig, MsSsimConfig, SsimConfig, Target, VifConfig};

/// A training loss: `Σ weight · term` over the images of a batch, smaller is better, differentiable in both images.
///
/// | term | is | of equal images |
/// |---|---|---|
/// | `l1` | `Σ \|x - y\| / n` | 0 |
/// | `mse` | `Σ (x - y)² / n` | 0 |
/// | `charbonnier` | `Σ √((x - y)² + ε²) / n` (Lai et al., CVPR 2017) | ε |
/// | `ssim`, `ms_ssim`, `vif` | 1 minus the score | 0 |
/// | `gmsd` | the score | 0 |
///
/// Errors are in the units of the pixels, not relative to the data range. On a CPU all terms of the same window, border and channels are
/// made in one pass over the images, errors of pixels in the pass of any term; other windows, GMSD and VIFp have a pass of their own.
/// Whatever the terms, one gradient is kept for each tracked input until backward takes it (another if terms score other channels).
///
/// ```
/// use candle_core::{DType, Device, Tensor, Var};
/// use metrics_image::Loss;
///
/// let loss = Loss::new(1.0).l1(0.8).ssim(0.2); // pixels in 0..=1
/// let target = Tensor::rand(0f32, 1f32, (1, 3, 24, 24), &Device::Cpu)?;
/// let pred = Var::from_tensor(&target.affine(0.5, 0.2)?)?;
/// let (value, terms) = loss.forward_with_terms(&pred, &target)?;
/// assert!(value.backward()?.get(&pred).is_some());
/// let [l1, ssim] = ["l1", "ssim"].map(|name| terms.get(name).unwrap().to_scalar::<f32>().unwrap());
/// assert!((value.to_scalar::<f32>()? - 0.8 * l1 - 0.2 * ssim).abs() < 1e-6);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// Terms of other conventions come with their configuration, of which the loss takes all but data range, crop and reduction:
///
/// ```
/// use metrics_image::{Loss, MsSsimConfig, SsimConfig};
/// let splatting = Loss::new(1.0).l1(0.8).with(0.2, SsimConfig::fused_ssim());
/// let mixed = Loss::new(255.0).l1(0.16).with(0.84, MsSsimConfig::pytorch_msssim(255.0)).crop_border(4);
/// assert!(Loss::parse(1.0, "l1:0.8,ssim:0.2").is_ok() && Loss::parse(1.0, "l1").is_err());
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Loss {
    name: &'static str,
    input: Input,
    reduction: Reduction,
    weight: f64,
    terms: Vec<(f64, LossTerm)>,
    over: Option<Background>,
}

/// A term of a [`Loss`] with its configuration.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LossTerm {
    /// Mean absolute error.
    L1,
    /// Mean squared error.
    Mse,
    /// Mean of `√((x - y)² + ε²)`, with its ε.
    Charbonnier(f64),
    /// 1 minus SSIM.
    Ssim(SsimConfig),
    /// 1 minus MS-SSIM.
    MsSsim(MsSsimConfig),
    /// GMSD.
    Gmsd(GmsdConfig),
    /// 1 minus VIFp.
    Vif(VifConfig),
}

macro_rules! term_of {
    ($($config:ty => $term:ident),*) => {
        $(impl From<$config> for LossTerm {
            fn from(config: $config) -> Self {
                Self::$term(config)
            }
        })*
    };
}
term_of!(SsimConfig => Ssim, MsSsimConfig => MsSsim, GmsdConfig => Gmsd, VifConfig => Vif);

impl LossTerm {
    /// `l1`, `mse`, `charbonnier`, `ssim`, `ms_ssim`, `gmsd` or `vif`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::L1 => "l1",
            Self::Mse => "mse",
            Self::Charbonnier(_) => "charbonnier",
            Self::Ssim(_) => SsimConfig::NAME,
            Self::MsSsim(_) => MsSsimConfig::NAME,
            Self::Gmsd(_) => GmsdConfig::NAME,
            Self::Vif(_) => VifConfig::NAME,
        }
    }

    /// The term of this name as [`Loss`] has it by default, for pixels of this range.
    fn of(name: &str, range: DataRange) -> Option<Self> {
        Some(match name {
            "l1" => Self::L1,
            "mse" => Self::Mse,
            "charbonnier" => Self::Charbonnier(1e-3),
            "ssim" => Self::Ssim(SsimConfig::new(range)),
            "ms_ssim" => Self::MsSsim(MsSsimConfig::new(range)),
            "gmsd" => Self::Gmsd(GmsdConfig::new(range)),
            "vif" => Self::Vif(VifConfig::new(range)),
            _ => return None,
        })
    }

    fn error(&self) -> Option<PixelError> {
        match self {
            Self::L1 => Some(PixelError::Absolute),
            Self::Mse => Some(PixelError::Squared),
            Self::Charbonnier(epsilon) => Some(PixelError::Charbonnier(*epsilon)),
            _ => None,
        }
    }

    /// The term is `[0] · score + [1]`.
    fn of_score(&self) -> [f64; 2] {
        match self {
            Self::L1 | Self::Mse | Self::Charbonnier(_) => [1.0, 0.0],
            Self::Ssim(_) => SsimConfig::LOSS,
            Self::MsSsim(_) => MsSsimConfig::LOSS,
            Self::Gmsd(_) => GmsdConfig::LOSS,
            Self::Vif(_) => VifConfig::LOSS,
        }
    }

    /// The term as a loss of this input and reduction takes it: a choice of channels that the term does not make is the loss's.
    fn within(&self, input: &Input) -> Self {
        let read = |own: &mut Input| {
            let channels = if own.channels == Channels::All { input.channels } else { own.channels };
            *own = Input { channels, ..input.clone() };
        };
        let mut term = self.clone();
        match &mut term {
            Self::L1 | Self::Mse | Self::Charbonnier(_) => {}
            Self::Ssim(config) => read(&mut config.input),
            Self::MsSsim(config) => read(&mut config.ssim.input),
            Self::Gmsd(config) => read(&mut config.input),
            Self::Vif(config) => read(&mut config.input),
        }
        term
    }

    fn validate(&self) -> Result<()> {
        match self {
            Self::L1 | Self::Mse => Ok(()),
            // Its square neither vanishes nor overflows in f32.
            Self::Charbonnier(epsilon) if (1e-18..=1e18).contains(epsilon) => Ok(()),
            Self::Charbonnier(epsilon) => {
                let problem = format!("`charbonnier` has an epsilon of {epsilon}, expected 1e-18 to 1e18");
                Err(Error::argument("Loss", problem))
            }
            Self::Ssim(config) => config.validate(),
            Self::MsSsim(config) => config.validate(),
            Self::Gmsd(config) => Settings::validate(config),
            Self::Vif(config) => Settings::validate(config),
        }
    }
}

/// The terms of a [`Loss`] in their order, without a graph: scalars, or `[N]` with `Reduction::None`, before their weights.
#[derive(Clone, Debug)]
pub struct LossTerms {
    terms: Vec<(&'static str, Detached)>,
}

impl LossTerms {
    /// The first term of this name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.iter().find(|(other, _)| *other == name).map(|(_, term)| term)
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Tensor)> {
        self.terms.iter().map(|(name, term)| (*name, &**term))
    }
}

/// Anything that can be minimized over a pair of image batches, for programs that choose a loss at run time.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use metrics_image::{ImageLoss, Loss, PsnrConfig, PsnrLoss};
///
/// let losses: [Box<dyn ImageLoss>; 2] = [Box::new(Loss::new(1.0).mse(1.0)), Box::new(PsnrLoss::new(PsnrConfig::new(1.0))?)];
/// let target = Tensor::rand(0f32, 1f32, (1, 3, 24, 24), &Device::Cpu)?;
/// for loss in &losses {
///     loss.forward(&(&target * 0.5)?, (&target).into())?;
/// }
/// # Ok::<(), candle_core::Error>(())
/// ```
pub trait ImageLoss: Send + Sync {
    /// The loss of a batch.
    ///
    /// # Errors
    /// When the images are refused.
    fn forward(&self, pred: &Tensor, target: Target) -> Result<Tensor>;

    /// The loss and its gradient with respect to `pred`, without a graph.
    ///
    /// # Errors
    /// As [`forward`](Self::forward), and if the loss is not one number.
    fn value_and_grad(&self, pred: &Tensor, target: Target) -> Result<(Tensor, Tensor)>;
}

/// A loss whose own methods do it.
macro_rules! image_loss {
    ($loss:ty $(, $kind:ident: $bound:path)?) => {
        impl $(<$kind: $bound>)? $crate::ImageLoss for $loss {
            fn forward(&self, pred: &candle_core::Tensor, target: $crate::Target) -> metrics_core::Result<candle_core::Tensor> {
                self.forward(pred, target)
            }
            fn value_and_grad(
                &self,
                pred: &candle_core::Tensor,
                target: $crate::Target,
            ) -> metrics_core::Result<(candle_core::Tensor, candle_core::Tensor)> {
                self.value_and_grad(pred, target)
            }
        }
    };
}
pub(crate) use image_loss;

image_loss!(Loss);

/// Terms that are made in one pass, and their numbers.
struct Walk {
    numbers: Vec<usize>,
    kind: WalkKind,
}

enum WalkKind {
    /// Terms of one window, and errors beside.
    Similarity(Prepared<Similarity>),
    Any(AnyPrepared),
}

impl Loss {
    /// A loss of images in this data range, to which terms are added.
    pub fn new(data_range: impl Into<DataRange>) -> Self {
        let input = Input::new(data_range.into());
        Self { name: "Loss", input, reduction: Reduction::Mean, weight: 1.0, terms: Vec::new(), over: None }
    }

    /// A loss from the names and weights of its terms: `l1:0.8,ssim:0.2`. A third number is Charbonnier's ε, 1e-3 unless given.
    ///
    /// # Errors
    /// A name that is none, a term without a weight, or what [`build`](Self::build) refuses.
    pub fn parse(data_range: impl Into<DataRange>, terms: &str) -> Result<Self> {
        let range = data_range.into();
        let fail = |problem: String| Error::argument("Loss", problem);
        let number = |term: &str, text: &str| {
            let parsed = text.trim().parse::<f64>();
            parsed.map_err(|_| fail(format!("`{term}` has `{text}` where a number is expected")))
        };
        let mut loss = Self::new(range);
        for text in terms.split(',') {
            let mut parts = text.split(':');
            let name = parts.next().unwrap_or_default().trim();
            let mut term = LossTerm::of(name, range).ok_or_else(|| {
                fail(format!("`{name}` is no term, expected l1, mse, charbonnier, ssim, ms_ssim, gmsd or vif"))
            })?;
            let weight =
                parts.next().ok_or_else(|| fail(format!("`{name}` has no weight, expected `{name}:WEIGHT`")))?;
            if let LossTerm::Charbonnier(epsilon) = &mut term
                && let Some(text) = parts.next()
            {
                *epsilon = number(name, text)?;
            }
            if let Some(more) = parts.next() {
                return Err(fail(format!("`{name}` has `:{more}` after its weight, expected nothing")));
            }
            loss = loss.with(number(name, weight)?, term);
        }
        loss.build()
    }

    /// Adds the mean absolute error.
    pub fn l1(self, weight: f64) -> Self {
        self.with(weight, LossTerm::L1)
    }

    /// Adds the mean squared error.
    pub fn mse(self, weight: f64) -> Self {
        self.with(weight, LossTerm::Mse)
    }

    /// Adds the mean of `√((x - y)² + ε²)`, in the units of the pixels; usually ε is a thousandth of the data range.
    pub fn charbonnier(self, weight: f64, epsilon: f64) -> Self {
        self.with(weight, LossTerm::Charbonnier(epsilon))
    }

    /// Adds 1 minus SSIM as [`SsimConfig::new`] computes it.
    pub fn ssim(self, weight: f64) -> Self {
        let config = SsimConfig::new(self.input.range);
        self.with(weight, config)
    }

    /// Adds 1 minus MS-SSIM as [`MsSsimConfig::new`] computes it.
    pub fn ms_ssim(self, weight: f64) -> Self {
        let config = MsSsimConfig::new(self.input.range);
        self.with(weight, config)
    }

    /// Adds GMSD as [`GmsdConfig::new`] computes it.
    pub fn gmsd(self, weight: f64) -> Self {
        let config = GmsdConfig::new(self.input.range);
        self.with(weight, config)
    }

    /// Adds 1 minus VIFp as [`VifConfig::new`] computes it.
    pub fn vif(self, weight: f64) -> Self {
        let config = VifConfig::new(self.input.range);
        self.with(weight, config)
    }

    /// Adds a term with a configuration of its own. Data range, crop and reduction are those of the loss, and so is the choice of
    /// channels if the configuration makes none.
    pub fn with(mut self, weight: f64, term: impl Into<LossTerm>) -> Self {
        self.terms.push((weight, term.into()));
        self
    }

    /// Sets which channels are scored.
    pub fn channels(mut self, channels: Channels) -> Self {
        self.input.channels = channels;
        self
    }

    /// Leaves out this many pixels along every border, before anything else is done.
    pub fn crop_border(mut self, pixels: usize) -> Self {
        self.input.crop_border = pixels;
        self
    }

    /// Sets how the losses of images become one: their mean unless set.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    /// Multiplies the whole loss, at no cost: a gradient is made for the weighted loss.
    pub fn weight(mut self, weight: f64) -> Self {
        self.weight = weight;
        self
    }

    /// Composites images that have an alpha channel after their channels of color, as `[N, 4, H, W]` is RGBA, over a background before
    /// anything is compared: `α c + (1 - α) b`. Alpha is in the data range. The prediction, the target or both have alpha; gradients
    /// are those with respect to color and alpha. On a CPU that is done as rows are read.
    pub fn over(mut self, background: impl Into<Background>) -> Self {
        self.over = Some(background.into());
        self
    }

    /// The terms with their weights, in the order in which they were added.
    pub fn terms(&self) -> &[(f64, LossTerm)] {
        &self.terms
    }

    /// The loss under another name in errors.
    pub(crate) fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// Checks every term. The methods that compute something check them too.
    ///
    /// # Errors
    /// No term, a weight that is not finite, what a term's configuration refuses, or `Reduction::Summary`, which has no single value to
    /// minimize.
    pub fn build(self) -> Result<Self> {
        self.validate()?;
        Ok(self)
    }

    fn validate(&self) -> Result<()> {
        check_reduction(self.name, self.reduction)?;
        if self.terms.is_empty() {
            return Err(Error::argument(self.name, "there is no term, expected at least one, as in `.l1(1.0)`"));
        }
        if let Some(problem) = self.input.problem() {
            return Err(Error::argument(self.name, problem));
        }
        for (weight, term) in &self.terms {
            if !weight.is_finite() {
                let problem = format!("`{}` has a weight of {weight}, expected a finite one", term.name());
                return Err(Error::argument(self.name, problem));
            }
            term.within(&self.input).validate()?;
        }
        Ok(())
    }

    /// The loss of a batch.
    ///
    /// `pred`, `target`: `[N, C, H, W]`, or `[N, C, D, H, W]` for volumes where all terms take them, of one dtype (f32, f64, f16, bf16, or
    /// u8 without gradient; the target may also be u8 beside a prediction in floats) and device, with values in the data range; u8
    /// values are taken as they are. Returns a scalar, or `[N]` with `Reduction::None`; f64 for f64 images, else f32.
    ///
    /// A gradient is rounded to the dtype of its image. That of a mean over many pixels is below the smallest normal f16: scale the
    /// loss of f16 images by its [`weight`](Self::weight). A [`Var`](candle_core::Var) must not be set between `forward` and
    /// `backward`, see [`ssim`](crate::ssim()).
    ///
    /// # Errors
    /// As [`build`](Self::build) and as the functions of the terms' scores.
    pub fn forward(&self, pred: &Tensor, target: impl Into<Target>) -> Result<Tensor> {
        let prepared = self.prepared(&self.images(pred, target))?;
        let (loss, _) = op::apply_all(self.name, prepared, self.reduction.into())?;
        Ok(loss.to_dtype(compute_dtype(pred.dtype()))?)
    }

    /// The loss of a batch and each of its terms, for a log; the terms hold no graph. On a CPU that takes no pass more; on other
    /// devices each term then has a pass of its own.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn forward_with_terms(&self, pred: &Tensor, target: impl Into<Target>) -> Result<(Tensor, LossTerms)> {
        let (images, dtype) = (self.images(pred, target), compute_dtype(pred.dtype()));
        let (loss, values) = if pred.device().is_cpu() { self.on_cpu(&images)? } else { self.on_device(&images)? };
        let named =
            |((_, term), value): (&(f64, LossTerm), Tensor)| Ok((term.name(), Detached::from(&value.to_dtype(dtype)?)));
        let terms = self.terms.iter().zip(values).map(named).collect::<Result<_>>()?;
        Ok((loss.to_dtype(dtype)?, LossTerms { terms }))
    }

    /// The loss and its gradient with respect to `pred`, without a graph; see [`ScoreLoss`](crate::ScoreLoss::value_and_grad).
    ///
    /// # Errors
    /// As [`forward`](Self::forward), and for `Reduction::None`, which has no single value to minimize.
    pub fn value_and_grad(&self, pred: &Tensor, target: impl Into<Target>) -> Result<(Tensor, Tensor)> {
        let output = scalar_output(self.name, self.reduction)?;
        let images = self.images(pred, target).target_detached();
        let prepare = |pred: &Tensor| self.prepared(&Images { pred: pred.clone(), ..images.clone() });
        op::value_and_grad(self.name, pred, &prepare, output, &|loss| Ok(loss.clone()))
    }

    /// The loss and its terms, which are made on the way.
    fn on_cpu(&self, images: &Images) -> Result<(Tensor, Vec<Tensor>)> {
        let walks = self.walks(images)?;
        let numbers: Vec<usize> = walks.iter().flat_map(|walk| walk.numbers.clone()).collect();
        let walks = walks.into_iter().map(Walk::any).collect();
        let (loss, made) = op::apply_all(self.name, walks, self.reduction.into())?;
        let mut terms: Vec<_> = numbers.into_iter().zip(made).collect();
        terms.sort_by_key(|(number, _)| *number);
        let images = images.pred.dim(0)? as f64;
        let value = |(number, scores): (usize, Vec<f64>)| {
            let [scale, offset] = self.terms[number].1.of_score();
            let offset = if self.reduction == Reduction::Sum { offset * images } else { offset };
            let values: Vec<f64> = scores.into_iter().map(|score| scale * score + offset).collect();
            let value = Tensor::from_slice(&values, values.len(), loss.device())?;
            Ok(if self.reduction == Reduction::None { value } else { value.squeeze(0)? })
        };
        let values = terms.into_iter().map(value).collect::<Result<_>>()?;
        Ok((loss, values))
    }

    /// The loss and its terms, each of a pass of its own: the kernels of a GPU give one number.
    fn on_device(&self, images: &Images) -> Result<(Tensor, Vec<Tensor>)> {
        let mut values = Vec::with_capacity(self.terms.len());
        for (_, term) in &self.terms {
            let alone = Self { weight: 1.0, terms: vec![(1.0, term.clone())], ..self.clone() };
            values.push(op::apply_all(self.name, alone.prepared(images)?, self.reduction.into())?.0);
        }
        let mut loss: Option<Tensor> = None;
        for (number, value) in values.iter().enumerate() {
            let weighted = value.affine(self.term_weight(number), 0.0)?;
            loss = Some(loss.map_or(Ok(weighted.clone()), |loss| loss + &weighted)?);
        }
        let loss = loss.ok_or_else(|| Error::argument(self.name, "there is no term, expected at least one"))?;
        Ok((loss, values))
    }

    fn prepared(&self, images: &Images) -> Result<Vec<AnyPrepared>> {
        Ok(self.walks(images)?.into_iter().map(Walk::any).collect())
    }

    /// The passes over the images.
    fn walks(&self, images: &Images) -> Result<Vec<Walk>> {
        self.validate()?;
        let mut walks: Vec<Walk> = Vec::new();
        let terms: Vec<LossTerm> = self.terms.iter().map(|(_, term)| term.within(&self.input)).collect();
        for (number, term) in terms.iter().enumerate() {
            match term {
                LossTerm::Ssim(config) => self.add_similar(&mut walks, images, number, config, Term::Ssim)?,
                LossTerm::MsSsim(config) => {
                    self.add_similar(&mut walks, images, number, &config.ssim, Term::MsSsim(config.clone()))?;
                }
                LossTerm::Gmsd(config) => walks.push(self.alone::<GmsdConfig>(images, number, config)?),
                LossTerm::Vif(config) => walks.push(self.alone::<VifConfig>(images, number, config)?),
                LossTerm::L1 | LossTerm::Mse | LossTerm::Charbonnier(_) => {}
            }
        }
        self.add_errors(&mut walks, images, &terms)?;
        Ok(walks)
    }

    fn images(&self, pred: &Tensor, target: impl Into<Target>) -> Images {
        Images { over: self.over.clone(), ..Images::new(pred, target.into()) }
    }

    fn term_weight(&self, number: usize) -> f64 {
        self.weight * self.terms[number].0
    }

    /// Adds a term of a window to the pass of that window.
    fn add_similar(
        &self,
        walks: &mut Vec<Walk>,
        images: &Images,
        number: usize,
        config: &SsimConfig,
        term: Term,
    ) -> Result<()> {
        let prepared = ssim::prepare(self.name, config, images.clone(), term.clone())?;
        if let Term::MsSsim(config) = &term {
            check_scales(self.name, &ssim::sides(&prepared), &prepared.score.plan, config)?;
        }
        let at = walks.iter().position(|walk| walk.takes(&prepared, &term)).unwrap_or_else(|| {
            let score = Similarity::new(prepared.score.plan.clone(), Vec::new()).mixed(Vec::new(), 0.0);
            let kind = WalkKind::Similarity(Prepared { score, ..prepared });
            walks.push(Walk { numbers: Vec::new(), kind });
            walks.len() - 1
        });
        let weight = self.term_weight(number);
        walks[at].add(number, term, [-weight, weight]);
        Ok(())
    }

    /// Adds the errors of pixels to a pass that reads the same pixels, or makes one for them.
    fn add_errors(&self, walks: &mut Vec<Walk>, images: &Images, terms: &[LossTerm]) -> Result<()> {
        let mut left: Vec<(usize, PixelError)> = Vec::new();
        for (number, term) in terms.iter().enumerate() {
            let Some(error) = term.error() else { continue };
            let walk = walks.iter_mut().find(|walk| walk.takes_error(&self.input, images, error));
            match walk {
                Some(walk) => walk.add(number, error.term(), [self.term_weight(number), 0.0]),
                None => left.push((number, error)),
            }
        }
        while !left.is_empty() {
            // One pass has one ε.
            let is_charbonnier = |error: PixelError| matches!(error, PixelError::Charbonnier(_));
            let first = left.iter().map(|(_, error)| *error).find(|error| is_charbonnier(*error));
            let (own, others): (Vec<_>, Vec<_>) =
                left.into_iter().partition(|(_, error)| !is_charbonnier(*error) || Some(*error) == first);
            let errors = own.iter().map(|(number, error)| (*error, self.term_weight(*number))).collect();
            let score = PixelErrors::mixed(errors);
            let prepared = errors::prepared(self.name, images.clone(), (&self.input, Spread::Unused), score)?;
            let numbers = own.into_iter().map(|(number, _)| number).collect();
            walks.push(Walk { numbers, kind: WalkKind::Any(prepared) });
            left = others;
        }
        Ok(())
    }

    fn alone<K: Kind>(&self, images: &Images, number: usize, config: &K::Config) -> Result<Walk> {
        let [scale, offset] = K::LOSS.map(|factor| factor * self.term_weight(number));
        let prepared = affine(K::prepare(K::NAME, config, images.clone())?, scale, offset);
        Ok(Walk { numbers: vec![number], kind: WalkKind::Any(prepared) })
    }
}

impl Walk {
    fn any(self) -> AnyPrepared {
        match self.kind {
            WalkKind::Similarity(prepared) => prepared.any(),
            WalkKind::Any(prepared) => prepared,
        }
    }

    /// Adds `scale · score + offset` to what the pass makes.
    fn add(&mut self, number: usize, term: Term, [scale, offset]: [f64; 2]) {
        let WalkKind::Similarity(Prepared { score, .. }) = &mut self.kind else { return };
        score.terms.push(term);
        if let Some(mixture) = &mut score.mixture {
            mixture.weights.push(scale);
            mixture.offset += offset;
        }
        self.numbers.push(number);
    }

    /// Whether the pass can make a term of this window as well.
    fn takes(&self, other: &Prepared<Similarity>, term: &Term) -> bool {
        let WalkKind::Similarity(ours) = &self.kind else { return false };
        let same_scales = |ours: &Term| match (ours, term) {
            (Term::MsSsim(ours), Term::MsSsim(config)) => ours.scales() == config.scales(),
            _ => true,
        };
        // Downsampled images are tensors of their own.
        ours.score.plan == other.score.plan
            && ours.input == other.input
            && ours.images.pred.id() == other.images.pred.id()
            && ours.score.terms.iter().all(same_scales)
    }

    /// Whether the pass reads the pixels of `images` as an error wants them, and can sum it.
    fn takes_error(&self, input: &Input, images: &Images, error: PixelError) -> bool {
        let WalkKind::Similarity(ours) = &self.kind else { return false };
        let same_epsilon = |ours: &Term| match (ours, error) {
            (Term::Charbonnier(ours), PixelError::Charbonnier(epsilon)) => *ours == epsilon,
            _ => true,
        };
        // The kernels of GPUs do not sum Charbonnier's errors.
        let has_kernel = images.pred.device().is_cpu() || !matches!(error, PixelError::Charbonnier(_));
        has_kernel
            && ours.input == *input
            && ours.images.pred.id() == images.pred.id()
            && ours.score.terms.iter().all(same_epsilon)
    }
}
