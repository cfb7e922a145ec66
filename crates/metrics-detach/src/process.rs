//! What the process holds, as the system sees it.

/// The bytes of this process that are in RAM (its resident set); `None` where the system does not tell.
///
/// This is what a process monitor shows. It counts what the allocator has freed but not given back, and it is rounded
/// up to pages, so it says nothing about single bytes: use it for trends.
///
/// ```
/// match metrics_detach::resident_bytes() {
///     Some(bytes) => println!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
///     None => println!("unknown"),
/// }
/// ```
pub fn resident_bytes() -> Option<usize> {
    memory_stats::memory_stats().map(|stats| stats.physical_mem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn it_agrees_with_what_the_system_says_in_kilobytes() {
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it tells the resident set");
        let kib: usize = line.trim_end_matches("kB").trim().parse().expect("a number");
        let bytes = resident_bytes().expect("Linux has it");
        // Between the two readings other tests of this process allocate and free. A wrong page size is off by a factor.
        assert!(bytes.abs_diff(kib * 1024) < kib * 1024 / 2, "{bytes} bytes, but {kib} KiB");
    }

    #[test]
    fn the_process_has_a_size_where_the_system_tells() {
        let tells = cfg!(any(target_os = "linux", target_os = "macos", target_os = "windows"));
        assert!(resident_bytes().map_or(!tells, |bytes| bytes > 1 << 20));
    }
}
