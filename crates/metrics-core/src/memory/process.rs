//! What the process holds, as the system sees it.

use std::fs;
use std::sync::OnceLock;

/// The bytes of this process that are in RAM (its resident set); `None` where the system does not tell, which is
/// everywhere but on Linux.
///
/// This is what a process monitor shows. It counts what the allocator has freed but not given back, and it is rounded
/// up to pages, so it says nothing about single bytes: use it for trends.
///
/// ```
/// match metrics_core::resident_bytes() {
///     Some(bytes) => println!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
///     None => println!("unknown"),
/// }
/// ```
pub fn resident_bytes() -> Option<usize> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(page_bytes()?)
}

/// The unit of `/proc/self/statm`: not 4 KiB everywhere.
fn page_bytes() -> Option<usize> {
    static PAGE_BYTES: OnceLock<Option<usize>> = OnceLock::new();
    *PAGE_BYTES.get_or_init(|| page_bytes_in(&fs::read("/proc/self/auxv").ok()?))
}

/// The entry AT_PAGESZ of an auxiliary vector, which is a list of keys and values of machine words.
fn page_bytes_in(auxv: &[u8]) -> Option<usize> {
    const AT_PAGESZ: usize = 6;
    let mut words = auxv.chunks_exact(size_of::<usize>()).map(|word| word.try_into().map(usize::from_ne_bytes));
    while let (Some(Ok(key)), Some(Ok(value))) = (words.next(), words.next()) {
        if key == AT_PAGESZ {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_size_is_found_among_the_entries() {
        let auxv = |words: &[usize]| words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<_>>();
        assert_eq!(page_bytes_in(&auxv(&[16, 6, 6, 65536, 0, 0])), Some(65536));
        assert_eq!(page_bytes_in(&auxv(&[16, 6, 0, 0])), None);
        assert_eq!(page_bytes_in(&auxv(&[6])), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn it_agrees_with_what_the_system_says_in_kilobytes() {
        let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it tells the resident set");
        let kib: usize = line.trim_end_matches("kB").trim().parse().expect("a number");
        let bytes = resident_bytes().expect("Linux has it");
        // Between the two readings other tests of this process allocate and free. A wrong page size is off by a factor.
        assert!(bytes.abs_diff(kib * 1024) < kib * 1024 / 2, "{bytes} bytes, but {kib} KiB");
    }
}
