//! Checkpoints whose checksum is right and whose content is not.

use super::*;
use crate::entries::Entry;
use crate::{Reduce, Statistics};

fn state() -> State {
    let state = State::new().with("sum", Reduce::Sum).with("min", Reduce::Min);
    state.with("all", Reduce::Collect).with("summary", Reduce::Summary)
}

fn fingerprint() -> Fingerprint {
    Fingerprint::of("toy", &()).expect("it has no settings")
}

fn checkpoint() -> Checkpoint {
    let mut state = state();
    let values = || vec![0.5, -1.0, f64::INFINITY];
    let fields = ["sum", "min", "all", "summary"];
    let statistics = fields.iter().fold(Statistics::new(3), |all, name| all.with_values(*name, values()));
    state.accumulate(statistics).expect("it fits");
    Checkpoint::new(fingerprint(), [(None, &state)]).expect("nothing waits on a device")
}

fn problem(checkpoint: &Checkpoint) -> String {
    let bytes = checkpoint.to_bytes().expect("bytes");
    let checkpoint = Checkpoint::from_bytes(&bytes).expect("the checksum is right");
    checkpoint.states(&fingerprint(), [(None, &state())]).expect_err("the content is not").to_string()
}

/// What is said when an entry has these integers.
fn with_integers(name: &str, change: impl Fn(&mut Vec<u64>)) -> String {
    let mut checkpoint = checkpoint();
    let Some(Entry::Integers(values)) = checkpoint.entries.0.get_mut(name) else { panic!("no integers `{name}`") };
    change(values);
    problem(&checkpoint)
}

#[test]
fn what_was_saved_can_be_loaded() {
    let checkpoint = checkpoint();
    let states = checkpoint.states(&fingerprint(), [(None, &state())]).expect("it is of the same kind");
    assert_eq!(Checkpoint::new(fingerprint(), [(None, &states[0])]).expect("a checkpoint"), checkpoint);
}

#[test]
fn entries_are_all_declared_and_all_there() {
    let mut missing = checkpoint();
    missing.entries.0.remove("all/values");
    assert_eq!(problem(&missing), "the entry `all/values` is missing");

    let mut more = checkpoint();
    more.entries.0.insert("more/values".into(), Entry::Floats(vec![]));
    assert_eq!(problem(&more), "the entry `more/values` is not declared");
}

#[test]
fn entries_have_their_types_and_shapes() {
    let mut floats = checkpoint();
    floats.entries.0.insert("counters".into(), Entry::Floats(vec![1.0]));
    assert_eq!(problem(&floats), "the entry `counters` is F64 [1], but must be U64");
    let mut integers = checkpoint();
    integers.entries.0.insert("all/values".into(), Entry::Integers(vec![1, 2]));
    assert_eq!(problem(&integers), "the entry `all/values` is U64 [2], but must be F64");

    let shorter = |values: &mut Vec<u64>| values.truncate(values.len() - 1);
    assert_eq!(with_integers("counters", shorter), "the entry `counters` is U64 [2], but must be U64 [3]");
    let message = "the entry `sum/weight` cannot be: it has 34 numbers, but must have 35";
    assert_eq!(with_integers("sum/weight", shorter), message);
    assert_eq!(with_integers("sum/weight", Vec::clear), message.replace("34", "0"));
}

#[test]
fn entries_have_possible_values() {
    let set = |index: usize, value: u64| move |values: &mut Vec<u64>| values[index] = value;
    for (entry, index, value, message) in [
        ("counters", 1, u64::MAX, "nothing is counted up to 18446744073709551615"),
        ("sum/products", 67, 8, "its last number is 8, but is at most 7"),
        ("summary/sketch", 0, 64, "its resolution is 64, but is below 64"),
        ("summary/sketch", 1, u64::MAX, "its counts do not add up to 3 samples"),
        ("summary/sketch", 3, 1, "its counts do not add up to 3 samples"),
        ("summary/positive", 0, u64::MAX, "its buckets are empty, not in order or beyond the range of f64"),
        ("summary/positive", 1, 0, "its buckets are empty, not in order or beyond the range of f64"),
    ] {
        let reported = if entry.starts_with("summary") { "summary/sketch" } else { entry };
        let expected = format!("the entry `{reported}` cannot be: {message}");
        assert_eq!(with_integers(entry, set(index, value)), expected, "{entry}[{index}] = {value}");
    }
    let odd = "the entry `summary/negative` cannot be: its buckets and counts are not pairs";
    assert_eq!(with_integers("summary/negative", |values| values.push(7)), odd);
    let many = with_integers("summary/positive", |values| *values = (0..2050).flat_map(|i| [i, 1]).collect());
    assert_eq!(many, "the entry `summary/sketch` cannot be: it has 2051 buckets, but at most 1024 are kept");
    let fewer = with_integers("counters", set(1, 2));
    assert_eq!(fewer, "the entry `all/values` cannot be: it has 3 values of 2 samples");
}

#[test]
fn the_number_of_updates_is_that_of_the_states() {
    let mut checkpoint = checkpoint();
    checkpoint.updates = 5;
    assert_eq!(problem(&checkpoint), "its metadata has 5 for `updates`, but must have 1");
}

#[test]
fn parts_have_possible_numbers() {
    let recent = State::recent(State::new().with("sum", Reduce::Sum), 2);
    let resampled = State::resampled(State::new().with("sum", Reduce::Sum), 2, 1, 0);
    let declared = State::of_parts(vec![recent, resampled]);
    let saved = || Checkpoint::new(fingerprint(), [(None, &declared)]).expect("nothing waits on a device");
    for (entry, value, message) in [
        ("%part000/recent", 3, "3 updates are kept of 2 at most"),
        ("%part000/recent", u64::MAX, "18446744073709551615 updates are kept of 2 at most"),
    ] {
        let mut checkpoint = saved();
        assert!(checkpoint.entries.0.insert(entry.into(), Entry::Integers(vec![value])).is_some(), "{entry}");
        let error = checkpoint.states(&fingerprint(), [(None, &declared)]).expect_err("it cannot be").to_string();
        assert_eq!(error, format!("the entry `{entry}` cannot be: {message}"));
    }
    // However large the window is, a number takes no memory.
    let endless = State::recent(State::new().with("sum", Reduce::Sum), usize::MAX);
    for count in [1, 1 << 40, 1 << 60, u64::MAX] {
        let mut checkpoint = Checkpoint::new(fingerprint(), [(None, &endless)]).expect("nothing waits on a device");
        checkpoint.entries.0.insert("recent".into(), Entry::Integers(vec![count]));
        let error = checkpoint.states(&fingerprint(), [(None, &endless)]).expect_err("it is not there").to_string();
        assert_eq!(error, "the entry `%part000/counters` is missing");
    }
    let mut checkpoint = saved();
    checkpoint.entries.0.insert("%part000/recent".into(), Entry::Integers(vec![1]));
    let error = checkpoint.states(&fingerprint(), [(None, &declared)]).expect_err("it is not there").to_string();
    assert_eq!(error, "the entry `%part000/%part000/counters` is missing");
}

#[test]
fn arrays_and_counts_have_possible_lengths() {
    let state = || {
        let state = State::new().with("last", Reduce::Last).with("counts", Reduce::Count(3));
        state.with("rows", Reduce::CollectArrays(vec![2])).with("sums", Reduce::SumArrays(vec![2]))
    };
    let mut full = state();
    let statistics = Statistics::new(2).with_values("last", vec![1.0, 2.0]).with_values("counts", vec![0.0, 2.0]);
    let rows = || vec![1.0, 2.0, 3.0, 4.0];
    full.accumulate(statistics.with_values("rows", rows()).with_values("sums", rows())).expect("it fits");
    let saved = |state: &State| Checkpoint::new(fingerprint(), [(None, state)]).expect("nothing waits on a device");
    let error = |checkpoint: Checkpoint| {
        checkpoint.states(&fingerprint(), [(None, &state())]).expect_err("it cannot be").to_string()
    };
    for (entry, changed, message) in [
        ("last/values", Entry::Floats(vec![]), "0 values cannot be the last of 2"),
        ("last/values", Entry::Floats(vec![1.0, 2.0]), "2 values cannot be the last of 2"),
        ("counts/counts", Entry::Integers(vec![1, 1]), "it has 2 counts, but must have 3"),
        ("counts/counts", Entry::Integers(vec![1 << 56, 1, 0]), "nothing of 2 samples is counted so often"),
        ("counts/counts", Entry::Integers(vec![u64::MAX; 3]), "nothing of 2 samples is counted so often"),
        ("rows/values", Entry::Floats(vec![1.0, 2.0, 3.0]), "it has 3 values of 2 samples"),
        ("rows/values", Entry::Floats(vec![0.0; 6]), "it has 6 values of 2 samples"),
    ] {
        let mut checkpoint = saved(&full);
        assert!(checkpoint.entries.0.insert(entry.into(), changed).is_some(), "{entry}");
        assert_eq!(error(checkpoint), format!("the entry `{entry}` cannot be: {message}"));
    }
    let mut checkpoint = saved(&state());
    checkpoint.entries.0.insert("last/values".into(), Entry::Floats(vec![1.0]));
    assert_eq!(error(checkpoint), "the entry `last/values` cannot be: 1 values cannot be the last of 0");
    let mut checkpoint = saved(&state());
    checkpoint.entries.0.insert("counts/counts".into(), Entry::Integers(vec![0, 1, 0]));
    assert_eq!(error(checkpoint), "the entry `counts/counts` cannot be: nothing of 0 samples is counted so often");
    // As much as there may be is loaded, and nothing is added to it.
    let mut checkpoint = saved(&full);
    checkpoint.entries.0.insert("counts/counts".into(), Entry::Integers(vec![1 << 55, (1 << 55) - 2, 0]));
    let mut states = checkpoint.states(&fingerprint(), [(None, &state())]).expect("it is of the same kind");
    let message = "state: the field `counts` has counted 72057594037927934 and is to count 4 more, but no more than 72057594037927936 in all";
    let four = Statistics::new(2).with_values("last", vec![1.0, 2.0]).with_values("counts", vec![0.0; 4]);
    let four = four.with_values("rows", rows()).with_values("sums", rows());
    assert_eq!(states[0].accumulate(four.clone()).expect_err("too much").to_string(), message);
    let mut other = state();
    other.accumulate(four).expect("it fits");
    assert_eq!(states[0].merge(&other).expect_err("too much").to_string(), message);
    for missing in saved(&full).entries.0.keys() {
        let mut checkpoint = saved(&full);
        checkpoint.entries.0.remove(missing);
        assert_eq!(error(checkpoint), format!("the entry `{missing}` is missing"));
    }
    let states = saved(&full).states(&fingerprint(), [(None, &state())]).expect("it is of the same kind");
    assert_eq!(saved(&states[0]), saved(&full));
}
