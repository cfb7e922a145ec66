//! Runs the text of the GPU kernels on the CPU, for tests. On Linux only; elsewhere this crate is empty.
//!
//! The threads of a block are fibers with real barriers. They run in rising, falling or shuffled order, from block to block, and so do
//! the blocks of a grid. The memory of a block starts as NaN.
//!
//! In one launch of four, every access to memory is watched, which takes three times as long: a race between two barriers is an error,
//! and so is a number that no thread of the block has written, whatever the kernel makes of it. Two threads that write one result are an
//! error too. `EMULATION_WATCH=1` watches all launches, and `EMULATION_WATCH=0` none. (A build with `EMULATION_SANITIZE` has the
//! sanitizers of the compiler instead.)
//!
//! `EMULATION_WITHOUT_BARRIER=scan.h:12` leaves out the barrier at that place of the text.
#![cfg(target_os = "linux")]

use std::cell::{Cell, RefCell};
use std::env;
use std::ffi::{CStr, CString, c_char, c_uint, c_void};
use std::ptr;

/// Whose text to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// CUDA C++.
    Cuda,
    /// Metal.
    Metal,
}

/// An argument of a kernel.
pub enum Arg<'a> {
    /// A buffer that the kernel reads.
    Read(&'a [u8]),
    /// No buffer.
    Absent,
    /// A buffer that the kernel writes.
    Write(&'a mut [u8]),
    /// A value, as it lies in memory.
    Value(&'a [u8]),
}

/// `Launch` of `launch.h`.
#[repr(C)]
struct Launch {
    name: *const c_char,
    args: *const *mut c_void,
    count: usize,
    written: *const usize,
    blocks: c_uint,
    workers: c_uint,
    without: *const c_char,
    races: bool,
    left_out: bool,
    fault: [c_char; 256],
}

unsafe extern "C" {
    fn emulate_cuda(launch: *mut Launch);
    fn emulate_metal(launch: *mut Launch);
    fn watch_cuda(launch: *mut Launch);
    fn watch_metal(launch: *mut Launch);
    fn params_sizes(doubled: bool, sizes: *mut usize);
}

/// A barrier to leave out.
struct Removal {
    /// `scan.h:12`.
    place: String,
    /// In this kernel only, or in all.
    kernel: Option<String>,
    /// Whether a thread came to it.
    reached: bool,
}

thread_local! {
    /// So far.
    static LAUNCHES: Cell<usize> = const { Cell::new(0) };
    static REMOVED: RefCell<Option<Removal>> = RefCell::new(
        env::var("EMULATION_WITHOUT_BARRIER").ok().map(|place| Removal { place, kernel: None, reached: false }),
    );
}

/// Runs `f` on this thread while kernel `kernel` lacks the barrier at `place`, such as `scan.h:12`; says whether a thread came to it.
pub fn without_barrier<R>(place: &str, kernel: &str, f: impl FnOnce() -> R) -> (R, bool) {
    let removal = Removal { place: place.to_owned(), kernel: Some(kernel.to_owned()), reached: false };
    let before = REMOVED.replace(Some(removal));
    let result = f();
    let removal = REMOVED.replace(before);
    (result, removal.is_some_and(|removal| removal.reached))
}

/// Whether to watch this launch: one without a barrier, one that the environment asks for, or every fourth of this thread.
fn is_watched(lacks_barrier: bool) -> bool {
    let turn = LAUNCHES.replace(LAUNCHES.get() + 1);
    match env::var("EMULATION_WATCH").as_deref() {
        Ok("0") => false,
        Ok(_) => true,
        Err(_) => lacks_barrier || turn.is_multiple_of(4),
    }
}

/// How many kernels this thread has run.
pub fn launches() -> usize {
    LAUNCHES.get()
}

/// Runs kernel `name` in `blocks` blocks of `workers` threads.
///
/// # Errors
/// When there is no such kernel, some threads of a block come to a barrier and others do not, or threads race.
///
/// # Safety
/// The arguments must be those that the kernel takes, and it must stay within its buffers.
pub unsafe fn launch(dialect: Dialect, name: &str, blocks: u32, workers: u32, args: &mut [Arg]) -> Result<(), String> {
    let c_string = |text: &str| CString::new(text).map_err(|error| error.to_string());
    let c_name = c_string(name)?;
    let without = REMOVED.with_borrow(|removed| {
        let removal = removed.as_ref().filter(|removal| removal.kernel.as_deref().is_none_or(|kernel| kernel == name));
        removal.map(|removal| c_string(&removal.place)).transpose()
    })?;
    let mut buffers: Vec<*mut c_void> = Vec::new();
    let mut written = Vec::new();
    for arg in args.iter_mut() {
        written.push(if let Arg::Write(bytes) = arg { bytes.len() } else { 0 });
        buffers.push(match arg {
            Arg::Read(bytes) | Arg::Value(bytes) => bytes.as_ptr().cast_mut().cast(),
            Arg::Write(bytes) => bytes.as_mut_ptr().cast(),
            Arg::Absent => ptr::null_mut(),
        });
    }
    // A buffer is an argument of the type of a pointer, a value is the argument itself.
    let place = |(arg, buffer): (&Arg, &*mut c_void)| match arg {
        Arg::Value(_) => *buffer,
        Arg::Read(_) | Arg::Write(_) | Arg::Absent => ptr::from_ref(buffer).cast_mut().cast(),
    };
    let places: Vec<*mut c_void> = args.iter().zip(&buffers).map(place).collect();
    let watched = is_watched(without.is_some());
    let run = match (dialect, watched) {
        (Dialect::Cuda, false) => emulate_cuda,
        (Dialect::Cuda, true) => watch_cuda,
        (Dialect::Metal, false) => emulate_metal,
        (Dialect::Metal, true) => watch_metal,
    };
    let mut launch = Launch {
        name: c_name.as_ptr(),
        args: places.as_ptr(),
        count: places.len(),
        written: written.as_ptr(),
        blocks,
        workers,
        without: without.as_ref().map_or(ptr::null(), |place| place.as_ptr()),
        races: watched,
        left_out: false,
        fault: [0; 256],
    };
    // SAFETY: the arguments are right by this function's own contract, and live until it returns.
    unsafe { run(&raw mut launch) };
    if launch.left_out {
        REMOVED.with_borrow_mut(|removed| removed.iter_mut().for_each(|removal| removal.reached = true));
    }
    // SAFETY: it was 0 everywhere, and is written as a string that fits.
    let fault = unsafe { CStr::from_ptr(launch.fault.as_ptr()) };
    if fault.is_empty() { Ok(()) } else { Err(format!("{name}: {}", fault.to_string_lossy())) }
}

/// The sizes of the parameters of a launch, in bytes, as the kernels see them: those of all kernels, and what more results take. In f64 if
/// `doubled`.
pub fn sizes_of_params(doubled: bool) -> [usize; 2] {
    let mut sizes = [0; 2];
    // SAFETY: it writes two numbers.
    unsafe { params_sizes(doubled, sizes.as_mut_ptr()) };
    sizes
}
