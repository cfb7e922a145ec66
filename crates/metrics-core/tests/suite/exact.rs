//! Exact sums against an oracle in decimal: the standard library prints every `f64` exactly and reads every decimal to
//! the nearest `f64`, and integers of any length do the rest.

use metrics_core::exact::{ExactSum, WeightedSum};
use num_bigint::{BigInt, Sign};
use proptest::prelude::*;

/// `x · 10^1074`, an integer for every finite `x`.
pub(crate) fn exact(x: f64) -> BigInt {
    format!("{x:.1074}").replace('.', "").parse().expect("digits")
}

/// The `f64` nearest to `dividend · 10^-1074 / divisor`.
fn nearest_quotient(dividend: &BigInt, divisor: impl Into<BigInt>) -> f64 {
    let (sign, divisor) = (if dividend.sign() == Sign::Minus { "-" } else { "" }, divisor.into());
    // No midpoint between two f64 has more than 1075 decimals: beyond them, only whether there is a remainder counts.
    let dividend = dividend.magnitude() * 10u64.pow(6);
    let (quotient, remainder) = (&dividend / divisor.magnitude(), &dividend % divisor.magnitude());
    let sticky = u8::from(remainder != 0u8.into());
    format!("{sign}{quotient}{sticky}e-1081").parse().expect("a number")
}

/// Finite numbers of all magnitudes, and small multiples of a few powers of two, which cancel and tie.
pub(crate) fn finite() -> impl Strategy<Value = f64> {
    use prop::num::f64::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    let crowded = (-9i32..=9, prop::sample::select(vec![-1074, -1022, -53, 0, 1, 52, 53, 970, 1020])).prop_map(
        |(multiple, exponent)| f64::from(multiple) * 2f64.powi(exponent / 2) * 2f64.powi(exponent - exponent / 2),
    );
    prop_oneof![POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO, crowded]
}

fn with_special() -> impl Strategy<Value = f64> {
    prop_oneof![8 => finite(), 1 => Just(f64::INFINITY), 1 => Just(f64::NEG_INFINITY), 1 => Just(f64::NAN)]
}

fn sum(values: &[f64]) -> ExactSum {
    values.iter().copied().collect()
}

fn weighted_sum(weighted: &[(f64, f64)]) -> WeightedSum {
    let mut sum = WeightedSum::new();
    weighted.iter().for_each(|&(x, weight)| sum.add(x, weight));
    sum
}

proptest! {
    #[test]
    fn value_is_the_exact_sum_rounded_once(values in prop::collection::vec(finite(), 0..60)) {
        let exact: BigInt = values.iter().map(|&x| exact(x)).sum();
        prop_assert_eq!(sum(&values).value().to_bits(), nearest_quotient(&exact, 1).to_bits());
    }

    #[test]
    fn mean_is_the_exact_mean_rounded_once(values in prop::collection::vec(finite(), 1..60), count in 1u64..) {
        let exact: BigInt = values.iter().map(|&x| exact(x)).sum();
        for count in [values.len() as u64, count] {
            prop_assert_eq!(sum(&values).mean(count).to_bits(), nearest_quotient(&exact, count).to_bits());
        }
    }

    #[test]
    fn a_weighted_mean_is_rounded_once(
        weighted in prop::collection::vec((finite(), finite().prop_map(f64::abs)), 1..30),
        positive in 1e-300f64..1e300,
    ) {
        let weighted: Vec<_> = weighted.into_iter().chain([(positive, positive)]).collect();
        let products: BigInt = weighted.iter().map(|&(x, weight)| exact(x) * exact(weight)).sum();
        let weights: BigInt = weighted.iter().map(|&(_, weight)| exact(weight)).sum();
        let sum = weighted_sum(&weighted);
        prop_assert_eq!(sum.mean().to_bits(), nearest_quotient(&products, weights).to_bits());
        let unit = BigInt::from(10u8).pow(1074);
        prop_assert_eq!(sum.value().to_bits(), nearest_quotient(&products, unit).to_bits());
    }

    #[test]
    fn weights_do_not_depend_on_order_and_split(
        (weighted, shuffled) in prop::collection::vec((with_special(), 0.0f64..1e9), 0..40)
            .prop_flat_map(|weighted| (Just(weighted.clone()), Just(weighted).prop_shuffle())),
        chunk in 1usize..20,
    ) {
        let mut merged = WeightedSum::new();
        shuffled.chunks(chunk).for_each(|part| merged.merge(&weighted_sum(part)));
        prop_assert_eq!(&merged, &weighted_sum(&weighted));
    }

    #[test]
    fn order_and_split_do_not_matter(
        (values, shuffled) in prop::collection::vec(with_special(), 0..60)
            .prop_flat_map(|values| (Just(values.clone()), Just(values).prop_shuffle())),
        chunk in 1usize..20,
    ) {
        let whole = sum(&values);
        let mut merged = ExactSum::new();
        shuffled.chunks(chunk).for_each(|part| merged.merge(&sum(part)));
        prop_assert_eq!(&merged, &whole);
        prop_assert_eq!(merged.value().to_bits(), whole.value().to_bits());
    }

    #[test]
    fn infinities_and_nan_follow_ieee(values in prop::collection::vec(with_special(), 0..20)) {
        let has = |special: f64| values.iter().any(|x| x.total_cmp(&special).is_eq());
        let expected = match (has(f64::NAN), has(f64::INFINITY), has(f64::NEG_INFINITY)) {
            (true, _, _) | (_, true, true) => f64::NAN,
            (_, true, _) => f64::INFINITY,
            (_, _, true) => f64::NEG_INFINITY,
            _ => return Ok(()),
        };
        prop_assert_eq!(sum(&values).value().to_bits(), expected.to_bits());
    }
}

#[test]
fn ties_go_to_even() {
    let two53 = 9_007_199_254_740_992.0;
    assert_eq!(sum(&[two53, 1.0]).value(), two53);
    assert_eq!(sum(&[two53, 1.0, f64::from_bits(1)]).value(), two53 + 2.0);
    assert_eq!(sum(&[two53 + 2.0, 1.0]).value(), two53 + 4.0);
    assert_eq!(sum(&[two53 + 2.0, 1.0, -f64::from_bits(1)]).value(), two53 + 2.0);
}

#[test]
fn overflow_is_decided_by_the_exact_sum() {
    assert_eq!(sum(&[f64::MAX, f64::MAX]).value(), f64::INFINITY);
    assert_eq!(sum(&[f64::MAX, f64::MAX]).mean(2), f64::MAX);
    assert_eq!(sum(&[f64::MAX, f64::MAX, -f64::MAX]).value(), f64::MAX);
    let half_step = (f64::MAX - f64::MAX.next_down()) / 2.0;
    assert_eq!(sum(&[-f64::MAX, -half_step]).value(), f64::NEG_INFINITY);
    assert_eq!(sum(&[f64::MAX, half_step.next_down()]).value(), f64::MAX);
}

#[test]
fn zero_is_positive_unless_rounded_from_below() {
    let smallest = f64::from_bits(1);
    for zero in [sum(&[]), sum(&[-0.0, -0.0]), sum(&[1.5, -1.5])] {
        assert_eq!(zero.value().to_bits(), 0.0f64.to_bits());
    }
    assert_eq!(sum(&[-smallest]).mean(4).to_bits(), (-0.0f64).to_bits());
    assert!(sum(&[]).mean(0).is_nan());
}

#[test]
fn many_additions_do_not_drift() {
    let tenths: ExactSum = std::iter::repeat_n(0.1, 1_000_000).collect();
    // A running f64 sum gives 100000.00000133288.
    assert_eq!(tenths.value(), 100_000.0);
    assert_eq!(tenths.mean(1_000_000), 0.1);
}

#[test]
fn a_weight_of_zero_leaves_a_value_out() {
    let sum = weighted_sum(&[(f64::NAN, 0.0), (2.0, 0.5), (f64::INFINITY, 0.0)]);
    assert_eq!((sum.value(), sum.mean(), sum.weight().value()), (1.0, 2.0, 0.5));
    assert!(weighted_sum(&[(1.0, 0.0)]).mean().is_nan());
}

#[test]
fn products_beyond_the_range_of_f64_are_kept() {
    // The first product underflows, the others overflow: in f64 arithmetic this is NaN.
    let sum = weighted_sum(&[(1e-300, 1e-300), (f64::MAX, 1e300), (-f64::MAX, 1e300)]);
    assert_eq!(sum.value(), 0.0);
    let tiny = weighted_sum(&[(1e-300, 1e-300)]);
    assert_eq!(tiny.mean(), 1e-300);
}
