//! Mean, standard deviation and extremes, against exact integers.

use metrics_core::exact::Moments;
use num_bigint::BigInt;
use proptest::prelude::*;

use crate::exact::{exact, finite};

fn moments(values: &[f64]) -> Moments {
    values.iter().copied().collect()
}

/// Whether `std` is the `f64` nearest to the population standard deviation of values with weights, decided without
/// rounding: the exact one lies between the midpoints to the neighbours.
fn is_nearest(std: f64, weighted: &[(f64, f64)]) -> bool {
    let exact_values: Vec<_> = weighted.iter().map(|&(x, weight)| (exact(x), exact(weight))).collect();
    let weight: BigInt = exact_values.iter().map(|(_, weight)| weight).sum();
    let sum: BigInt = exact_values.iter().map(|(x, weight)| weight * x).sum();
    let squares: BigInt = exact_values.iter().map(|(x, weight)| weight * x * x).sum();
    let twice_weight_std_squared = 4 * (&weight * squares - &sum * &sum);
    let twice_midpoint = |neighbour: f64| exact(std) + exact(neighbour);
    let squared = |twice_x: BigInt| (&weight * twice_x).pow(2);
    (std == 0.0 || squared(twice_midpoint(std.next_down())) <= twice_weight_std_squared)
        && (std == f64::MAX || twice_weight_std_squared <= squared(twice_midpoint(std.next_up())))
}

fn unweighted(values: &[f64]) -> Vec<(f64, f64)> {
    values.iter().map(|&x| (x, 1.0)).collect()
}

proptest! {
    #[test]
    fn std_is_rounded_once(values in prop::collection::vec(finite(), 1..40)) {
        let std = moments(&values).std();
        prop_assert!(is_nearest(std, &unweighted(&values)), "{std:e}");
    }

    #[test]
    fn std_does_not_cancel(offset in -1e12f64..1e12, values in prop::collection::vec(-1.0f64..1.0, 1..40)) {
        let values: Vec<_> = values.into_iter().map(|x| offset + x).collect();
        let std = moments(&values).std();
        prop_assert!(is_nearest(std, &unweighted(&values)), "{std:e}");
    }

    #[test]
    fn weighted_std_is_rounded_once(weighted in prop::collection::vec((finite(), finite().prop_map(f64::abs)), 1..20)) {
        let mut moments = Moments::new();
        weighted.iter().for_each(|&(x, weight)| moments.add_weighted(x, weight));
        prop_assert_eq!(moments.count(), weighted.iter().filter(|(_, weight)| *weight > 0.0).count() as u64);
        if moments.count() > 0 {
            prop_assert!(is_nearest(moments.std(), &weighted), "{:e}", moments.std());
        }
    }

    #[test]
    fn order_and_split_do_not_matter(
        (values, shuffled) in prop::collection::vec(any::<f64>(), 1..40)
            .prop_flat_map(|values| (Just(values.clone()), Just(values).prop_shuffle())),
        chunk in 1usize..20,
    ) {
        let mut merged = Moments::new();
        shuffled.chunks(chunk).for_each(|part| merged.merge(&moments(part)));
        let bits = |moments: &Moments| {
            let numbers = [moments.mean(), moments.std(), moments.min(), moments.max()];
            (moments.count(), numbers.map(f64::to_bits))
        };
        prop_assert_eq!(bits(&merged), bits(&moments(&values)));
    }
}

#[test]
fn small_spread_on_a_large_offset() {
    let moments = moments(&[1e8, 1e8 + 1.0, 1e8 + 2.0]);
    assert_eq!(moments.mean(), 1e8 + 1.0);
    assert_eq!(moments.std(), (2f64 / 3.0).sqrt());
    assert_eq!((moments.count(), moments.min(), moments.max()), (3, 1e8, 1e8 + 2.0));
}

#[test]
fn std_reaches_both_ends_of_the_range() {
    let smallest = f64::from_bits(1);
    assert_eq!(moments(&[f64::MAX, -f64::MAX]).std(), f64::MAX);
    assert_eq!(moments(&[smallest, -smallest]).std(), smallest);
    assert_eq!(moments(&[0.1; 7]).std(), 0.0);
    assert_eq!(moments(&[0.1]).std(), 0.0);
}

#[test]
fn what_is_not_finite_shows() {
    let infinite = moments(&[f64::INFINITY, 1.0]);
    assert_eq!((infinite.mean(), infinite.min(), infinite.max()), (f64::INFINITY, 1.0, f64::INFINITY));
    assert!(infinite.std().is_nan());

    let nan = moments(&[1.0, f64::NAN, 2.0]);
    assert_eq!(nan.count(), 3);
    assert!([nan.mean(), nan.std(), nan.min(), nan.max()].iter().all(|x| x.is_nan()));

    let none = Moments::new();
    assert_eq!((none.count(), none.min(), none.max()), (0, f64::INFINITY, f64::NEG_INFINITY));
    assert!(none.mean().is_nan() && none.std().is_nan());
}

#[test]
fn negative_zero_is_the_smaller() {
    for zeros in [[0.0, -0.0], [-0.0, 0.0]] {
        let moments = moments(&zeros);
        assert_eq!([moments.min(), moments.max()].map(f64::to_bits), [-0.0f64, 0.0].map(f64::to_bits));
    }
}
