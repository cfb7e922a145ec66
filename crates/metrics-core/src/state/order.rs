//! Values of images, put into another order.

use super::State;
use super::accumulator::Accumulator;

impl State {
    /// Whether there is one value for each of `keys` images wherever there is one for each image; else what there is.
    pub(crate) fn check_keys(&self, keys: usize) -> Result<(), String> {
        if self.parts_collect() {
            return Err("keeps the values of images in parts, which keys cannot put in order".into());
        }
        let other = self.collected().map(Vec::len).find(|&values| values != keys);
        other.map_or(Ok(()), |values| Err(format!("keeps the values of {values} images, but there are {keys} keys")))
    }

    /// Makes the value at `order[i]` the one at `i`, in every field that keeps all values.
    pub(crate) fn reorder(&mut self, order: &[usize]) {
        for field in &mut self.fields {
            if let Accumulator::Collect(values) = &mut field.accumulator {
                *values = order.iter().map(|&index| values[index]).collect();
            }
        }
    }

    /// Whether a part keeps values of images, even if only those of the last updates.
    fn parts_collect(&self) -> bool {
        let collects = |part: &Self| part.collected().next().is_some() || part.parts_collect();
        self.inner().into_iter().chain(&self.parts).any(collects)
    }

    fn collected(&self) -> impl Iterator<Item = &Vec<f64>> {
        self.fields.iter().filter_map(|field| match &field.accumulator {
            Accumulator::Collect(values) => Some(values),
            _ => None,
        })
    }
}
