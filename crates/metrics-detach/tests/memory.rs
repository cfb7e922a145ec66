//! What is held in memory, and what grows.

use candle_core::{Device, Result, Tensor, Var};
use metrics_detach::{Finding, Growth, HeldMemory, MemoryReport, RetentionMonitor};

fn held(state_bytes: usize, growth: Growth) -> MemoryReport {
    MemoryReport::new().with("sums", HeldMemory::new(state_bytes, growth))
}

#[test]
fn kept_values_are_counted_with_their_graphs() -> Result<()> {
    let weight = Var::new(&[1f32, 2.0], &Device::Cpu)?;
    let kept = [weight.sqr()?, weight.exp()?, weight.detach()];
    let memory = MemoryReport::new().with_kept(&kept);
    let kept = memory.kept().expect("they were given");
    // Three storages of two f32: the square, the exponential, and the variable's, which its detached tensor shares.
    assert_eq!((kept.values, kept.tracking, kept.graph_nodes, kept.bytes), (3, 2, 3, 24));
    Ok(())
}

const JSON: &str = r#"{
    "holders": {
        "psnr": {"state_bytes": 424, "queue_bytes": 0, "growth": "constant"},
        "ssim per image": {"state_bytes": 80091, "queue_bytes": 512, "growth": "per_image"}
    },
    "values_may_track": true,
    "kept": {"values": 30, "tracking": 30, "graph_nodes": 666, "bytes": 3145728}
}"#;

#[test]
fn a_report_reads_as_a_table() {
    let memory: MemoryReport = serde_json::from_str(JSON).expect("a report");
    let expected = "\
holder             state  queue        growth
psnr               424 B    0 B          none
ssim per image  78.2 KiB  512 B  8 B an image
returned values: may track
kept: 30 values, of which 30 track: 666 graph nodes, 3.0 MiB
";
    assert_eq!(memory.to_string(), expected);
    let hostile = MemoryReport::new().with("a\nb\u{1b}", memory.get("psnr").copied().expect("a holder"));
    assert!(hostile.to_string().contains("a\\nb\\u{1b}  424 B"), "{hostile}");
}

#[test]
fn json_keeps_a_report_as_it_is() -> Result<()> {
    let kept = Tensor::new(&[1f32], &Device::Cpu)?;
    let report = held(8, Growth::Bounded).tracking(true);
    for memory in [report.clone(), report.with_kept([&kept]), MemoryReport::new()] {
        let json = serde_json::to_string(&memory).expect("an object");
        assert_eq!(serde_json::from_str::<MemoryReport>(&json).expect("a report"), memory);
    }
    Ok(())
}

#[test]
fn a_name_has_one_row_and_rows_stay_in_order() {
    let of = |state_bytes| HeldMemory::new(state_bytes, Growth::Constant).queue(1);
    let memory = MemoryReport::new().with("b", of(1)).with("a", of(2)).with("b", of(3));
    assert_eq!(memory.iter().map(|(name, held)| (name, held.state_bytes)).collect::<Vec<_>>(), [("b", 3), ("a", 2)]);
    assert_eq!((memory.state_bytes(), memory.queue_bytes(), memory.get("c")), (5, 2, None));
}

#[test]
fn each_kind_of_growth_is_told_as_what_it_is() {
    for (growth, of_growth) in [
        (Growth::Constant, "the growing one is lost memory"),
        (Growth::Bounded, "it has a bound"),
        (Growth::PerImage, "it grows as configured"),
    ] {
        let mut monitor = RetentionMonitor::new();
        let findings: Vec<_> = (0..30).flat_map(|step| monitor.check(&held(1000 + 16 * step, growth))).collect();
        let as_expected = match growth {
            Growth::Constant => matches!(findings[..], [Finding::State { rise }] if rise.to - rise.from == 7 * 16),
            Growth::Bounded => findings.is_empty(),
            Growth::PerImage => findings == [Finding::PerImage { holders: vec!["sums".into()] }],
        };
        assert!(as_expected, "{of_growth}: {findings:?}");
        assert_eq!(monitor.has_warned(), growth == Growth::Constant);
    }
}
