//! `Detach` for every kind of container.

mod common;

use std::collections::{BTreeMap, HashMap};

use candle_core::{Device, Result, Tensor, Var};
use common::{Alive, probed};
use metrics_detach::{Detach, Detached, GraphStats};

/// `n` tracked scalars 0, 1, .., each with a probe in its graph.
fn tracked(n: usize) -> Result<(Vec<Tensor>, Vec<Alive>)> {
    let pairs = (0..n).map(|i| {
        let var = Var::new(i as f32, &Device::Cpu)?;
        let (tensor, alive) = probed(&var)?;
        Ok((tensor.affine(1., 0.)?, alive))
    });
    pairs.collect::<Result<Vec<_>>>().map(|pairs| pairs.into_iter().unzip())
}

/// Detaches what `build` makes of tracked scalars and checks that the graphs go when the original goes.
fn survives_without_graph<C: Detach>(n: usize, build: impl FnOnce(Vec<Tensor>) -> C) -> Result<C::Output> {
    let (tensors, alive) = tracked(n)?;
    let container = build(tensors);
    let detached = container.to_detached();
    assert!(alive.iter().all(Alive::now));
    drop(container);
    assert!(!alive.iter().any(Alive::now));
    Ok(detached)
}

fn value(detached: &Detached) -> f32 {
    assert!(!detached.track_op());
    detached.to_scalar().expect("a scalar")
}

#[test]
fn sequences() -> Result<()> {
    let vec: Vec<Detached> = survives_without_graph(3, |t| t)?;
    assert_eq!(vec.iter().map(value).collect::<Vec<_>>(), [0., 1., 2.]);
    assert!(GraphStats::of_all(&vec).is_free());

    let array: [Detached; 2] = survives_without_graph(2, |t| [t[0].clone(), t[1].clone()])?;
    assert_eq!(array.each_ref().map(value), [0., 1.]);

    let (tensors, _) = tracked(2)?;
    let slice: Vec<Detached> = tensors[1..].to_detached();
    assert_eq!(value(&slice[0]), 1.);
    Ok(())
}

#[test]
fn tuples_of_one_to_four() -> Result<()> {
    let (a,) = survives_without_graph(1, |t| (t[0].clone(),))?;
    assert_eq!(value(&a), 0.);
    let (a, b) = survives_without_graph(2, |t| (t[0].clone(), t[1].clone()))?;
    assert_eq!((value(&a), value(&b)), (0., 1.));
    let (a, b, c) = survives_without_graph(3, |t| (t[0].clone(), t[1].clone(), t[2].clone()))?;
    assert_eq!((value(&a), value(&b), value(&c)), (0., 1., 2.));
    let (a, b, c, d) = survives_without_graph(4, |t| (t[0].clone(), t[1].clone(), t[2].clone(), t[3].clone()))?;
    assert_eq!((value(&a), value(&b), value(&c), value(&d)), (0., 1., 2., 3.));
    Ok(())
}

#[test]
fn maps() -> Result<()> {
    let names = || ["a", "b"].map(String::from);
    let hash: HashMap<String, Detached> =
        survives_without_graph(2, |t| names().into_iter().zip(t).collect::<HashMap<_, _>>())?;
    assert_eq!((hash.len(), value(&hash["a"]), value(&hash["b"])), (2, 0., 1.));

    let tree: BTreeMap<String, Detached> =
        survives_without_graph(2, |t| names().into_iter().zip(t).collect::<BTreeMap<_, _>>())?;
    assert_eq!((tree.len(), value(&tree["a"]), value(&tree["b"])), (2, 0., 1.));
    Ok(())
}

#[test]
fn options_and_boxes() -> Result<()> {
    let some: Option<Detached> = survives_without_graph(1, |mut t| t.pop())?;
    assert_eq!(some.as_ref().map(value), Some(0.));
    assert!(None::<Tensor>.to_detached().is_none());
    let boxed: Box<Detached> = survives_without_graph(1, |mut t| Box::new(t.remove(0)))?;
    assert_eq!(value(&boxed), 0.);
    Ok(())
}

#[test]
fn single_tensors() -> Result<()> {
    let var = Var::new(2f32, &Device::Cpu)?;
    assert_eq!(value(&var.to_detached()), 2.);
    assert_eq!(value(&var.as_tensor().to_detached()), 2.);
    assert_eq!(value(&var.to_detached().to_detached()), 2.);
    Ok(())
}

#[test]
fn nested_with_plain_values() -> Result<()> {
    let history = survives_without_graph(2, |t| {
        vec![(0usize, String::from("first"), Some(t[0].clone())), (1, String::from("second"), Some(t[1].clone()))]
    })?;
    let [(0, first, Some(a)), (1, second, Some(b))] = history.as_slice() else { panic!("the structure is kept") };
    assert_eq!((first.as_str(), second.as_str(), value(a), value(b)), ("first", "second", 0., 1.));
    Ok(())
}
