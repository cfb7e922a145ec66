//! `GraphStats` on graphs whose size is known.

use std::thread;

use candle_core::{DType, Device, Result, Tensor, Var};
use metrics_detach::{DetachExt, GraphStats};

/// 1 KiB of zeros.
fn variable() -> Result<Var> {
    Var::zeros(256, DType::F32, &Device::Cpu)
}

fn stats(nodes: usize, variables: usize, bytes: usize) -> GraphStats {
    GraphStats { nodes, variables, bytes }
}

#[test]
fn nothing_and_single_tensors() -> Result<()> {
    assert_eq!(GraphStats::of_all::<Tensor>([]), GraphStats::default());
    let var = variable()?;
    assert_eq!(GraphStats::of(&var), stats(1, 1, 1024));
    assert_eq!(GraphStats::of(&var.detached()), stats(0, 0, 1024));
    assert!(GraphStats::of(&var.detached()).is_free() && !GraphStats::of(&var).is_free());
    Ok(())
}

#[test]
fn a_chain_counts_every_result_and_the_variable() -> Result<()> {
    let chain = variable()?.sqr()?.exp()?.sin()?;
    assert_eq!(GraphStats::of(&chain), stats(4, 1, 4 * 1024));
    assert_eq!(GraphStats::of(&chain.detached()), stats(0, 0, 1024));
    Ok(())
}

#[test]
fn a_node_used_twice_and_a_shared_storage_count_once() -> Result<()> {
    let var = variable()?;
    let square = var.sqr()?;
    assert_eq!(GraphStats::of(&(&square * &square)?), stats(3, 1, 3 * 1024));

    let views = Tensor::cat(&[var.narrow(0, 0, 8)?, var.narrow(0, 8, 8)?], 0)?;
    assert_eq!(GraphStats::of(&views), stats(4, 1, 1024 + 64), "two views of one storage");
    Ok(())
}

#[test]
fn several_variables_and_an_untracked_operand() -> Result<()> {
    let (a, b) = (variable()?, variable()?);
    let constant = Tensor::ones(256, DType::F32, &Device::Cpu)?;
    let sum = ((a.as_tensor() + b.as_tensor())? + &constant)?;
    // The constant is kept alive too, but Candle does not list it: the figures are a lower bound.
    assert_eq!(GraphStats::of(&sum), stats(4, 2, 4 * 1024));
    Ok(())
}

#[test]
fn a_tracked_tensor_without_gradient_has_at_least_one_node() -> Result<()> {
    let comparison = variable()?.sqr()?.ge(0.5)?;
    assert!(comparison.track_op() && comparison.sorted_nodes().is_empty());
    assert_eq!(GraphStats::of(&comparison), stats(1, 0, 256));
    assert!(!GraphStats::of(&comparison).is_free());

    let rounded = variable()?.round()?;
    assert_eq!(GraphStats::of(&rounded), stats(1, 0, 1024));
    Ok(())
}

#[test]
fn several_tensors_share_their_common_part() -> Result<()> {
    let var = variable()?;
    let square = var.sqr()?;
    let list = [square.exp()?, square.sin()?, square.detach()];
    assert_eq!(GraphStats::of_all(&list), stats(4, 1, 4 * 1024));
    assert_eq!(GraphStats::of_all([&square, &list[0], &square]), stats(3, 1, 3 * 1024));
    assert_eq!(GraphStats::of_all([&list[0].detached(), &square.detached()]), stats(0, 0, 2 * 1024));
    Ok(())
}

#[test]
fn a_running_sum_grows_and_a_detached_one_does_not() -> Result<()> {
    let var = variable()?;
    let mut leaking = Tensor::zeros(256, DType::F32, &Device::Cpu)?;
    let mut guarded = leaking.detached();
    for step in 1..=10 {
        let metric = var.sqr()?;
        leaking = (leaking + &metric)?;
        guarded = (guarded.as_ref() + metric.detached().as_ref())?.into();
        assert_eq!(GraphStats::of(&leaking), stats(2 * step + 1, 1, (2 * step + 1) * 1024));
        assert_eq!(GraphStats::of(&guarded), stats(0, 0, 1024));
    }
    Ok(())
}

#[test]
fn a_view_counts_the_storage_that_it_pins() -> Result<()> {
    let row = Tensor::zeros((64, 256), DType::F32, &Device::Cpu)?.narrow(0, 3, 1)?;
    assert_eq!(GraphStats::of(&row), stats(0, 0, 64 * 1024));
    Ok(())
}

#[test]
fn a_deep_graph_is_measured_rather_than_overflowing_the_stack() -> Result<()> {
    const DEPTH: usize = 200_000;
    let var = Var::new(1f32, &Device::Cpu)?;
    let mut chain = var.as_tensor().clone();
    for _ in 0..DEPTH {
        chain = (chain + 1.)?;
    }
    assert_eq!(GraphStats::of(&chain), stats(DEPTH + 1, 1, 4 * (DEPTH + 1)));

    // Dropping the chain recurses as deep as walking it does; Candle leaves finding a stack for that to the caller.
    let large_stack = thread::Builder::new().stack_size(1 << 30);
    large_stack.spawn(move || drop(chain))?.join().expect("the stack is large enough");
    Ok(())
}
