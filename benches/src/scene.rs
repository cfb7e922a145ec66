//! A pair of images and everything that is timed on it.

use std::hint::black_box;

use anyhow::{Context, Result, bail};
use candle_core::{Device, Storage, Tensor, Var};
use metrics_core::{Metric, MetricCollection};
use metrics_image::{
    Background, ErrorConfig, L1SsimLoss, Loss, Mae, MsSsim, MsSsimConfig, MsSsimLoss, Psnr, PsnrConfig, PsnrLoss,
    Reduction, Ssim, SsimConfig, SsimLoss, Target, ms_ssim, psnr, ssim,
};

use crate::composition::Composition;
use crate::{images, pass};

/// A pair of f32 images with values in 0..1. Each method is one call to be timed, result included.
#[derive(Debug)]
pub struct Scene {
    tracked: Var,
    pred: Tensor,
    target: Tensor,
    loss: SsimLoss,
    both: L1SsimLoss,
    mixture: Loss,
    /// A disk.
    mask: Tensor,
    /// The prediction with alpha.
    rgba: Var,
    over: Loss,
}

impl Scene {
    /// A scene of images `[N, C, H, W]`.
    pub fn new(dims: [usize; 4]) -> Result<Self> {
        Self::on(dims, &Device::Cpu)
    }

    /// The same scene on a device.
    pub fn on(dims: [usize; 4], device: &Device) -> Result<Self> {
        let (pred, target) = images(dims)?;
        let (pred, target) = (pred.to_device(device)?, target.to_device(device)?);
        let tracked = Var::from_tensor(&pred)?;
        let pred = tracked.as_detached_tensor();
        let (loss, both) = (SsimLoss::new(SsimConfig::new(1.0))?, L1SsimLoss::new(SsimConfig::new(1.0))?);
        let mixture = Loss::new(1.0).l1(0.3).ssim(0.5).mse(0.1).charbonnier(0.1, 1e-3);
        let [count, _, height, width] = dims;
        let inside = |at: usize| {
            let (y, x) = ((at / width) as f64 / height as f64 - 0.5, (at % width) as f64 / width as f64 - 0.5);
            u8::from(x * x + y * y < 0.2)
        };
        let mask = Tensor::from_iter((0..height * width).map(inside), device)?.reshape((1, 1, height, width))?;
        let alpha = mask.to_dtype(pred.dtype())?.affine(0.5, 0.5)?.broadcast_as((count, 1, height, width))?;
        let rgba = Var::from_tensor(&Tensor::cat(&[&pred, &alpha], 1)?)?;
        let over =
            Loss::new(1.0).ssim(1.0).over(Background::from(&Tensor::ones((count, dims[1]), pred.dtype(), device)?));
        Ok(Self { tracked, pred, target, loss, both, mixture, mask, rgba, over })
    }

    /// Values in one of the two images.
    pub fn values(&self) -> usize {
        self.pred.elem_count()
    }

    /// SSIM, the value alone.
    pub fn ssim(&self) -> Result<()> {
        take(&ssim(&self.pred, &self.target, &SsimConfig::new(1.0))?)
    }

    /// `SsimLoss`, the gradient of the prediction included.
    pub fn ssim_loss(&self) -> Result<()> {
        let loss = self.loss.forward(&self.tracked, &self.target)?;
        black_box(loss.backward()?);
        take(&loss)
    }

    /// The same without Candle's graph.
    pub fn ssim_value_and_grad(&self) -> Result<()> {
        let (loss, gradient) = self.loss.value_and_grad(&self.pred, &self.target)?;
        black_box(gradient);
        take(&loss)
    }

    /// `L1SsimLoss`, the gradient of the prediction included.
    pub fn l1_ssim_loss(&self) -> Result<()> {
        let loss = self.both.forward(&self.tracked, &self.target)?;
        black_box(loss.backward()?);
        take(&loss)
    }

    /// L1, SSIM, MSE and Charbonnier's errors in one loss, the gradient of the prediction included.
    pub fn mixture(&self) -> Result<()> {
        let loss = self.mixture.forward(&self.tracked, &self.target)?;
        black_box(loss.backward()?);
        take(&loss)
    }

    /// The same terms, each a loss of its own.
    pub fn mixture_apart(&self) -> Result<()> {
        let mut sum: Option<Tensor> = None;
        for (weight, term) in self.mixture.terms() {
            let loss = Loss::new(1.0).with(*weight, term.clone()).forward(&self.tracked, &self.target)?;
            sum = Some(sum.map_or(Ok(loss.clone()), |sum| sum + &loss)?);
        }
        let loss = sum.context("no term")?;
        black_box(loss.backward()?);
        take(&loss)
    }

    /// SSIM of the pixels in a disk, the value alone.
    pub fn masked_ssim(&self) -> Result<()> {
        take(&ssim(&self.pred, Target::new(&self.target).mask(&self.mask), &SsimConfig::new(1.0))?)
    }

    /// `SsimLoss` of the pixels in a disk, the gradient of the prediction included.
    pub fn masked_ssim_loss(&self) -> Result<()> {
        let loss = self.loss.forward(&self.tracked, Target::new(&self.target).mask(&self.mask))?;
        black_box(loss.backward()?);
        take(&loss)
    }

    /// `SsimLoss` of a prediction with alpha over white, the gradient of color and alpha included.
    pub fn ssim_loss_over(&self) -> Result<()> {
        let loss = self.over.forward(&self.rgba, &self.target)?;
        black_box(loss.backward()?);
        take(&loss)
    }

    /// MS-SSIM, the value alone.
    pub fn ms_ssim(&self) -> Result<()> {
        take(&ms_ssim(&self.pred, &self.target, &MsSsimConfig::new(1.0))?)
    }

    /// `MsSsimLoss`, the gradient of the prediction included.
    pub fn ms_ssim_loss(&self) -> Result<()> {
        let loss = MsSsimLoss::new(MsSsimConfig::new(1.0))?.forward(&self.tracked, &self.target)?;
        black_box(loss.backward()?);
        take(&loss)
    }

    /// `PsnrLoss`, the gradient of the prediction included.
    pub fn psnr_loss(&self) -> Result<()> {
        let loss = PsnrLoss::new(PsnrConfig::new(1.0))?.forward(&self.tracked, &self.target)?;
        black_box(loss.backward()?);
        take(&loss)
    }

    /// The same without Candle's graph.
    pub fn psnr_value_and_grad(&self) -> Result<()> {
        let (loss, gradient) = PsnrLoss::new(PsnrConfig::new(1.0))?.value_and_grad(&self.pred, &self.target)?;
        black_box(gradient);
        take(&loss)
    }

    /// One update of a collection of PSNR, SSIM, MS-SSIM and MAE, and its report.
    pub fn collection(&self) -> Result<()> {
        let mut metrics = collection(Reduction::Mean)?;
        metrics.update(&self.pred, &self.target)?;
        black_box(metrics.compute()?);
        Ok(())
    }

    /// An update of an SSIM metric.
    pub fn update(&self, metric: &mut Ssim) -> Result<()> {
        Ok(metric.update(&self.pred, &self.target)?)
    }

    /// PSNR, the value alone.
    pub fn psnr(&self) -> Result<()> {
        take(&psnr(&self.pred, &self.target, &PsnrConfig::new(1.0))?)
    }

    /// SSIM composed from Candle's operations, the value alone.
    pub fn composed(&self, composition: Composition) -> Result<()> {
        take(&composition.ssim(&self.pred, &self.target)?)
    }

    /// The plain pass that sums squared differences.
    pub fn squared_difference(&self) -> Result<()> {
        self.pass(pass::squared_difference)
    }

    /// Both images copied on their device: what its memory can do.
    pub fn copy(&self) -> Result<()> {
        take(&self.pred.copy()?.narrow(3, 0, 1)?.sum_all()?)?;
        take(&self.target.copy()?.narrow(3, 0, 1)?.sum_all()?)
    }

    /// The plain pass that reads both images.
    pub fn read(&self) -> Result<()> {
        self.pass(pass::read)
    }

    fn pass(&self, pass: impl Fn(&[f32], &[f32]) -> f64) -> Result<()> {
        let (pred, target) = (self.pred.storage_and_layout().0, self.target.storage_and_layout().0);
        let (Storage::Cpu(pred), Storage::Cpu(target)) = (&*pred, &*target) else { bail!("images are not on the CPU") };
        black_box(pass(pred.as_slice()?, target.as_slice()?));
        Ok(())
    }
}

/// PSNR, SSIM, MS-SSIM and MAE.
pub fn collection(reduction: Reduction) -> Result<MetricCollection> {
    Ok(MetricCollection::new()
        .with("psnr", Psnr::new(PsnrConfig::new(1.0))?)?
        .with("ssim", Ssim::new(SsimConfig::new(1.0).reduction(reduction))?)?
        .with("ms_ssim", MsSsim::new(MsSsimConfig::new(1.0).reduction(reduction))?)?
        .with("mae", Mae::new(ErrorConfig::new().reduction(reduction))?)?)
}

fn take(value: &Tensor) -> Result<()> {
    black_box(value.to_scalar::<f32>()?);
    Ok(())
}
