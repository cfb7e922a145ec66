//! Ten million values, shuffled, over shards that are merged in many orders: the same bits.

use metrics_core::exact::ExactSum;
use metrics_core::{Reduce, Result, State, Statistics};

use crate::toy::Random;

const VALUES: usize = 10_000_000;

/// Numbers of both signs over 80 factors of two, so that running sums of them depend on the order.
fn values() -> Vec<f64> {
    let mut random = Random(1);
    let number = |bits: u64| f64::from_bits((bits & !(0x7ff << 52)) | ((1000 + bits % 80) << 52));
    (0..VALUES).map(|_| number(random.next())).collect()
}

/// Where shards of unequal sizes end; of several there is one more for what is left over, if anything is.
fn ends(shards: usize) -> Vec<usize> {
    let share = |shard: usize| VALUES / (shards * shards) * shard * shard;
    (0..=shards).map(share).chain((shards > 1).then_some(VALUES)).collect()
}

/// All rotations, forwards and backwards, and some permutations.
fn orders(shards: usize) -> Vec<Vec<usize>> {
    let mut orders = Vec::new();
    for rotation in 0..shards {
        let mut order: Vec<_> = (0..shards).collect();
        order.rotate_left(rotation);
        orders.push(order.clone());
        order.reverse();
        orders.push(order);
    }
    let mut random = Random(2);
    for _ in 0..50 {
        let mut order: Vec<_> = (0..shards).collect();
        random.shuffle(&mut order);
        orders.push(order);
    }
    orders
}

#[test]
fn ten_million_values_sum_to_the_same_bits() {
    let mut values = values();
    let whole: ExactSum = values.iter().copied().collect();
    let running: f64 = values.iter().sum();
    assert_ne!(running.to_bits(), values.iter().rev().sum::<f64>().to_bits(), "the order makes no difference to f64");

    Random(3).shuffle(&mut values);
    for shards in [1, 3, 8] {
        let ends = ends(shards);
        let parts: Vec<ExactSum> =
            ends.windows(2).map(|ends| values[ends[0]..ends[1]].iter().copied().collect()).collect();
        assert_eq!(*ends.last().expect("an end"), VALUES);
        for order in orders(parts.len()) {
            let mut merged = ExactSum::new();
            order.iter().for_each(|&part| merged.merge(&parts[part]));
            assert_eq!(merged, whole, "{order:?}");
            assert_eq!(merged.value().to_bits(), whole.value().to_bits());
        }
    }
}

/// The same of everything that a state reduces, with weights.
#[test]
fn states_of_a_million_values_are_the_same_bits() -> Result<()> {
    let mut values = values();
    values.truncate(1 << 20);
    Random(4).shuffle(&mut values);
    let empty = || State::new().with("sum", Reduce::Sum).with("max", Reduce::Max).with("summary", Reduce::Summary);
    let accumulate = |state: &mut State, values: &[f64]| {
        let weights: Vec<_> = values.iter().map(|x| f64::from(x.to_bits() as u8)).collect();
        let fields = ["sum", "max", "summary"];
        let weighted = Statistics::new(values.len()).with_weights(&weights)?;
        state.accumulate(fields.iter().fold(weighted, |all, name| all.with_values(*name, values.to_vec())))
    };
    let bits = |state: &State| -> Result<Vec<u64>> {
        let s = state.summary("summary")?;
        let numbers = [state.sum("sum")?, state.mean("sum")?, state.max("max")?, s.mean, s.std, s.median, s.p5, s.p95];
        Ok(numbers.into_iter().map(f64::to_bits).chain([s.count, state.samples()]).collect())
    };
    let mut whole = empty();
    accumulate(&mut whole, &values)?;

    Random(5).shuffle(&mut values);
    let mut parts = Vec::new();
    for shard in 0..8 {
        let mut part = empty();
        let shard = &values[shard * values.len() / 8..(shard + 1) * values.len() / 8];
        // Of batches of different sizes.
        shard.chunks(1 + shard.len() / 7).try_for_each(|batch| accumulate(&mut part, batch))?;
        parts.push(part);
    }
    for order in orders(8) {
        let mut merged = empty();
        order.iter().try_for_each(|&part| merged.merge(&parts[part]))?;
        assert_eq!(bits(&merged)?, bits(&whole)?, "{order:?}");
    }
    Ok(())
}
