//! Work that several metrics of a collection share.

use std::any::Any;
use std::fmt;

use candle_core::Tensor;

use crate::{Metric, Named, table};

/// Passes over a batch that several metrics can have done together.
///
/// A crate of metrics defines one type of work. Its metrics say what they will need of it in [`Metric::announce`], before the batch
/// is known, and find it with the batch in [`Metric::measure_shared`], where the first that asks has it done.
pub trait Work: Any {
    /// The passes that will be made, and for whom.
    fn plan(&self) -> Vec<PlannedPass>;
}

/// What the members of a collection are going to need.
#[derive(Default)]
pub struct Agenda {
    works: Vec<Box<dyn Work>>,
    member: String,
}

impl Agenda {
    /// The work of this type, to add to it.
    pub fn work<W: Work + Default>(&mut self) -> &mut W {
        let is = |work: &dyn Work| (work as &dyn Any).is::<W>();
        let at = self.works.iter().position(|work| is(&**work)).unwrap_or_else(|| {
            self.works.push(Box::new(W::default()));
            self.works.len() - 1
        });
        let work: &mut dyn Any = &mut *self.works[at];
        work.downcast_mut().expect("it is of the type it was found by")
    }

    /// The name of the member that announces its needs.
    pub fn member(&self) -> &str {
        &self.member
    }

    /// What these metrics announce, under these names.
    pub(crate) fn of<'a>(metrics: impl IntoIterator<Item = (&'a str, &'a dyn Metric)>) -> Self {
        let mut agenda = Self::default();
        for (name, metric) in metrics {
            agenda.member = name.into();
            metric.announce(&mut agenda);
        }
        agenda
    }
}

/// A batch, with the work that the metrics of a collection share on it.
pub struct Batch<'a> {
    pred: &'a Tensor,
    target: &'a Tensor,
    works: Vec<Box<dyn Work>>,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(pred: &'a Tensor, target: &'a Tensor, agenda: Agenda) -> Self {
        Self { pred, target, works: agenda.works }
    }

    /// For one metric, which may be made of several that share.
    pub fn of(metric: &dyn Metric, pred: &'a Tensor, target: &'a Tensor) -> Self {
        Self::new(pred, target, Agenda::of([(metric.name(), metric)]))
    }

    /// The predictions.
    pub fn pred(&self) -> &'a Tensor {
        self.pred
    }

    /// The targets.
    pub fn target(&self) -> &'a Tensor {
        self.target
    }

    /// The work of this type, if any was announced.
    pub fn work<W: Work>(&self) -> Option<&W> {
        self.works.iter().find_map(|work| (&**work as &dyn Any).downcast_ref())
    }
}

/// One pass over the data, and the metrics that it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedPass {
    /// What is computed.
    pub pass: String,
    /// The names of the members that it is computed for, in their order.
    pub members: Vec<String>,
}

/// Which passes over the data serve which members of a collection: see [`MetricCollection::plan`](crate::MetricCollection::plan).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    passes: Vec<PlannedPass>,
}

impl Plan {
    pub(crate) fn of(metrics: &Named<Box<dyn Metric>>) -> Self {
        let agenda = Agenda::of(metrics.iter().map(|(name, metric)| (name, &**metric)));
        let mut passes: Vec<_> = agenda.works.iter().flat_map(|work| work.plan()).collect();
        for (name, metric) in metrics.iter() {
            if !passes.iter().any(|pass| pass.members.iter().any(|member| member == name)) {
                let pass = format!("{} by itself", metric.name());
                passes.push(PlannedPass { pass, members: vec![name.into()] });
            }
        }
        Self { passes }
    }

    /// The passes.
    pub fn passes(&self) -> &[PlannedPass] {
        &self.passes
    }
}

/// A table.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![["pass".into(), "serves".into()]];
        rows.extend(self.passes.iter().map(|pass| [pass.pass.clone(), pass.members.join(", ")]));
        table::write(f, &rows, 2)
    }
}
