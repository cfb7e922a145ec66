//! This library's side of the comparison with others: `ours FILE N C H W`, where the file holds prediction and target as
//! little-endian f32, then one line a turn: a task and the library whose computation it is. `forward` and `backward` are SSIM's,
//! beside `gmsd`, `gmsd_grad`, `vif` and `vif_grad`. Answers with seconds and the score.

use anyhow::{Context, Result, bail};
use benches::clock::{read_f32, serve, turn};
use candle_core::{Device, Tensor, Var};
use metrics_image::{GmsdConfig, GmsdLoss, SsimConfig, SsimLoss, VifConfig, VifLoss, gmsd, ssim, vif};

/// Seconds of calls in a turn.
const BUDGET: f64 = 0.2;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let values = read_f32(&args.next().context("no file")?)?;
    let dims = args.map(|side| Ok(side.parse()?)).collect::<Result<Vec<usize>>>()?;
    let (pred, target) = values.split_at(values.len() / 2);
    let pred = Var::from_tensor(&Tensor::from_slice(pred, dims.as_slice(), &Device::Cpu)?)?;
    let target = Tensor::from_slice(target, dims.as_slice(), &Device::Cpu)?;

    serve(|line| {
        let (task, library) = line.split_once(' ').context("expected a task and a library")?;
        let untracked = pred.as_detached_tensor();
        match task {
            "forward" => {
                let config = ssim_config(library)?;
                value(|| Ok(ssim(&untracked, &target, &config)?))
            }
            "backward" => {
                let loss = SsimLoss::new(ssim_config(library)?)?;
                let (seconds, loss) = gradient(&pred, || Ok(loss.forward(&pred, &target)?))?;
                Ok((seconds, 1.0 - loss))
            }
            "gmsd" => {
                let config = GmsdConfig::new(1.0);
                value(|| Ok(gmsd(&untracked, &target, &config)?))
            }
            "gmsd_grad" => {
                let loss = GmsdLoss::new(GmsdConfig::new(1.0))?;
                gradient(&pred, || Ok(loss.forward(&pred, &target)?))
            }
            "vif" => {
                let config = VifConfig::new(1.0);
                // TorchMetrics scores each channel, not their luma.
                let by_channel = library == "torchmetrics";
                let [x, y] =
                    if by_channel { [planes(&untracked)?, planes(&target)?] } else { [untracked, target.clone()] };
                value(|| Ok(vif(&x, &y, &config)?))
            }
            "vif_grad" => {
                let loss = VifLoss::new(VifConfig::new(1.0))?;
                let (seconds, loss) = gradient(&pred, || Ok(loss.forward(&pred, &target)?))?;
                Ok((seconds, 1.0 - loss))
            }
            _ => bail!("unknown task {task}"),
        }
    })
}

/// Seconds of a call, and the score it returns.
fn value(call: impl Fn() -> Result<Tensor>) -> Result<(f64, f64)> {
    let mut score = 0.0;
    let seconds = turn(BUDGET, &mut || {
        score = call()?.to_scalar::<f32>()?;
        Ok(())
    })?;
    Ok((seconds, score.into()))
}

/// Seconds of a call with the gradient with respect to `pred`, and the loss it returns.
fn gradient(pred: &Var, call: impl Fn() -> Result<Tensor>) -> Result<(f64, f64)> {
    value(|| {
        let loss = call()?;
        loss.backward()?.get(pred).context("no gradient")?;
        Ok(loss)
    })
}

/// Every channel as an image of its own.
fn planes(images: &Tensor) -> Result<Tensor> {
    let (n, c, h, w) = images.dims4()?;
    Ok(images.reshape((n * c, 1, h, w))?)
}

/// The configuration that computes what a library computes.
fn ssim_config(library: &str) -> Result<SsimConfig> {
    Ok(match library {
        "torchmetrics" => SsimConfig::torchmetrics(1.0),
        "pytorch-msssim" => SsimConfig::pytorch_msssim(1.0),
        "piq" => SsimConfig::piq(1.0).downsample(false),
        "kornia" => SsimConfig::new(1.0),
        "scikit-image" => SsimConfig::skimage_gaussian(1.0),
        "burn" => SsimConfig::burn(1.0),
        "blazediff-ssim" => SsimConfig::wang2004(1.0),
        "image-compare" => SsimConfig::new(1.0), // there is no preset for what it computes
        _ => bail!("unknown library {library}"),
    })
}
