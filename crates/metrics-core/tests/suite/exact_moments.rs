//! Mean, standard deviation and extremes, against exact integers.

use metrics_core::exact::Moments;
use num_bigint::BigInt;
use proptest::prelude::*;

use crate::exact::{exact, finite};

fn moments(values: &[f64]) -> Moments {
    values.iter().copied().collect()
}

/// Whether `std` is the `f64` nearest to the population standard deviation, decided without rounding: the exact one
/// lies between the midpoints to the neighbours.
fn is_nearest(std: f64, values: &[f64]) -> bool {
    let n = BigInt::from(values.len());
    let exact_values: Vec<_> = values.iter().map(|&x| exact(x)).collect();
    let sum: BigInt = exact_values.iter().sum();
    let squares: BigInt = exact_values.iter().map(|x| x * x).sum();
    let twice_n_std_squared = 4 * (&n * squares - &sum * &sum);
    let twice_midpoint = |neighbour: f64| exact(std) + exact(neighbour);
    let squared = |twice_x: BigInt| (&n * twice_x).pow(2);
    (std == 0.0 || squared(twice_midpoint(std.next_down())) <= twice_n_std_squared)
        && (std == f64::MAX || twice_n_std_squared <= squared(twice_midpoint(std.next_up())))
}

proptest! {
    #[test]
    fn std_is_rounded_once(values in prop::collection::vec(finite(), 1..40)) {
        let std = moments(&values).summary().std;
        prop_assert!(is_nearest(std, &values), "{std:e}");
    }

    #[test]
    fn std_does_not_cancel(offset in -1e12f64..1e12, values in prop::collection::vec(-1.0f64..1.0, 1..40)) {
        let values: Vec<_> = values.into_iter().map(|x| offset + x).collect();
        let std = moments(&values).summary().std;
        prop_assert!(is_nearest(std, &values), "{std:e}");
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
            let s = moments.summary();
            (s.count, [s.mean, s.std, s.min, s.max].map(f64::to_bits))
        };
        prop_assert_eq!(bits(&merged), bits(&moments(&values)));
    }
}

#[test]
fn small_spread_on_a_large_offset() {
    let summary = moments(&[1e8, 1e8 + 1.0, 1e8 + 2.0]).summary();
    assert_eq!(summary.mean, 1e8 + 1.0);
    assert_eq!(summary.std, (2f64 / 3.0).sqrt());
    assert_eq!((summary.count, summary.min, summary.max), (3, 1e8, 1e8 + 2.0));
}

#[test]
fn std_reaches_both_ends_of_the_range() {
    let smallest = f64::from_bits(1);
    assert_eq!(moments(&[f64::MAX, -f64::MAX]).summary().std, f64::MAX);
    assert_eq!(moments(&[smallest, -smallest]).summary().std, smallest);
    assert_eq!(moments(&[0.1; 7]).summary().std, 0.0);
    assert_eq!(moments(&[0.1]).summary().std, 0.0);
}

#[test]
fn what_is_not_finite_shows() {
    let infinite = moments(&[f64::INFINITY, 1.0]).summary();
    assert_eq!((infinite.mean, infinite.min, infinite.max), (f64::INFINITY, 1.0, f64::INFINITY));
    assert!(infinite.std.is_nan());

    let nan = moments(&[1.0, f64::NAN, 2.0]).summary();
    assert_eq!(nan.count, 3);
    assert!([nan.mean, nan.std, nan.min, nan.max].iter().all(|x| x.is_nan()));

    let none = Moments::new().summary();
    assert_eq!((none.count, none.min, none.max), (0, f64::INFINITY, f64::NEG_INFINITY));
    assert!(none.mean.is_nan() && none.std.is_nan());
}

#[test]
fn negative_zero_is_the_smaller() {
    for zeros in [[0.0, -0.0], [-0.0, 0.0]] {
        let summary = moments(&zeros).summary();
        assert_eq!([summary.min, summary.max].map(f64::to_bits), [-0.0f64, 0.0].map(f64::to_bits));
    }
}
