//! Arrays against sums of single numbers, bit for bit.

use proptest::prelude::*;

use super::*;
use crate::exact::WeightedSum;

const LEN: usize = 3;

/// To which element which value is added.
type Additions = Vec<(usize, f64)>;

/// Numbers of all magnitudes, subnormal ones included, and small integers, which cancel.
fn finite() -> impl Strategy<Value = f64> {
    use prop::num::f64::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    let sized = (-1.0f64..1.0, -300i32..300).prop_map(|(x, exponent)| x * 10f64.powi(exponent));
    prop_oneof![POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO, sized, (-3i32..=3).prop_map(f64::from)]
}

fn with_special() -> impl Strategy<Value = f64> {
    prop_oneof![20 => finite(), 1 => Just(f64::INFINITY), 1 => Just(f64::NEG_INFINITY), 1 => Just(f64::NAN)]
}

/// Values for elements, and the same in another order.
fn additions(value: impl Strategy<Value = f64>) -> impl Strategy<Value = (Additions, Additions)> {
    let additions = prop::collection::vec((0..LEN, value), 0..60);
    additions.prop_flat_map(|additions| (Just(additions.clone()), Just(additions).prop_shuffle()))
}

fn array(additions: &[(usize, f64)]) -> ExactArray {
    let mut array = ExactArray::new(LEN);
    additions.iter().for_each(|&(index, x)| array.add(index, x));
    array
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|x| x.to_bits()).collect()
}

fn saved(array: &ExactArray) -> [Vec<u64>; 2] {
    [array.limb_words().collect(), array.special_words().collect()]
}

fn loaded([limbs, special]: &[Vec<u64>; 2]) -> Result<ExactArray, String> {
    let mut array = ExactArray::from_limb_words(LEN, limbs)?;
    array.set_special_words(special)?;
    Ok(array)
}

proptest! {
    #[test]
    fn each_element_is_an_exact_sum((additions, _) in additions(with_special())) {
        let array = array(&additions);
        let sum = |index| additions.iter().filter(|(i, _)| *i == index).map(|(_, x)| *x).collect::<ExactSum>().value();
        let sums: Vec<_> = (0..LEN).map(sum).collect();
        prop_assert_eq!(bits(&array.values()), bits(&sums));
        prop_assert_eq!(bits(&(0..LEN).map(|index| array.value(index)).collect::<Vec<_>>()), bits(&sums));
    }

    #[test]
    fn products_are_exact(products in prop::collection::vec((finite(), finite()), 0..40)) {
        let (mut array, mut sum) = (ExactArray::new(1), WeightedSum::new());
        for &(a, b) in &products {
            array.add_product(0, a, b);
            sum.add(a, b);
        }
        prop_assert_eq!(array.value(0).to_bits(), sum.value().to_bits());
    }

    #[test]
    fn order_and_split_do_not_matter((additions, shuffled) in additions(with_special()), chunk in 1usize..20) {
        let whole = array(&additions);
        let mut merged = ExactArray::new(LEN);
        for part in shuffled.chunks(chunk) {
            merged.merge(&array(part)).expect("equal lengths");
        }
        prop_assert_eq!(&merged, &whole);
        prop_assert_eq!(bits(&merged.values()), bits(&whole.values()));
        prop_assert_eq!(saved(&merged), saved(&whole));
    }

    #[test]
    fn what_was_saved_goes_on(
        (additions, more) in (additions(with_special()), additions(with_special())).prop_map(|(a, b)| (a.0, b.0)),
    ) {
        let mut array = array(&additions);
        let mut resumed = loaded(&saved(&array)).expect("it was saved");
        prop_assert_eq!(&resumed, &array);
        prop_assert_eq!(saved(&resumed), saved(&array));
        for (index, x) in more {
            array.add(index, x);
            resumed.add(index, x);
        }
        prop_assert_eq!(saved(&resumed), saved(&array));
    }
}

#[test]
fn the_window_grows_both_ways_and_is_saved_without_what_is_not_needed() {
    let mut array = ExactArray::new(LEN);
    assert_eq!((array.bytes(), array.values()), (0, vec![0.0; LEN]));
    let empty = saved(&array);
    assert_eq!(empty, [vec![0], vec![]]);

    array.add_all(&[-1.0, 1.0, 0.0]).expect("three values");
    let (ones, narrow) = (saved(&array), array.bytes());
    assert_eq!(narrow, LEN * 2 * 8);
    let smallest = f64::from_bits(1);
    for x in [smallest, f64::MAX, -f64::MAX, -smallest] {
        array.add(0, x);
    }
    assert!(array.bytes() > narrow);
    assert_eq!((array.values(), saved(&array)), (vec![-1.0, 1.0, 0.0], ones));
    array.add_all(&[1.0, -1.0, -0.0]).expect("three values");
    assert_eq!((bits(&array.values()), saved(&array)), (vec![0; LEN], empty));
    assert_eq!(array, ExactArray::new(LEN));
}

#[test]
fn products_beyond_the_range_of_f64_are_kept() {
    let mut array = ExactArray::new(1);
    for (a, b) in [(f64::MAX, f64::MAX), (1e-300, 1e-300), (-f64::MAX, f64::MAX)] {
        array.add_product(0, a, b);
    }
    assert_eq!(array.value(0).to_bits(), 0.0f64.to_bits());
    assert_ne!(array, ExactArray::new(1));
    array.add_product(0, -1e-300, 1e-300);
    assert_eq!(array, ExactArray::new(1));
    array.add_product(0, -f64::MAX, f64::MAX);
    assert_eq!(array.value(0), f64::NEG_INFINITY);
    array.add_product(0, 0.0, f64::INFINITY);
    assert!(array.value(0).is_nan());
}

#[test]
fn carries_have_room_after_loading() {
    // The most that two limbs can have, again and again.
    let top = 2f64.powi(63);
    let mut array = array(&[(0, top.next_down()), (0, top.next_down()), (1, -top)]);
    for _ in 0..200 {
        array = loaded(&saved(&array)).expect("it was saved");
        let other = array.clone();
        array.merge(&other).expect("equal lengths");
    }
    assert_eq!(array.values(), [top.next_down() * 2f64.powi(201), -top * 2f64.powi(200), 0.0]);
}

#[test]
fn ordinary_data_take_little_memory() {
    let mut array = ExactArray::new(64);
    let mut state = 1u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 11) as f64 + 0.5) / 2f64.powi(53)
    };
    // Box-Muller.
    let mut normal = || (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
    for index in (0..64).cycle().take(200_000) {
        let [a, b] = [normal(), normal()].map(|x| f64::from(x as f32));
        array.add_product(index, a, b);
    }
    assert!(array.bytes() <= 64 * 40, "{} bytes an element", array.bytes() / 64);
}

#[test]
fn other_lengths_are_refused() {
    let mut array = ExactArray::new(LEN);
    let message = "exact array: 2 values cannot be added to 3 sums";
    assert_eq!(array.add_all(&[1.0; 2]).expect_err("too few").to_string(), message);
    assert_eq!(array.merge(&ExactArray::new(2)).expect_err("too short").to_string(), message);
    assert_eq!((array.len(), array.is_empty(), ExactArray::new(0).is_empty()), (LEN, false, true));
    assert_ne!(ExactArray::new(2), ExactArray::new(LEN));
}

#[test]
fn what_cannot_have_been_saved_is_refused() {
    let problem =
        |limbs: &[u64], special: &[u64]| loaded(&[limbs.to_vec(), special.to_vec()]).expect_err("it is broken");
    assert_eq!(problem(&[], &[]), "it is empty");
    assert_eq!(problem(&[0, 1], &[]), "its 1 limbs cannot be shared by 3 sums");
    assert_eq!(problem(&[67, 1, 2, 3], &[]), "its sums have 1 limbs from 67, but there are 67 in all");
    assert_eq!(
        problem(&[u64::MAX, 1, 2, 3], &[]),
        format!("its sums have 1 limbs from {}, but there are 67 in all", u64::MAX)
    );
    assert_eq!(problem(&[0; 1 + 68 * LEN], &[]), "its sums have 68 limbs from 0, but there are 67 in all");
    assert!(loaded(&[vec![66, 1, 2, 3], vec![]]).is_ok());

    let not_pairs = "its indices and flags are not pairs in order";
    for special in [&[1][..], &[1, 1, 0, 1], &[1, 1, 1, 2]] {
        assert_eq!(problem(&[0], special), not_pairs);
    }
    for (index, flags) in [(3, 1), (u64::MAX, 1), (0, 0), (0, 8)] {
        assert_eq!(problem(&[0], &[index, flags]), format!("it has flags {flags} of an index among 3 sums"));
    }
    assert_eq!(
        ExactArray::from_limb_words(0, &[0, 1]).expect_err("too many"),
        "its 1 limbs cannot be shared by 0 sums"
    );
    assert_eq!(ExactArray::from_limb_words(0, &[0]), Ok(ExactArray::new(0)));
}
