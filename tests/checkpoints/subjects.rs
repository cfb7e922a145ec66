//! Metrics of every kind that there is, each with what it saves after a few batches.

use anyhow::Result;
use candle_core::{DType, Tensor};
use metrics_core::{
    BootStrapper, Contribution, Fingerprint, Formula, Growth, Measurement, Metric, MetricInfo, MinMax, NonFinite,
    PerLabel, Reduce, Reduction, Running, State, Value,
};
use metrics_image::{ErrorConfig, Mae, MsSsim, MsSsimConfig, Mse, Pooling, Psnr, PsnrConfig, Ssim, SsimConfig};
use tests::images::textured;

pub(crate) struct Subject {
    /// After three updates.
    pub(crate) metric: Box<dyn Metric>,
    pub(crate) bytes: Vec<u8>,
    /// Prediction and target of two images.
    pub(crate) batch: [Tensor; 2],
}

pub(crate) fn all() -> Result<Vec<Subject>> {
    let mae = |reduction| Mae::new(ErrorConfig::new().reduction(reduction));
    let mean = || mae(Reduction::Mean);
    let psnr = || Psnr::new(PsnrConfig::new(1.0));
    let labels = ["day", "a/b%\n"];
    let metrics: Vec<Box<dyn Metric>> = vec![
        Box::new(mean()?),
        Box::new(mae(Reduction::Sum)?),
        Box::new(Mse::new(ErrorConfig::new().reduction(Reduction::None))?),
        Box::new(psnr()?),
        Box::new(Psnr::new(PsnrConfig::new(1.0).pooling(Pooling::PerImage).non_finite(NonFinite::Skip))?),
        Box::new(Ssim::new(SsimConfig::new(1.0).reduction(Reduction::Summary))?),
        Box::new(MsSsim::new(MsSsimConfig::new(1.0).betas([0.4, 0.6]).non_finite(NonFinite::Error))?),
        Box::new(First::new()),
        Box::new(Running::new(mae(Reduction::Summary)?, usize::MAX)?),
        Box::new(Running::new(mae(Reduction::None)?, 2)?),
        Box::new(MinMax::new(psnr()?)),
        Box::new(BootStrapper::new(mean()?, 3, 7)?.first_image(u64::MAX - 2)),
        Box::new(PerLabel::new(mae(Reduction::Summary)?, labels)?),
        Box::new(Formula::of(mean()?) / 2.0 - Formula::of(mae(Reduction::Sum)?)),
        Box::new(PerLabel::new(BootStrapper::new(First::new(), 3, 1)?, labels)?),
        Box::new(Running::new(PerLabel::new(MinMax::new(First::new()), labels)?, 2)?),
        Box::new(MinMax::new(Running::new(BootStrapper::new(mean()?, 3, 7)?, 2)?)),
        Box::new(BootStrapper::new(Formula::of(First::new()) + Formula::of(Running::new(mean()?, 1)?), 3, 2)?),
    ];
    metrics.into_iter().map(subject).collect()
}

fn subject(mut metric: Box<dyn Metric>) -> Result<Subject> {
    let image = |seed| textured((2, 1, 24, 24), seed, DType::F32);
    for seed in [1, 3, 5] {
        metric.update_labelled(&image(seed)?, &image(seed + 1)?, &["day", "a/b%\n"])?;
    }
    let bytes = metric.save_state()?.to_bytes()?;
    Ok(Subject { metric, bytes, batch: [image(7)?, image(8)?] })
}

/// The smallest error of any image plus the first image's, which there must be, in a state with a field of every kind that the
/// metrics above have not.
#[derive(Clone)]
struct First(State);

impl First {
    fn new() -> Self {
        let state = State::new().with("all", Reduce::Collect).with("min", Reduce::Min).with("max", Reduce::Max);
        Self(state)
    }
}

impl Metric for First {
    fn name(&self) -> &'static str {
        "first"
    }

    fn info(&self) -> MetricInfo {
        let growth = Growth::PerImage;
        MetricInfo { differentiable: false, higher_is_better: None, lower: None, upper: None, growth }
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::new("first", "")
    }

    fn measure(&self, pred: &Tensor, target: &Tensor) -> metrics_core::Result<Measurement> {
        let errors = (pred - target)?.abs()?.flatten_from(1)?.mean(1)?;
        let contribution = Contribution::new(errors.dim(0)?).with("all", &errors).with("min", &errors);
        Ok(Measurement { value: errors.get(0)?, contribution: contribution.with("max", &errors) })
    }

    fn state(&self) -> &State {
        &self.0
    }

    fn state_mut(&mut self) -> &mut State {
        &mut self.0
    }

    fn finish(&self, state: &State) -> metrics_core::Result<Value> {
        Ok(Value::Scalar(state.values("all")?[0] + state.min("min")? - state.max("max")?))
    }
}
