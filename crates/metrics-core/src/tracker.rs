//! Reports of many steps, and which was best.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::entries::CheckpointError;
use crate::{Error, Report, Result, checkpoint};

/// The reports of a collection at several steps, e.g. epochs, and which step was best.
///
/// ```
/// use metrics_core::{Named, Report, Tracker, Value};
///
/// let mut tracker = Tracker::new();
/// for (epoch, ssim) in [0.7, f64::NAN, 0.9, 0.8].into_iter().enumerate() {
///     let mut values = Named::new();
///     values.insert("ssim", Value::Scalar(ssim))?;
///     tracker.record(epoch as u64, Report::from(values))?;
/// }
/// assert_eq!(tracker.best("ssim", true), Some((2, 0.9)));
/// assert_eq!(tracker.best("ssim", false), Some((0, 0.7)));
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(u64, Report)>", into = "Vec<(u64, Report)>")]
pub struct Tracker {
    /// In the order of the steps.
    steps: Vec<(u64, Report)>,
}

impl Tracker {
    /// Without steps.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the report of a step, in any order.
    ///
    /// # Errors
    /// When the step is there already.
    pub fn record(&mut self, step: u64, report: Report) -> Result<()> {
        match self.index(step) {
            Ok(_) => Err(recorded_already(step)),
            Err(index) => {
                self.steps.insert(index, (step, report));
                Ok(())
            }
        }
    }

    /// The step at which the value of this name was highest or lowest, and that value: the first of equal ones. NaN is never
    /// best; nothing is, where no step has a number of this name. Whether higher is better,
    /// [`MetricInfo`](crate::MetricInfo) knows.
    pub fn best(&self, name: &str, higher_is_better: bool) -> Option<(u64, f64)> {
        let values = self.iter().filter_map(|(step, report)| Some((step, report.scalar(name)?)));
        values.filter(|(_, value)| !value.is_nan()).reduce(|best, next| {
            let better = if higher_is_better { next.1 > best.1 } else { next.1 < best.1 };
            if better { next } else { best }
        })
    }

    /// The report of a step.
    pub fn get(&self, step: u64) -> Option<&Report> {
        self.index(step).ok().map(|index| &self.steps[index].1)
    }

    /// Steps and reports, in the order of the steps.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u64, &Report)> {
        self.steps.iter().map(|(step, report)| (*step, report))
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there is no step.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Adds the steps of another.
    ///
    /// # Errors
    /// When a step is in both; nothing has changed then.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        *self = Self::of_steps(self.steps.iter().chain(&other.steps).cloned().collect())?;
        Ok(())
    }

    /// Writes a file in JSON, or replaces it as a whole: see [`Checkpoint::save`](crate::Checkpoint::save).
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the disk fails; the error names the file.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let json = serde_json::to_vec(self).map_err(|error| CheckpointError::Json { message: error.to_string() });
        let replaced = json.and_then(|json| checkpoint::replace(path.as_ref(), &json));
        replaced.map_err(|error| error.in_file(path.as_ref()))
    }

    /// Reads a file that [`save`](Self::save) wrote. Every number comes back to the last bit.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the file cannot be read or is no such file; the error names it.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let read = || {
            let json = checkpoint::read(path.as_ref())?;
            serde_json::from_slice(&json).map_err(|error| CheckpointError::Json { message: error.to_string() })
        };
        read().map_err(|error| error.in_file(path.as_ref()))
    }

    /// Of steps in any order, sorted once, so that a file of many steps takes no longer than it has to.
    fn of_steps(mut steps: Vec<(u64, Report)>) -> Result<Self> {
        steps.sort_by_key(|(step, _)| *step);
        match steps.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(recorded_already(pair[0].0)),
            None => Ok(Self { steps }),
        }
    }

    fn index(&self, step: u64) -> Result<usize, usize> {
        self.steps.binary_search_by_key(&step, |(step, _)| *step)
    }
}

impl TryFrom<Vec<(u64, Report)>> for Tracker {
    type Error = Error;

    fn try_from(steps: Vec<(u64, Report)>) -> Result<Self> {
        Self::of_steps(steps)
    }
}

fn recorded_already(step: u64) -> Error {
    Error::argument("Tracker", format!("`step` is {step}, but that is recorded already"))
}

impl From<Tracker> for Vec<(u64, Report)> {
    fn from(tracker: Tracker) -> Self {
        tracker.steps
    }
}
