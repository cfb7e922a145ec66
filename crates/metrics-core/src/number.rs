//! How numbers are written: for people, and for formats without infinities.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// With a fixed number of decimals (6 by default), or in scientific notation where that would hide or bloat the
/// number.
pub(crate) fn show(x: f64, precision: Option<usize>) -> String {
    let decimals = precision.unwrap_or(6);
    if x == 0.0 || !x.is_finite() || (1e-4..1e9).contains(&x.abs()) {
        format!("{x:.decimals$}")
    } else {
        format!("{x:.decimals$e}")
    }
}

/// A number that is text where it is not finite and the format is for people: JSON has no way to write it.
struct Number(f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() || !serializer.is_human_readable() {
            self.0.serialize(serializer)
        } else {
            serializer.collect_str(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a number, \"inf\", \"-inf\" or \"NaN\"")]
        enum Text {
            Number(f64),
            NotFinite(NotFinite),
        }
        #[derive(Deserialize)]
        enum NotFinite {
            #[serde(rename = "inf")]
            Infinity,
            #[serde(rename = "-inf")]
            NegativeInfinity,
            #[serde(rename = "NaN")]
            NotANumber,
        }
        if !deserializer.is_human_readable() {
            return f64::deserialize(deserializer).map(Self);
        }
        Ok(Self(match Text::deserialize(deserializer)? {
            Text::Number(x) => x,
            Text::NotFinite(NotFinite::Infinity) => f64::INFINITY,
            Text::NotFinite(NotFinite::NegativeInfinity) => f64::NEG_INFINITY,
            Text::NotFinite(NotFinite::NotANumber) => f64::NAN,
        }))
    }
}

/// For `#[serde(with = "..")]` on an `f64`.
pub(crate) mod serde_scalar {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(x: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        Number(*x).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Number::deserialize(deserializer).map(|number| number.0)
    }
}

/// For `#[serde(with = "..")]` on a `Vec<f64>`.
pub(crate) mod serde_list {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(list: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.iter().map(|&x| Number(x)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        Ok(Vec::<Number>::deserialize(deserializer)?.into_iter().map(|number| number.0).collect())
    }
}
