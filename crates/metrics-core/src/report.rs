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
/// let json = r#"{"psnr": 31.25, "ssim": {"count": 2, "mean": 0.75, "std": 0.25, "min": 0.5, "max": 1}}"#;
/// let report: Report = serde_json::from_str(json)?;
/// assert_eq!(report.scalar("psnr"), Some(31.25));
/// assert_eq!(format!("\n{report:.3}"), "
/// metric   value  count    std    min    max
/// psnr    31.250
/// ssim     0.750      2  0.250  0.500  1.000
/// ");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Report {
    values: Named<Value>,
}

impl Report {
    /// The value of this name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// The value of this name as one number: see [`Value::scalar`].
    pub fn scalar(&self, name: &str) -> Option<f64> {
        self.get(name).and_then(Value::scalar)
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.values.iter()
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
    type IntoIter = std::vec::IntoIter<(String, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.values.into_iter()
    }
}

const HEADINGS: [&str; 6] = ["metric", "value", "count", "std", "min", "max"];

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![HEADINGS.map(String::from)];
        rows.extend(self.iter().map(|(name, value)| row(name, value, f.precision())));

        // The columns of a summary are there if there is a summary.
        let columns = if self.iter().any(|(_, value)| matches!(value, Value::Summary(_))) { 6 } else { 2 };
        table::write(f, &rows, columns)
    }
}

fn row(name: &str, value: &Value, precision: Option<usize>) -> [String; 6] {
    let show = |x| number::show(x, precision);
    let (value, [count, std, min, max]) = match value {
        Value::Scalar(value) => (show(*value), Default::default()),
        Value::PerImage(values) => (format!("({} values)", values.len()), Default::default()),
        Value::Summary(s) => (show(s.mean), [s.count.to_string(), show(s.std), show(s.min), show(s.max)]),
    };
    [name.into(), value, count, std, min, max]
}
