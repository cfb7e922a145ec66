//! The loss of every step of a run, and of what it was made.

use anyhow::{Result, ensure};
use candle_core::Tensor;
use metrics_image::{Loss, LossTerm, LossTerms};
use serde::Serialize;

use crate::chart::{Chart, Curve};

#[derive(Serialize)]
pub(crate) struct LossHistory {
    /// Of each step.
    pub(crate) loss: Vec<f32>,
    terms: Vec<TermHistory>,
}

/// A term of the loss before its weight.
#[derive(Serialize)]
struct TermHistory {
    name: &'static str,
    weight: f64,
    #[serde(skip)]
    label: String,
    /// Of each step.
    values: Vec<f32>,
}

impl LossHistory {
    pub(crate) fn new(loss: &Loss) -> Self {
        let history = |(weight, term): &(f64, LossTerm)| {
            let name = term.name();
            let label = match term {
                LossTerm::Ssim(_) | LossTerm::MsSsim(_) | LossTerm::Vif(_) => format!("{weight} · (1 - {name})"),
                _ => format!("{weight} · {name}"),
            };
            TermHistory { name, weight: *weight, label, values: Vec::new() }
        };
        Self { loss: Vec::new(), terms: loss.terms().iter().map(history).collect() }
    }

    /// Adds a step and returns its loss, which must be finite.
    pub(crate) fn push(&mut self, loss: &Tensor, terms: &LossTerms) -> Result<f32> {
        let loss = loss.to_scalar::<f32>()?;
        self.loss.push(loss);
        ensure!(loss.is_finite(), "the loss is {loss} at step {}", self.loss.len());
        for (history, (_, value)) in self.terms.iter_mut().zip(terms.iter()) {
            history.values.push(value.to_scalar()?);
        }
        Ok(loss)
    }

    /// The loss, and its terms with their weights, which add up to it.
    pub(crate) fn chart(&self, title: String) -> Chart {
        let curve = |label: &str, weight: f64, values: &[f32]| {
            let point = |(step, &value): (u32, &f32)| (f64::from(step), weight * f64::from(value));
            Curve { label: label.to_string(), points: (1..).zip(values).map(point).collect(), noisy: true }
        };
        let mut curves = vec![curve("loss", 1.0, &self.loss)];
        if self.terms.len() > 1 {
            curves.extend(self.terms.iter().map(|term| curve(&term.label, term.weight, &term.values)));
        }
        Chart { title, steps: self.loss.len() as f64, curves }
    }
}
