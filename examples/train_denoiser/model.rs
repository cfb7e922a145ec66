//! The network: a stack of convolutions that predicts the noise, so that an untrained one returns its input.

use anyhow::Context;
use candle_core::{Result, Tensor};
use candle_nn::ops::{pixel_shuffle, pixel_unshuffle};
use candle_nn::{Conv2d, Conv2dConfig, Module, VarBuilder, VarMap, conv2d};
use rand::rngs::StdRng;
use rand_distr::{Distribution, Normal};

/// 2×2 pixels of three colours.
const BLOCK: usize = 12;
const CHANNELS: usize = 24;
const BODY_LAYERS: usize = 2;

/// As FFDNet does (Zhang, Zuo and Zhang, IEEE TIP 27(9), 2018), it works on 2×2 blocks of pixels laid out as channels: a quarter
/// of the arithmetic, and twice the field of view. The last layer sees the blocks too, so that it need not wait for the others to
/// learn to smooth.
pub(crate) struct Denoiser {
    head: Conv2d,
    body: Vec<Conv2d>,
    tail: Conv2d,
}

impl Denoiser {
    pub(crate) fn new(vb: VarBuilder) -> Result<Self> {
        let layer = |name: &str, inputs, outputs| {
            let config = Conv2dConfig { padding: 1, ..Default::default() };
            conv2d(inputs, outputs, 3, config, vb.pp(name))
        };
        Ok(Self {
            head: layer("head", BLOCK, CHANNELS)?,
            body: (0..BODY_LAYERS).map(|i| layer(&format!("body{i}"), CHANNELS, CHANNELS)).collect::<Result<_>>()?,
            tail: layer("tail", CHANNELS + BLOCK, BLOCK)?,
        })
    }
}

impl Module for Denoiser {
    /// `[N, 3, H, W]` with even sides and values in 0..=1, to the same shape.
    fn forward(&self, noisy: &Tensor) -> Result<Tensor> {
        let blocks = pixel_unshuffle(&noisy.affine(2.0, -1.0)?, 2)?;
        let mut x = self.head.forward(&blocks)?;
        for layer in &self.body {
            x = (&x + layer.forward(&x.relu()?)?)?;
        }
        let noise = self.tail.forward(&Tensor::cat(&[&x.relu()?, &blocks], 1)?)?;
        noisy - pixel_shuffle(&noise, 2)?
    }
}

/// Draws the weights from `rng`, since Candle's own generator cannot be seeded on the CPU: normal, of variance 2 / inputs (He,
/// Zhang, Ren and Sun, ICCV 2015). Biases and the last layer start at zero.
pub(crate) fn seed_weights(vars: &VarMap, rng: &mut StdRng) -> anyhow::Result<()> {
    let vars = vars.data().lock().ok().context("a thread panicked while it used the variables")?;
    let mut names: Vec<_> = vars.keys().collect();
    names.sort(); // a hash map has no order of its own
    for name in names {
        let var = &vars[name];
        let values = if name.ends_with("bias") || name.starts_with("tail") {
            var.zeros_like()?
        } else {
            let inputs: usize = var.dims()[1..].iter().product();
            let normal = Normal::new(0.0, (2.0 / inputs as f32).sqrt())?;
            let values: Vec<f32> = normal.sample_iter(&mut *rng).take(var.elem_count()).collect();
            Tensor::from_vec(values, var.shape(), var.device())?
        };
        var.set(&values)?;
    }
    Ok(())
}
