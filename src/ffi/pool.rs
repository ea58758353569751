//! nginx's pools: memory that lives as long as its owner, such as a cycle or a request. Shared memory is in `memory`.

use super::callback::guard;
use ngx::ffi::{
    ngx_array_create, ngx_array_t, ngx_pnalloc, ngx_pool_cleanup_add, ngx_pool_t, ngx_str_t,
};
use std::ffi::c_void;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

/// Pool that lives for `'a`.
#[derive(Clone, Copy)]
pub(super) struct NgxPool<'a>(*mut ngx_pool_t, PhantomData<&'a ngx_pool_t>);

impl NgxPool<'_> {
    /// # Safety
    /// The pool lives for the lifetime of the result.
    pub(super) unsafe fn new(pool: *mut ngx_pool_t) -> Self {
        Self(pool, PhantomData)
    }

    /// Moves `value` to the heap, to be dropped with the pool. `None`: out of memory.
    pub(super) fn boxed<T>(self, value: T) -> Option<NonNull<T>> {
        unsafe extern "C" fn drop_box<T>(data: *mut c_void) {
            guard((), || {
                // SAFETY: `data` came from `Box::into_raw` below, and a cleanup handler runs once.
                drop(unsafe { Box::from_raw(data.cast::<T>()) });
            });
        }
        // SAFETY: the pool is live, as `new` was promised.
        let cleanup = unsafe { ngx_pool_cleanup_add(self.0, 0) };
        // SAFETY: nginx gives a valid cleanup entry, or null when memory is exhausted.
        let cleanup = unsafe { cleanup.as_mut() }?;
        let raw = Box::into_raw(Box::new(value));
        cleanup.handler = Some(drop_box::<T>);
        cleanup.data = raw.cast();
        NonNull::new(raw)
    }

    /// Copies `text`, with a final NUL that its length does not count. `None`: out of memory.
    pub(super) fn string(self, text: &str) -> Option<ngx_str_t> {
        // SAFETY: the pool is live, as `new` was promised.
        let data = unsafe { ngx_pnalloc(self.0, text.len() + 1) }.cast::<u8>();
        if data.is_null() {
            return None;
        }
        // SAFETY: there is room for the text and one byte more.
        unsafe { ptr::copy_nonoverlapping(text.as_ptr(), data, text.len()) };
        // SAFETY: as above.
        let end = unsafe { data.add(text.len()) };
        // SAFETY: as above.
        unsafe { end.write(0) };
        Some(ngx_str_t { len: text.len(), data })
    }

    /// Makes an array without elements. `None`: out of memory.
    pub(super) fn empty_array<T>(self) -> Option<*mut ngx_array_t> {
        // SAFETY: the pool is live, as `new` was promised.
        let array = unsafe { ngx_array_create(self.0, 1, size_of::<T>()) };
        (!array.is_null()).then_some(array)
    }
}

/// Gives a structure of a pool to nginx, null if there is none.
pub(super) fn to_c<T>(made: Option<NonNull<T>>) -> *mut c_void {
    made.map_or(ptr::null_mut(), |made| made.as_ptr().cast())
}
