//! What tracks, what does not, and what keeps a graph alive.

use candle_core::{Device, Tensor, Var};
use metrics_core::{Metric, MetricCollection, Reduction, Result, State, Statistics};
use metrics_detach::eval_scope;

use crate::toy::{Mae, REDUCTIONS, batch, probe, zeros};

#[test]
fn forward_is_differentiable() -> Result<()> {
    let pred = Var::from_tensor(&batch(&[0.5, 2.0]))?;
    let value = Mae::new(Reduction::Mean).forward(&pred, &zeros(&pred))?;
    let gradients = value.backward()?;
    let gradient = gradients.get(&pred).expect("a gradient of the prediction");
    // Of the mean of 8 absolute values of positive numbers.
    assert_eq!(gradient.flatten_all()?.to_vec1::<f32>()?, [1.0 / 8.0; 8]);
    Ok(())
}

#[test]
fn update_and_state_keep_no_graph() -> Result<()> {
    for reduction in REDUCTIONS {
        let mut metric = Mae::new(reduction);
        let (pred, graph) = probe(&batch(&[0.5, 2.0]))?;
        let target = zeros(&pred);
        metric.update(&pred, &target)?;
        let value = metric.forward(&pred, &target)?;

        drop(pred);
        assert!(graph.upgrade().is_some(), "the value of forward holds the graph");
        drop(value);
        assert!(graph.upgrade().is_none(), "the state of {reduction} holds the graph");
        assert_eq!(metric.updates(), 2);
    }
    Ok(())
}

#[test]
fn a_collection_keeps_no_graph() -> Result<()> {
    let mut metrics = MetricCollection::new();
    for reduction in REDUCTIONS {
        metrics.insert(reduction.to_string(), Mae::new(reduction))?;
    }
    let (pred, graph) = probe(&batch(&[0.5, 2.0]))?;
    let target = zeros(&pred);
    metrics.update(&pred, &target)?;
    let outputs = metrics.forward(&pred, &target)?;
    assert!(outputs.iter().all(|(_, value)| value.track_op()));

    drop(pred);
    assert!(graph.upgrade().is_some());
    drop(outputs);
    assert!(graph.upgrade().is_none());
    assert_eq!(metrics.compute()?.len(), REDUCTIONS.len());
    Ok(())
}

#[test]
fn nothing_tracks_in_an_eval_scope() -> Result<()> {
    let weight = Var::new(&[3f32], &Device::Cpu)?;
    let pred = Var::from_tensor(&batch(&[0.5, 2.0]))?;
    for mut metric in [Mae::new(Reduction::Mean), Mae::weighted(weight)] {
        let target = zeros(&pred);
        assert!(metric.forward(&pred, &target)?.track_op());
        assert!(!eval_scope(|| metric.forward(&pred, &target))?.track_op());
    }
    Ok(())
}

#[test]
fn statistics_hold_no_graph() -> Result<()> {
    let (scores, graph) = probe(&Tensor::new(&[0.5f32, 1.0], &Device::Cpu)?)?;
    let statistics = Statistics::new(2).with("score", scores);
    assert!(graph.upgrade().is_none());

    let mut state = State::scores(Reduction::None);
    state.accumulate(statistics)?;
    assert_eq!(state.values("score")?, [0.5, 1.0]);
    Ok(())
}
