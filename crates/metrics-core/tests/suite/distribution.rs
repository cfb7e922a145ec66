//! Summaries.

use metrics_core::Distribution;

fn distribution(values: &[f64]) -> Distribution {
    values.iter().copied().collect()
}

#[test]
fn a_summary_says_everything() {
    let summary = distribution(&[4.0, 1.0, 3.0, 2.0, 5.0]).summary();
    assert_eq!((summary.count, summary.mean, summary.std), (5, 3.0, 2f64.sqrt()));
    assert_eq!((summary.min, summary.max, summary.median), (1.0, 5.0, 3.0));
    // Ranks 0.2 and 3.8; numpy.quantile([1, 2, 3, 4, 5], [0.05, 0.95]) gives [1.2, 4.8].
    assert_eq!((summary.p5, summary.p95), (1.2, 4.8));
}

#[test]
fn quantiles_stay_between_the_extremes() {
    // Far more numbers than buckets, so that the outer buckets are wide.
    let values: Vec<_> = (0..20_000).map(|i| 20.0 + f64::from(i) * 1e-3).collect();
    let narrow = distribution(&values[..2000]).summary();
    assert!(narrow.min <= narrow.p5 && narrow.p5 <= narrow.median && narrow.median <= narrow.p95);
    let whole = distribution(&values).summary();
    assert!(whole.p95 <= whole.max && whole.min <= whole.p5);
    // Nearly all of them at the lower end of the outermost bucket, whose middle is beyond all.
    let largest = 2f64.powi(20);
    let mut outermost = distribution(&vec![largest; 40_000]);
    (1..2000).for_each(|i| outermost.add(largest / f64::from(i)));
    assert!(outermost.sketch().relative_error() > 0.0);
    assert_eq!(outermost.summary().p95, largest);
}

#[test]
fn of_nothing_and_of_nan() {
    let none = Distribution::new().summary();
    assert_eq!((none.count, none.min, none.max), (0, f64::INFINITY, f64::NEG_INFINITY));
    assert!([none.mean, none.std, none.median, none.p5, none.p95].iter().all(|x| x.is_nan()));
    let nan = distribution(&[1.0, f64::NAN]).summary();
    assert_eq!(nan.count, 2);
    assert!([nan.mean, nan.std, nan.min, nan.max, nan.median, nan.p5, nan.p95].iter().all(|x| x.is_nan()));
}

#[test]
fn an_infinity_shows_where_it_is() {
    let summary = distribution(&[30.0, 40.0, f64::INFINITY]).summary();
    assert_eq!((summary.median, summary.max, summary.mean), (40.0, f64::INFINITY, f64::INFINITY));
    assert_eq!(summary.p95, f64::INFINITY);
    assert!(summary.std.is_nan());
}

#[test]
fn weights_count_in_mean_and_std_only() {
    let mut weighted = Distribution::new();
    [(1.0, 3.0), (5.0, 1.0), (100.0, 0.0)].into_iter().for_each(|(x, weight)| weighted.add_weighted(x, weight));
    let summary = weighted.summary();
    assert_eq!((summary.mean, summary.std), (2.0, 3f64.sqrt()));
    assert_eq!((summary.count, summary.min, summary.max, summary.median), (2, 1.0, 5.0, 3.0));
}

#[test]
fn counts_saturate() {
    let mut distribution: Distribution = [-1.0, 0.5, f64::INFINITY, f64::NEG_INFINITY, f64::NAN].into_iter().collect();
    for _ in 0..70 {
        distribution.merge(&distribution.clone());
        distribution.add(0.5);
    }
    assert_eq!((distribution.count(), distribution.sketch().count()), (u64::MAX, u64::MAX));
    let mut finite: Distribution = (0..3000).map(f64::from).collect();
    (0..70).for_each(|_| finite.merge(&finite.clone()));
    assert!((0.0..3000.0).contains(&finite.summary().median));
}
