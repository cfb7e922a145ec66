//! Exact sums as lists of integers, to be saved: the limbs, and at the end which infinities and NaN went in.

use super::fixed::FixedPoint;
use super::{ExactSum, Moments, Special, WeightedSum};
use crate::checkpoint::{CheckpointError, Reader, Writer};

impl ExactSum {
    pub(crate) fn save(&self, writer: &mut Writer<'_>, name: &str) {
        save(writer, name, &self.finite, self.special);
    }

    pub(crate) fn load(reader: &mut Reader<'_>, name: &str) -> Result<Self, CheckpointError> {
        let (finite, special) = load(reader, name)?;
        Ok(Self { finite, special })
    }
}

impl WeightedSum {
    pub(crate) fn save(&self, writer: &mut Writer<'_>) {
        save(writer, "products", &self.products, self.special);
        save(writer, "weight", &self.weight.finite, self.weight.special);
    }

    pub(crate) fn load(reader: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        let (products, special) = load(reader, "products")?;
        let (finite, weight_special) = load(reader, "weight")?;
        Ok(Self { products, special, weight: ExactSum { finite, special: weight_special } })
    }
}

impl Moments {
    pub(crate) fn save(&self, writer: &mut Writer<'_>) {
        self.sum.save(writer);
        save(writer, "squares", &self.squares, Special::default());
        writer.floats("extremes", vec![self.min, self.max]);
    }

    /// The count is saved elsewhere.
    pub(crate) fn load(reader: &mut Reader<'_>, count: u64) -> Result<Self, CheckpointError> {
        let sum = WeightedSum::load(reader)?;
        let (squares, _) = load(reader, "squares")?;
        let [min, max] = reader.float_array("extremes")?;
        Ok(Self { count, sum, squares, min, max })
    }
}

fn save<const LIMBS: usize>(writer: &mut Writer<'_>, name: &str, finite: &FixedPoint<LIMBS>, special: Special) {
    let Special { nan, positive_infinity, negative_infinity } = special;
    let flags = u64::from(nan) | (u64::from(positive_infinity) << 1) | (u64::from(negative_infinity) << 2);
    writer.integers(name, finite.limbs().iter().copied().chain([flags]).collect());
}

fn load<const LIMBS: usize>(
    reader: &mut Reader<'_>,
    name: &str,
) -> Result<(FixedPoint<LIMBS>, Special), CheckpointError> {
    let words = reader.integers(name)?;
    let limbs_and_flags =
        words.split_last_chunk::<1>().and_then(|(limbs, [flags])| Some((limbs.try_into().ok()?, *flags)));
    let Some((limbs, flags)) = limbs_and_flags else {
        return Err(reader.refuse(name, format!("it has {} numbers, but must have {}", words.len(), LIMBS + 1)));
    };
    if flags > 7 {
        return Err(reader.refuse(name, format!("its last number is {flags}, but is at most 7")));
    }
    let is_set = |bit: u32| (flags >> bit) & 1 == 1;
    let special = Special { nan: is_set(0), positive_infinity: is_set(1), negative_infinity: is_set(2) };
    Ok((FixedPoint::from_limbs(limbs), special))
}
