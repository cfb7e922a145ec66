//! States as entries of a checkpoint, and back.

use super::{ArraySum, Data, Field, MAX_COUNT, Mode, Reduce, State};
use crate::entries::{CheckpointError, Reader, Writer};
use crate::exact::{ExactArray, ExactSum, Moments, WeightedSum};
use crate::sketch::Side;
use crate::{Distribution, QuantileSketch, Result};

impl State {
    pub(crate) fn save(&self, writer: &mut Writer<'_>) -> Result<()> {
        let state = self.drained()?;
        writer.integers("counters", vec![state.updates, state.samples, state.skipped]);
        for field in &state.fields {
            field.data.save(&mut writer.scope(&field.name));
        }
        match state.mode {
            Mode::Each | Mode::Extremes { .. } => {}
            Mode::Recent { .. } => writer.integers("recent", vec![state.parts.len() as u64]),
            Mode::Resampled { next, .. } => writer.integers("next sample", vec![next]),
        }
        state.parts.iter().enumerate().try_for_each(|(index, part)| part.save(&mut writer.part(index)))
    }

    /// What was saved of a state with these fields.
    pub(crate) fn load(&self, reader: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        let [updates, samples, skipped] = reader.integer_array("counters")?;
        if let Some(count) = [updates, samples, skipped].into_iter().find(|&count| count > MAX_COUNT) {
            return Err(reader.refuse("counters", format!("nothing is counted up to {count}")));
        }
        let mut fields = Vec::with_capacity(self.fields.len());
        for Field { name, reduce, .. } in &self.fields {
            let data = Data::load(reduce, &mut reader.scope(name), samples)?;
            fields.push(Field { name: name.clone(), reduce: reduce.clone(), data });
        }
        let (parts, mode) = self.load_parts(reader)?;
        let Self { non_finite, group, reduction, .. } = *self;
        let queue = self.queue.emptied();
        Ok(Self { updates, samples, skipped, non_finite, fields, parts, mode, group, queue, reduction })
    }

    fn load_parts(&self, reader: &mut Reader<'_>) -> Result<(Vec<Self>, Mode), CheckpointError> {
        let mut mode = self.mode.clone();
        // Nothing is allocated by a number in the file: how many updates there are shows when their entries are read.
        let mut parts = Vec::new();
        match &mut mode {
            Mode::Each | Mode::Extremes { .. } => self.load_each(reader, &mut parts)?,
            Mode::Recent { one, window } => {
                one.reset();
                let [count] = reader.integer_array("recent")?;
                let count = usize::try_from(count)
                    .ok()
                    .filter(|count| count <= window)
                    .ok_or_else(|| reader.refuse("recent", format!("{count} updates are kept of {window} at most")))?;
                for index in 0..count {
                    parts.push(one.load(&mut reader.part(index))?);
                }
                if let Some(last) = parts.last() {
                    one.number_after(last);
                }
            }
            Mode::Resampled { next, .. } => {
                [*next] = reader.integer_array("next sample")?;
                self.load_each(reader, &mut parts)?;
            }
        }
        Ok((parts, mode))
    }

    fn load_each(&self, reader: &mut Reader<'_>, parts: &mut Vec<Self>) -> Result<(), CheckpointError> {
        for (index, part) in self.parts.iter().enumerate() {
            parts.push(part.load(&mut reader.part(index))?);
        }
        Ok(())
    }
}

impl Data {
    fn save(&self, writer: &mut Writer<'_>) {
        match self {
            Self::Sum(sum) => sum.save(writer),
            Self::Number(value) => writer.floats("value", vec![*value]),
            Self::Summary(distribution) => distribution.save(writer),
            Self::Arrays(arrays) => {
                arrays.sums.save(&mut writer.scope("sums"));
                arrays.weight.save(writer, "weight");
            }
            Self::Counts(counts) => writer.integers("counts", counts.clone()),
            Self::Rows(values) => writer.floats("values", values.clone()),
        }
    }

    fn load(reduce: &Reduce, reader: &mut Reader<'_>, samples: u64) -> Result<Self, CheckpointError> {
        Ok(match reduce {
            Reduce::Sum => Self::Sum(Box::new(WeightedSum::load(reader)?)),
            Reduce::Min | Reduce::Max => Self::Number(reader.float_array::<1>("value")?[0]),
            Reduce::Summary => Self::Summary(Box::new(Distribution::load(reader, samples)?)),
            Reduce::SumArrays(_) | Reduce::SumOuter(_) => {
                let sums = ExactArray::load(&mut reader.scope("sums"), reduce.length())?;
                Self::Arrays(Box::new(ArraySum { sums, weight: ExactSum::load(reader, "weight")? }))
            }
            Reduce::Count(length) => {
                let counts = reader.integers("counts")?;
                if counts.len() != *length {
                    let message = format!("it has {} counts, but must have {length}", counts.len());
                    return Err(reader.refuse("counts", message));
                }
                let total = counts.iter().try_fold(0u64, |total, count| total.checked_add(*count));
                if total.is_none_or(|total| total > if samples == 0 { 0 } else { MAX_COUNT }) {
                    return Err(reader.refuse("counts", format!("nothing of {samples} samples is counted so often")));
                }
                Self::Counts(counts.to_vec())
            }
            Reduce::Last => {
                let last = reader.floats("values")?;
                if last.len() as u64 != samples.min(1) {
                    return Err(
                        reader.refuse("values", format!("{} values cannot be the last of {samples}", last.len()))
                    );
                }
                Self::Rows(last.to_vec())
            }
            Reduce::Collect | Reduce::CollectArrays(_) => {
                let values = reader.floats("values")?;
                if samples.checked_mul(reduce.length() as u64) != Some(values.len() as u64) {
                    return Err(reader.refuse("values", format!("it has {} values of {samples} samples", values.len())));
                }
                Self::Rows(values.to_vec())
            }
        })
    }
}

impl Distribution {
    fn save(&self, writer: &mut Writer<'_>) {
        self.moments.save(writer);
        let QuantileSketch { shift, negative, positive, negative_infinities, positive_infinities, nans } = &self.sketch;
        writer.integers("sketch", vec![u64::from(*shift), *negative_infinities, *positive_infinities, *nans]);
        let flat = |side: &Side| side.buckets().flat_map(|(bucket, count)| [bucket, count]).collect();
        writer.integers("negative", flat(negative));
        writer.integers("positive", flat(positive));
    }

    fn load(reader: &mut Reader<'_>, samples: u64) -> Result<Self, CheckpointError> {
        let moments = Moments::load(reader, samples)?;
        let [shift, negative_infinities, positive_infinities, nans] = reader.integer_array("sketch")?;
        let sketch = QuantileSketch {
            shift: u32::try_from(shift).unwrap_or(u32::MAX),
            negative: side(reader, "negative")?,
            positive: side(reader, "positive")?,
            negative_infinities,
            positive_infinities,
            nans,
        };
        match sketch.problem(samples) {
            Some(problem) => Err(reader.refuse("sketch", problem)),
            None => Ok(Self { moments, sketch }),
        }
    }
}

fn side(reader: &mut Reader<'_>, name: &str) -> Result<Side, CheckpointError> {
    let numbers = reader.integers(name)?;
    let (pairs, rest) = numbers.as_chunks();
    if !rest.is_empty() {
        return Err(reader.refuse(name, "its buckets and counts are not pairs"));
    }
    Ok(Side::new(pairs.iter().map(|&[bucket, count]| (bucket, count)).collect()))
}
