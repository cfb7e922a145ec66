//! Passes over the data that several metrics of a collection share: TorchMetrics calls such metrics a compute group.

use std::any::Any;
use std::fmt;

use crate::table;

/// Passes of one kind over a batch, each of which serves several metrics.
///
/// A crate of metrics defines one such type. Its metrics add to it what they need in
/// [`Definition::share`](crate::Definition::share), before the batch is known, and find it with the batch by
/// [`Samples::shared`](crate::Samples::shared), where the first that asks has the pass made.
pub trait Passes: Any {
    /// The passes that will be made, and the metrics that each serves.
    fn plan(&self) -> Vec<PlannedPass>;
}

/// The passes that the members of a collection ask for, before the batch is known.
#[derive(Default)]
pub struct SharedPasses {
    kinds: Vec<Box<dyn Passes>>,
    member: String,
}

impl SharedPasses {
    /// The passes of this type, to add to them.
    pub fn of<P: Passes + Default>(&mut self) -> &mut P {
        let is = |passes: &dyn Passes| (passes as &dyn Any).is::<P>();
        let at = self.kinds.iter().position(|passes| is(&**passes)).unwrap_or_else(|| {
            self.kinds.push(Box::new(P::default()));
            self.kinds.len() - 1
        });
        let passes: &mut dyn Any = &mut *self.kinds[at];
        passes.downcast_mut().expect("it is of the type it was found by")
    }

    /// The name of the member that asks.
    pub fn member(&self) -> &str {
        &self.member
    }

    /// Lets the next member ask.
    pub(crate) fn set_member(&mut self, name: &str) {
        self.member = name.into();
    }

    pub(crate) fn get<P: 'static>(&self) -> Option<&P> {
        self.kinds.iter().find_map(|passes| (&**passes as &dyn Any).downcast_ref())
    }
}

impl fmt::Debug for SharedPasses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.kinds.iter().flat_map(|passes| passes.plan())).finish()
    }
}

/// One pass over the data, and the metrics that it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedPass {
    /// What is computed.
    pub pass: String,
    /// The names of the members that it is computed for, in their order.
    pub members: Vec<String>,
}

impl PlannedPass {
    /// Creates a pass that computes this for these members.
    pub fn new(pass: impl Into<String>, members: Vec<String>) -> Self {
        Self { pass: pass.into(), members }
    }
}

/// Which passes over the data serve which members of a collection: see [`MetricCollection::plan`](crate::MetricCollection::plan).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    passes: Vec<PlannedPass>,
}

impl Plan {
    /// Of what members, given with the names of their metrics, have asked for; those that have not are each by themselves.
    pub(crate) fn new<'a>(shared: &SharedPasses, members: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut passes: Vec<_> = shared.kinds.iter().flat_map(|passes| passes.plan()).collect();
        for (member, metric) in members {
            if !passes.iter().any(|pass| pass.members.iter().any(|served| served == member)) {
                passes.push(PlannedPass::new(format!("{metric} by itself"), vec![member.into()]));
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
