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
    /// How many are not left out.
    pub(super) images: u64,
    /// How many are left out because they are skipped.
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

    /// Whether the image counts and has a number that is NaN or infinite.
    pub(super) fn is_bad(&self, image: usize) -> bool {
        self.weight(image) != 0.0 && !self.columns.iter().all(|column| column[image].is_finite())
    }

    /// Which images count if these are skipped.
    pub(super) fn without(&self, is_skipped: impl Fn(usize) -> bool) -> Kept {
        let skipped: Vec<bool> = (0..self.images).map(is_skipped).collect();
        let weight = |(image, &skipped): (usize, &bool)| if skipped { 0.0 } else { self.weight(image) };
        let weights = if skipped.contains(&true) {
            Some(skipped.iter().enumerate().map(weight).collect())
        } else {
            self.weights.clone()
        };
        let left_out = weights.iter().flatten().filter(|weight| **weight == 0.0).count();
        let skipped = skipped.into_iter().filter(|skipped| *skipped).count();
        Kept { weights, images: (self.images - left_out) as u64, skipped: skipped as u64 }
    }

    /// The same, with the weights of all images times these factors.
    pub(super) fn reweighted(&self, factors: &[f64]) -> Self {
        let weights = factors.iter().enumerate().map(|(image, factor)| factor * self.weight(image)).collect();
        let reweighted = |part: &Self| if part.once { part.clone() } else { part.reweighted(factors) };
        let parts = self.parts.iter().map(reweighted).collect();
        Self { weights: Some(weights), parts, ..self.clone() }
    }

    fn weight(&self, image: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |weights| weights[image])
    }
}
