//! Several metrics over the same data.

mod eval;
mod save;
mod sync;

use candle_core::Tensor;
use metrics_detach::{eval_scope, is_eval};

use crate::metric::{shared_passes, stage_merge, statistics_with_value};
use crate::named::{Named, Outputs};
use crate::{Fingerprint, MemoryReport, Metric, Plan, Report, Result, Samples, Statistics};

/// Named metrics that are updated together, all or nothing: a batch that any member refuses changes none of them.
///
/// ```
#[doc = include_str!("../doc/mae.md")]
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
    /// Creates an empty collection.
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
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &dyn Metric)> + Clone {
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
        Plan::new(&shared_passes(self.iter()), self.iter().map(|(name, metric)| (name, metric.name())))
    }

    /// How many samples were left out because a number was NaN or infinite: the most that any member has.
    pub fn skipped(&self) -> u64 {
        self.iter().map(|(_, metric)| metric.skipped()).max().unwrap_or(0)
    }

    /// Names, kinds and configurations of all members, in order.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_members(self.iter().map(|(name, metric)| (name, metric.fingerprint())))
    }

    /// Adds a batch to every member. Never builds or keeps a graph.
    ///
    /// # Errors
    /// When a member refuses the batch; the error names it, and no member has changed.
    pub fn update(&mut self, pred: &Tensor, target: &Tensor) -> Result<()> {
        self.update_with(&Samples::new(pred, target))
    }

    /// Adds a batch to every member, whose samples may have weights, labels and numbers: see [`Metric::update_with`].
    ///
    /// # Errors
    /// As [`MetricCollection::update`] and [`Metric::update_with`].
    pub fn update_with(&mut self, samples: &Samples) -> Result<()> {
        let samples = self.sharing(samples.detached());
        let statistics = eval_scope(|| {
            self.members.try_map(|metric| metric.statistics(&samples)?.weighted(samples.sample_weights()))
        })?;
        self.accumulate(statistics)
    }

    /// Adds a batch to every member, and returns each one's value of this batch alone: differentiable outside of an
    /// eval scope, detached within one. The states keep no graph in either case.
    ///
    /// # Errors
    /// As [`MetricCollection::update`].
    pub fn forward(&mut self, pred: &Tensor, target: &Tensor) -> Result<Outputs> {
        self.forward_with(&Samples::new(pred, target))
    }

    /// As [`forward`](Self::forward), with a batch whose samples may have weights, labels and numbers: see [`Metric::forward_with`].
    ///
    /// # Errors
    /// As [`MetricCollection::update`] and [`Metric::forward_with`].
    pub fn forward_with(&mut self, samples: &Samples) -> Result<Outputs> {
        let samples = self.sharing(if is_eval() { samples.detached() } else { samples.clone() });
        let mut values = Outputs::new();
        let statistics = self.members.try_map_named(|name, metric| {
            let (statistics, value) = statistics_with_value(&**metric, &samples)?;
            values.insert(name, value)?;
            Ok(statistics)
        })?;
        self.accumulate(statistics)?;
        Ok(values)
    }

    /// With passes that several members share, each of which is made once.
    fn sharing<'a>(&self, samples: Samples<'a>) -> Samples<'a> {
        samples.sharing(shared_passes(self.iter()))
    }

    /// Checks all statistics before it writes any state.
    fn accumulate(&mut self, statistics: Named<Statistics>) -> Result<()> {
        let mut staged = Vec::with_capacity(self.len());
        for ((name, metric), (_, statistics)) in self.members.iter().zip(statistics) {
            staged.push(metric.state().stage(statistics).map_err(|error| error.in_member(name))?);
        }
        for ((_, metric), staged) in self.members.iter_mut().zip(staged) {
            metric.state_mut().commit(staged);
        }
        Ok(())
    }

    /// The value of every member.
    ///
    /// # Errors
    /// [`Error::NoData`](crate::Error::NoData) while a member has no sample that counts; the error names the member.
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
}
