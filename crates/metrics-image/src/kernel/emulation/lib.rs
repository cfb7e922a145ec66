//! Runs the text of the GPU kernels on the CPU, for tests: the threads of a block are fibers with real barriers, and every other grid
//! runs in the reverse order. On Linux only; elsewhere this crate is empty.
#![cfg(target_os = "linux")]

use std::ffi::{CString, c_char, c_int, c_uint, c_void};

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
    /// A buffer that the kernel writes.
    Write(&'a mut [u8]),
    /// A value, as it lies in memory.
    Value(&'a [u8]),
}

unsafe extern "C" {
    fn emulate_cuda(
        name: *const c_char,
        args: *const *mut c_void,
        count: usize,
        blocks: c_uint,
        workers: c_uint,
    ) -> c_int;
    fn emulate_metal(
        name: *const c_char,
        args: *const *mut c_void,
        count: usize,
        blocks: c_uint,
        workers: c_uint,
    ) -> c_int;
    fn params_size(doubled: bool) -> usize;
}

/// Runs kernel `name` in `blocks` blocks of `workers` threads.
///
/// # Errors
/// When there is no such kernel, or some threads of a block come to a barrier and others do not.
///
/// # Safety
/// The arguments must be those that the kernel takes, and it must stay within its buffers.
pub unsafe fn launch(dialect: Dialect, name: &str, blocks: u32, workers: u32, args: &mut [Arg]) -> Result<(), String> {
    let c_name = CString::new(name).map_err(|error| error.to_string())?;
    let mut buffers: Vec<*mut c_void> = Vec::new();
    for arg in args.iter_mut() {
        buffers.push(match arg {
            Arg::Read(bytes) | Arg::Value(bytes) => bytes.as_ptr().cast_mut().cast(),
            Arg::Write(bytes) => bytes.as_mut_ptr().cast(),
        });
    }
    // A buffer is an argument of the type of a pointer, a value is the argument itself.
    let place = |(arg, buffer): (&Arg, &*mut c_void)| match arg {
        Arg::Value(_) => *buffer,
        Arg::Read(_) | Arg::Write(_) => std::ptr::from_ref(buffer).cast_mut().cast(),
    };
    let places: Vec<*mut c_void> = args.iter().zip(&buffers).map(place).collect();
    let run = match dialect {
        Dialect::Cuda => emulate_cuda,
        Dialect::Metal => emulate_metal,
    };
    // SAFETY: the arguments are right by this function's own contract, and live until it returns.
    match unsafe { run(c_name.as_ptr(), places.as_ptr(), places.len(), blocks, workers) } {
        0 => Ok(()),
        1 => Err(format!("there is no kernel {name:?}")),
        _ => Err(format!("{name}: some threads of a block wait at a barrier that others do not come to")),
    }
}

/// The size of the parameters of a launch, in bytes, as the kernels see them; of those in f64 if `doubled`.
pub fn size_of_params(doubled: bool) -> usize {
    // SAFETY: it takes a value and returns a constant.
    unsafe { params_size(doubled) }
}
