//! What a metric measures: its kind and its settings, to be compared.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Error, Result};

/// How many characters of settings an error shows: room for two metrics with all of them.
const MAX_SHOWN: usize = 1000;

/// The kind of a metric and all of its settings, but nothing of its data.
///
/// Two metrics may be merged, or share a checkpoint, exactly if their fingerprints are equal.
///
/// ```
/// use metrics_core::Fingerprint;
///
/// let fingerprint = Fingerprint::of("ssim", &serde_json::json!({"sigma": 1.5, "range": 1.0}))?;
/// assert_eq!(fingerprint.to_string(), "ssim[range=1.0 sigma=1.5]");
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "BTreeMap<String, Map<String, Value>>", try_from = "BTreeMap<String, Map<String, Value>>")]
pub struct Fingerprint {
    kind: String,
    settings: Map<String, Value>,
}

impl Fingerprint {
    /// Creates the fingerprint of a kind of metric, e.g. `ssim`, with its settings as serde writes them to JSON. A `HashSet` has no order
    /// of its own there, and infinities and NaN are `null`, as `None` is: write such settings as text.
    ///
    /// # Errors
    /// When the settings cannot be serialized.
    pub fn of(kind: impl Into<String>, settings: &impl Serialize) -> Result<Self> {
        let kind = kind.into();
        let settings = match serde_json::to_value(settings) {
            Ok(Value::Object(settings)) => settings,
            Ok(Value::Null) => Map::new(),
            Ok(other) => Map::from_iter([("value".into(), other)]),
            Err(error) => return Err(Error::argument(kind, format!("its settings cannot be serialized: {error}"))),
        };
        Ok(Self { kind, settings })
    }

    /// Of a collection's members by name.
    pub(crate) fn of_members<'a>(members: impl Iterator<Item = (&'a str, &'a Self)>) -> Self {
        Self {
            kind: "collection".into(),
            settings: members.map(|(name, metric)| (name.into(), metric.json())).collect(),
        }
    }

    /// Of a kind of metric, and one setting.
    pub(crate) fn of_setting(kind: &str, name: &str, setting: impl Into<Value>) -> Self {
        Self { kind: kind.into(), settings: Map::from_iter([(name.into(), setting.into())]) }
    }

    /// `{kind: settings}`.
    pub(crate) fn json(&self) -> Value {
        Value::Object(Map::from_iter([(self.kind.clone(), Value::Object(self.settings.clone()))]))
    }

    /// The kind of metric.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Settings by path, as JSON.
    fn leaves(&self) -> BTreeMap<String, String> {
        let mut leaves = BTreeMap::new();
        collect_leaves("", &self.settings, &mut leaves);
        leaves
    }
}

/// `kind[setting=value ...]`, in the order of the settings' names.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.kind, &self.leaves(), false))
    }
}

/// What sets two fingerprints apart, for an error to show: of one kind of metric, the settings that differ, as far as there is room.
pub(crate) fn differing(ours: &Fingerprint, theirs: &Fingerprint) -> [String; 2] {
    let (a, b) = (ours.leaves(), theirs.leaves());
    if ours.kind != theirs.kind {
        return [shortened(&shown(&ours.kind, &a, false)), shortened(&shown(&theirs.kind, &b, false))];
    }
    let only = |own: &BTreeMap<String, String>, other: &BTreeMap<String, String>| {
        let differs = |(path, leaf): &(&String, &String)| other.get(*path) != Some(*leaf);
        let differ: BTreeMap<_, _> =
            own.iter().filter(differs).map(|(path, leaf)| (path.clone(), leaf.clone())).collect();
        shortened(&shown(&ours.kind, &differ, differ.len() < own.len()))
    };
    [only(&a, &b), only(&b, &a)]
}

fn shown(kind: &str, settings: &BTreeMap<String, String>, some_are_missing: bool) -> String {
    let mut settings: Vec<_> = settings.iter().map(|(path, leaf)| format!("{path}={leaf}")).collect();
    if some_are_missing {
        settings.push("…".into());
    }
    format!("{kind}[{}]", settings.join(" "))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        None => text.into(),
        Some((end, _)) => format!("{}…]", &text[..end]),
    }
}

fn collect_leaves(path: &str, settings: &Map<String, Value>, leaves: &mut BTreeMap<String, String>) {
    for (name, value) in settings {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match value {
            Value::Object(settings) if !settings.is_empty() => collect_leaves(&path, settings, leaves),
            leaf => {
                leaves.insert(path, leaf.to_string());
            }
        }
    }
}

/// `{kind: settings}`.
impl From<Fingerprint> for BTreeMap<String, Map<String, Value>> {
    fn from(Fingerprint { kind, settings }: Fingerprint) -> Self {
        Self::from([(kind, settings)])
    }
}

impl TryFrom<BTreeMap<String, Map<String, Value>>> for Fingerprint {
    type Error = String;

    fn try_from(map: BTreeMap<String, Map<String, Value>>) -> Result<Self, String> {
        let kinds = map.len();
        let one = map.into_iter().next().filter(|_| kinds == 1);
        let (kind, settings) = one.ok_or_else(|| format!("a fingerprint has one kind, but there are {kinds}"))?;
        Ok(Self { kind, settings })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_that_differ() {
        let of = |kind: &str, settings: Value| Fingerprint::of(kind, &settings).expect("it is JSON");
        for (a, b, expected) in [
            (
                of("mae", json!({"by": "sum"})),
                of("mae", json!({"by": "mean"})),
                ["mae[by=\"sum\"]", "mae[by=\"mean\"]"],
            ),
            (of("mae", Value::Null), of("psnr", json!({"range": 1.0})), ["mae[]", "psnr[range=1.0]"]),
            (of("a", json!({"x": 1, "y": 2})), of("a", json!({"x": 1, "z": 2})), ["a[y=2 …]", "a[z=2 …]"]),
            (of("a", json!({})), of("a", json!(1)), ["a[]", "a[value=1]"]),
            (
                of("ssim", json!({"input": {"crop": 0}, "window": {"sigma": 1.5, "size": null}})),
                of("ssim", json!({"input": {"crop": 0}, "window": {"sigma": 2.0, "size": 7}})),
                ["ssim[window.sigma=1.5 window.size=null …]", "ssim[window.sigma=2.0 window.size=7 …]"],
            ),
        ] {
            assert_eq!(differing(&a, &b), expected);
            let [first, second] = expected;
            assert_eq!(differing(&b, &a), [second, first]);
        }
        let long = of("a", json!({"text": "é".repeat(5000)}));
        let other = of("b", Value::Null);
        assert_eq!(differing(&long, &other), [format!("a[text=\"{}…]", "é".repeat(992)), "b[]".into()]);
        assert_eq!(long.to_string().chars().count(), 5010);
    }

    #[test]
    fn what_is_written_is_read_back() -> Result<(), serde_json::Error> {
        let fingerprint = Fingerprint::of("ssim", &json!({"window": {"sigma": 0.1}})).expect("it is JSON");
        let text = serde_json::to_string(&fingerprint)?;
        assert_eq!(text, r#"{"ssim":{"window":{"sigma":0.1}}}"#);
        assert_eq!(serde_json::from_str::<Fingerprint>(&text)?, fingerprint);
        let error = serde_json::from_str::<Fingerprint>("{}").expect_err("it has no kind").to_string();
        assert!(error.starts_with("a fingerprint has one kind, but there are 0"), "{error}");
        Ok(())
    }
}
