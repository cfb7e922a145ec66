//! The answers of other libraries, as `golden/make_golden.py` and `golden/make_presets.py` wrote them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use candle_core::{DType, Device, Tensor};
use serde::Deserialize;
use serde_json::Value;

/// Everything in `golden.safetensors` and `presets.json`.
pub struct Golden {
    tensors: HashMap<String, Tensor>,
    sets: HashMap<String, Set>,
    /// The cases, in the order of the scripts.
    pub cases: Vec<Case>,
}

/// What `presets.json` holds.
#[derive(Deserialize)]
struct Presets {
    sets: HashMap<String, Set>,
    cases: Vec<Answered>,
}

/// A case with its answer: a number for each image.
#[derive(Deserialize)]
struct Answered {
    #[serde(flatten)]
    case: Case,
    value: Vec<f64>,
    ideal: Option<Vec<f64>>,
}

/// One call of a library.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    /// Unique name.
    pub name: String,
    /// Which images it was given.
    pub set: String,
    /// Whose function.
    pub library: String,
    /// Which function.
    pub function: String,
    /// Its arguments, under the library's own names.
    pub settings: HashMap<String, Value>,
    /// Pixels are `u8 / 255 * range`, or a formula's value times it.
    #[serde(rename = "R")]
    pub range: f64,
    /// How many elements of the gradient each stored one stands for, if a gradient is stored.
    pub grad_stride: Option<usize>,
    /// How far the library is from exact constants, if it is.
    pub inexact: Option<Inexact>,
}

/// The effect of a library's own f32 constants on its f64 answer.
#[derive(Clone, Debug, Deserialize)]
pub struct Inexact {
    /// Largest absolute difference of a value.
    pub value: f64,
}

#[derive(Deserialize)]
struct Set {
    photo: Option<String>,
    degradation: Option<String>,
    formula: Option<String>,
    shape: Vec<usize>,
}

impl Golden {
    /// Reads the committed files.
    pub fn load() -> Result<Self> {
        let path = root().join("tests/golden/golden.safetensors");
        let bytes = std::fs::read(&path)?;
        let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes)?;
        let metadata = metadata.metadata().as_ref().context("no metadata")?;
        let text = |key: &str| metadata.get(key).with_context(|| format!("no {key} in the metadata"));
        let mut golden = Self {
            tensors: candle_core::safetensors::load(&path, &Device::Cpu)?,
            sets: serde_json::from_str(text("sets")?)?,
            cases: serde_json::from_str(text("cases")?)?,
        };
        golden.add(serde_json::from_slice(&std::fs::read(root().join("tests/golden/presets.json"))?)?)?;
        Ok(golden)
    }

    fn add(&mut self, Presets { sets, cases }: Presets) -> Result<()> {
        self.sets.extend(sets);
        for Answered { case, value, ideal } in cases {
            for (what, numbers) in [("value", Some(value)), ("ideal", ideal)] {
                let Some(numbers) = numbers else { continue };
                self.tensors.insert(format!("cases/{}/{what}", case.name), Tensor::new(numbers, &Device::Cpu)?);
            }
            self.cases.push(case);
        }
        Ok(())
    }

    /// The pair of images of a case, in `dtype`, computed in f64 first.
    pub fn images(&self, case: &Case, dtype: DType) -> Result<(Tensor, Tensor)> {
        let set = self.sets.get(&case.set).with_context(|| format!("no set {}", case.set))?;
        let (pred, target) = match (&set.photo, &set.degradation, &set.formula) {
            (Some(photo), Some(degradation), _) => photo_pair(photo, degradation)?,
            (_, _, Some(formula)) => formula_pair(formula, &set.shape)?,
            _ => {
                let stored = |which: &str| self.tensor(&format!("inputs/{}/{which}", case.set));
                (stored("pred")?, stored("target")?)
            }
        };
        let scale = |image: Tensor| -> Result<Tensor> {
            let unit = match image.dtype() {
                DType::U8 => {
                    let image = image.to_dtype(DType::F64)?;
                    let divisor = Tensor::full(255.0, image.shape(), image.device())?;
                    (image / divisor)?
                }
                _ => image,
            };
            Ok((unit * case.range)?.to_dtype(dtype)?)
        };
        Ok((scale(pred)?, scale(target)?))
    }

    /// A stored result of a case, e.g. `value`.
    pub fn result(&self, case: &Case, what: &str) -> Result<Tensor> {
        self.tensor(&format!("cases/{}/{what}", case.name))
    }

    fn tensor(&self, name: &str) -> Result<Tensor> {
        Ok(self.tensors.get(name).with_context(|| format!("no {name} in the golden file"))?.clone())
    }
}

impl Case {
    /// A number among the settings.
    pub fn number(&self, key: &str) -> Option<f64> {
        self.settings.get(key)?.as_f64()
    }

    /// A list of numbers among the settings.
    pub fn numbers(&self, key: &str) -> Option<Vec<f64>> {
        self.settings.get(key)?.as_array()?.iter().map(Value::as_f64).collect()
    }

    /// A flag among the settings.
    pub fn flag(&self, key: &str) -> Option<bool> {
        self.settings.get(key)?.as_bool()
    }

    /// A word among the settings.
    pub fn word(&self, key: &str) -> Option<&str> {
        self.settings.get(key)?.as_str()
    }
}

fn photo_pair(photo: &str, degradation: &str) -> Result<(Tensor, Tensor)> {
    let image = image::open(root().join(photo))?.to_rgb8();
    let (width, height) = (image.width() as usize, image.height() as usize);
    let target = image.into_raw();
    let degrade = |i: usize| {
        let (row, x, channel) = (i / (3 * width), i / 3 % width, i % 3);
        match degradation {
            "pred = (target & 0xE0) | 0x10" => Ok((target[i] & 0xE0) | 0x10),
            "pred[.., x] = target[.., max(x - 2, 0)]" => Ok(target[(row * width + x.saturating_sub(2)) * 3 + channel]),
            other => bail!("unknown degradation {other}"),
        }
    };
    let pred = (0..target.len()).map(degrade).collect::<Result<Vec<u8>>>()?;
    let planes = |pixels: Vec<u8>| -> Result<Tensor> {
        let image = Tensor::from_vec(pixels, (1, height, width, 3), &Device::Cpu)?;
        Ok(image.permute((0, 3, 1, 2))?.contiguous()?)
    };
    Ok((planes(pred)?, planes(target)?))
}

/// What [`formula_pair`] computes, as the script describes it.
const FORMULA: &str = "c, i, j: channel, row, column; t = ((31*i*i + 17*j*j + 13*i*j + 101*c) mod 256) / 255; \
    b = sin(0.11*i + 0.6*c) * cos(0.07*j); target = 0.5 + 0.3*b + 0.2*(t - 0.5); \
    pred = 0.5 + 0.27*b + 0.06*(t - 0.5) + 0.08*sin(0.7*i + 0.45*j + 2*c)";

fn formula_pair(formula: &str, shape: &[usize]) -> Result<(Tensor, Tensor)> {
    ensure!(formula == FORMULA, "unknown formula {formula}");
    let &[1, _, height, width] = shape else { bail!("a formula of shape {shape:?}") };
    let pixel = |index: usize| {
        let (c, i, j) = (index / (height * width), index / width % height, index % width);
        let t = ((31 * i * i + 17 * j * j + 13 * i * j + 101 * c) % 256) as f64 / 255.0;
        let [c, i, j] = [c, i, j].map(|index| index as f64);
        let b = (0.11 * i + 0.6 * c).sin() * (0.07 * j).cos();
        let pred = 0.5 + 0.27 * b + 0.06 * (t - 0.5) + 0.08 * (0.7 * i + 0.45 * j + 2.0 * c).sin();
        (pred, 0.5 + 0.3 * b + 0.2 * (t - 0.5))
    };
    let (pred, target): (Vec<f64>, Vec<f64>) = (0..shape.iter().product()).map(pixel).unzip();
    Ok((Tensor::from_vec(pred, shape, &Device::Cpu)?, Tensor::from_vec(target, shape, &Device::Cpu)?))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
