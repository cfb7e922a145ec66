//! Collections of several ranks, put together: the bits of one, and one error for all.

use std::thread;

use metrics_core::{
    BootStrapper, Collective, Error, Formula, MetricCollection, MinMax, NonFinite, PerLabel, Reduction, Result,
    Running, Solo, Threads, Value,
};
use proptest::prelude::*;

use crate::toy::{First, Mae, Mood, Moody, batch, samples, zeros};

/// Every reduction, and wrappers whose values do not depend on how the images were split.
fn empty() -> Result<MetricCollection> {
    MetricCollection::new()
        .with("mean", Mae::new(Reduction::Mean))?
        .with("sum", Mae::new(Reduction::Sum))?
        .with("summary", Mae::new(Reduction::Summary))?
        .with("values", Mae::new(Reduction::None))?
        .with("formula", Formula::of(Mae::new(Reduction::Mean)) * 2.0)
}

fn add(metrics: &mut MetricCollection, errors: &[f32]) -> Result<()> {
    let pred = batch(errors);
    metrics.update(&pred, &zeros(&pred))
}

fn with(errors: &[f32]) -> Result<MetricCollection> {
    let mut metrics = empty()?;
    if !errors.is_empty() {
        add(&mut metrics, errors)?;
    }
    Ok(metrics)
}

/// Everything that a collection holds but the number of updates, which is that of all ranks and so depends on the split.
fn bits(metrics: &MetricCollection) -> Result<Vec<Vec<u64>>> {
    let values = metrics.compute()?;
    let bits = |value: &Value| match value {
        Value::Scalar(value) => vec![value.to_bits()],
        Value::PerImage(values) => values.iter().map(|value| value.to_bits()).collect(),
        Value::Summary(s) => {
            let numbers = [s.mean, s.std, s.min, s.p5, s.median, s.p95, s.max];
            numbers.iter().map(|value| value.to_bits()).chain([s.count]).collect()
        }
        other => unreachable!("no member computes {other:?}"),
    };
    Ok(values.iter().map(|(_, value)| bits(value)).collect())
}

/// What each rank of a group returns, in the order of the ranks.
fn ranks<T: Send>(count: usize, work: impl Fn(Threads) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let work = &work;
        let members: Vec<_> =
            Threads::group(count).into_iter().map(|member| scope.spawn(move || work(member))).collect();
        members.into_iter().map(|rank| rank.join().expect("a rank that does not panic")).collect()
    })
}

/// The error that all ranks get, which must be one.
fn same_error<T>(results: Vec<Result<T>>) -> String {
    let errors: Vec<_> = results.into_iter().map(|result| result.err().expect("an error").to_string()).collect();
    assert!(errors.iter().all(|error| *error == errors[0]), "{errors:?}");
    errors[0].clone()
}

/// A group whose messages are changed on their way out.
struct Altered<C, F>(C, F);

impl<C: Collective, F: Fn(usize, &[u8]) -> Vec<u8>> Collective for Altered<C, F> {
    fn rank(&self) -> usize {
        self.0.rank()
    }

    fn world_size(&self) -> usize {
        self.0.world_size()
    }

    fn all_gather(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        // An answer is of rank 0 alone.
        let bytes = if bytes.is_empty() { Vec::new() } else { (self.1)(self.0.rank(), bytes) };
        self.0.all_gather(&bytes)
    }
}

/// Ten thousand images of random errors over many factors of two, and where the shards of four ranks end.
fn shards() -> impl Strategy<Value = (Vec<f32>, [usize; 3], usize)> {
    let error = (-30i32..30, 0f32..1.0).prop_map(|(exponent, x)| (1.0 + x) * 2f32.powi(exponent));
    (prop::collection::vec(error, 10_000), prop::array::uniform3(0..=10_000usize), 1..700usize)
}

proptest! {
    // Each case is ten thousand images.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn four_ranks_give_the_bits_of_one((errors, mut ends, batch_size) in shards()) {
        let mut whole = empty()?;
        // In other batches than the shards.
        errors.chunks(977).try_for_each(|errors| add(&mut whole, errors))?;
        whole.sync(&mut Solo)?;

        ends.sort_unstable();
        let bounds = [0, ends[0], ends[1], ends[2], errors.len()];
        let synced = ranks(4, |mut member| -> Result<_> {
            let mut metrics = empty()?;
            let shard = &errors[bounds[member.rank()]..bounds[member.rank() + 1]];
            shard.chunks(batch_size).try_for_each(|errors| add(&mut metrics, errors))?;
            metrics.sync(&mut member)?;
            bits(&metrics)
        });
        for synced in synced {
            prop_assert!(synced? == bits(&whole)?, "ends {ends:?}, batches of {batch_size}");
        }
    }

    #[test]
    fn keys_bring_back_the_order_of_the_images(
        errors in prop::collection::vec(0f32..1.0, 1..60),
        ranks_count in 1..5usize,
        batch_size in 1..9usize,
    ) {
        let whole = with(&errors)?;
        let synced = ranks(ranks_count, |mut member| -> Result<_> {
            // As a distributed sampler deals images.
            let (rank, count) = (member.rank(), member.world_size());
            let keys: Vec<u64> = (rank as u64..errors.len() as u64).step_by(count).collect();
            let mut metrics = empty()?;
            for keys in keys.chunks(batch_size) {
                add(&mut metrics, &keys.iter().map(|&key| errors[key as usize]).collect::<Vec<_>>())?;
            }
            metrics.sync_by_key(&mut member, &keys)?;
            bits(&metrics)
        });
        for synced in synced {
            prop_assert_eq!(synced?, bits(&whole)?);
        }
    }
}

#[test]
fn without_keys_values_come_in_the_order_of_ranks() -> Result<()> {
    for values in ranks(3, |mut member| -> Result<_> {
        let rank = member.rank() as f32;
        let mut metrics = with(&[rank, rank + 0.5])?;
        metrics.sync(&mut member)?;
        Ok(metrics.compute()?.get("values").cloned())
    }) {
        assert_eq!(values?, Some(Value::PerImage(vec![0.0, 0.5, 1.0, 1.5, 2.0, 2.5])));
    }
    Ok(())
}

#[test]
fn wrappers_are_put_together_as_by_merging() -> Result<()> {
    let empty = || -> Result<_> {
        let running = Running::new(Mae::new(Reduction::None), 3)?;
        let replicates = MinMax::new(BootStrapper::new(Mae::new(Reduction::Mean), 2, 1)?)?;
        let labels = PerLabel::new(Mae::new(Reduction::Summary), ["a", "b"])?;
        MetricCollection::new().with("running", running)?.with("replicates", replicates)?.with("labels", labels)
    };
    let of_rank = |rank: usize| -> Result<_> {
        let mut metrics = empty()?;
        for step in 0..rank {
            let pred = batch(&[rank as f32, step as f32]);
            metrics.update_with(&samples(&pred).labels(&["a", "b"]))?;
        }
        Ok(metrics)
    };
    let mut merged = empty()?;
    (0..4).try_for_each(|rank| merged.merge(&of_rank(rank)?))?;
    for synced in ranks(4, |mut member| of_rank(member.rank())?.synced(&mut member)?.save_state()) {
        assert_eq!(synced?, merged.save_state()?);
    }
    Ok(())
}

#[test]
fn a_copy_is_synced_and_the_state_stays() -> Result<()> {
    for result in ranks(2, |mut member| -> Result<_> {
        let mut metrics = with(if member.rank() == 0 { &[1.0, 2.0] } else { &[] })?;
        let before = metrics.save_state()?;
        assert_eq!(metrics.synced(&mut member)?.compute()?.scalar("sum"), Some(3.0));
        assert_eq!(metrics.save_state()?, before);
        // Rank 1 has seen nothing, so its own compute fails, which changes nothing either.
        assert_eq!(metrics.compute().is_err(), member.rank() == 1);
        assert_eq!(metrics.save_state()?, before);
        // And more can come.
        add(&mut metrics, &[4.0])?;
        Ok(metrics.synced(&mut member)?.compute()?.scalar("sum"))
    }) {
        assert_eq!(result?, Some(11.0));
    }
    Ok(())
}

#[test]
fn nothing_of_all_ranks_is_nothing() -> Result<()> {
    for result in ranks(3, |mut member| -> Result<_> {
        let mut metrics = empty()?;
        metrics.sync(&mut member)?;
        Ok(metrics)
    }) {
        let error = result?.compute().expect_err("no rank has seen anything").to_string();
        assert_eq!(error, "member `mean`: mae: there is no data yet: no sample that counts was added");
    }
    Ok(())
}

/// Whatever is wrong on one rank, all get the same error, and no state has changed.
#[test]
fn a_difference_is_one_error_for_all() -> Result<()> {
    type Build = fn() -> Result<MetricCollection>;
    let other_configuration: Build = || MetricCollection::new().with("mae", Mae::new(Reduction::Sum));
    let other_layout: Build =
        || MetricCollection::new().with("mae", Mae::with_policy(Reduction::Mean, NonFinite::Skip));
    let other_kind: Build = || MetricCollection::new().with("mae", Moody::new(Mood::Refuses));
    let more: Build = || {
        let mae = Mae::new(Reduction::Mean);
        MetricCollection::new().with("mae", mae.clone())?.with("mae of late", mae)
    };
    let cases: [(Build, &str); 5] = [
        (|| Ok(MetricCollection::new()), "sync: rank 2: there is no member `mae`, but rank 0 has one"),
        (more, "sync: rank 2: there is a member `mae of late`, but rank 0 has none"),
        (
            other_configuration,
            "sync: rank 2: member `mae` is mae[reduction=\"sum\"], but that of rank 0 is mae[reduction=\"mean\"]",
        ),
        (
            other_kind,
            "sync: rank 2: member `mae` is moody[mood=\"Refuses\"], but that of rank 0 is mae[reduction=\"mean\"]",
        ),
        (
            other_layout,
            "sync: rank 2: member `mae` is state[score: sum; non-finite: skip], but that of rank 0 is state[score: sum]",
        ),
    ];
    for (build, expected) in cases {
        let error = same_error(ranks(4, |mut member| {
            let mut metrics = if member.rank() == 2 {
                build()
            } else {
                MetricCollection::new().with("mae", Mae::new(Reduction::Mean))
            }?;
            if !metrics.is_empty() {
                add(&mut metrics, &[1.0])?;
            }
            let before = metrics.save_state()?;
            let result = metrics.sync(&mut member);
            assert_eq!(metrics.save_state()?, before);
            result
        }));
        assert!(error.starts_with(expected), "{error}");
    }
    Ok(())
}

#[test]
fn members_may_be_in_another_order() -> Result<()> {
    for result in ranks(2, |mut member| -> Result<_> {
        let (a, b) = (Mae::new(Reduction::Sum), Mae::new(Reduction::Mean));
        let metrics = MetricCollection::new();
        let mut metrics = if member.rank() == 0 {
            metrics.with("a", a)?.with("b", b)?
        } else {
            metrics.with("b", b)?.with("a", a)?
        };
        add(&mut metrics, &[1.0, 3.0])?;
        metrics.sync(&mut member)?;
        let report = metrics.compute()?;
        Ok((report.scalar("a"), report.scalar("b")))
    }) {
        assert_eq!(result?, (Some(8.0), Some(2.0)));
    }
    Ok(())
}

#[test]
fn another_version_or_damage_is_one_error_for_all() -> Result<()> {
    let sync = |alter: &(dyn Fn(&[u8]) -> Vec<u8> + Sync)| {
        same_error(ranks(3, |member| {
            let alter = |rank: usize, bytes: &[u8]| if rank == 1 { alter(bytes) } else { bytes.to_vec() };
            with(&[1.0])?.sync(&mut Altered(member, alter))
        }))
    };
    let version = env!("CARGO_PKG_VERSION");
    let newer = |bytes: &[u8]| {
        let text = format!("candle-metrics sync {version}\n").into_bytes();
        assert!(bytes.starts_with(&text));
        // What a later version writes after its first line is not known.
        b"candle-metrics sync 7.0.0\nwhatever".to_vec()
    };
    let expected = format!("sync: rank 1: its version of the library is 7.0.0, but that of rank 0 is {version}");
    assert_eq!(sync(&newer), expected);
    let foreign = "sync: rank 1: what it gave is not of a sync of this library: do all run the same program?";
    assert_eq!(sync(&|_| b"something else".to_vec()), foreign);
    assert_eq!(sync(&|bytes| bytes[..25].to_vec()), foreign);
    assert_eq!(sync(&|bytes| bytes[..40].to_vec()), "sync: rank 1: what it gave is damaged");
    let cut = sync(&|bytes| bytes[..bytes.len() - 1].to_vec());
    assert!(
        cut.starts_with("sync: rank 1: checkpoint: it has ") && cut.contains("bytes, but its header says"),
        "{cut}"
    );
    Ok(())
}

#[test]
fn what_one_rank_cannot_give_is_an_error_for_all() -> Result<()> {
    let error = same_error(ranks(3, |mut member| {
        // It is read back, and refused, when the state is to be given.
        let mae = Mae::queued_with_policy(Reduction::Mean, 64, NonFinite::Error);
        let mut metrics = MetricCollection::new().with("mae", mae)?;
        add(&mut metrics, &[if member.rank() == 1 { f32::NAN } else { 1.0 }])?;
        metrics.sync(&mut member)
    }));
    assert!(error.starts_with("sync: rank 1: ") && error.contains("is NaN, but must be finite"), "{error}");
    Ok(())
}

#[test]
fn keys_that_do_not_fit_are_one_error_for_all() -> Result<()> {
    let sync = |keys: [Option<&[u64]>; 2]| {
        same_error(ranks(2, |mut member| {
            let mut metrics = with(&[1.0, 2.0])?;
            match keys[member.rank()] {
                Some(keys) => metrics.sync_by_key(&mut member, keys),
                None => metrics.sync(&mut member),
            }
        }))
    };
    let few = "sync: rank 1: keys: member `values` keeps the values of 2 samples, but there are 1 keys";
    assert_eq!(sync([Some(&[0, 1]), Some(&[2])]), few);
    assert_eq!(sync([Some(&[0, 1]), None]), "sync: rank 1: there are no keys, but rank 0 gives some");
    assert_eq!(sync([None, Some(&[0, 1])]), "sync: rank 1: there are keys, but rank 0 gives none");

    let listed = || Mae::new(Reduction::None);
    let in_parts = [
        MetricCollection::new().with("parts", PerLabel::new(listed(), ["a"])?)?,
        MetricCollection::new().with("parts", Running::new(listed(), 3)?)?,
        MetricCollection::new().with("parts", MinMax::new(Running::new(First::new(), 3)?)?)?,
        MetricCollection::new().with("parts", BootStrapper::new(First::new(), 2, 0)?)?,
    ];
    for mut metrics in in_parts {
        let error = metrics.sync_by_key(&mut Solo, &[]).expect_err("values are in parts").to_string();
        let parts = "keys: member `parts` keeps the values of samples in parts, which keys cannot put in order";
        assert_eq!(error, format!("sync: rank 0: {parts}"));
    }
    // What keeps no value of an image has no order either.
    let mut metrics = MetricCollection::new().with("running", Running::new(Mae::new(Reduction::Mean), 3)?)?;
    metrics.sync_by_key(&mut Solo, &[])
}

#[test]
fn eval_only_collections_sync_too() -> Result<()> {
    for result in ranks(2, |mut member| -> Result<_> {
        let mut metrics = with(&[member.rank() as f32])?.eval_only();
        let key = 1 - member.rank() as u64;
        let copy = metrics.synced_by_key(&mut member, &[key])?;
        assert_eq!(copy.compute()?.get("values"), Some(&Value::PerImage(vec![1.0, 0.0])));
        metrics.sync(&mut member)?;
        Ok(metrics.compute()?.scalar("sum"))
    }) {
        assert_eq!(result?, Some(1.0));
    }
    Ok(())
}

#[test]
fn a_rank_that_leaves_keeps_nobody_waiting() {
    for panics in [false, true] {
        let work = move |mut member: Threads| {
            if member.rank() == 1 {
                assert!(!panics, "this is to be");
                return Ok(());
            }
            with(&[1.0])?.sync(&mut member)
        };
        let threads: Vec<_> = Threads::group(3).into_iter().map(|member| thread::spawn(move || work(member))).collect();
        let joined: Vec<_> = threads.into_iter().map(thread::JoinHandle::join).collect();
        assert_eq!(joined[1].is_err(), panics);
        for rank in [0, 2] {
            let error = joined[rank].as_ref().expect("no panic").as_ref().expect_err("nothing to wait for").to_string();
            assert_eq!(error, "collective: rank 1 has left the group, so there is nothing to wait for");
        }
    }
}

#[test]
fn threads_exchange_many_times_in_step() {
    let rounds = ranks(4, |mut member| -> Result<()> {
        for round in 0..500u32 {
            let bytes = round.to_le_bytes().repeat(member.rank());
            let expected: Vec<_> = (0..4).map(|rank| round.to_le_bytes().repeat(rank)).collect();
            assert_eq!(member.all_gather(&bytes)?, expected);
            let gathered = member.gather(&bytes)?;
            assert_eq!(gathered, if member.rank() == 0 { expected } else { Vec::new() });
            assert_eq!(member.broadcast(&[round as u8, member.rank() as u8])?, [round as u8, 0]);
        }
        Ok(())
    });
    assert!(rounds.iter().all(Result::is_ok), "{rounds:?}");
}

/// An engine that loses what a rank gave.
struct Lossy;

impl Collective for Lossy {
    fn rank(&self) -> usize {
        0
    }

    fn world_size(&self) -> usize {
        2
    }

    fn all_gather(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        Ok(vec![bytes.to_vec()])
    }
}

#[test]
fn an_engine_that_loses_something_is_noticed() -> Result<()> {
    let error = with(&[1.0])?.sync(&mut Lossy).expect_err("one is missing");
    assert!(matches!(error, Error::Collective { .. }));
    assert_eq!(error.to_string(), "collective: 1 of 2 processes gave something");
    Ok(())
}
