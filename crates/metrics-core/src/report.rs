//! The values of a collection: a table for people, a map for programs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Named, Value, number, table};

/// The value of each member of a collection, in the order of the members.
///
/// It displays as a table, to six decimals or as many as the format's precision says, and with serde is a map from name
/// to [`Value`] that keeps the order.
///
/// ```
/// use metrics_core::Report;
///
/// let json = r#"{
///     "psnr": 31.25,
///     "ssim": {"count": 3, "mean": 0.75, "std": 0.25, "min": 0.5, "max": 1, "median": 0.75, "p5": 0.525, "p95": 0.975}
/// }"#;
/// let report: Report = serde_json::from_str(json)?;
/// assert_eq!(report.scalar("psnr"), Some(31.25));
/// assert_eq!(format!("\n{report:.3}"), "
/// metric   value  count    std    min     p5  median    p95    max
/// psnr    31.250
/// ssim     0.750      3  0.250  0.500  0.525   0.750  0.975  1.000
/// ");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Report {
    values: Named<Value>,
}

impl Report {
    /// The value of this name; of a value within a group, `group/name`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name).or_else(|| {
            self.iter().find_map(|(group, value)| match value {
                Value::Group(report) => report.get(name.strip_prefix(group)?.strip_prefix('/')?),
                _ => None,
            })
        })
    }

    /// The value of this name as one number: see [`Value::scalar`].
    pub fn scalar(&self, name: &str) -> Option<f64> {
        self.get(name).and_then(Value::scalar)
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.values.iter()
    }

    /// Names and values with those of groups in place of the groups, under `group/name`.
    fn flatten<'a>(&'a self, prefix: &str, entries: &mut Vec<(String, &'a Value)>) {
        for (name, value) in self.iter() {
            match value {
                Value::Group(report) => report.flatten(&format!("{prefix}{name}/"), entries),
                value => entries.push((format!("{prefix}{name}"), value)),
            }
        }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

impl From<Named<Value>> for Report {
    fn from(values: Named<Value>) -> Self {
        Self { values }
    }
}

impl IntoIterator for Report {
    type Item = (String, Value);
    type IntoIter = <Named<Value> as IntoIterator>::IntoIter;

    fn into_iter(self) -> Self::IntoIter {
        self.values.into_iter()
    }
}

const HEADINGS: [&str; 9] = ["metric", "value", "count", "std", "min", "p5", "median", "p95", "max"];

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut entries = Vec::new();
        self.flatten("", &mut entries);
        let mut rows = vec![HEADINGS.map(String::from)];
        rows.extend(entries.iter().map(|(name, value)| row(name, value, f.precision())));

        // The columns of a summary are there if there is a summary.
        let has_summary = entries.iter().any(|(_, value)| matches!(value, Value::Summary(_)));
        let columns = if has_summary { HEADINGS.len() } else { 2 };
        table::write(f, &rows, columns)
    }
}

fn row(name: &str, value: &Value, precision: Option<usize>) -> [String; HEADINGS.len()] {
    let show = |x| number::show(x, precision);
    let (value, [count, std, min, p5, median, p95, max]) = match value {
        Value::Scalar(value) => (show(*value), Default::default()),
        Value::PerImage(values) | Value::Array { values, .. } => {
            (format!("({} values)", values.len()), Default::default())
        }
        Value::Group(report) => (format!("({} values)", report.len()), Default::default()),
        Value::Summary(s) => {
            let [std, min, max] = [s.std, s.min, s.max].map(show);
            let [p5, median, p95] = [s.p5, s.median, s.p95].map(|quantile| s.show_quantile(quantile, precision));
            (show(s.mean), [s.count.to_string(), std, min, p5, median, p95, max])
        }
    };
    [name.into(), value, count, std, min, p5, median, p95, max]
}
