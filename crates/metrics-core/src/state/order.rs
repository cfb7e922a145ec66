//! Values of samples, put into another order.

use super::{Data, State};

impl State {
    /// Whether there is one row for each of `keys` samples wherever samples are collected; else what there is.
    pub(crate) fn check_keys(&self, keys: usize) -> Result<(), String> {
        if self.parts_collect() {
            return Err("keeps the values of samples in parts, which keys cannot put in order".into());
        }
        let other = self.collected().map(|(rows, width)| rows.len() / width).find(|&rows| rows != keys);
        other.map_or(Ok(()), |rows| Err(format!("keeps the values of {rows} samples, but there are {keys} keys")))
    }

    /// Makes the row at `order[i]` the one at `i`, in every field that collects.
    pub(crate) fn reorder(&mut self, order: &[usize]) {
        for field in self.fields.iter_mut().filter(|field| field.reduce.collects()) {
            let width = field.reduce.length();
            if let Data::Rows(rows) = &mut field.data {
                *rows = order.iter().flat_map(|row| &rows[row * width..][..width]).copied().collect();
            }
        }
    }

    /// Whether a part collects, even if only the last updates.
    fn parts_collect(&self) -> bool {
        let collects = |part: &Self| part.collected().next().is_some() || part.parts_collect();
        self.inner().into_iter().chain(&self.parts).any(collects)
    }

    /// Rows that are collected, and how many numbers each has.
    fn collected(&self) -> impl Iterator<Item = (&Vec<f64>, usize)> {
        self.fields.iter().filter(|field| field.reduce.collects()).filter_map(|field| match &field.data {
            Data::Rows(rows) if field.reduce.length() > 0 => Some((rows, field.reduce.length())),
            _ => None,
        })
    }
}
