//! What a metric measures, as text that can be compared.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// How many characters of a configuration an error shows: room for two metrics with all of their settings.
const MAX_SHOWN: usize = 1000;

/// The kind of a metric and its whole configuration, but nothing of its data.
///
/// Two metrics may be merged, or share a checkpoint, exactly if their fingerprints are equal. The configuration is
/// canonical text chosen by the metric: equal settings must give equal text.
///
/// ```
/// use metrics_core::Fingerprint;
///
/// let fingerprint = Fingerprint::new("ssim", "range=1 sigma=1.5");
/// assert_eq!(fingerprint.to_string(), "ssim[range=1 sigma=1.5]");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fingerprint {
    kind: String,
    config: String,
}

impl Fingerprint {
    /// Of a kind of metric, e.g. `ssim`, and its configuration as canonical text.
    pub fn new(kind: impl Into<String>, config: impl Into<String>) -> Self {
        Self { kind: kind.into(), config: config.into() }
    }

    /// The kind of metric.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The configuration, as canonical text.
    pub fn config(&self) -> &str {
        &self.config
    }

    /// `kind[config]`.
    pub(crate) fn text(&self) -> String {
        self.to_string()
    }
}

/// `kind[config]`.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.kind, self.config)
    }
}

/// What sets two texts `kind[config]` apart, for an error to show: of a long configuration, the settings that differ.
pub(crate) fn apart(a: &str, b: &str) -> [String; 2] {
    let same =
        a.char_indices().zip(b.chars()).find(|((_, a), b)| a != b).map_or(a.len().min(b.len()), |((at, _), _)| at);
    let ends = a[same..].chars().rev().zip(b[same..].chars().rev()).take_while(|(a, b)| a == b);
    let same_end: usize = ends.map(|(char, _)| char.len_utf8()).sum();
    let start = start_of_setting(&a[..same]);
    [a, b].map(|text| {
        let opened = text.find('[').map_or(0, |at| at + 1);
        let end = text.len() - same_end;
        let end = end + text[end..].find([',', ';', ' ', ']']).unwrap_or(same_end);
        let (head, start) =
            if start <= opened { (String::new(), 0) } else { (format!("{}… ", &text[..opened]), start) };
        let tail = if text.len() - end <= 1 { &text[end..] } else { " …]" };
        format!("{head}{}{tail}", shortened(&text[start..end]))
    })
}

/// Of what is long, the start.
fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MAX_SHOWN) {
        None => text.into(),
        Some((end, _)) => format!("{}…", &text[..end]).into(),
    }
}

/// Where the last setting in `text` starts, whose value is not whole yet: `sigma: 1.` or `sigma=1.`.
fn start_of_setting(text: &str) -> usize {
    let mut before = ' ';
    let mut start = 0;
    for (at, char) in text.char_indices() {
        if char == '[' || char == ' ' && before != ':' {
            start = at + 1;
        }
        before = char;
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_differ() {
        let long = |text: &str| format!("a[{}]", text.repeat(5000));
        for (a, b, expected) in [
            ("mae[sum]", "mae[mean]", ["mae[sum]", "mae[mean]"]),
            ("mae[sum]", "psnr[range=1 floor=0]", ["mae[sum]", "psnr[range=1 floor=0]"]),
            ("mae[]", "mae[sum]", ["mae[]", "mae[sum]"]),
            ("a[x=1 y=2 z=3]", "a[x=1 y=25 z=3]", ["a[… y=2 …]", "a[… y=25 …]"]),
            ("a[x=1 y=2 z=3]", "a[x=1 y=2 z=é]", ["a[… z=3]", "a[… z=é]"]),
            (
                "ssim[C { input: I { crop: 0 }, window: G { sigma: All(1.5), size: None }, k1: 0.01 }]",
                "ssim[C { input: I { crop: 0 }, window: G { sigma: All(2.0), size: Some(7) }, k1: 0.01 }]",
                ["ssim[… sigma: All(1.5), size: None …]", "ssim[… sigma: All(2.0), size: Some(7) …]"],
            ),
            (
                "collection[a=ssim[C { k1: 0.01, k2: 0.03 }] b=mae[]]",
                "collection[a=ssim[C { k1: 0.01, k2: 0.3 }] b=mae[]]",
                ["collection[… k2: 0.03 …]", "collection[… k2: 0.3 …]"],
            ),
            ("without", "brackets", ["without", "brackets"]),
            (&long("é"), "a[]", [&format!("a[{}…]", "é".repeat(998)), "a[]"]),
        ] {
            assert_eq!(apart(a, b), expected);
            let [first, second] = expected;
            assert_eq!(apart(b, a), [second, first]);
        }
    }
}
