//! SSIM of the same images in other forms, each to be timed beside the plain call.

use anyhow::Result;
use candle_core::{DType, Tensor, Var};
use metrics_image::{Channels, DataRange, SsimConfig, SsimLoss, ssim};

use crate::images;

/// A call to be timed.
pub type Call = Box<dyn Fn() -> Result<()>>;

/// A form, what it may cost at most relative to the plain one, and the call.
pub struct Variant {
    /// What is different.
    pub name: &'static str,
    /// The aim.
    pub at_most: f64,
    /// The call, result included.
    pub call: Call,
}

/// Forms of images and configurations, the value alone. All but the windows and luma see the same pixels as the plain call.
pub fn values(dims: [usize; 4]) -> Result<Vec<Variant>> {
    let (pred, target) = images(dims)?;
    let plain = || SsimConfig::new(1.0);
    let bytes = |image: &Tensor| Ok::<_, anyhow::Error>(image.affine(255.0, 0.0)?.to_dtype(DType::U8)?);
    let channel_last =
        |image: &Tensor| Ok::<_, anyhow::Error>(image.permute((0, 2, 3, 1))?.contiguous()?.permute((0, 3, 1, 2))?);
    let variant = |name, at_most, pred: &Tensor, target: &Tensor, config: SsimConfig| {
        let (pred, target) = (pred.clone(), target.clone());
        let call = Box::new(move || {
            ssim(&pred, &target, &config)?.to_scalar::<f32>()?;
            Ok(())
        });
        Variant { name, at_most, call }
    };
    let half = |image: &Tensor| image.to_dtype(DType::F16);
    Ok(vec![
        variant("window of 7", 1.0, &pred, &target, plain().uniform(7)),
        variant("window of 9", 1.0, &pred, &target, plain().window(9)),
        variant("window of 19", 1.8, &pred, &target, plain().window(19)),
        variant("luma", 0.5, &pred, &target, plain().channels(Channels::Luma)),
        variant("clamped", 1.25, &pred, &target, SsimConfig::new((0.0, 1.0))),
        variant("range of each image", 1.25, &pred, &target, SsimConfig::new(DataRange::PerImage)),
        variant("u8", 1.25, &bytes(&pred)?, &bytes(&target)?, SsimConfig::new(255.0)),
        variant("u8 target", 1.25, &pred.affine(255.0, 0.0)?, &bytes(&target)?, SsimConfig::new(255.0)),
        variant("f16", 1.25, &half(&pred)?, &half(&target)?, plain()),
        variant("channel-last", 1.25, &channel_last(&pred)?, &channel_last(&target)?, plain()),
    ])
}

/// Losses with the gradient of the prediction.
pub fn gradients(dims: [usize; 4]) -> Result<Vec<Variant>> {
    let (pred, target) = images(dims)?;
    let loss = SsimLoss::new(SsimConfig::new(1.0))?;
    let variant = |name, at_most, dtype, loss: SsimLoss, factor: Option<f64>| -> Result<Variant> {
        let (pred, target) = (Var::from_tensor(&pred.to_dtype(dtype)?)?, target.to_dtype(dtype)?);
        let call = Box::new(move || {
            let value = loss.forward(&pred, &target)?;
            let value = factor.map_or(Ok(value.clone()), |factor| value.affine(factor, 0.0))?;
            value.backward()?;
            Ok(())
        });
        Ok(Variant { name, at_most, call })
    };
    Ok(vec![
        variant("weight of 0.2", 1.03, DType::F32, loss.clone().weight(0.2), None)?,
        variant("times 0.2", 1.15, DType::F32, loss.clone(), Some(0.2))?,
        variant("f16, times 0.2", 1.3, DType::F16, loss.clone(), Some(0.2))?,
    ])
}
