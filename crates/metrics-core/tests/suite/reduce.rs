//! Fields of arrays, counts, and last values: that they reduce as sums of single numbers do, whatever the way.

use std::thread;

use candle_core::{DType, Device, Tensor};
use metrics_core::{
    Accumulator, Checkpoint, Collective, Error, Growth, Metric, MetricCollection, NonFinite, PerLabel, Reduce, Result,
    Running, Samples, State, Statistics, Threads, Value,
};

use crate::toy::{Kinds, Random, kinds, waiting};

fn state() -> State {
    Kinds::new().state().clone()
}

/// Rows of the fields that [`Kinds`] declares, and a class for each.
fn statistics(rows: &[[f64; 3]], classes: &[f64]) -> Statistics {
    let flat = || rows.as_flattened().to_vec();
    let last = rows.iter().map(|row| row[0]).collect();
    let statistics = Statistics::new(rows.len()).with_values("last", last).with_values("sums", flat());
    statistics.with_values("outer", flat()).with_values("rows", flat()).with_values("counts", classes.to_vec())
}

fn bits(numbers: &[f64]) -> Vec<u64> {
    numbers.iter().map(|x| x.to_bits()).collect()
}

/// What does not depend on the order of the samples: sums, means and counts.
fn sums(state: &State) -> Result<Vec<u64>> {
    let mut all = vec![state.samples(), state.skipped()];
    for name in ["sums", "outer"] {
        all.extend(bits(&state.array_sum(name)?));
        all.extend(bits(&state.array_mean(name)?));
    }
    all.extend(state.counts("counts")?);
    Ok(all)
}

/// Everything that is read of a state.
fn content(state: &State) -> Result<Vec<u64>> {
    let mut all = sums(state)?;
    all.extend(state.last("last")?.map(f64::to_bits));
    all.extend(bits(state.values("rows")?));
    Ok(all)
}

/// Rows over many factors of two, with classes and with weights, a few of which are 0.
fn random_samples(seed: u64) -> Vec<([f64; 3], f64, f64)> {
    let mut random = Random(seed);
    let number = |random: &mut Random| {
        let bits = random.next();
        f64::from_bits((bits & !(0x7ff << 52)) | ((1000 + bits % 60) << 52))
    };
    let weights = [0.0, 0.1, 1.0, 3.0, 1e-3];
    let sample = |_| {
        let row = [(); 3].map(|()| number(&mut random));
        (row, random.below(5) as f64, weights[random.below(weights.len())])
    };
    (0..200).map(sample).collect()
}

fn accumulate(state: &mut State, samples: &[([f64; 3], f64, f64)]) -> Result<()> {
    let rows: Vec<_> = samples.iter().map(|(row, ..)| *row).collect();
    let classes: Vec<_> = samples.iter().map(|(_, class, _)| *class).collect();
    let weights: Vec<_> = samples.iter().map(|(.., weight)| *weight).collect();
    state.accumulate(statistics(&rows, &classes).with_weights(&weights)?)
}

fn updated(mut metric: Accumulator<Kinds>, batches: &[&[f32]]) -> Result<Accumulator<Kinds>> {
    batches.iter().try_for_each(|numbers| metric.update_with(&kinds(numbers)))?;
    Ok(metric)
}

const BATCHES: [&[f32]; 4] = [&[0.1, 2.5], &[3e7], &[-0.7, 1.2, 0.0], &[1e-20]];

#[test]
fn every_kind_reduces() -> Result<()> {
    let mut state = state();
    assert_eq!((state.last("last")?, state.values("rows")?, state.counts("counts")?), (None, &[][..], &[0; 5][..]));
    assert_eq!(state.array_sum("outer")?, [0.0; 9]);
    assert!(state.array_mean("sums")?.iter().all(|x| x.is_nan()));

    state.accumulate(statistics(&[[1.0, 2.0, 3.0], [0.0, -1.0, 0.5]], &[4.0, 0.0]))?;
    // Any number of classes for each sample.
    state.accumulate(statistics(&[[2.0, 0.0, 0.0]], &[4.0, 4.0, 1.0]))?;
    assert_eq!(state.last("last")?, Some(2.0));
    assert_eq!(state.array_sum("sums")?, [3.0, 1.0, 3.5]);
    assert_eq!(state.array_mean("sums")?, [1.0, 1.0 / 3.0, 3.5 / 3.0]);
    assert_eq!(state.array_sum("outer")?, [5.0, 2.0, 3.0, 2.0, 5.0, 5.5, 3.0, 5.5, 9.25]);
    assert_eq!(state.counts("counts")?, [1, 1, 0, 0, 3]);
    assert_eq!(state.values("rows")?, [1.0, 2.0, 3.0, 0.0, -1.0, 0.5, 2.0, 0.0, 0.0]);
    assert_eq!((state.updates(), state.samples()), (2, 3));

    let mut matrices =
        State::new().with("m", Reduce::SumArrays(vec![2, 2])).with("l", Reduce::CollectArrays(vec![2, 1]));
    let m = Tensor::new(&[[[1f32, 2.0], [3.0, 4.0]], [[10.0, 20.0], [30.0, 40.0]]], &Device::Cpu)?;
    let l = Tensor::new(&[[[1f32], [2.0]], [[3.0], [4.0]]], &Device::Cpu)?;
    // Not contiguous: transposed twice, or once.
    matrices.accumulate(Statistics::new(2).with("m", m.transpose(1, 2)?).with("l", l.transpose(0, 1)?))?;
    assert_eq!(matrices.array_sum("m")?, [11.0, 33.0, 22.0, 44.0]);
    assert_eq!(matrices.values("l")?, [1.0, 3.0, 2.0, 4.0]);
    Ok(())
}

#[test]
fn weights_count_in_sums_and_leave_out_otherwise() -> Result<()> {
    let mut state = state();
    let rows = [[1.0, 2.0, 3.0], [f64::NAN, f64::INFINITY, 0.0], [5.0, 0.0, -1.0], [-1.0, 7.0, 7.0]];
    // Of weight 0: neither the NaN nor the class that is none matter.
    state.accumulate(statistics(&rows, &[4.0, 99.0, 2.0, 1.0]).with_weights(&[3.0, 0.0, 0.5, 0.0])?)?;
    assert_eq!((state.last("last")?, state.samples()), (Some(5.0), 2));
    assert_eq!(state.array_sum("sums")?, [5.5, 6.0, 8.5]);
    assert_eq!(state.array_mean("sums")?, [5.5 / 3.5, 6.0 / 3.5, 8.5 / 3.5]);
    assert_eq!(state.array_sum("outer")?, [15.5, 6.0, 6.5, 6.0, 12.0, 18.0, 6.5, 18.0, 27.5]);
    assert_eq!(state.counts("counts")?, [0, 0, 1, 0, 1]);
    assert_eq!(state.values("rows")?, [1.0, 2.0, 3.0, 5.0, 0.0, -1.0]);

    let before = content(&state)?;
    state.accumulate(statistics(&rows[..1], &[4.0]).with_weights(&[0.0])?)?;
    assert_eq!((content(&state)?, state.updates()), (before, 2));
    Ok(())
}

#[test]
fn outer_products_are_exact_and_symmetric() -> Result<()> {
    let outer = |samples: &[([f64; 3], f64)]| -> Result<Vec<f64>> {
        let mut state = State::new().with("outer", Reduce::SumOuter(3));
        let rows = samples.iter().flat_map(|(row, _)| *row).collect();
        let weights: Vec<_> = samples.iter().map(|(_, weight)| *weight).collect();
        state.accumulate(Statistics::new(samples.len()).with_values("outer", rows).with_weights(&weights)?)?;
        state.array_sum("outer")
    };
    for (row, class, weight) in random_samples(1) {
        // A weight of 3 is three times one of 1, although the product with it is rounded in f64.
        let thrice = outer(&[(row, 3.0 * class), (row, 1.0)])?;
        assert_eq!(bits(&thrice), bits(&outer(&vec![(row, 1.0); 3 * class as usize + 1])?));
        let (x, y, z) = (row[0], row[1], row[2]);
        let sums = outer(&[(row, weight), ([x, -y, z], weight)])?;
        assert_eq!((sums[1], sums[3], sums[5], sums[7]), (0.0, 0.0, 0.0, 0.0), "they cancel");
        assert_eq!(sums[2].to_bits(), sums[6].to_bits());
        let mut plain = State::new().with("sum", Reduce::Sum);
        plain.accumulate(Statistics::new(2).with_values("sum", vec![x; 2]).with_weights(&[x.abs(), x.abs()])?)?;
        assert_eq!(outer(&[(row, 2.0)])?[0], plain.sum("sum")?.abs());
    }
    assert_eq!(
        outer(&[([f64::INFINITY, 2.0, -1.0], 0.5)])?[..4],
        [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::INFINITY]
    );
    Ok(())
}

#[test]
fn any_split_gives_the_same_bits() -> Result<()> {
    let mut samples = random_samples(2);
    let mut whole = state();
    accumulate(&mut whole, &samples)?;
    let expected = content(&whole)?;
    let mut random = Random(3);
    for _ in 0..20 {
        // Shards one after the other, each in batches of its own.
        let mut ends = [random.below(201), random.below(201), 200];
        ends.sort_unstable();
        let (mut merged, mut start) = (state(), 0);
        for end in ends {
            let mut shard = state();
            samples[start..end].chunks(1 + random.below(40)).try_for_each(|batch| accumulate(&mut shard, batch))?;
            merged.merge(&shard)?;
            start = end;
        }
        assert_eq!(content(&merged)?, expected, "{ends:?}");
    }
    for _ in 0..20 {
        random.shuffle(&mut samples);
        let (mut merged, half) = (state(), random.below(201));
        for part in [half..200, 0..half] {
            let mut shard = state();
            samples[part].chunks(17).try_for_each(|batch| accumulate(&mut shard, batch))?;
            merged.merge(&shard)?;
        }
        assert_eq!(sums(&merged)?, sums(&whole)?);
    }
    Ok(())
}

#[test]
fn what_was_saved_is_loaded_to_the_last_bit() -> Result<()> {
    for metric in
        [Kinds::new(), updated(Kinds::new(), &BATCHES)?, updated(Kinds::new(), &[&[f32::NAN, f32::INFINITY]])?]
    {
        let bytes = metric.save_state()?.to_bytes()?;
        let mut loaded = updated(Kinds::new(), &[&[9.0]])?;
        loaded.load_state(&Checkpoint::from_bytes(&bytes)?)?;
        assert_eq!(loaded.save_state()?.to_bytes()?, bytes);
        assert_eq!(content(loaded.state())?, content(metric.state())?);
        let [loaded, metric] = [loaded, metric].map(|metric| updated(metric, &BATCHES).and_then(|m| m.save_state()));
        assert_eq!(loaded?, metric?);
    }
    let mut reset = updated(Kinds::new(), &BATCHES)?;
    reset.reset();
    assert_eq!(reset.save_state()?, Kinds::new().save_state()?);
    Ok(())
}

#[test]
fn ranks_put_together_what_they_have() -> Result<()> {
    let numbers = BATCHES.concat();
    // As a distributed sampler deals samples; rank 2 has seen nothing.
    let of_rank = |rank: usize| -> Result<_> {
        let keys: Vec<u64> =
            if rank < 2 { (rank as u64..numbers.len() as u64).step_by(2).collect() } else { Vec::new() };
        let mut metrics = MetricCollection::new().with("kinds", Kinds::new())?;
        for keys in keys.chunks(2) {
            metrics.update_with(&kinds(&keys.iter().map(|&key| numbers[key as usize]).collect::<Vec<_>>()))?;
        }
        Ok((metrics, keys))
    };
    let whole = updated(Kinds::new(), &BATCHES)?;
    let mut merged = of_rank(0)?.0;
    merged.merge(&of_rank(1)?.0)?;
    let synced = thread::scope(|scope| {
        let rank = |mut member: Threads| -> Result<_> {
            let (mut metrics, keys) = of_rank(member.rank())?;
            let plain = metrics.synced(&mut member)?;
            metrics.sync_by_key(&mut member, &keys)?;
            Ok((plain, metrics))
        };
        let ranks: Vec<_> = Threads::group(3).into_iter().map(|member| scope.spawn(move || rank(member))).collect();
        ranks.into_iter().map(|rank| rank.join().expect("no panic")).collect::<Result<Vec<_>>>()
    })?;
    let state = |metrics: &MetricCollection| metrics.get("kinds").map(|metric| metric.state().clone());
    for (plain, by_key) in synced {
        assert_eq!(plain.save_state()?, merged.save_state()?);
        let by_key = state(&by_key).expect("it is a member");
        assert_eq!(by_key.values("rows")?, whole.state().values("rows")?);
        assert_eq!(sums(&by_key)?, sums(whole.state())?);
        // The last of the last rank that has one.
        assert_eq!(by_key.last("last")?, Some(f64::from(numbers[5])));
    }
    Ok(())
}

#[test]
fn waiting_changes_no_bit() -> Result<()> {
    let plain = updated(Kinds::new(), &BATCHES)?;
    for limit in [1, 2, 3, 64] {
        let queued = updated(waiting(Kinds::new()).queue_limit(limit), &BATCHES)?;
        assert_eq!(queued.state().waiting(), if limit > 1 { BATCHES.len() % limit } else { 0 });
        assert_eq!(queued.save_state()?, plain.save_state()?);
        assert_eq!(queued.compute()?, plain.compute()?);
    }
    Ok(())
}

#[test]
fn wrappers_have_parts_of_every_kind() -> Result<()> {
    let mut running = Running::new(Kinds::new(), 2)?;
    BATCHES.iter().try_for_each(|numbers| running.update_with(&kinds(numbers)))?;
    assert_eq!(running.compute()?, updated(Kinds::new(), &BATCHES[2..])?.compute()?);
    let labelled = || PerLabel::new(Kinds::new(), ["a", "b"]);
    for mut metric in [labelled()?, waiting(labelled()?)] {
        metric.update_with(&kinds(&[1.0, 2.0, 3.0]).labels(&["b", "a", "b"]))?;
        let Value::Group(report) = metric.compute()? else { panic!("no group") };
        for (label, numbers) in [("a", &[2.0][..]), ("b", &[1.0, 3.0])] {
            assert_eq!(report.get(label), Some(&updated(Kinds::new(), &[numbers])?.compute()?));
        }
        let mut loaded = labelled()?;
        loaded.load_state(&Checkpoint::from_bytes(&metric.save_state()?.to_bytes()?)?)?;
        loaded.merge(&metric)?;
        metric.merge(&metric.clone())?;
        assert_eq!(loaded.save_state()?, metric.save_state()?);
    }
    Ok(())
}

#[test]
fn each_policy_has_its_meaning() -> Result<()> {
    let numbers = [1.0, f32::NAN, 2.0];
    let propagating = updated(Kinds::new(), &[&numbers])?;
    let state = propagating.state();
    assert!(state.array_sum("sums")?.iter().chain(&state.array_sum("outer")?).all(|x| x.is_nan()));
    assert_eq!((state.last("last")?, state.samples(), state.counts("counts")?), (Some(2.0), 3, &[3, 1, 1, 0, 1][..]));
    let mut one = Kinds::new();
    one.state_mut().accumulate(statistics(&[[f64::NAN, f64::NEG_INFINITY, 1.0]], &[0.0]))?;
    let sums = one.state().array_sum("sums")?;
    assert!(sums[0].is_nan() && sums[1..] == [f64::NEG_INFINITY, 1.0], "{sums:?}");

    let skipping = updated(Kinds::with_policy(NonFinite::Skip), &[&numbers, &[f32::INFINITY]])?;
    assert_eq!((skipping.skipped(), skipping.updates()), (2, 2));
    let without = updated(Kinds::new(), &[&[1.0, 2.0]])?;
    assert_eq!(content(skipping.state())?[2..], content(without.state())?[2..]);
    let nothing = updated(Kinds::with_policy(NonFinite::Skip), &[&[f32::NAN]])?;
    assert_eq!((nothing.state().last("last")?, nothing.state().counts("counts")?), (None, &[0; 5][..]));
    assert!(matches!(nothing.compute(), Err(Error::NoData { .. })));

    for metric in [Kinds::with_policy(NonFinite::Error), waiting(Kinds::with_policy(NonFinite::Error)).queue_limit(1)] {
        let mut strict = updated(metric, &[&[1.0]])?;
        let before = strict.save_state()?;
        let error = strict.update_with(&kinds(&numbers)).unwrap_err();
        assert!(matches!(&error, Error::NonFinite { field, sample: 1, .. } if field == "last"), "{error}");
        let vector = statistics(&[[0.0; 3], [0.0, 0.0, f64::INFINITY]], &[0.0, 0.0]);
        let error = strict.state_mut().accumulate(vector).unwrap_err().to_string();
        assert_eq!(error, "the field `sums` of sample 1 of the batch is inf, but must be finite");
        assert_eq!(strict.save_state()?, before);
        strict.update_with(&kinds(&numbers).weights(&[1.0, 0.0, 1.0]))?;
        assert_eq!(strict.state().samples(), 3);
    }
    Ok(())
}

#[test]
fn what_does_not_fit_changes_nothing() -> Result<()> {
    let tensor = |shape: &[usize], dtype| Tensor::ones(shape, dtype, &Device::Cpu);
    // All fields but one.
    let others = |missing: &str| {
        let fields = [("last", 1), ("sums", 3), ("outer", 3), ("rows", 3), ("counts", 1)];
        let fields = fields.into_iter().filter(|(name, _)| *name != missing);
        fields.fold(Statistics::new(2), |all, (name, width)| all.with_values(name, vec![1.0; 2 * width]))
    };
    let vector = |name: &str, found: &str| {
        format!("the field `{name}` is {found}, but one array [3] per sample of 2 is expected")
    };
    let mut cases = Vec::new();
    for name in ["sums", "outer", "rows"] {
        cases.push((others(name).with_values(name, vec![1.0; 4]), vector(name, "[4]")));
        for shape in [&[2, 4][..], &[3, 3], &[6], &[2, 3, 1]] {
            cases.push((others(name).with(name, &tensor(shape, DType::F32)?), vector(name, &format!("{shape:?}"))));
        }
        let integers = others(name).with(name, &tensor(&[2, 3], DType::U32)?);
        cases.push((integers, format!("the field `{name}` is u32, but must have floats")));
        cases.push((others(name), format!("the declared field `{name}` is missing")));
    }
    let last = "the field `last` is [2, 1], but one number per sample is [2]".to_string();
    cases.push((others("last").with("last", &tensor(&[2, 1], DType::F32)?), last));
    let classes =
        |found: &str| format!("the field `counts` is {found}, but integers of 2 samples, [2, ...], are expected");
    cases.push((others("counts").with_values("counts", vec![1.0; 3]), classes("[3]")));
    cases.push((others("counts").with("counts", &tensor(&[3, 2], DType::U8)?), classes("[3, 2]")));
    cases.push((others("counts").with("counts", &tensor(&[], DType::U8)?), classes("[]")));
    let floats = "the field `counts` is f32, but must have integers".to_string();
    cases.push((others("counts").with("counts", &tensor(&[2], DType::F32)?), floats));
    let integer = |found: &str| format!("the field `counts` of sample 1 has {found}, but must have integers below 5");
    for (number, found) in [(5.0, "5"), (-1.0, "-1"), (0.5, "0.5"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
        cases.push((others("counts").with_values("counts", vec![4.0, 0.0, 1.0, number]), integer(found)));
    }
    for (numbers, found) in [([4i64, -7], "-7"), ([0, 1 << 40], "1099511627776")] {
        cases.push((others("counts").with("counts", &Tensor::new(&numbers, &Device::Cpu)?), integer(found)));
    }
    for policy in [NonFinite::Propagate, NonFinite::Skip, NonFinite::Error] {
        let mut metric = updated(Kinds::with_policy(policy), &BATCHES[..1])?;
        let before = metric.save_state()?;
        for (statistics, message) in &cases {
            let error = metric.state_mut().accumulate(statistics.clone()).unwrap_err();
            assert!(matches!(error, Error::Statistics { .. }), "{error:?}");
            assert_eq!(error.to_string(), format!("statistics: {message}"));
            assert_eq!(metric.save_state()?, before, "{message}");
        }
    }
    Ok(())
}

#[test]
fn classes_may_be_any_integers() -> Result<()> {
    for dtype in [DType::U8, DType::U32, DType::I64] {
        let mut state = State::new().with("classes", Reduce::Count(3));
        let classes = Tensor::new(&[[[0u8, 2], [2, 2]], [[0, 0], [1, 2]]], &Device::Cpu)?.to_dtype(dtype)?;
        state.accumulate(Statistics::new(2).with("classes", &classes))?;
        assert_eq!(state.counts("classes")?, [3, 1, 4], "{dtype:?}");
        // None at all, of a sample that counts.
        state.accumulate(Statistics::new(1).with_values("classes", vec![]))?;
        assert_eq!((state.counts("classes")?, state.samples()), (&[3, 1, 4][..], 3));
    }
    Ok(())
}

#[test]
fn only_the_same_shapes_are_merged() -> Result<()> {
    let of = |reduce: Reduce| State::new().with("x", reduce);
    for (ours, theirs, texts) in [
        (
            Reduce::SumArrays(vec![2, 3]),
            Reduce::SumArrays(vec![3, 2]),
            ["sum of arrays [2, 3]", "sum of arrays [3, 2]"],
        ),
        (Reduce::SumOuter(2), Reduce::SumArrays(vec![2, 2]), ["sum of outer products of [2]", "sum of arrays [2, 2]"]),
        (Reduce::Count(2), Reduce::Count(3), ["count below 2", "count below 3"]),
        (Reduce::CollectArrays(vec![1]), Reduce::Collect, ["collect arrays [1]", "collect"]),
        (Reduce::Last, Reduce::Max, ["last", "max"]),
    ] {
        let error = of(ours).merge(&of(theirs)).unwrap_err().to_string();
        let [ours, theirs] = texts;
        assert_eq!(error, format!("cannot merge state[x: {theirs}] into state[x: {ours}]"));
    }
    Ok(())
}

#[test]
fn reading_says_what_is_wrong() {
    let state = state();
    let declared = [
        ("last", "last"),
        ("sums", "sum of arrays [3]"),
        ("outer", "sum of outer products of [3]"),
        ("counts", "count below 5"),
        ("rows", "collect arrays [3]"),
    ];
    type Read = fn(&State, &str) -> Result<()>;
    let reads: [(&str, &[&str], Read); 7] = [
        ("last", &["last"], |state, name| state.last(name).map(drop)),
        ("sum of arrays", &["sums", "outer"], |state, name| state.array_sum(name).map(drop)),
        ("sum of arrays", &["sums", "outer"], |state, name| state.array_mean(name).map(drop)),
        ("count", &["counts"], |state, name| state.counts(name).map(drop)),
        ("collect", &["rows"], |state, name| state.values(name).map(drop)),
        ("sum", &[], |state, name| state.sum(name).map(drop)),
        ("max", &[], |state, name| state.max(name).map(drop)),
    ];
    for (asked, fits, read) in reads {
        for (name, reduce) in declared {
            let expected = format!("state: the field `{name}` is declared as {reduce}, but was read as {asked}");
            let found = read(&state, name).map_err(|error| error.to_string());
            assert_eq!(found, if fits.contains(&name) { Ok(()) } else { Err(expected) });
        }
    }
}

#[test]
fn only_rows_take_memory_that_grows() -> Result<()> {
    let kinds = updated(Kinds::new(), &BATCHES)?;
    assert_eq!((kinds.growth(), Running::new(Kinds::new(), 2)?.growth()), (Growth::PerImage, Growth::Bounded));
    let before = kinds.state_bytes();
    let more = updated(kinds, &BATCHES)?;
    assert_eq!(more.state_bytes() - before, 7 * 3 * 8);

    for reduce in [Reduce::Last, Reduce::SumArrays(vec![3]), Reduce::SumOuter(3), Reduce::Count(9)] {
        let mut state = State::new().with("x", reduce.clone());
        assert_eq!(state.growth(), Growth::Constant);
        let mut add = || {
            let x = Tensor::ones(
                (2, 3),
                if matches!(reduce, Reduce::Count(_)) { DType::U8 } else { DType::F32 },
                &Device::Cpu,
            )?;
            let x = if reduce == Reduce::Last { x.get_on_dim(1, 0)? } else { x };
            state.accumulate(Statistics::new(2).with("x", x)).map(|()| state.bytes())
        };
        assert_eq!(add()?, add()?, "{reduce}");
    }
    Ok(())
}

#[test]
fn a_batch_of_arrays_has_a_value() -> Result<()> {
    let mut metric = Kinds::new();
    let value = metric.forward_with(&kinds(&[1.0, 3.0]).weights(&[3.0, 1.0]))?;
    assert_eq!((value.dims(), value.dtype()), (&[3, 3][..], DType::F32));
    assert_eq!(value.get(0)?.get(2)?.to_scalar::<f32>()?, -3.0);
    let Value::Array { shape, values } = metric.compute()? else { panic!("no array") };
    assert_eq!((shape, values[0], values[2]), (vec![3, 3], 3.0, -3.0));
    let wrong =
        Samples::new(&Tensor::ones((2, 4), DType::F32, &Device::Cpu)?, &Tensor::ones(2, DType::U8, &Device::Cpu)?);
    assert!(metric.forward_with(&wrong).is_err() && metric.updates() == 1);
    Ok(())
}

#[test]
fn no_shape_is_too_large_to_be_refused() {
    let huge = Reduce::CollectArrays(vec![1 << 40, 1 << 40]);
    let mut state = State::new().with("rows", huge);
    for values in [vec![], vec![1.0]] {
        let error = state.accumulate(Statistics::new(1).with_values("rows", values.clone())).unwrap_err().to_string();
        let expected = "but one array [1099511627776, 1099511627776] per sample of 1 is expected";
        assert_eq!(error, format!("statistics: the field `rows` is [{}], {expected}", values.len()));
    }
}
