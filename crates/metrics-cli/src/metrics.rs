//! From options to metrics, and the scores of one pair.

use std::ops::RangeInclusive;

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Tensor};
use clap::ValueEnum;
use metrics_core::{Collective, Metric, MetricCollection, Reduction, Value};
use metrics_detach::eval_scope;
use metrics_image::{
    Channels, ErrorConfig, Gmsd, GmsdConfig, Mae, MsSsim, MsSsimConfig, Mse, Pooling, Psnr, PsnrConfig, Ssim,
    SsimConfig, Vif, VifConfig,
};
use serde::Serialize;

use crate::args::{Color, MetricArgs, Usage};
use crate::load::Loaded;

/// The data ranges that metrics take of images in f32.
const F32_RANGES: RangeInclusive<f64> = 1e-12..=1e12;

/// What `--metrics` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    Psnr,
    #[value(alias = "psnr_pooled")]
    PsnrPooled,
    Ssim,
    #[value(alias = "ms_ssim")]
    MsSsim,
    Gmsd,
    Vif,
    Mae,
    Mse,
}

impl Kind {
    /// As on the command line.
    pub(crate) fn option(self) -> String {
        self.name().replace('_', "-")
    }

    /// As in the output.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Psnr => "psnr",
            Self::PsnrPooled => "psnr_pooled",
            Self::Ssim => "ssim",
            Self::MsSsim => "ms_ssim",
            Self::Gmsd => "gmsd",
            Self::Vif => "vif",
            Self::Mae => "mae",
            Self::Mse => "mse",
        }
    }

    pub(crate) fn higher_is_better(self) -> bool {
        !matches!(self, Self::Gmsd | Self::Mae | Self::Mse)
    }
}

/// Whose conventions are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Preset {
    Torchmetrics,
    Skimage,
    SkimageGaussian,
    Wang2004,
    Piq,
    PytorchMsssim,
    Burn,
    FusedSsim,
}

impl Preset {
    pub(crate) fn ssim(self, range: f64) -> SsimConfig {
        match self {
            Self::Torchmetrics => SsimConfig::torchmetrics(range),
            Self::Skimage => SsimConfig::skimage(range),
            Self::SkimageGaussian => SsimConfig::skimage_gaussian(range),
            Self::Wang2004 => SsimConfig::wang2004(range),
            Self::Piq => SsimConfig::piq(range),
            Self::PytorchMsssim => SsimConfig::pytorch_msssim(range),
            Self::Burn => SsimConfig::burn(range),
            Self::FusedSsim => SsimConfig::fused_ssim().range(range),
        }
    }

    /// That of TorchMetrics where a library has none.
    pub(crate) fn ms_ssim(self, range: f64) -> MsSsimConfig {
        match self {
            Self::Piq => MsSsimConfig::piq(range),
            Self::PytorchMsssim => MsSsimConfig::pytorch_msssim(range),
            _ => MsSsimConfig::torchmetrics(range),
        }
    }

    pub(crate) fn psnr(self, range: f64) -> PsnrConfig {
        match self {
            Self::Piq => PsnrConfig::piq(range),
            Self::Burn => PsnrConfig::burn(range),
            _ => PsnrConfig::skimage(range),
        }
    }

    /// The authors' where a library has none.
    fn gmsd(self, range: f64) -> GmsdConfig {
        if self == Self::Piq { GmsdConfig::piq(range) } else { GmsdConfig::new(range) }
    }

    /// That of piq where a library has none.
    fn vif(self, range: f64) -> VifConfig {
        if self == Self::Torchmetrics { VifConfig::torchmetrics().range(range) } else { VifConfig::new(range) }
    }

    /// The shortest side that a metric can do with.
    fn side(self, kind: Kind) -> usize {
        match (kind, self) {
            // Five scales leave 11 pixels. Some pad odd sides where the others drop a line.
            (Kind::MsSsim, Self::Piq | Self::PytorchMsssim) => 161,
            (Kind::MsSsim, _) => 176,
            // A reflected border is narrower than the image, windows lie inside, and zeros fit around any image.
            (Kind::Ssim, Self::Torchmetrics) => 6,
            (Kind::Ssim, Self::Skimage) => 7,
            (Kind::Ssim, Self::Burn | Self::FusedSsim) => 1,
            (Kind::Ssim, _) => 11,
            (Kind::Vif, _) => 41,
            _ => 1,
        }
    }
}

/// The SSIM that maps show, of images in 0..=1.
pub(crate) fn map_config(args: &MetricArgs) -> SsimConfig {
    let preset = args.preset.unwrap_or(Preset::Torchmetrics);
    preset.ssim(1.0).channels(channels(args)).crop_border(args.crop_border)
}

/// Refuses images that are too small for a map.
pub(crate) fn check_map_side(args: &MetricArgs, image: &Tensor) -> Result<()> {
    let (_, _, height, width) = image.dims4()?;
    let least = args.preset.unwrap_or(Preset::Torchmetrics).side(Kind::Ssim);
    let cropped = cropped(args.crop_border);
    ensure!(
        height.min(width).saturating_sub(args.crop_border.saturating_mul(2)) >= least,
        "a map of SSIM needs sides of at least {least} pixels, but the images are {width}×{height}{cropped}"
    );
    Ok(())
}

fn channels(args: &MetricArgs) -> Channels {
    if args.color == Color::Luma { Channels::Luma } else { Channels::All }
}

/// One number of the output: a metric, of one channel or of all.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    channel: Option<usize>,
}

impl Column {
    /// Whether each pair has one. A pooled number is of all pairs.
    pub(crate) fn is_per_pair(&self) -> bool {
        self.kind != Kind::PsnrPooled
    }
}

/// How images are scored.
#[derive(Clone)]
pub(crate) struct Scorer {
    columns: Vec<Column>,
    /// One that has seen nothing, for each channel that is scored by itself.
    parts: Vec<Part>,
    device: Device,
    crop_border: usize,
    preset: Preset,
    /// The `--color` that takes three channels.
    of_three: Option<&'static str>,
    /// Whether f32 is too narrow for the data range.
    wide: bool,
}

#[derive(Clone)]
struct Part {
    channel: Option<usize>,
    /// From that for large images on.
    sizes: Vec<Size>,
}

/// The metrics that images of some size have, and not those that need larger ones.
#[derive(Clone)]
struct Size {
    /// The least that the shorter side of an image must have.
    side: usize,
    metrics: MetricCollection,
}

/// What has been accumulated, or what one pair adds to it.
#[derive(Clone)]
pub(crate) struct Accumulated {
    parts: Vec<Part>,
}

/// The scores of one pair, and what they add to those of all.
pub(crate) struct Scores {
    pub(crate) accumulated: Accumulated,
    pub(crate) pair: PairScores,
}

/// What is told of one pair. It has a place for each column, with nothing in it where the pair is too small.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PairScores {
    /// The means over the images of the pair.
    pub(crate) values: Vec<Option<f64>>,
    /// The values of the worst image, which are the same where there is one image.
    pub(crate) worst: Vec<Option<f64>>,
    /// Why there is no map of the pair, if there should be one.
    pub(crate) undrawn: Option<String>,
}

impl Scorer {
    pub(crate) fn new(args: &MetricArgs, device: Device) -> Result<Self> {
        let kinds = kinds(args)?;
        let preset = args.preset.unwrap_or(Preset::Torchmetrics);
        let channels: &[Option<usize>] = match args.color {
            Color::PerChannel => &[Some(0), Some(1), Some(2)],
            Color::Rgb | Color::Luma => &[None],
        };
        let column = |kind: Kind, channel: Option<usize>| {
            let suffix = channel.map_or("", |channel| ["_r", "_g", "_b"][channel]);
            Column { name: format!("{}{suffix}", kind.name()), kind, channel }
        };
        let columns: Vec<_> =
            kinds.iter().flat_map(|&kind| channels.iter().map(move |&channel| column(kind, channel))).collect();
        let mut sides: Vec<_> = kinds.iter().map(|&kind| preset.side(kind)).collect();
        sides.sort_unstable_by(|a, b| b.cmp(a));
        sides.dedup();
        let part = |&channel| -> Result<Part> {
            let sizes = sides.iter().map(|&side| {
                let fitting: Vec<_> = kinds.iter().copied().filter(|&kind| preset.side(kind) <= side).collect();
                Ok(Size { side, metrics: collection(&fitting, preset, args)? })
            });
            Ok(Part { channel, sizes: sizes.collect::<Result<_>>()? })
        };
        let parts = channels.iter().map(part).collect::<Result<_>>()?;
        let of_three = match args.color {
            Color::Rgb => None,
            Color::Luma => Some("luma"),
            Color::PerChannel => Some("per-channel"),
        };
        let wide = args.data_range.is_some_and(|range| !F32_RANGES.contains(&range));
        if wide && device.is_metal() {
            let message =
                "`--data-range` is from 1e-12 to 1e12 on `--device metal`, which has no f64: use `--device cpu`";
            return Err(Usage(message.into()).into());
        }
        Ok(Self { columns, parts, device, crop_border: args.crop_border, preset, of_three, wide })
    }

    pub(crate) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// With nothing in it.
    pub(crate) fn accumulated(&self) -> Accumulated {
        Accumulated { parts: self.parts.clone() }
    }

    /// Text that is equal for equal metrics.
    pub(crate) fn fingerprint(&self) -> String {
        let parts = self.parts.iter().map(|part| format!("{:?} {}", part.channel, part.sizes[0].metrics.fingerprint()));
        parts.collect::<Vec<_>>().join("; ")
    }

    /// The kind of device: those of one kind round alike.
    pub(crate) fn device(&self) -> &'static str {
        kind_of(&self.device)
    }

    /// Whether its device has f64.
    pub(crate) fn has_f64(&self) -> bool {
        check_dtype(DType::F64, self.device()).is_ok()
    }

    /// Scores a pair; a metric has no value where the images are too small for it and not for others.
    pub(crate) fn score(&self, images: &Loaded) -> Result<Scores> {
        self.score_images(&images.reference, &images.test)
    }

    /// As [`score`](Self::score), of two images of the same shape and dtype.
    pub(crate) fn score_images(&self, reference: &Tensor, test: &Tensor) -> Result<Scores> {
        let (_, channels, height, width) = reference.dims4()?;
        if let Some(option) = self.of_three {
            ensure!(channels == 3, "`--color {option}` takes 1 or 3 channels, but the images have {channels}");
        }
        check_dtype(reference.dtype(), self.device())?;
        let dtype = if self.wide { DType::F64 } else { reference.dtype() };
        let on_device = |image: &Tensor| image.to_dtype(dtype)?.to_device(&self.device);
        let (reference, test) = (on_device(reference)?, on_device(test)?);
        let side = height.min(width).saturating_sub(self.crop_border.saturating_mul(2));
        ensure!(side > 0, "`--crop-border {}` leaves nothing of {width}×{height}", self.crop_border);
        let mut accumulated = self.accumulated();
        for part in &mut accumulated.parts {
            let (reference, test) = (part.pick(&reference)?, part.pick(&test)?);
            let size = part.sizes.iter_mut().find(|size| size.side <= side);
            let size = size.with_context(|| self.too_small_for_all(height, width))?;
            eval_scope(|| size.metrics.update(&test, &reference))?;
        }
        let pair = self.pair_scores(&accumulated)?;
        Ok(Scores { pair, accumulated })
    }

    fn pair_scores(&self, accumulated: &Accumulated) -> Result<PairScores> {
        let all: Vec<_> = self.columns.iter().map(|column| accumulated.value(column)).collect::<Result<_>>()?;
        let values = all.iter().map(|value| value.as_ref()?.scalar()).collect();
        let worst = all.iter().zip(&self.columns).map(|(value, column)| worst_image(value.as_ref()?, column.kind));
        Ok(PairScores { values, worst: worst.collect(), undrawn: None })
    }

    /// Why a pair has no value of a metric.
    pub(crate) fn too_small(&self, kind: Kind) -> String {
        format!("sides of less than {} pixels{}", self.preset.side(kind), cropped(self.crop_border))
    }

    fn too_small_for_all(&self, height: usize, width: usize) -> String {
        let sides = self.columns.iter().map(|column| (self.preset.side(column.kind), column.kind.name()));
        let (side, name) = sides.min_by_key(|&(side, _)| side).unwrap_or_default();
        let cropped = cropped(self.crop_border);
        format!("{name} needs sides of at least {side} pixels, but the images are {width}×{height}{cropped}")
    }
}

fn cropped(border: usize) -> String {
    if border == 0 { String::new() } else { format!(" after `--crop-border {border}`") }
}

/// The value of the worst of the images that a value is of.
fn worst_image(value: &Value, kind: Kind) -> Option<f64> {
    match value {
        // NaN is the worst there is, and neither the least nor the greatest.
        Value::Summary(summary) if summary.mean.is_nan() => Some(summary.mean),
        Value::Summary(summary) => Some(if kind.higher_is_better() { summary.min } else { summary.max }),
        value => value.scalar(),
    }
}

fn kind_of(device: &Device) -> &'static str {
    match device {
        Device::Cpu => "cpu",
        Device::Cuda(_) => "cuda",
        Device::Metal(_) => "metal",
    }
}

/// Arrays of f64 are scored as such, which Metal cannot do.
fn check_dtype(dtype: DType, device: &str) -> Result<()> {
    let fine = dtype != DType::F64 || device != "metal";
    ensure!(fine, "the images are f64, which there is not on `--device metal`: use `--device cpu`, or arrays of f32");
    Ok(())
}

impl Part {
    /// The channel that is scored, of images that have one more dimension.
    fn pick(&self, images: &Tensor) -> Result<Tensor> {
        Ok(match self.channel {
            Some(channel) => images.narrow(1, channel, 1)?,
            None => images.clone(),
        })
    }
}

impl Accumulated {
    /// Adds what another has seen, all of it or nothing. The order does not matter: sums are exact.
    pub(crate) fn merge(&mut self, other: &Self) -> Result<()> {
        let mut merged = self.clone();
        let theirs = other.parts.iter().flat_map(|part| &part.sizes);
        for (ours, theirs) in merged.collections().zip(theirs) {
            ours.merge(&theirs.metrics)?;
        }
        *self = merged;
        Ok(())
    }

    /// Puts in what does not add up with the rest.
    #[cfg(test)]
    pub(crate) fn spoil_last(&mut self, other: &Scorer) {
        let (Some(ours), Some(theirs)) = (self.parts.last_mut(), other.parts.last()) else { return };
        ours.sizes.clone_from(&theirs.sizes);
    }

    fn collections(&mut self) -> impl ExactSizeIterator<Item = &mut MetricCollection> {
        let collections = self.parts.iter_mut().flat_map(|part| &mut part.sizes).map(|size| &mut size.metrics);
        collections.collect::<Vec<_>>().into_iter()
    }

    /// Adds what all other ranks have seen.
    pub(crate) fn sync(&mut self, collective: &mut dyn Collective) -> Result<()> {
        self.collections().try_for_each(|metrics| Ok(metrics.sync(collective)?))
    }

    /// The value of a column, unless nothing was seen that has one.
    pub(crate) fn value(&self, column: &Column) -> Result<Option<Value>> {
        let Some(part) = self.parts.iter().find(|part| part.channel == column.channel) else { return Ok(None) };
        let mut metrics = part.sizes.iter().filter_map(|size| size.metrics.get(column.kind.name()));
        let Some(metric) = metrics.next() else { return Ok(None) };
        let mut metric = metric.clone_box();
        for other in metrics {
            metric.merge(other)?;
        }
        Ok(if metric.updates() == 0 { None } else { Some(metric.compute()?) })
    }

    pub(crate) fn to_bytes(&self) -> Result<Vec<Vec<u8>>> {
        let sizes = self.parts.iter().flat_map(|part| &part.sizes);
        sizes.map(|size| Ok(size.metrics.to_bytes()?)).collect()
    }

    pub(crate) fn load(&mut self, bytes: &[Vec<u8>]) -> Result<()> {
        let collections = self.collections();
        ensure!(bytes.len() == collections.len(), "it has {} states, expected {}", bytes.len(), collections.len());
        for (metrics, bytes) in collections.zip(bytes) {
            metrics.load_bytes(bytes)?;
        }
        Ok(())
    }
}

/// What is computed: what is asked for, and what the preset adds.
fn kinds(args: &MetricArgs) -> Result<Vec<Kind>> {
    let mut kinds = Vec::new();
    for &kind in &args.metrics {
        if kinds.contains(&kind) {
            return Err(Usage(format!("`--metrics` names {} twice", kind.option())).into());
        }
        kinds.push(kind);
    }
    // TorchMetrics pools. The mean over images, which papers report, stays beside it.
    let psnr = kinds.iter().position(|&kind| kind == Kind::Psnr);
    if let (Some(psnr), Some(Preset::Torchmetrics), false) = (psnr, args.preset, kinds.contains(&Kind::PsnrPooled)) {
        kinds.insert(psnr + 1, Kind::PsnrPooled);
    }
    Ok(kinds)
}

fn collection(kinds: &[Kind], preset: Preset, args: &MetricArgs) -> Result<MetricCollection> {
    let (range, crop, summary) = (args.data_range.unwrap_or(1.0), args.crop_border, Reduction::Summary);
    let channels = channels(args);
    let mut metrics = MetricCollection::new();
    for &kind in kinds {
        let psnr = || preset.psnr(range).channels(channels).crop_border(crop).reduction(summary);
        let errors = || ErrorConfig::new().range(range).channels(channels).crop_border(crop).reduction(summary);
        let ssim = || preset.ssim(range).channels(channels).crop_border(crop).reduction(summary);
        let ms_ssim = || preset.ms_ssim(range).channels(channels).crop_border(crop).reduction(summary);
        // In gray where the convention is, unless luma is asked for.
        let gmsd = || match (preset.gmsd(range).crop_border(crop).reduction(summary), channels) {
            (config, Channels::Luma) => config.channels(channels),
            (config, _) => config,
        };
        let vif = || match (preset.vif(range).crop_border(crop).reduction(summary), channels) {
            (config, Channels::Luma) => config.channels(channels),
            (config, _) => config,
        };
        let name = kind.name();
        match kind {
            Kind::Psnr => metrics.insert(name, Psnr::new(psnr())?)?,
            Kind::PsnrPooled => metrics.insert(name, Psnr::new(psnr().pooling(Pooling::Pooled))?)?,
            Kind::Ssim => metrics.insert(name, Ssim::new(ssim())?)?,
            Kind::MsSsim => metrics.insert(name, MsSsim::new(ms_ssim())?)?,
            Kind::Gmsd => metrics.insert(name, Gmsd::new(gmsd())?)?,
            Kind::Vif => metrics.insert(name, Vif::new(vif())?)?,
            Kind::Mae => metrics.insert(name, Mae::new(errors())?)?,
            Kind::Mse => metrics.insert(name, Mse::new(errors())?)?,
        }
    }
    Ok(metrics)
}

#[cfg(test)]
mod tests {
    use metrics_image::{gmsd, ms_ssim, ssim, vif};

    use super::*;

    #[test]
    fn smallest_sides_are_those_of_the_library() -> Result<()> {
        for &preset in Preset::value_variants() {
            let fits = |kind, side| -> Result<bool> {
                let image = Tensor::ones((1, 1, side, 200), DType::F32, &Device::Cpu)?;
                Ok(match kind {
                    Kind::Ssim => ssim(&image, &image, &preset.ssim(1.0)).is_ok(),
                    Kind::Gmsd => gmsd(&image, &image, &preset.gmsd(1.0)).is_ok(),
                    Kind::Vif => vif(&image, &image, &preset.vif(1.0)).is_ok(),
                    _ => ms_ssim(&image, &image, &preset.ms_ssim(1.0)).is_ok(),
                })
            };
            for kind in [Kind::Ssim, Kind::MsSsim, Kind::Gmsd, Kind::Vif] {
                let side = preset.side(kind);
                assert!(fits(kind, side)?, "{preset:?} {kind:?} {side}");
                assert!(side == 1 || !fits(kind, side - 1)?, "{preset:?} {kind:?} {side}");
            }
        }
        Ok(())
    }

    #[test]
    fn metal_has_no_f64() {
        let error = check_dtype(DType::F64, "metal").unwrap_err().to_string();
        assert!(error.contains("f64") && error.contains("use `--device cpu`"), "{error}");
        for (dtype, device) in [(DType::F64, "cpu"), (DType::F64, "cuda"), (DType::F32, "metal")] {
            assert!(check_dtype(dtype, device).is_ok(), "{dtype:?} {device}");
        }
    }
}
