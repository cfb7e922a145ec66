//! A contribution on the host: plain numbers, checked.

use crate::{Error, NonFinite, Result};

/// One batch's numbers, in the order of a state's fields.
#[derive(Clone, Debug)]
pub(crate) struct HostBatch {
    pub(super) images: usize,
    /// Whether it is of an update instead of images, so that the images' weights do not concern it.
    pub(super) once: bool,
    /// One for each image; `None` where all are 1.
    pub(super) weights: Option<Vec<f64>>,
    /// One column of per-image numbers for each field.
    pub(super) columns: Vec<Vec<f64>>,
    /// One for each part of the state.
    pub(super) parts: Vec<HostBatch>,
}

/// Which images of a batch count, and how much.
pub(super) struct Kept {
    /// One for each image, 0 for those that are left out; `None` where all are 1.
    pub(super) weights: Option<Vec<f64>>,
    pub(super) images: u64,
    pub(super) skipped: u64,
}

impl HostBatch {
    /// Whether a state of this policy takes the batch.
    pub(super) fn check(&self, policy: NonFinite, names: &[&str]) -> Result<()> {
        if policy != NonFinite::Error {
            return Ok(());
        }
        for (name, column) in names.iter().zip(&self.columns) {
            let bad = |&(image, value): &(usize, &f64)| self.weight(image) != 0.0 && !value.is_finite();
            if let Some((image, &value)) = column.iter().enumerate().find(bad) {
                return Err(Error::NonFinite { field: (*name).into(), image, value });
            }
        }
        Ok(())
    }

    /// Which images count under this policy.
    pub(super) fn kept(&self, policy: NonFinite) -> Kept {
        let is_finite = |image: usize| self.columns.iter().all(|column| column[image].is_finite());
        let skips = |image: usize| policy == NonFinite::Skip && self.weight(image) != 0.0 && !is_finite(image);
        let skipped = (0..self.images).filter(|&image| skips(image)).count();
        let weights = if skipped > 0 {
            Some((0..self.images).map(|image| if skips(image) { 0.0 } else { self.weight(image) }).collect())
        } else {
            self.weights.clone()
        };
        let left_out = weights.iter().flatten().filter(|weight| **weight == 0.0).count();
        Kept { weights, images: (self.images - left_out) as u64, skipped: skipped as u64 }
    }

    /// The same, with the weights of all images times these factors.
    pub(super) fn reweighted(&self, factors: &[f64]) -> Self {
        if self.once {
            return self.clone();
        }
        let weights = factors.iter().enumerate().map(|(image, factor)| factor * self.weight(image)).collect();
        let parts = self.parts.iter().map(|part| part.reweighted(factors)).collect();
        Self { weights: Some(weights), parts, ..self.clone() }
    }

    fn weight(&self, image: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |weights| weights[image])
    }
}
