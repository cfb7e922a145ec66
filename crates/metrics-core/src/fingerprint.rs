//! What a metric measures, as text that can be compared.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fnv::Fnv;

/// The kind of a metric and its whole configuration, but nothing of its data.
///
/// Two metrics may be merged, or share a checkpoint, exactly if their fingerprints are equal. The configuration is
/// canonical text chosen by the metric: equal settings must give equal text.
///
/// ```
/// use metrics_core::Fingerprint;
///
/// let fingerprint = Fingerprint::new("ssim", "range=1 sigma=1.5");
/// assert_eq!(fingerprint.to_string(), "ssim[range=1 sigma=1.5]@821673952c201f8e");
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

    /// 64-bit FNV-1a of kind and configuration: the same in every run and on every platform.
    pub fn hash(&self) -> u64 {
        // A NUL between the two keeps ("ab", "c") apart from ("a", "bc").
        let mut hash = Fnv::default();
        hash.write(self.kind.bytes().chain([0]).chain(self.config.bytes()));
        hash.value()
    }
}

/// `kind[config]@hash`, the hash in hexadecimal.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]@{:016x}", self.kind, self.config, self.hash())
    }
}
