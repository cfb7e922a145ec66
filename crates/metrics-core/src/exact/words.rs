//! Exact sums as lists of integers, to be saved: the limbs, and at the end which infinities and NaN went in.

use super::fixed::FixedPoint;
use super::{ExactArray, ExactSum, Moments, Special, WeightedSum};
use crate::entries::{CheckpointError, Reader, Writer};

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

impl ExactArray {
    pub(crate) fn save(&self, writer: &mut Writer<'_>) {
        writer.integers("sums", self.limb_words().collect());
        writer.integers("special", self.special_words().collect());
    }

    /// The length is not saved. Nothing is allocated but in proportion to what was saved.
    pub(crate) fn load(reader: &mut Reader<'_>, len: usize) -> Result<Self, CheckpointError> {
        let sums = Self::from_limb_words(len, reader.integers("sums")?);
        let mut array = sums.map_err(|problem| reader.refuse("sums", problem))?;
        let special = array.set_special_words(reader.integers("special")?);
        special.map_err(|problem| reader.refuse("special", problem))?;
        Ok(array)
    }
}

impl Special {
    pub(super) fn flags(self) -> u64 {
        let Self { nan, positive_infinity, negative_infinity } = self;
        u64::from(nan) | (u64::from(positive_infinity) << 1) | (u64::from(negative_infinity) << 2)
    }

    pub(super) fn from_flags(flags: u64) -> Option<Self> {
        let is_set = |bit: u32| (flags >> bit) & 1 == 1;
        let special = Self { nan: is_set(0), positive_infinity: is_set(1), negative_infinity: is_set(2) };
        (special.flags() == flags).then_some(special)
    }
}

fn save<const LIMBS: usize>(writer: &mut Writer<'_>, name: &str, finite: &FixedPoint<LIMBS>, special: Special) {
    writer.integers(name, finite.limbs().iter().copied().chain([special.flags()]).collect());
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
    let Some(special) = Special::from_flags(flags) else {
        return Err(reader.refuse(name, format!("its last number is {flags}, but is at most 7")));
    };
    Ok((FixedPoint::from_limbs(limbs), special))
}
