//! `Detached` on real graphs: what it lets go, and what it still shares.

mod common;

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::{Module, VarBuilder, VarMap, linear};
use common::probed;
use metrics_detach::{DetachExt, Detached, GraphStats};

fn address(tensor: &Tensor) -> usize {
    std::ptr::from_ref(&*tensor.storage_and_layout().0).addr()
}

#[test]
fn keeps_no_operation_alive() -> Result<()> {
    let vars = VarMap::new();
    let vb = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
    let (first, second) = (linear(3, 5, vb.pp("first"))?, linear(5, 1, vb.pp("second"))?);
    let (hidden, alive) = probed(&first.forward(&Tensor::ones((4, 3), DType::F32, &Device::Cpu)?)?)?;
    let loss = second.forward(&hidden.relu()?)?.sqr()?.mean_all()?;
    drop(hidden);

    let kept = loss.detached();
    let clone = kept.clone();
    assert!(alive.now(), "the tracked loss owns the probe");
    drop(loss);
    assert!(!alive.now(), "nothing but the detached loss is left, and it owns no operation");
    assert!(clone.to_scalar::<f32>()?.is_finite());
    Ok(())
}

#[test]
fn a_graph_lives_as_long_as_its_tracked_result() -> Result<()> {
    // The counterpart of the test above: without it a probe that never reports `alive` would pass.
    let var = Var::new(1f32, &Device::Cpu)?;
    let (result, alive) = probed(&var)?;
    let history = vec![result.exp()?];
    drop(result);
    assert!(alive.now());
    drop(history);
    assert!(!alive.now());
    Ok(())
}

#[test]
fn later_operations_on_it_build_no_graph() -> Result<()> {
    let var = Var::new(&[1f32, 2.], &Device::Cpu)?;
    let (tracked, alive) = probed(&var)?;
    let mut sum = tracked.detached();
    drop(tracked);
    for _ in 0..3 {
        sum = (&*sum + var.sqr()?.detached().as_ref())?.into();
    }
    assert!(!alive.now() && !sum.track_op());
    assert_eq!(sum.to_vec1::<f32>()?, [4., 14.]);
    Ok(())
}

#[test]
fn every_conversion_detaches() -> Result<()> {
    let var = Var::new(&[1f32, 2.], &Device::Cpu)?;
    let tracked = var.sqr()?;
    let conversions = [
        Detached::from(&tracked),
        Detached::from(tracked.clone()),
        Detached::from(&var),
        Detached::from(var.as_tensor()),
        Detached::from(var.as_tensor().clone()),
        var.detached(),
    ];
    for detached in conversions {
        assert!(!detached.track_op() && !detached.is_variable());
        assert!(!detached.into_inner().track_op());
    }
    Ok(())
}

#[test]
fn shares_the_storage_and_so_follows_a_variable() -> Result<()> {
    let var = Var::new(&[1f32, 2.], &Device::Cpu)?;
    let live = var.detached();
    let snapshot = Detached::from(live.force_contiguous()?);
    assert_eq!(address(&live), address(&var));
    var.set(&Tensor::new(&[3f32, 4.], &Device::Cpu)?)?;
    assert_eq!(live.to_vec1::<f32>()?, [3., 4.]);
    assert_eq!(snapshot.to_vec1::<f32>()?, [1., 2.]);
    Ok(())
}

#[test]
fn compact_keeps_what_fills_its_storage() -> Result<()> {
    let matrix = Tensor::arange(0f32, 24., &Device::Cpu)?.reshape((4, 6))?;
    for full in [matrix.detached(), matrix.t()?.detached()] {
        let compact = full.compact()?;
        assert_eq!((address(&compact), compact.dims()), (address(&matrix), full.dims()));
    }

    let broadcast = Tensor::new(1f32, &Device::Cpu)?.broadcast_as((4, 6))?.detached();
    let compact = broadcast.compact()?;
    assert_eq!(address(&compact), address(&broadcast), "a copy would be larger");
    Ok(())
}

#[test]
fn compact_frees_a_view_from_its_storage() -> Result<()> {
    let matrix = Tensor::arange(0f32, 24., &Device::Cpu)?.reshape((4, 6))?;
    let column = matrix.narrow(1, 2, 1)?.detached();
    let compact = column.compact()?;
    assert_eq!(compact.to_vec2::<f32>()?, [[2.], [8.], [14.], [20.]]);
    assert_eq!((GraphStats::of(&column).bytes, GraphStats::of(&compact).bytes), (96, 16));
    assert!(!compact.track_op());

    let empty = matrix.narrow(0, 0, 0)?.detached().compact()?;
    assert_eq!((empty.dims(), GraphStats::of(&empty).bytes), (&[0, 6][..], 0));
    Ok(())
}

#[test]
fn prints_like_its_tensor() -> Result<()> {
    let tensor = Tensor::new(&[1f32, 2.], &Device::Cpu)?;
    assert_eq!(tensor.detached().to_string(), tensor.to_string());
    assert_eq!(format!("{:?}", tensor.detached()), format!("Detached({tensor:?})"));
    Ok(())
}

#[test]
fn one_element_reads_as_a_number() -> Result<()> {
    for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16, DType::U8, DType::I64] {
        let list = Tensor::new(&[[2f32, 5.], [7., 11.]], &Device::Cpu)?.to_dtype(dtype)?;
        assert_eq!(list.narrow(0, 1, 1)?.narrow(1, 0, 1)?.detached().to_f64()?, 7., "{dtype:?}: a view");
        assert_eq!(list.max_all()?.detached().to_f64()?, 11., "{dtype:?}: a scalar");
        for refused in [list.clone(), list.narrow(0, 0, 0)?] {
            let message = refused.detached().to_f64().unwrap_err().to_string();
            let expected = format!("to_f64: the tensor is {:?}, but must have one element", refused.dims());
            assert!(message.starts_with(&expected), "{message}");
        }
    }
    let tenth = Tensor::new(0.1f32, &Device::Cpu)?.detached().to_f64()?;
    assert_eq!(tenth, f64::from(0.1f32), "the number that the tensor holds, not a nicer one");
    Ok(())
}
