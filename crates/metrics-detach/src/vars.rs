//! The graph-free twin of a model's variables.

use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};

use candle_core::{DType, Device, Result, Shape, Tensor, Var, bail};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder, VarMap};

/// A [`VarBuilder`] whose tensors are the variables of `vars`, detached: a model built from it has the same weights as the
/// model in training, follows every optimiser step, and builds no graph.
///
/// Nothing is copied (each tensor shares its variable's storage), so a twin costs nothing to build. The builder never creates a
/// variable: build the model for training first, from [`VarBuilder::from_varmap`], and the twin by the same code.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::{Module, Optimizer, SGD, VarBuilder, VarMap, linear};
/// use metrics_detach::eval_var_builder;
///
/// let vars = VarMap::new();
/// let model = linear(4, 1, VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu))?;
/// let twin = linear(4, 1, eval_var_builder(&vars, DType::F32, &Device::Cpu)?)?;
///
/// let x = Tensor::ones((2, 4), DType::F32, &Device::Cpu)?;
/// SGD::new(vars.all_vars(), 0.1)?.backward_step(&model.forward(&x)?.sqr()?.mean_all()?)?;
///
/// let (trained, evaluated) = (model.forward(&x)?, twin.forward(&x)?);
/// assert_eq!(trained.to_vec2::<f32>()?, evaluated.to_vec2::<f32>()?);
/// assert!(trained.track_op() && !evaluated.track_op());
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Layers that copy
///
/// A layer that turns a tensor into a variable of its own copies it. In `candle-nn` that is `BatchNorm` with its running
/// statistics: the twin's are those of the moment when it was built. Build a new twin for each evaluation of such a model, and
/// use it with `forward_t(x, false)`.
///
/// # Errors
///
/// Here, if `vars` has variables but none of this dtype on this device. Later, when a layer asks for a variable that does not
/// exist, or that has another shape, dtype or device, since a converted weight would be a copy that training does not reach.
/// Each error names the variable, what it is and what was asked for.
pub fn eval_var_builder(vars: &VarMap, dtype: DType, device: &Device) -> Result<VarBuilder<'static>> {
    let twin = Twin(vars.clone());
    if let Some(message) = twin.mismatch(dtype, device) {
        bail!("eval_var_builder: {message}");
    }
    Ok(VarBuilder::from_backend(Box::new(twin), dtype, device.clone()))
}

/// Hands out the variables of a map as detached tensors.
struct Twin(VarMap);

impl Twin {
    /// The map's contents. Every writer leaves the map whole, so a panic elsewhere while it was locked does not matter here.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Var>> {
        self.0.data().lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is wrong if the map has variables, but none that a builder of this dtype and device could hand out.
    fn mismatch(&self, dtype: DType, device: &Device) -> Option<String> {
        let vars = self.lock();
        if vars.values().any(|var| check(var, dtype, device).is_none()) {
            return None;
        }
        // The first name in order, for the same message every time.
        let (name, var) = vars.iter().min_by_key(|(name, _)| name.as_str())?;
        check(var, dtype, device).map(|problem| format!("variable `{name}` {problem}"))
    }

    fn detached(&self, name: &str, shape: Option<&Shape>, dtype: DType, device: &Device) -> Result<Tensor> {
        let vars = self.lock();
        let Some(var) = vars.get(name) else {
            bail!("eval_var_builder: no variable `{name}` among the {} of the VarMap", vars.len());
        };
        if let Some(shape) = shape.filter(|shape| *shape != var.shape()) {
            bail!("eval_var_builder: variable `{name}` is {:?} but {:?} was asked for", var.dims(), shape.dims());
        }
        if let Some(problem) = check(var, dtype, device) {
            bail!("eval_var_builder: variable `{name}` {problem}");
        }
        Ok(var.as_detached_tensor())
    }
}

/// What keeps `var` from being shared as a tensor of this dtype on this device, if anything.
fn check(var: &Var, dtype: DType, device: &Device) -> Option<String> {
    if var.dtype() != dtype {
        let (got, asked) = (var.dtype().as_str(), dtype.as_str());
        return Some(format!("is {got} but {asked} was asked for; a converted copy would not follow training"));
    }
    if !var.device().same_device(device) {
        let (got, asked) = (var.device().location(), device.location());
        return Some(format!("is on {got:?} but {asked:?} was asked for; a moved copy would not follow training"));
    }
    None
}

impl SimpleBackend for Twin {
    fn get(&self, shape: Shape, name: &str, _: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        self.detached(name, Some(&shape), dtype, device)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        self.detached(name, None, dtype, device)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.lock().contains_key(name)
    }
}
