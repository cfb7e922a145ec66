//! Metrics of every kind that there is, each with what it saves after a few batches.

use anyhow::Result;
use candle_core::{DType, Tensor};
use metrics_core::{
    Accumulator, Aggregate, BootStrapper, Definition, Formula, Metric, MinMax, NonFinite, PerLabel, Reduce, Reduction,
    Running, Samples, State, Statistics, Value,
};
use metrics_image::{ErrorConfig, Mae, MsSsim, MsSsimConfig, Mse, Pooling, Psnr, PsnrConfig, Ssim, SsimConfig};
use serde::Serialize;
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
        Box::new(first()?),
        Box::new(Running::new(mae(Reduction::Summary)?, usize::MAX)?),
        Box::new(Running::new(mae(Reduction::None)?, 2)?),
        Box::new(MinMax::new(psnr()?)?),
        Box::new(BootStrapper::new(mean()?, 3, 7)?.first_sample(u64::MAX - 2)),
        Box::new(PerLabel::new(mae(Reduction::Summary)?, labels)?),
        Box::new(Formula::of(mean()?) / 2.0 - Formula::of(mae(Reduction::Sum)?)),
        Box::new(PerLabel::new(BootStrapper::new(first()?, 3, 1)?, labels)?),
        Box::new(Running::new(PerLabel::new(MinMax::new(first()?)?, labels)?, 2)?),
        Box::new(MinMax::new(Running::new(BootStrapper::new(mean()?, 3, 7)?, 2)?)?),
        Box::new(BootStrapper::new(Formula::of(first()?) + Formula::of(Running::new(mean()?, 1)?), 3, 2)?),
        Box::new(Aggregate::last("loss")),
        Box::new(Running::new(Aggregate::mean("loss"), 2)?),
    ];
    metrics.into_iter().map(subject).collect()
}

fn subject(mut metric: Box<dyn Metric>) -> Result<Subject> {
    let image = |seed| textured((2, 1, 24, 24), seed, DType::F32);
    for seed in [1, 3, 5] {
        metric.update_with(&samples(&image(seed)?, &image(seed + 1)?))?;
    }
    let bytes = metric.save_state()?.to_bytes()?;
    Ok(Subject { metric, bytes, batch: [image(7)?, image(8)?] })
}

/// A batch of two images, with labels and a number of the loop.
pub(crate) fn samples(pred: &Tensor, target: &Tensor) -> Samples<'static> {
    Samples::new(pred, target).labels(&["day", "a/b%\n"]).number("loss", 0.5)
}

/// The smallest error of any image plus the first image's, which there must be, in a state with a field of every kind that the
/// metrics above have not.
#[derive(Clone, Serialize)]
struct First;

fn first() -> metrics_core::Result<Accumulator<First>> {
    Accumulator::of(First)
}

impl Definition for First {
    fn name(&self) -> &'static str {
        "first"
    }

    fn states(&self) -> State {
        let state = State::new().with("all", Reduce::Collect).with("min", Reduce::Min).with("max", Reduce::Max);
        let state = state.with("last", Reduce::Last).with("rows", Reduce::CollectArrays(vec![24]));
        let state = state.with("sums", Reduce::SumArrays(vec![1, 24])).with("outer", Reduce::SumOuter(3));
        state.with("counts", Reduce::Count(4))
    }

    fn statistics(&self, samples: &Samples) -> metrics_core::Result<Statistics> {
        let difference = (samples.pred()? - samples.target()?)?.abs()?;
        let (errors, rows) = (difference.flatten_from(1)?.mean(1)?, difference.mean(2)?);
        let statistics = Statistics::new(errors.dim(0)?).with("all", &errors).with("min", &errors).with("max", &errors);
        let statistics = statistics.with("last", &errors).with("rows", rows.squeeze(1)?).with("sums", &rows);
        let classes = (&rows * 3.0)?.clamp(0.0, 3.0)?.to_dtype(DType::U8)?;
        let statistics = statistics.with("outer", rows.squeeze(1)?.narrow(1, 0, 3)?).with("counts", classes);
        Ok(statistics.with_value(errors.get(0)?))
    }

    fn compute(&self, state: &State) -> metrics_core::Result<Value> {
        let last = state.last("last")?.unwrap_or_default();
        let sums = state.array_mean("outer")?[8] + state.array_sum("sums")?[23] + state.counts("counts")?[3] as f64;
        let rest = (state.values("rows")?[23] + sums + last) * 0.0;
        Ok(Value::Scalar(state.values("all")?[0] + state.min("min")? - state.max("max")? + rest))
    }
}
