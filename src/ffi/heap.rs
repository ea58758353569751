//! The heap that the master hands down to the processes that it starts, and that of the service.
//!
//! Reading a configuration leaves many small free pieces between what stays. A process that allocates in one of them
//! copies the page that it is in, and with it what lies around it: each worker would copy most of what the master has
//! read, within its first handshakes. So the master takes all small pieces before it starts processes, and gives them
//! back before it reads a configuration again; until then all who have inherited its heap allocate behind its end.
//!
//! With another allocator than glibc's nothing of this is done.

#[cfg(target_env = "gnu")]
mod pieces;

#[cfg(target_env = "gnu")]
use pieces::Pieces;
#[cfg(target_env = "gnu")]
use std::sync::Once;
#[cfg(target_env = "gnu")]
use std::sync::atomic::{AtomicBool, Ordering};

/// Set when there is something to put in order before the next process is started: a configuration was read.
#[cfg(target_env = "gnu")]
static IS_DUE: AtomicBool = AtomicBool::new(false);

/// Has this process put its heap in order before it starts another one: it gives free pages back to the system, and
/// takes the small pieces.
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

/// Gives back what was taken at a fork, as there is a configuration to read. It may be refused, and a process started
/// all the same.
pub(super) fn use_all() {
    #[cfg(target_env = "gnu")]
    if Pieces::free_kept() {
        IS_DUE.store(true, Ordering::Relaxed);
        // Puts together what was taken in parts: small parts would be used up one by one, all over the heap.
        // SAFETY: it takes no pointer, and locks the heap as other functions do.
        unsafe { libc::malloc_trim(0) };
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
    if IS_DUE.swap(false, Ordering::Relaxed) {
        Pieces::free_kept();
        // SAFETY: it takes no pointer, and locks the heap as other functions do.
        unsafe { libc::malloc_trim(0) };
        Pieces::of_the_heap().keep();
    }
}
