//! Several metrics over the same data.

mod save;
mod sync;

use candle_core::Tensor;
use metrics_detach::{Detached, eval_scope, is_eval};

use crate::metric::stage_merge;
use crate::named::{Named, Outputs};
use crate::{
    Agenda, Batch, Contribution, EvalOnly, Fingerprint, Measurement, MemoryReport, Metric, Plan, Report, Result,
};

/// Named metrics that are updated together, all or nothing: a batch that any member refuses changes none of them.
///
/// ```
/// # use metrics_core::{Fingerprint, Growth, Measurement, Metric, MetricInfo, Reduction, State, Value};
/// # use candle_core::Tensor;
/// # #[derive(Clone)]
/// # struct Mae(State);
/// # impl Mae { fn new() -> Self { Self(State::for_reduction("mae", Reduction::Mean)) } }
/// # impl Metric for Mae {
/// #     fn name(&self) -> &'static str { "mae" }
/// #     fn info(&self) -> MetricInfo {
/// #         let (lower, upper, growth) = (Some(0.0), None, Growth::Constant);
/// #         MetricInfo { differentiable: true, higher_is_better: Some(false), lower, upper, growth }
/// #     }
/// #     fn fingerprint(&self) -> Fingerprint { Fingerprint::new("mae", "") }
/// #     fn measure(&self, pred: &Tensor, target: &Tensor) -> metrics_core::Result<Measurement> {
/// #         let per_image = (pred - target)?.abs()?.flatten_from(1)?.mean(1)?;
/// #         Measurement::for_reduction("mae", &per_image, Reduction::Mean)
/// #     }
/// #     fn state(&self) -> &State { &self.0 }
/// #     fn state_mut(&mut self) -> &mut State { &mut self.0 }
/// #     fn finish(&self, state: &State) -> metrics_core::Result<Value> { state.reduced("mae", Reduction::Mean) }
/// # }
/// use candle_core::{DType, Device};
/// use metrics_core::MetricCollection;
///
/// let validation = MetricCollection::new().with("mae", Mae::new())?.prefix("val/");
/// let mut metrics = MetricCollection::new().with("mae", Mae::new())?.extend(validation)?;
///
/// let pred = Tensor::ones((2, 3, 8, 8), DType::F32, &Device::Cpu)?;
/// let target = pred.zeros_like()?;
/// metrics.update(&pred, &target)?;
/// let report = metrics.compute()?;
/// assert_eq!(report.scalar("val/mae"), Some(1.0));
/// print!("{report}");
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct MetricCollection {
    members: Named<Box<dyn Metric>>,
    prefix: String,
    postfix: String,
}

impl MetricCollection {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a metric at the end.
    ///
    /// # Errors
    /// When the name is empty or taken.
    pub fn with(mut self, name: impl AsRef<str>, metric: impl Metric + 'static) -> Result<Self> {
        self.insert(name, metric)?;
        Ok(self)
    }

    /// Adds a metric at the end, as [`MetricCollection::with`].
    ///
    /// # Errors
    /// When the name is empty or taken.
    pub fn insert(&mut self, name: impl AsRef<str>, metric: impl Metric + 'static) -> Result<()> {
        self.insert_boxed(name.as_ref(), Box::new(metric))
    }

    /// Adds all metrics of another collection, with their data, at the end. Their names keep the prefix and the postfix
    /// they have there.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn extend(mut self, other: Self) -> Result<Self> {
        for (name, metric) in other.members {
            self.insert_boxed(&name, metric)?;
        }
        Ok(self)
    }

    /// Puts a prefix before the name of every metric, those that are added later included.
    pub fn prefix(mut self, prefix: impl AsRef<str>) -> Self {
        let prefix = prefix.as_ref();
        self.members.rename(|name| format!("{prefix}{name}"));
        self.prefix.insert_str(0, prefix);
        self
    }

    /// Puts a postfix after the name of every metric, those that are added later included.
    pub fn postfix(mut self, postfix: impl AsRef<str>) -> Self {
        let postfix = postfix.as_ref();
        self.members.rename(|name| format!("{name}{postfix}"));
        self.postfix.push_str(postfix);
        self
    }

    fn insert_boxed(&mut self, name: &str, metric: Box<dyn Metric>) -> Result<()> {
        // An empty name stays empty, so that it is refused.
        let full = if name.is_empty() { String::new() } else { format!("{}{name}{}", self.prefix, self.postfix) };
        self.members.insert(full, metric)
    }

    /// The metric of this name, prefix and postfix included.
    pub fn get(&self, name: &str) -> Option<&dyn Metric> {
        self.members.get(name).map(|metric| &**metric)
    }

    /// Names and metrics, in the order in which they were added.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &dyn Metric)> {
        self.members.iter().map(|(name, metric)| (name, &**metric))
    }

    /// How many metrics there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no metric.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// How many batches were added: the most that any member has.
    pub fn updates(&self) -> u64 {
        self.iter().map(|(_, metric)| metric.updates()).max().unwrap_or(0)
    }

    /// Memory held by the members' states, in bytes.
    pub fn state_bytes(&self) -> usize {
        self.iter().map(|(_, metric)| metric.state_bytes()).sum()
    }

    /// What each member holds in memory.
    pub fn memory(&self) -> MemoryReport {
        crate::memory::report(self.iter())
    }

    /// Which passes over the data an update makes, and which members each serves: metrics that need the same of the data share it,
    /// whatever their order and their names.
    pub fn plan(&self) -> Plan {
        Plan::of(&self.members)
    }

    /// Names, kinds and configurations of all members, in order.
    pub fn fingerprint(&self) -> Fingerprint {
        let member = |(name, metric): (&str, &dyn Metric)| format!("{name}={}", metric.fingerprint().text());
        Fingerprint::new("collection", self.iter().map(member).collect::<Vec<_>>().join(" "))
    }

    /// Adds a batch to every member. Never builds or keeps a graph.
    ///
    /// # Errors
    /// When a member refuses the batch; the error names it, and no member has changed.
    pub fn update(&mut self, pred: &Tensor, target: &Tensor) -> Result<()> {
        let measured = self.measure_detached(pred, target)?;
        self.absorb(measured).map(drop)
    }

    /// Adds a batch of images that have weights to every member: see [`Metric::update_weighted`].
    ///
    /// # Errors
    /// As [`MetricCollection::update`], and for weights that are negative, not finite, or not one for each image.
    pub fn update_weighted(&mut self, pred: &Tensor, target: &Tensor, weights: &[f64]) -> Result<()> {
        let measured = self.measure_detached(pred, target)?;
        self.absorb(self.changed(measured, |metric, batch| metric.by_weight(batch, weights))?).map(drop)
    }

    /// Adds a batch of images that have labels to every member: see [`Metric::update_labelled`].
    ///
    /// # Errors
    /// As [`MetricCollection::update`], and for labels that are not known or not one for each image.
    pub fn update_labelled(&mut self, pred: &Tensor, target: &Tensor, labels: &[&str]) -> Result<()> {
        let measured = self.measure_detached(pred, target)?;
        self.absorb(self.changed(measured, |metric, batch| metric.by_label(batch, labels))?).map(drop)
    }

    /// Adds a batch to every member, and returns each one's value of this batch alone: differentiable outside of an
    /// eval scope, detached within one. The states keep no graph in either case.
    ///
    /// # Errors
    /// As [`MetricCollection::update`].
    pub fn forward(&mut self, pred: &Tensor, target: &Tensor) -> Result<Outputs> {
        self.absorb(self.measure_in_scope(pred, target)?)
    }

    /// As [`forward`](Self::forward), of images that have labels: see [`Metric::forward_labelled`].
    ///
    /// # Errors
    /// As [`MetricCollection::update_labelled`].
    pub fn forward_labelled(&mut self, pred: &Tensor, target: &Tensor, labels: &[&str]) -> Result<Outputs> {
        let measured = self.measure_in_scope(pred, target)?;
        self.absorb(self.changed(measured, |metric, batch| metric.by_label(batch, labels))?)
    }

    /// Measures the tensors as they are, or, in an eval scope, without their graph.
    fn measure_in_scope(&self, pred: &Tensor, target: &Tensor) -> Result<Named<Measurement>> {
        if !is_eval() {
            return self.measure(pred, target);
        }
        Ok(self.measure(&Detached::from(pred), &Detached::from(target))?.map(Measurement::detached))
    }

    fn measure_detached(&self, pred: &Tensor, target: &Tensor) -> Result<Named<Measurement>> {
        let (pred, target) = (Detached::from(pred), Detached::from(target));
        eval_scope(|| self.measure(&pred, &target))
    }

    /// Measures every member, each pass that several need being made once.
    fn measure(&self, pred: &Tensor, target: &Tensor) -> Result<Named<Measurement>> {
        let batch = Batch::new(pred, target, Agenda::of(self.iter()));
        self.members.try_map(|metric| metric.measure_shared(&batch))
    }

    /// With what each member makes of its contribution.
    fn changed(
        &self,
        measured: Named<Measurement>,
        change: impl Fn(&dyn Metric, Contribution) -> Result<Contribution>,
    ) -> Result<Named<Measurement>> {
        let mut changed = Named::new();
        for ((name, metric), (_, Measurement { value, contribution })) in self.iter().zip(measured) {
            let contribution = change(metric, contribution).map_err(|error| error.in_member(name))?;
            changed.insert(name, Measurement { value, contribution })?;
        }
        Ok(changed)
    }

    /// Checks every contribution before it writes any state, and returns the values.
    fn absorb(&mut self, measured: Named<Measurement>) -> Result<Outputs> {
        let mut staged = Vec::with_capacity(self.len());
        let mut values = Outputs::new();
        for ((name, metric), (_, Measurement { value, contribution })) in self.members.iter().zip(measured) {
            staged.push(metric.state().stage(contribution).map_err(|error| error.in_member(name))?);
            values.insert(name, value)?;
        }
        for ((_, metric), staged) in self.members.iter_mut().zip(staged) {
            metric.state_mut().commit(staged);
        }
        Ok(values)
    }

    /// The value of every member.
    ///
    /// # Errors
    /// [`Error::NoData`](crate::Error::NoData) while a member has no image that counts; the error names the member.
    pub fn compute(&self) -> Result<Report> {
        self.members.try_map(|metric| metric.compute()).map(Report::from)
    }

    /// Forgets everything added so far.
    pub fn reset(&mut self) {
        self.members.iter_mut().for_each(|(_, metric)| metric.reset());
    }

    /// Adds everything that another collection has accumulated. Members are matched by name, in any order.
    ///
    /// # Errors
    /// When the two have different names, or a member has another kind or configuration; no member has changed then.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        for name in other.members.names() {
            self.members.require(name)?;
        }
        let stage = |(name, metric)| {
            let theirs = other.members.require(name)?;
            stage_merge::<dyn Metric>(metric, &**theirs).map_err(|error| error.in_member(name))
        };
        let staged: Vec<_> = self.iter().map(stage).collect::<Result<_>>()?;
        for ((_, metric), staged) in self.members.iter_mut().zip(staged) {
            metric.state_mut().commit_merge(staged)?;
        }
        Ok(())
    }

    /// This collection, restricted to evaluation: nothing that it returns tracks.
    pub fn eval_only(self) -> EvalOnly<Self> {
        EvalOnly::new(self)
    }
}
