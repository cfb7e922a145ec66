//! What can be read, and what becomes of it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use candle_core::{Device, Tensor};
use image::{DynamicImage, ImageBuffer, Luma, Rgb32FImage, RgbImage, Rgba, Rgba32FImage, RgbaImage};
use metrics_image::{Channels, ErrorConfig, PsnrConfig, SsimConfig, mae, psnr, ssim};
use tempfile::TempDir;
use tiff::encoder::TiffEncoder;
use tiff::encoder::colortype::{Gray8, Gray32Float, Gray64Float, RGB8};
use tiff::tags::ExtraSamples;

use crate::common::{
    assert_lines, chelsea, compare, corner, degraded, json, photograph, stderr, stdout, tensor, value,
};

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases");

fn case(name: &str) -> PathBuf {
    Path::new(CASES).join(name)
}

#[test]
fn values_that_other_programs_give() -> Result<()> {
    // A JPEG file with one scan for each component, decoded by libjpeg.
    let scans = score(&case("scans.ppm"), &case("scans.jpg"), "psnr", &[])?;
    assert!((scans - 40.92).abs() < 0.005, "{scans}");
    // scikit-image and OpenCV, as many digits as they gave.
    let sixteen = score(&case("sixteen_x.png"), &case("sixteen_y.png"), "psnr", &[])?;
    assert!((sixteen - 96.329466).abs() < 5e-7, "{sixteen}");
    assert_lines(
        &compare(&case("u32_a.tif"), &case("u32_b.tif"), &[]).code(1),
        1,
        &["u32_a.tif holds numbers of unknown range"],
    );
    let integers = score(&case("u32_a.tif"), &case("u32_b.tif"), "psnr", &["--data-range", "255"])?;
    assert!((integers - 20.0 * 255f64.log10()).abs() < 1e-12, "{integers}");
    Ok(())
}

#[test]
fn damaged_data_and_false_sizes_are_refused() -> Result<()> {
    let cut = compare(&case("whole.jpg"), &case("cut.jpg"), &[]).code(1);
    assert_lines(&cut, 1, &["cut.jpg: its data are damaged or truncated: libjpeg warns of them"]);
    score(&case("whole.jpg"), &case("whole.jpg"), "mae", &[])?;
    let range = ["--data-range", "1"];
    let window = compare(&case("whole.exr"), &case("window.exr"), &range).code(1);
    assert_lines(&window, 1, &["window.exr: the data window: it is 268435504×40"]);
    score(&case("whole.exr"), &case("whole.exr"), "mae", &range)?;
    Ok(())
}

/// A metric of one pair, to the last digit.
fn score(reference: &Path, test: &Path, metric: &str, options: &[&str]) -> Result<f64> {
    let assert = compare(reference, test, &[&["--json", "--metrics", metric], options].concat()).success();
    let name = metric.replace('-', "_");
    json(&assert)?["metrics"][name]["mean"].as_f64().ok_or_else(|| anyhow::anyhow!("no {metric}"))
}

#[test]
fn every_lossless_format_scores_the_same() -> Result<()> {
    let folder = TempDir::new()?;
    let test = degraded(&chelsea()?);
    let mut scores = Vec::new();
    for extension in ["png", "bmp", "ppm", "tiff", "webp"] {
        let path = folder.path().join(format!("test.{extension}"));
        DynamicImage::from(test.clone()).save(&path)?;
        scores.push(score(&photograph("chelsea.png"), &path, "ssim", &[])?);
    }
    assert!(scores.iter().all(|score| *score == scores[0]), "{scores:?}");
    Ok(())
}

#[test]
fn sixteen_bits_are_all_used() -> Result<()> {
    let folder = TempDir::new()?;
    let [a, b] = ["a.png", "b.png"].map(|name| folder.path().join(name));
    let image =
        |offset: u16| ImageBuffer::<Luma<u16>, _>::from_fn(32, 32, |x, y| Luma([(x * 900 + y) as u16 + offset]));
    image(0).save(&a)?;
    image(1).save(&b)?;
    // One step of 65535, of numbers rounded to f64 (1.1e-16 of at most 0.45).
    assert!((score(&a, &b, "mae", &[])? - 1.0 / 65535.0).abs() < 6e-17);
    // At their own range they are integers, which f32 holds.
    assert_eq!(score(&a, &b, "mae", &["--data-range", "65535"])?, 1.0);
    // Bytes beside them are as exact: 128 of 255 and 32896 of 65535 are the same number.
    ImageBuffer::from_pixel(16, 16, Luma([128u8])).save(&a)?;
    ImageBuffer::<Luma<u16>, _>::from_pixel(16, 16, Luma([32896])).save(&b)?;
    assert_eq!(score(&a, &b, "mae", &[])?, 0.0);
    Ok(())
}

#[test]
fn arrays_score_as_the_pictures_do() -> Result<()> {
    let folder = TempDir::new()?;
    let (reference, test) = (chelsea()?, degraded(&chelsea()?));
    let picture = folder.path().join("test.png");
    test.save(&picture)?;
    let expected = score(&photograph("chelsea.png"), &picture, "ssim", &[])?;

    let npy = |name: &str, tensor: &Tensor| -> Result<PathBuf> {
        let path = folder.path().join(name);
        tensor.write_npy(&path)?;
        Ok(path)
    };
    let (reference, test) = (tensor(&reference)?, tensor(&test)?);
    let unit = &["--data-range", "1"];
    let [a, b] = [npy("a.npy", &reference.squeeze(0)?)?, npy("b.npy", &test.squeeze(0)?)?];
    assert_eq!(score(&a, &b, "ssim", unit)?, expected);
    assert_eq!(score(&photograph("chelsea.png"), &b, "ssim", unit)?, expected);
    let last = npy("c.npy", &test.squeeze(0)?.permute((1, 2, 0))?.contiguous()?)?;
    assert_eq!(score(&a, &last, "ssim", unit)?, expected);

    let path = folder.path().join("test.safetensors");
    candle_core::safetensors::save(&HashMap::from([("pixels", test.clone())]), &path)?;
    assert_eq!(score(&a, &path, "ssim", unit)?, expected);
    candle_core::safetensors::save(&HashMap::from([("image", test.clone()), ("else", reference)]), &path)?;
    assert_eq!(score(&a, &path, "ssim", unit)?, expected);
    candle_core::safetensors::save(&HashMap::from([("x", test.clone()), ("y", test)]), &path)?;
    assert_lines(&compare(&a, &path, unit).code(1), 1, &["test.safetensors", "none is called `image`"]);

    assert_lines(&compare(&a, &b, &[]).code(1), 1, &["a.npy holds numbers of unknown range: give `--data-range`"]);
    Ok(())
}

#[test]
fn pictures_fill_the_data_range() -> Result<()> {
    let folder = TempDir::new()?;
    let path = folder.path().join("test.png");
    let (reference, test) = (corner(64, 48)?, degraded(&corner(64, 48)?));
    test.save(&path)?;
    let original = folder.path().join("reference.png");
    reference.save(&original)?;
    let bytes = |image: &RgbImage| -> Result<Tensor> {
        let shape = (image.height() as usize, image.width() as usize, 3);
        Ok(Tensor::from_vec(image.as_raw().clone(), shape, &Device::Cpu)?)
    };
    let array = folder.path().join("test.npy");
    bytes(&test)?.write_npy(&array)?;
    let wide = &["--data-range", "255"];
    let picture = score(&original, &path, "mae", wide)?;
    assert_eq!(picture, score(&original, &array, "mae", wide)?);
    let expected = reference.iter().zip(test.iter()).map(|(&a, &b)| f64::from(a.abs_diff(b))).sum::<f64>();
    // Integers, whose mean is rounded once or twice.
    assert!((picture - expected / reference.len() as f64).abs() < 1e-13, "{picture}");
    Ok(())
}

#[test]
fn floats_are_taken_as_they_are() -> Result<()> {
    let folder = TempDir::new()?;
    let [a, b] = ["a.exr", "b.exr"].map(|name| folder.path().join(name));
    Rgb32FImage::from_fn(16, 16, |x, _| image::Rgb([x as f32, 2.0, 3.0])).save(&a)?;
    Rgb32FImage::from_fn(16, 16, |x, _| image::Rgb([x as f32 + 0.5, 2.5, 3.5])).save(&b)?;
    assert_eq!(score(&a, &b, "mae", &["--data-range", "16"])?, 0.5);
    assert_lines(&compare(&a, &b, &[]).code(1), 1, &["a.exr holds numbers of unknown range"]);

    let hdr = folder.path().join("a.hdr");
    Rgb32FImage::from_pixel(16, 16, image::Rgb([0.5, 0.25, 1.0])).save(&hdr)?;
    assert_eq!(score(&hdr, &hdr, "mae", &["--data-range", "1"])?, 0.0);
    Ok(())
}

#[test]
fn transparency_is_dropped_or_put_on_white() -> Result<()> {
    let folder = TempDir::new()?;
    let [glass, solid, white] = ["glass.png", "solid.png", "white.png"].map(|name| folder.path().join(name));
    RgbaImage::from_pixel(16, 16, Rgba([0, 100, 255, 51])).save(&glass)?;
    RgbImage::from_pixel(16, 16, image::Rgb([0, 100, 255])).save(&solid)?;
    // 51 of 255 is a fifth: 255 - 0.2 · (255 - value).
    RgbImage::from_pixel(16, 16, image::Rgb([204, 224, 255])).save(&white)?;
    assert_eq!(score(&solid, &glass, "mae", &["--alpha", "ignore"])?, 0.0);
    // Two roundings to f32 of values up to 1.
    assert!(score(&white, &glass, "mae", &["--alpha", "composite"])? < 1.2e-7);
    let refused = compare(&solid, &glass, &[]).code(1);
    assert!(stderr(&refused).contains("glass.png is partly transparent"), "{}", stderr(&refused));
    Ok(())
}

#[test]
fn colours_are_scored_as_asked() -> Result<()> {
    let folder = TempDir::new()?;
    let path = folder.path().join("test.png");
    let (reference, test) = (chelsea()?, degraded(&chelsea()?));
    test.save(&path)?;
    let (r, t) = (tensor(&reference)?, tensor(&test)?);

    let options = ["--color", "luma", "--crop-border", "4"];
    let assert = compare(&photograph("chelsea.png"), &path, &options).success();
    let expected = [
        ("psnr", psnr(&t, &r, &PsnrConfig::new(1.0).channels(Channels::Luma).crop_border(4))?),
        ("ssim", ssim(&t, &r, &SsimConfig::new(1.0).channels(Channels::Luma).crop_border(4))?),
    ];
    for (metric, expected) in expected {
        let printed: f64 = value(&stdout(&assert), metric).unwrap_or_default().parse()?;
        let expected = f64::from(expected.to_scalar::<f32>()?);
        // Six decimals are printed; the function rounds to f32, 6e-8 of the value.
        assert!((printed - expected).abs() < 5e-7 + 6e-8 * expected, "{metric}: {printed} instead of {expected}");
    }

    let two = folder.path().join("two.npy");
    Tensor::zeros((1, 2, 16, 16), candle_core::DType::F32, &Device::Cpu)?.write_npy(&two)?;
    for color in ["luma", "per-channel"] {
        let refused = compare(&two, &two, &["--color", color, "--data-range", "1"]).code(1);
        let message = format!("two.npy: `--color {color}` takes 1 or 3 channels, but the images have 2");
        assert_lines(&refused, 1, &[&message]);
    }

    let assert = compare(&photograph("chelsea.png"), &path, &["--color", "per-channel", "--metrics", "mae"]).success();
    for (channel, name) in ["mae_r", "mae_g", "mae_b"].into_iter().enumerate() {
        let one = |image: &Tensor| image.narrow(1, channel, 1);
        let expected = mae(&one(&t)?, &one(&r)?, &ErrorConfig::new())?.to_scalar::<f32>()?;
        let printed: f64 = value(&stdout(&assert), name).unwrap_or_default().parse()?;
        assert!((printed - f64::from(expected)).abs() < 5.1e-7, "{name}: {printed} instead of {expected}");
    }
    Ok(())
}

/// A corner of a photograph, which Pillow has saved with `progressive=True`: the encoder at hand writes baseline files only.
const PROGRESSIVE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files/progressive.jpg");

#[test]
fn truncated_jpegs_are_errors() -> Result<()> {
    let folder = TempDir::new()?;
    let [baseline, cut] = ["baseline.jpg", "cut.jpg"].map(|name| folder.path().join(name));
    corner(200, 180)?.save(&baseline)?;
    for whole in [&baseline, Path::new(PROGRESSIVE)] {
        score(whole, whole, "ssim", &[])?;
        let bytes = fs::read(whole)?;
        for part in [50, 90, 99] {
            fs::write(&cut, &bytes[..bytes.len() * part / 100])?;
            let message = stderr(&compare(whole, &cut, &["--metrics", "ssim"]).code(1));
            assert!(message.contains("cannot read") && message.contains("cut.jpg"), "{message}");
        }
    }
    // All pixels are there when the marker at the end is not, but nobody can know that.
    let bytes = fs::read(&baseline)?;
    fs::write(&cut, &bytes[..bytes.len() - 2])?;
    assert_lines(&compare(&baseline, &cut, &[]).code(1), 1, &["cut.jpg: the file is truncated: it has no end marker"]);
    Ok(())
}

#[test]
fn colours_that_are_multiplied_are_not_multiplied_again() -> Result<()> {
    let folder = TempDir::new()?;
    let [exr, white, tiff] = ["a.exr", "white.exr", "a.tif"].map(|name| folder.path().join(name));
    // Half of (0.5, 1, 0), on white.
    Rgba32FImage::from_pixel(16, 16, Rgba([0.25, 0.5, 0.0, 0.5])).save(&exr)?;
    Rgb32FImage::from_pixel(16, 16, image::Rgb([0.75, 1.0, 0.5])).save(&white)?;
    let options = ["--data-range", "1", "--alpha", "composite"];
    assert_eq!(score(&white, &exr, "mae", &options)?, 0.0);

    let encode = |kind: ExtraSamples, pixel: [u8; 4]| -> Result<()> {
        let mut encoder = TiffEncoder::new(fs::File::create(&tiff)?)?;
        let mut image = encoder.new_image::<RGB8>(16, 16)?;
        image.extra_samples(&[kind])?;
        Ok(image.write_data(&pixel.repeat(256))?)
    };
    let expected = folder.path().join("expected.png");
    // 51 of 255 is a fifth, so that white adds 204.
    RgbImage::from_pixel(16, 16, image::Rgb([204, 224, 255])).save(&expected)?;
    for (kind, pixel) in
        [(ExtraSamples::AssociatedAlpha, [0, 20, 51, 51]), (ExtraSamples::UnassociatedAlpha, [0, 100, 255, 51])]
    {
        encode(kind, pixel)?;
        // Two roundings to f32 of values up to 1.
        assert!(score(&expected, &tiff, "mae", &["--alpha", "composite"])? < 1.2e-7, "{kind:?}");
    }
    Ok(())
}

#[test]
fn grey_floats_and_big_files_of_tiff_are_read() -> Result<()> {
    let folder = TempDir::new()?;
    let [array, tiff, big] = ["a.npy", "a.tif", "big.tif"].map(|name| folder.path().join(name));
    let values: Vec<f32> = (0..256).map(|value| value as f32 / 7.0).collect();
    Tensor::from_slice(&values, (16, 16), &Device::Cpu)?.write_npy(&array)?;
    TiffEncoder::new(fs::File::create(&tiff)?)?.write_image::<Gray32Float>(16, 16, &values)?;
    assert_eq!(score(&array, &tiff, "mae", &["--data-range", "40"])?, 0.0);
    assert_lines(&compare(&array, &tiff, &[]).code(1), 1, &["unknown range"]);
    assert_lines(&compare(&tiff, &tiff, &["--max-pixels", "255"]).code(1), 1, &["`--max-pixels` is 255"]);

    let bytes: Vec<u8> = (0..=255).collect();
    TiffEncoder::new_big(fs::File::create(&big)?)?.write_image::<Gray8>(16, 16, &bytes)?;
    Tensor::from_slice(&bytes, (16, 16), &Device::Cpu)?.write_npy(&array)?;
    assert_eq!(score(&array, &big, "mae", &["--data-range", "255"])?, 0.0);

    let halves = [0.5; 256];
    TiffEncoder::new(fs::File::create(&tiff)?)?.write_image::<Gray64Float>(16, 16, &halves)?;
    Tensor::from_slice(&halves, (16, 16), &Device::Cpu)?.write_npy(&array)?;
    assert_eq!(score(&array, &tiff, "mae", &["--data-range", "1"])?, 0.0);
    Ok(())
}
