//! The monitor notices a process that grows. One test in a process of its own: others would grow it too.

#![cfg(target_os = "linux")]

use metrics_detach::{Finding, MemoryReport, RetentionMonitor};

const MIB: usize = 1 << 20;

#[test]
fn a_process_that_grows_is_a_warning() {
    let mut monitor = RetentionMonitor::new().process_allowance(8 * MIB);
    let (mut kept, mut findings) = (Vec::new(), Vec::new());
    for step in 0..30u8 {
        kept.push(vec![step | 1; 2 * MIB]); // written to, so that it is in RAM
        findings.extend(monitor.check(&MemoryReport::new()));
    }
    // Once it is found; again if the process, of a few MiB before, has doubled by then.
    let grown = |finding: &Finding| matches!(finding, Finding::Process { rise } if rise.to - rise.from > 8 * MIB);
    assert!((1..=2).contains(&findings.len()) && findings.iter().all(grown), "{findings:?}");
    assert!(monitor.to_string().starts_with("process memory grew from "), "{monitor}");
}
