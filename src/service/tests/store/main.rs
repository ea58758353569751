//! The store under fire: killed at every system call, refused by every system call, and given
//! damaged files.
//!
//! Each operation runs in a process of its own, which is this test binary again, under strace.
//! Which calls there are is recorded from a run that nothing happens to.

mod damage;
mod durability;
mod faults;
mod fixtures;
mod operations;
mod trace;
mod view;
