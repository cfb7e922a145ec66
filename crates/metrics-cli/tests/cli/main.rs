//! The program, run on photographs and on what is wrong with files.

mod common;
mod compare;
mod damage;
mod device;
mod faults;
mod files;
mod formats;
mod golden;
mod lists;
mod mpi;
mod output;
mod resume;
mod scale;
mod seeds;
#[cfg(unix)]
mod terminal;
