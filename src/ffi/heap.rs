//! The heap that the master hands down to the processes that it starts, and that of the service.
//!
//! Reading a configuration leaves many small free pieces between what stays. glibc sorts them when something
//! larger is asked for: each process would do so for itself, and copy all pages that they are in.

#[cfg(target_env = "gnu")]
use std::sync::Once;
#[cfg(target_env = "gnu")]
use std::sync::atomic::{AtomicBool, Ordering};

/// Set from the end of a configuration's reading to the next start of a process: nginx frees much in between.
#[cfg(target_env = "gnu")]
static IS_DUE: AtomicBool = AtomicBool::new(false);

/// Has this process give free pages back to the system, and sort its free pieces, before it starts another one.
pub(super) fn tidy_at_fork() {
    #[cfg(target_env = "gnu")]
    {
        static REGISTERED: Once = Once::new();
        // SAFETY: the handler is in this object, which is never unloaded. Without memory for it nothing is tidied.
        REGISTERED.call_once(|| unsafe {
            libc::pthread_atfork(Some(tidy_if_due), None, None);
        });
        IS_DUE.store(true, Ordering::Relaxed);
    }
}

/// Gives the system what this process has needed for its start alone, the first time that this is called.
pub(super) fn tidy_after_start() {
    #[cfg(target_env = "gnu")]
    {
        static DONE: Once = Once::new();
        // SAFETY: it takes no pointer, and locks the heap as other functions do.
        DONE.call_once(|| unsafe {
            libc::malloc_trim(0);
        });
    }
}

/// Called before a fork; glibc locks its heap only after that.
#[cfg(target_env = "gnu")]
extern "C" fn tidy_if_due() {
    /// More than glibc keeps ready: such a request makes it sort what is free.
    const LARGE: usize = 1 << 20;

    /// It sorts ten thousand pieces at one request (`MAX_ITERS` in its `malloc.c`), so that this is enough for a million.
    /// To count them takes longer than requests that find nothing to do.
    const REQUESTS: usize = 100;

    if IS_DUE.swap(false, Ordering::Relaxed) {
        // SAFETY: it takes no pointer, and locks the heap as other functions do.
        unsafe { libc::malloc_trim(0) };
        for _ in 0..REQUESTS {
            drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGE)));
        }
    }
}
