//! States as entries of a checkpoint, and back.

use super::accumulator::Accumulator;
use super::parts::Mode;
use super::{Field, MAX_COUNT, State};
use crate::checkpoint::{CheckpointError, Reader, Writer};
use crate::exact::{Moments, WeightedSum};
use crate::sketch::Side;
use crate::{Distribution, QuantileSketch, Reduce, Result};

impl State {
    pub(crate) fn save(&self, writer: &mut Writer<'_>) -> Result<()> {
        let state = self.drained()?;
        writer.integers("counters", vec![state.updates, state.images, state.skipped]);
        for field in &state.fields {
            field.accumulator.save(&mut writer.scope(&field.name));
        }
        match state.mode {
            Mode::Each => {}
            Mode::Recent { .. } => writer.integers("recent", vec![state.parts.len() as u64]),
            Mode::Resampled { next, .. } => writer.integers("next image", vec![next]),
        }
        state.parts.iter().enumerate().try_for_each(|(index, part)| part.save(&mut writer.part(index)))
    }

    /// What was saved of a state with these fields.
    pub(crate) fn load(&self, reader: &mut Reader<'_>) -> Result<Self, CheckpointError> {
        let [updates, images, skipped] = reader.integer_array("counters")?;
        if let Some(count) = [updates, images, skipped].into_iter().find(|&count| count > MAX_COUNT) {
            return Err(reader.refuse("counters", format!("nothing is counted up to {count}")));
        }
        let mut fields = Vec::with_capacity(self.fields.len());
        for Field { name, accumulator } in &self.fields {
            let accumulator = Accumulator::load(accumulator.reduce(), &mut reader.scope(name), images)?;
            fields.push(Field { name: name.clone(), accumulator });
        }
        let (parts, mode) = self.load_parts(reader)?;
        let (non_finite, grouped, queue) = (self.non_finite, self.grouped, self.queue.emptied());
        Ok(Self { updates, images, skipped, non_finite, fields, parts, mode, grouped, queue })
    }

    fn load_parts(&self, reader: &mut Reader<'_>) -> Result<(Vec<Self>, Mode), CheckpointError> {
        let mut mode = self.mode.clone();
        // Nothing is allocated by a number in the file: how many updates there are shows when their entries are read.
        let mut parts = Vec::new();
        match &mut mode {
            Mode::Each => self.load_each(reader, &mut parts)?,
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
                [*next] = reader.integer_array("next image")?;
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

impl Accumulator {
    fn save(&self, writer: &mut Writer<'_>) {
        match self {
            Self::Sum(sum) => sum.save(writer),
            Self::Min(value) | Self::Max(value) => writer.floats("value", vec![*value]),
            Self::Collect(values) => writer.floats("values", values.clone()),
            Self::Summary(distribution) => distribution.save(writer),
        }
    }

    fn load(reduce: Reduce, reader: &mut Reader<'_>, images: u64) -> Result<Self, CheckpointError> {
        Ok(match reduce {
            Reduce::Sum => Self::Sum(Box::new(WeightedSum::load(reader)?)),
            Reduce::Min => Self::Min(reader.float_array::<1>("value")?[0]),
            Reduce::Max => Self::Max(reader.float_array::<1>("value")?[0]),
            Reduce::Collect => {
                let values = reader.floats("values")?;
                if values.len() as u64 != images {
                    return Err(reader.refuse("values", format!("it has {} values of {images} images", values.len())));
                }
                Self::Collect(values.to_vec())
            }
            Reduce::Summary => Self::Summary(Box::new(Distribution::load(reader, images)?)),
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

    fn load(reader: &mut Reader<'_>, images: u64) -> Result<Self, CheckpointError> {
        let moments = Moments::load(reader, images)?;
        let [shift, negative_infinities, positive_infinities, nans] = reader.integer_array("sketch")?;
        let sketch = QuantileSketch {
            shift: u32::try_from(shift).unwrap_or(u32::MAX),
            negative: side(reader, "negative")?,
            positive: side(reader, "positive")?,
            negative_infinities,
            positive_infinities,
            nans,
        };
        match sketch.problem(images) {
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
