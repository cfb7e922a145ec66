//! Metrics and tensors to test with.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Shape, Tensor, Var};
use metrics_core::{
    Contribution, Error, Fingerprint, Measurement, Metric, MetricInfo, NonFinite, Reduction, Result, State, Value,
};

/// Mean absolute error per image, optionally times a trainable weight.
#[derive(Clone, Debug)]
pub(crate) struct Mae {
    reduction: Reduction,
    weight: Option<Var>,
    state: State,
}

impl Mae {
    pub(crate) fn new(reduction: Reduction) -> Self {
        Self { reduction, weight: None, state: State::for_reduction("mae", reduction) }
    }

    /// Whose updates wait as if the CPU were another device.
    pub(crate) fn queued(reduction: Reduction, limit: usize) -> Self {
        let state = State::for_reduction("mae", reduction).queue_everywhere().queue_limit(limit);
        Self { state, ..Self::new(reduction) }
    }

    pub(crate) fn with_policy(self, policy: NonFinite) -> Self {
        Self { state: self.state.non_finite(policy), ..self }
    }

    pub(crate) fn weighted(weight: Var) -> Self {
        Self { weight: Some(weight), ..Self::new(Reduction::Mean) }
    }
}

impl Metric for Mae {
    fn name(&self) -> &'static str {
        "mae"
    }

    fn info(&self) -> MetricInfo {
        MetricInfo {
            differentiable: true,
            higher_is_better: Some(false),
            lower: Some(0.0),
            upper: None,
            growth: self.state.growth(),
        }
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::new("mae", format!("reduction={}", self.reduction))
    }

    fn measure(&self, pred: &Tensor, target: &Tensor) -> Result<Measurement> {
        if pred.dims() != target.dims() {
            let (pred, target) = (pred.dims(), target.dims());
            return Err(Error::argument("mae", format!("`pred` is {pred:?} but `target` is {target:?}")));
        }
        let mut per_image = (pred - target)?.abs()?.flatten_from(1)?.mean(1)?;
        if let Some(weight) = &self.weight {
            per_image = per_image.broadcast_mul(weight)?;
        }
        Measurement::for_reduction("mae", &per_image, self.reduction)
    }

    fn state(&self) -> &State {
        &self.state
    }

    fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    fn finish(&self, state: &State) -> Result<Value> {
        state.reduced("mae", self.reduction)
    }
}

/// The first image's error, which there must be: a metric that takes the promise of [`Metric::finish`] at its word.
#[derive(Clone, Debug)]
pub(crate) struct First {
    state: State,
}

impl First {
    pub(crate) fn new() -> Self {
        Self { state: State::for_reduction("error", Reduction::None) }
    }

    pub(crate) fn with_policy(self, policy: NonFinite) -> Self {
        Self { state: self.state.non_finite(policy) }
    }
}

impl Metric for First {
    fn name(&self) -> &'static str {
        "first"
    }

    fn info(&self) -> MetricInfo {
        MetricInfo { growth: self.state.growth(), ..Mae::new(Reduction::Mean).info() }
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::new("first", "")
    }

    fn measure(&self, pred: &Tensor, target: &Tensor) -> Result<Measurement> {
        let errors = (pred - target)?.abs()?.flatten_from(1)?.mean(1)?;
        let contribution = Contribution::new(errors.dim(0)?).with("error", &errors);
        Ok(Measurement { value: errors.get(0)?, contribution })
    }

    fn state(&self) -> &State {
        &self.state
    }

    fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    fn finish(&self, state: &State) -> Result<Value> {
        assert!(state.images() > 0, "there is an image, as promised");
        Ok(Value::Scalar(state.values("error")?[0]))
    }
}

/// How [`Moody`] fails once it has measured two batches.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mood {
    /// It refuses the batch.
    Refuses,
    /// It contributes to a field that its state does not have, which shows when the contribution is read back.
    Miscounts,
}

/// A metric that fails on its third update, and on every one after.
#[derive(Clone, Debug)]
pub(crate) struct Moody {
    mood: Mood,
    state: State,
    /// Shared by clones, and not of the state, which others keep for it when it is part of another metric.
    measured: Arc<AtomicUsize>,
}

impl Moody {
    pub(crate) fn new(mood: Mood) -> Self {
        Self { mood, state: State::for_reduction("zero", Reduction::Sum), measured: Arc::default() }
    }
}

impl Metric for Moody {
    fn name(&self) -> &'static str {
        "moody"
    }

    fn info(&self) -> MetricInfo {
        Mae::new(Reduction::Sum).info()
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::new("moody", format!("{:?}", self.mood))
    }

    fn measure(&self, pred: &Tensor, _: &Tensor) -> Result<Measurement> {
        let field = match (self.measured.fetch_add(1, Ordering::Relaxed), self.mood) {
            (0 | 1, _) => "zero",
            (_, Mood::Refuses) => return Err(Error::argument("moody", "`pred` came too late")),
            (_, Mood::Miscounts) => "nought",
        };
        let images = pred.dim(0)?;
        let contribution = Contribution::new(images).with_values(field, vec![0.0; images]);
        Ok(Measurement { value: Tensor::new(0f32, pred.device())?, contribution })
    }

    fn state(&self) -> &State {
        &self.state
    }

    fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    fn finish(&self, state: &State) -> Result<Value> {
        state.reduced("zero", Reduction::Sum)
    }
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
