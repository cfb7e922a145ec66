//! What this library computes of a pair of images, for another library to be held against: `scores DEVICE DTYPE FILE N C H W`.
//!
//! The file holds prediction and target as little-endian f32. Prints the scores of each image as JSON, and writes the gradients of
//! the losses to the prediction as f32, to `FILE.ssim` and so on.

use anyhow::{Context, Result, ensure};
use benches::clock::read_f32;
use candle_core::{DType, Device, Tensor, Var};
use metrics_image::{
    GmsdConfig, GmsdLoss, MsSsimConfig, MsSsimLoss, PsnrConfig, PsnrLoss, SsimConfig, SsimLoss, VifConfig, VifLoss,
    gmsd_per_image, ms_ssim_per_image, psnr_per_image, ssim_per_image, vif_per_image,
};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    ensure!(args.len() > 3, "usage: scores DEVICE DTYPE FILE N C H W");
    let (device, dtype, file) = (benches::device(&args[0])?, args[1].parse()?, &args[2]);
    let dims = args[3..].iter().map(|side| Ok(side.parse()?)).collect::<Result<Vec<usize>>>()?;
    let values = read_f32(file)?;
    let (pred, target) = values.split_at(values.len() / 2);
    let image = |values| Tensor::from_slice(values, dims.as_slice(), &Device::Cpu)?.to_device(&device)?.to_dtype(dtype);
    let (pred, target) = (Var::from_tensor(&image(pred)?)?, image(target)?);

    // Values without a gradient come from other kernels.
    let plain = pred.detach();
    let (psnr, ssim, ms_ssim) = (PsnrConfig::new(1.0), SsimConfig::new(1.0), MsSsimConfig::new(1.0));
    let (gmsd, vif) = (GmsdConfig::new(1.0), VifConfig::new(1.0));
    let scores = serde_json::json!({
        "psnr": list(&psnr_per_image(&plain, &target, &psnr)?)?,
        "ssim": list(&ssim_per_image(&plain, &target, &ssim)?)?,
        "ms_ssim": list(&ms_ssim_per_image(&plain, &target, &ms_ssim)?)?,
        "gmsd": list(&gmsd_per_image(&plain, &target, &gmsd)?)?,
        "vif": list(&vif_per_image(&plain, &target, &vif)?)?,
    });
    let losses = [
        ("psnr", PsnrLoss::new(psnr)?.forward(&pred, &target)?),
        ("ssim", SsimLoss::new(ssim)?.forward(&pred, &target)?),
        ("ms_ssim", MsSsimLoss::new(ms_ssim)?.forward(&pred, &target)?),
        ("gmsd", GmsdLoss::new(gmsd)?.forward(&pred, &target)?),
        ("vif", VifLoss::new(vif)?.forward(&pred, &target)?),
    ];
    for (name, loss) in losses {
        let gradients = loss.backward()?;
        let gradient = gradients.get(&pred).context("no gradient")?.to_dtype(DType::F32)?.flatten_all()?;
        let bytes: Vec<u8> = gradient.to_vec1::<f32>()?.iter().flat_map(|value| value.to_le_bytes()).collect();
        std::fs::write(format!("{file}.{name}"), bytes)?;
    }
    println!("{scores}");
    Ok(())
}

fn list(scores: &Tensor) -> Result<Vec<f64>> {
    Ok(scores.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}
