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
        let beyond = |&(_, weight): &(usize, &f64)| !weight.is_finite();
        if let Some((image, _)) = self.weights.iter().flatten().enumerate().find(beyond) {
            let message = format!("the weights of image {image} multiply to more than an f64 holds");
            return Err(Error::contribution(message));
        }
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
    pub(super) fn without(&self, skipped: &[usize]) -> Kept {
        let mut weights = self.weights.clone();
        if !skipped.is_empty() {
            let weights = weights.get_or_insert_with(|| vec![1.0; self.images]);
            skipped.iter().for_each(|&image| weights[image] = 0.0);
        }
        let left_out = weights.iter().flatten().filter(|weight| **weight == 0.0).count();
        Kept { weights, images: (self.images - left_out) as u64, skipped: skipped.len() as u64 }
    }

    /// The same, with the weights of all images times these factors.
    pub(super) fn reweighted(&self, factors: &[f64]) -> Self {
        let mut batch = self.clone();
        batch.reweigh_with_parts(factors);
        batch
    }

    fn reweigh_with_parts(&mut self, factors: &[f64]) {
        self.reweigh(factors);
        self.parts.iter_mut().filter(|part| !part.once).for_each(|part| part.reweigh_with_parts(factors));
    }

    /// Gives the images' weights these factors, here and not in the parts.
    pub(super) fn reweigh(&mut self, factors: &[f64]) {
        let weights = factors.iter().enumerate().map(|(image, factor)| factor * self.weight(image)).collect();
        self.weights = Some(weights);
    }

    pub(super) fn weight(&self, image: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |weights| weights[image])
    }
}
