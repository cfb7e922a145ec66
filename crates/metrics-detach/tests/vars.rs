//! The graph-free twin of a model in training.

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::{AdamW, Linear, Module, ModuleT, Optimizer, ParamsAdamW, VarBuilder, VarMap, batch_norm, linear};
use metrics_detach::{GraphStats, eval_var_builder};

const CPU: Device = Device::Cpu;

fn address(tensor: &Tensor) -> usize {
    std::ptr::from_ref(&*tensor.storage_and_layout().0).addr()
}

/// A linear layer 3 -> 2 in training, and its twin.
fn layer_and_twin() -> Result<(VarMap, Linear, Linear)> {
    let vars = VarMap::new();
    let layer = linear(3, 2, VarBuilder::from_varmap(&vars, DType::F32, &CPU).pp("fc"))?;
    let twin = linear(3, 2, eval_var_builder(&vars, DType::F32, &CPU)?.pp("fc"))?;
    Ok((vars, layer, twin))
}

/// The message of an error. Candle appends a backtrace, on further lines, where `RUST_BACKTRACE` is set.
fn message<T>(result: Result<T>) -> String {
    let error = result.err().expect("an error").to_string();
    error.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn the_twin_sees_every_optimiser_step_and_tracks_nothing() -> Result<()> {
    let (vars, layer, twin) = layer_and_twin()?;
    let mut optimiser = AdamW::new(vars.all_vars(), ParamsAdamW { lr: 0.1, ..Default::default() })?;
    let x = Tensor::new(&[[1f32, -2., 0.5]], &CPU)?;

    let mut previous = twin.forward(&x)?.to_vec2::<f32>()?;
    for _ in 0..3 {
        optimiser.backward_step(&layer.forward(&x)?.sqr()?.sum_all()?)?;
        let output = twin.forward(&x)?;
        assert!(!output.track_op() && GraphStats::of(&output).is_free());
        assert_eq!(output.to_vec2::<f32>()?, layer.forward(&x)?.to_vec2::<f32>()?);
        assert_ne!(output.to_vec2::<f32>()?, previous);
        previous = output.to_vec2()?;
    }
    Ok(())
}

#[test]
fn the_twin_shares_the_storage() -> Result<()> {
    let (vars, layer, twin) = layer_and_twin()?;
    assert_eq!(address(twin.weight()), address(layer.weight()));
    assert_eq!(twin.bias().map(address), layer.bias().map(address));
    assert!(!twin.weight().track_op() && !twin.weight().is_variable());

    let vb = eval_var_builder(&vars, DType::F32, &CPU)?;
    assert_eq!(address(&vb.get_unchecked("fc.weight")?), address(layer.weight()));
    Ok(())
}

#[test]
fn the_twin_never_adds_a_variable() -> Result<()> {
    let (vars, ..) = layer_and_twin()?;
    let vb = eval_var_builder(&vars, DType::F32, &CPU)?;
    assert!(vb.contains_tensor("fc.weight") && !vb.contains_tensor("fc.scale"));
    let missing = "eval_var_builder: no variable `fc.scale` among the 2 of the VarMap";
    assert_eq!(message(vb.pp("fc").get(2, "scale")), missing);
    assert_eq!(message(vb.get_unchecked("fc.scale")), missing);
    assert_eq!(vars.all_vars().len(), 2);
    Ok(())
}

#[test]
fn a_builder_may_come_before_the_variables() -> Result<()> {
    let vars = VarMap::new();
    let vb = eval_var_builder(&vars, DType::F32, &CPU)?;
    let layer = linear(3, 2, VarBuilder::from_varmap(&vars, DType::F32, &CPU))?;
    assert_eq!(address(linear(3, 2, vb)?.weight()), address(layer.weight()));
    Ok(())
}

#[test]
fn another_shape_is_an_error() -> Result<()> {
    let (vars, ..) = layer_and_twin()?;
    let result = linear(4, 2, eval_var_builder(&vars, DType::F32, &CPU)?.pp("fc"));
    assert_eq!(message(result), "eval_var_builder: variable `fc.weight` is [2, 3] but [2, 4] was asked for");
    Ok(())
}

#[test]
fn another_dtype_is_an_error() -> Result<()> {
    let (vars, ..) = layer_and_twin()?;
    let expected = |name| {
        format!(
            "eval_var_builder: variable `fc.{name}` is f32 but f64 was asked for; a converted copy would not follow training"
        )
    };
    assert_eq!(message(eval_var_builder(&vars, DType::F64, &CPU)), expected("bias"));
    let converting = eval_var_builder(&vars, DType::F32, &CPU)?.to_dtype(DType::F64);
    assert_eq!(message(converting.get((2, 3), "fc.weight")), expected("weight"));
    Ok(())
}

#[test]
fn a_map_of_several_dtypes_is_served_by_dtype() -> Result<()> {
    let vars = VarMap::new();
    let trained = VarBuilder::from_varmap(&vars, DType::F32, &CPU);
    trained.get(2, "scale")?;
    trained.to_dtype(DType::F64).get(2, "offset")?;

    let vb = eval_var_builder(&vars, DType::F32, &CPU)?;
    assert_eq!(vb.get(2, "scale")?.dtype(), DType::F32);
    assert!(message(vb.get(2, "offset")).contains("variable `offset` is f64 but f32 was asked for"));
    assert_eq!(vb.to_dtype(DType::F64).get(2, "offset")?.dtype(), DType::F64);
    Ok(())
}

#[test]
fn a_poisoned_map_still_serves() -> Result<()> {
    let (vars, layer, _) = layer_and_twin()?;
    let poisoner = vars.clone();
    let panicked = std::thread::spawn(move || {
        let _locked = poisoner.data().lock();
        panic!("while the map is locked");
    });
    assert!(panicked.join().is_err() && vars.data().is_poisoned());
    let vb = eval_var_builder(&vars, DType::F32, &CPU)?;
    assert_eq!(address(&vb.get((2, 3), "fc.weight")?), address(layer.weight()));
    Ok(())
}

/// `BatchNorm` turns its running statistics into variables of its own, which copies them. The documentation says so; if this
/// test fails, Candle has changed and the documentation is to follow.
#[test]
fn batch_norm_statistics_are_those_of_the_moment() -> Result<()> {
    let vars = VarMap::new();
    let layer = batch_norm(2, 1e-5, VarBuilder::from_varmap(&vars, DType::F32, &CPU))?;
    let early = batch_norm(2, 1e-5, eval_var_builder(&vars, DType::F32, &CPU)?)?;
    let x = Var::new(&[[1f32, 5.], [3., 9.]], &CPU)?;
    layer.forward_t(&x, true)?;
    let late = batch_norm(2, 1e-5, eval_var_builder(&vars, DType::F32, &CPU)?)?;

    let trained = layer.running_mean().to_vec1::<f32>()?;
    assert_eq!(late.running_mean().to_vec1::<f32>()?, trained);
    assert_ne!(early.running_mean().to_vec1::<f32>()?, trained);
    assert!(!late.forward_t(&x.detach(), false)?.track_op());
    Ok(())
}
