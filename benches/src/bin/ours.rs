//! This library's side of the comparison with others: `ours FILE N C H W`, where the file holds prediction and target as
//! little-endian f32, then one line a turn: `forward PRESET` or `backward PRESET`. Answers with seconds and the score.

use anyhow::{Context, Result, bail};
use benches::clock::{read_f32, serve, turn};
use candle_core::{Device, Tensor, Var};
use metrics_image::{SsimConfig, SsimLoss, ssim};

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
        let (task, preset) = line.split_once(' ').context("expected a task and a preset")?;
        let config = config(preset)?;
        let mut score = 0.0;
        let seconds = match task {
            "forward" => {
                let pred = pred.as_detached_tensor();
                turn(BUDGET, &mut || {
                    score = ssim(&pred, &target, &config)?.to_scalar::<f32>()?;
                    Ok(())
                })?
            }
            "backward" => {
                let loss = SsimLoss::new(config)?;
                turn(BUDGET, &mut || {
                    let loss = loss.forward(&pred, &target)?;
                    let gradients = loss.backward()?;
                    gradients.get(&pred).context("no gradient")?;
                    score = 1.0 - loss.to_scalar::<f32>()?;
                    Ok(())
                })?
            }
            _ => bail!("unknown task {task}"),
        };
        Ok((seconds, score.into()))
    })
}

/// The configuration that computes what a library computes.
fn config(library: &str) -> Result<SsimConfig> {
    Ok(match library {
        "torchmetrics" => SsimConfig::torchmetrics(1.0),
        "pytorch-msssim" => SsimConfig::pytorch_msssim(1.0),
        "piq" => SsimConfig::piq(1.0).downsample(false),
        "kornia" => SsimConfig::new(1.0),
        "scikit-image" => SsimConfig::skimage_gaussian(1.0),
        "burn" => SsimConfig::burn(1.0),
        "blazediff-ssim" => SsimConfig::wang2004(1.0),
        "image-compare" => SsimConfig::new(1.0), // there is no preset for what it computes
        _ => bail!("unknown preset {library}"),
    })
}
