//! Metrics and tensors to test with.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Shape, Tensor, Var};
use metrics_core::{
    Accumulator, Definition, Error, Metric, MetricInfo, NonFinite, Reduce, Reduction, Result, Samples, State,
    Statistics, Value,
};
use serde::Serialize;

pub(crate) const REDUCTIONS: [Reduction; 4] = [Reduction::Mean, Reduction::Sum, Reduction::None, Reduction::Summary];

/// Mean absolute error per image, optionally times a trainable weight.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Mae {
    reduction: Reduction,
    #[serde(skip)]
    weight: Option<Var>,
    #[serde(skip)]
    policy: NonFinite,
    /// How many updates wait, as if the CPU were another device.
    #[serde(skip)]
    queue: Option<usize>,
}

impl Mae {
    pub(crate) fn new(reduction: Reduction) -> Accumulator<Self> {
        Self::of(reduction).metric()
    }

    /// Whose updates wait as if the CPU were another device.
    pub(crate) fn queued(reduction: Reduction, limit: usize) -> Accumulator<Self> {
        Self { queue: Some(limit), ..Self::of(reduction) }.metric()
    }

    pub(crate) fn with_policy(reduction: Reduction, policy: NonFinite) -> Accumulator<Self> {
        Self { policy, ..Self::of(reduction) }.metric()
    }

    pub(crate) fn queued_with_policy(reduction: Reduction, limit: usize, policy: NonFinite) -> Accumulator<Self> {
        Self { policy, queue: Some(limit), ..Self::of(reduction) }.metric()
    }

    pub(crate) fn weighted(weight: Var) -> Accumulator<Self> {
        Self { weight: Some(weight), ..Self::of(Reduction::Mean) }.metric()
    }

    fn of(reduction: Reduction) -> Self {
        Self { reduction, weight: None, policy: NonFinite::Propagate, queue: None }
    }

    fn metric(self) -> Accumulator<Self> {
        Accumulator::of(self).expect("settings that can be serialized")
    }
}

impl Definition for Mae {
    fn name(&self) -> &'static str {
        "mae"
    }

    fn info(&self) -> MetricInfo {
        MetricInfo::differentiable().higher_is_better(false).bounds(Some(0.0), None)
    }

    fn states(&self) -> State {
        let state = State::scores(self.reduction).non_finite(self.policy);
        self.queue.iter().fold(state, |state, limit| state.queue_everywhere().queue_limit(*limit))
    }

    fn statistics(&self, samples: &Samples) -> Result<Statistics> {
        let (pred, target) = (samples.pred()?, samples.target()?);
        if pred.dims() != target.dims() {
            let (pred, target) = (pred.dims(), target.dims());
            return Err(Error::argument("mae", format!("`pred` is {pred:?} but `target` is {target:?}")));
        }
        let mut per_image = (pred - target)?.abs()?.flatten_from(1)?.mean(1)?;
        if let Some(weight) = &self.weight {
            per_image = per_image.broadcast_mul(weight)?;
        }
        Statistics::scores(&per_image)
    }
}

/// The first image's error, which there must be: a metric that takes the promise of [`Definition::compute`] at its
/// word, and gives the value of a batch itself.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct First {
    #[serde(skip)]
    policy: NonFinite,
}

impl First {
    pub(crate) fn new() -> Accumulator<Self> {
        Self::with_policy(NonFinite::Propagate)
    }

    pub(crate) fn with_policy(policy: NonFinite) -> Accumulator<Self> {
        Accumulator::of(Self { policy }).expect("settings that can be serialized")
    }
}

impl Definition for First {
    fn name(&self) -> &'static str {
        "first"
    }

    fn info(&self) -> MetricInfo {
        Mae::of(Reduction::Mean).info()
    }

    fn states(&self) -> State {
        State::new().with("error", Reduce::Collect).non_finite(self.policy)
    }

    fn statistics(&self, samples: &Samples) -> Result<Statistics> {
        let errors = (samples.pred()? - samples.target()?)?.abs()?.flatten_from(1)?.mean(1)?;
        Ok(Statistics::new(errors.dim(0)?).with("error", &errors).with_value(errors.get(0)?))
    }

    fn compute(&self, state: &State) -> Result<Value> {
        assert!(state.samples() > 0, "there is an image, as promised");
        Ok(Value::Scalar(state.values("error")?[0]))
    }
}

/// How [`Moody`] fails once it has measured two batches.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) enum Mood {
    /// It refuses the batch.
    Refuses,
    /// It gives a field that its state does not have, which shows when the statistics are accumulated.
    Miscounts,
}

/// A metric that fails on its third update, and on every one after.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Moody {
    mood: Mood,
    /// Shared by clones, and not of the state, which others keep for it when it is part of another metric.
    #[serde(skip)]
    measured: Arc<AtomicUsize>,
}

impl Moody {
    pub(crate) fn new(mood: Mood) -> Accumulator<Self> {
        Accumulator::of(Self { mood, measured: Arc::default() }).expect("settings that can be serialized")
    }
}

impl Definition for Moody {
    fn name(&self) -> &'static str {
        "moody"
    }

    fn info(&self) -> MetricInfo {
        Mae::of(Reduction::Sum).info()
    }

    fn states(&self) -> State {
        State::new().with("zero", Reduce::Sum)
    }

    fn statistics(&self, samples: &Samples) -> Result<Statistics> {
        let field = match (self.measured.fetch_add(1, Ordering::Relaxed), self.mood) {
            (0 | 1, _) => "zero",
            (_, Mood::Refuses) => return Err(Error::argument("moody", "`pred` came too late")),
            (_, Mood::Miscounts) => "nought",
        };
        let images = samples.pred()?.dim(0)?;
        let value = Tensor::new(0f32, samples.pred()?.device())?;
        Ok(Statistics::new(images).with_values(field, vec![0.0; images]).with_value(value))
    }

    fn compute(&self, state: &State) -> Result<Value> {
        state.sum("zero").map(Value::Scalar)
    }
}

/// A field of every kind that the scores of a metric do not have: of vectors `[samples, 3]` and classes `[samples, 2]`
/// below 5.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Kinds {
    #[serde(skip)]
    policy: NonFinite,
}

impl Kinds {
    pub(crate) fn new() -> Accumulator<Self> {
        Self::with_policy(NonFinite::Propagate)
    }

    pub(crate) fn with_policy(policy: NonFinite) -> Accumulator<Self> {
        Accumulator::of(Self { policy }).expect("settings that can be serialized")
    }
}

impl Definition for Kinds {
    fn name(&self) -> &'static str {
        "kinds"
    }

    fn states(&self) -> State {
        State::new()
            .with("last", Reduce::Last)
            .with("sums", Reduce::SumArrays(vec![3]))
            .with("outer", Reduce::SumOuter(3))
            .with("counts", Reduce::Count(5))
            .with("rows", Reduce::CollectArrays(vec![3]))
            .non_finite(self.policy)
    }

    fn statistics(&self, samples: &Samples) -> Result<Statistics> {
        let (vectors, classes) = (samples.pred()?, samples.target()?);
        let statistics = Statistics::new(vectors.dim(0)?).with("last", vectors.get_on_dim(1, 0)?);
        let statistics = statistics.with("sums", vectors).with("outer", vectors).with("rows", vectors);
        Ok(statistics.with("counts", classes))
    }

    /// The uncentered second moments.
    fn compute(&self, state: &State) -> Result<Value> {
        Ok(Value::Array { shape: vec![3, 3], values: state.array_mean("outer")? })
    }
}

/// What [`Kinds`] is updated with: vectors of these numbers times 1, 0.1 and -1, and their classes.
pub(crate) fn kinds<'a>(numbers: &[f32]) -> Samples<'a> {
    let vectors = numbers.iter().flat_map(|x| [*x, 0.1 * x, -x]).collect();
    let classes = numbers.iter().flat_map(|x| [x.abs().min(4.0) as u32, 0]).collect();
    let pred = Tensor::from_vec(vectors, (numbers.len(), 3), &Device::Cpu).expect("a small tensor on the CPU");
    let target = Tensor::from_vec(classes, (numbers.len(), 2), &Device::Cpu);
    Samples::new(&pred, &target.expect("a small tensor on the CPU"))
}

/// A metric that has seen nothing, whose updates wait as if the CPU were another device.
pub(crate) fn waiting<M: Metric>(mut metric: M) -> M {
    *metric.state_mut() = metric.state().clone().queue_everywhere();
    metric
}

/// A batch `[errors.len(), 4]` whose mean absolute errors against [`zeros`] are `errors`.
pub(crate) fn batch(errors: &[f32]) -> Tensor {
    let column = Tensor::new(errors, &Device::Cpu).and_then(|errors| errors.unsqueeze(1));
    column.and_then(|column| column.repeat((1, 4))).expect("a small tensor on the CPU")
}

/// The target of [`batch`].
pub(crate) fn zeros(batch: &Tensor) -> Tensor {
    batch.detach().zeros_like().expect("a small tensor on the CPU")
}

/// [`batch`] against [`zeros`].
pub(crate) fn samples<'a>(batch: &Tensor) -> Samples<'a> {
    Samples::new(batch, &zeros(batch))
}

/// A tracked copy of a tensor, and a weak reference that lives exactly as long as the graph behind that copy.
pub(crate) fn probe(tensor: &Tensor) -> candle_core::Result<(Tensor, Weak<()>)> {
    let alive = Arc::new(());
    let weak = Arc::downgrade(&alive);
    Ok((Var::from_tensor(tensor)?.apply_op1(Probe { _alive: alive })?, weak))
}

/// The identity on a contiguous f32 tensor.
struct Probe {
    _alive: Arc<()>,
}

impl CustomOp1 for Probe {
    fn name(&self) -> &'static str {
        "probe"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(storage.as_slice::<f32>()?.to_vec()), layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        Ok(Some(grad.clone()))
    }
}

/// SplitMix64, as a stream of numbers that is the same in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}
