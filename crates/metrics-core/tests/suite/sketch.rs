//! Quantiles: exact while few values are told apart, within the stated bound after, and the same bits in any order.

use metrics_core::QuantileSketch;
use proptest::prelude::*;

const SHARES: [f64; 7] = [0.0, 0.05, 0.25, 0.5, 0.9, 0.95, 1.0];

fn sketch(values: &[f64]) -> QuantileSketch {
    let mut sketch = QuantileSketch::new();
    values.iter().for_each(|&x| sketch.add(x));
    sketch
}

/// The two values next to the rank of a share, and how far between them it lies.
fn neighbours(sorted: &[f64], q: f64) -> (f64, f64, f64) {
    let rank = q * (sorted.len() - 1) as f64;
    let below = rank as usize;
    (sorted[below], sorted[(below + 1).min(sorted.len() - 1)], rank - below as f64)
}

/// The largest error that the documentation allows for a value.
fn allowed(x: f64, relative: f64) -> f64 {
    let near_one = (0.5..2.0).contains(&x.abs());
    let size = if near_one { x.abs().min((x.abs() - 1.0).abs()) } else { x.abs().max(f64::MIN_POSITIVE) };
    if relative.is_infinite() { relative } else { relative * size }
}

fn check_bound(values: &[f64]) -> Result<(), TestCaseError> {
    let sketch = sketch(values);
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let relative = sketch.relative_error();
    for q in SHARES {
        let (below, above, fraction) = neighbours(&sorted, q);
        let exact = below + fraction * (above - below);
        let bound = allowed(below, relative).max(allowed(above, relative));
        // Interpolation rounds a few times, relative to its operands.
        let rounding = 4.0 * f64::EPSILON * below.abs().max(above.abs());
        let error = (sketch.quantile(q) - exact).abs();
        prop_assert!(error <= bound + rounding, "q {q}: {} instead of {exact}, bound {bound}", sketch.quantile(q));
    }
    Ok(())
}

fn score() -> impl Strategy<Value = f64> {
    // Most scores are close to 1, some are anywhere.
    prop_oneof![3 => (0.0f64..45.0).prop_map(|octaves| 1.0 - (-octaves).exp2()), 1 => -1.0f64..=1.0, 1 => Just(1.0)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn scores_keep_the_bound(values in prop::collection::vec(score(), 1..4000)) {
        check_bound(&values)?;
    }

    #[test]
    fn decibels_keep_the_bound(values in prop::collection::vec(5.0f64..80.0, 1..4000)) {
        check_bound(&values)?;
        prop_assert!(sketch(&values).relative_error() <= 0.002);
    }

    #[test]
    fn numbers_of_all_magnitudes_keep_the_bound(values in prop::collection::vec(crate::exact::finite(), 1..3000)) {
        // Roots, so that they span half as many factors of two, and differences of the largest are finite.
        let values: Vec<_> = values.into_iter().map(|x| x.abs().sqrt().copysign(x)).collect();
        check_bound(&values)?;
    }

    #[test]
    fn few_values_are_exact(values in prop::collection::vec(-1e3f64..1e3, 1..1024)) {
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let sketch = sketch(&values);
        prop_assert_eq!(sketch.relative_error(), 0.0);
        for q in SHARES {
            let (below, above, fraction) = neighbours(&sorted, q);
            let exact = if below == above { below } else { below + fraction * (above - below) };
            prop_assert_eq!(sketch.quantile(q), exact);
        }
    }

    #[test]
    fn order_and_split_do_not_matter(
        (values, shuffled) in prop::collection::vec(prop_oneof![9 => score(), 1 => any::<f64>()], 0..4000)
            .prop_flat_map(|values| (Just(values.clone()), Just(values).prop_shuffle())),
        chunk in 1usize..2500,
    ) {
        let mut merged = QuantileSketch::new();
        shuffled.chunks(chunk).for_each(|part| merged.merge(&sketch(part)));
        prop_assert_eq!(&merged, &sketch(&values));
        prop_assert_eq!(merged.count(), values.len() as u64);
    }
}

#[test]
fn scores_near_one_keep_their_distance_from_it() {
    let values: Vec<_> = (1..=5000).map(|i| 1.0 - f64::from(i) * 1e-6).collect();
    let sketch = sketch(&values);
    // 128 buckets for each of the 5 factors of two that have more values than that, and one for each value of the others.
    assert_eq!(sketch.relative_error(), 2f64.powi(-8));
    assert!((sketch.quantile(0.5) - (1.0 - 2500.5e-6)).abs() < 2500.5e-6 / 256.0);
}

#[test]
fn specials_are_exact() {
    let infinite = sketch(&[f64::NEG_INFINITY, 1.0, f64::INFINITY, f64::INFINITY]);
    assert_eq!([0.0, 1.0 / 3.0, 1.0].map(|q| infinite.quantile(q)), [f64::NEG_INFINITY, 1.0, f64::INFINITY]);
    assert_eq!(sketch(&[-0.0, 0.0, -2.0]).quantile(0.5), 0.0);
    let median = |values: &[f64]| sketch(values).quantile(0.5);
    assert_eq!(median(&[f64::NEG_INFINITY, 1.0]), f64::NEG_INFINITY);
    assert_eq!(median(&[1.0, f64::INFINITY]), f64::INFINITY);
    assert_eq!(median(&[-f64::MAX, f64::MAX]), 0.0);
    assert!(median(&[f64::NEG_INFINITY, f64::INFINITY]).is_nan());
    assert!(sketch(&[1.0, f64::NAN]).quantile(0.0).is_nan());
    assert!(QuantileSketch::new().quantile(0.5).is_nan());
    assert!(sketch(&[1.0]).quantile(1.5).is_nan() && sketch(&[1.0]).quantile(f64::NAN).is_nan());
}

#[test]
fn a_million_values_stay_in_the_bound_and_in_the_buckets() {
    // Multiples of the golden ratio, modulo 1: evenly spread in any prefix.
    let values = (1..=1_000_000).map(|i| (f64::from(i) * 0.618_033_988_749_894_9).fract());
    let mut sketch = QuantileSketch::new();
    values.for_each(|x| sketch.add(x));
    assert_eq!(sketch.count(), 1_000_000);
    for q in [0.05, 0.5, 0.95] {
        // The even spread itself is within a few millionths.
        assert!((sketch.quantile(q) - q).abs() <= q * sketch.relative_error() + 1e-5, "{q}: {}", sketch.quantile(q));
    }
    assert!(sketch.relative_error() <= 2f64.powi(-6));
}
