//! Functions that C calls: no panic crosses into C, and what C gives becomes a type of Rust in one place.
//!
//! What a callback does is in the file of its module; the types that stand for nginx's own are in [`cycle`],
//! [`parser`], [`pool`] and [`module_ctx`].
//!
//! [`cycle`]: super::cycle
//! [`parser`]: super::parser
//! [`pool`]: super::pool
//! [`module_ctx`]: super::module_ctx

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `body`; a panic in it gives `failure`. The panic's message is on standard error, which
/// nginx redirects to the error log.
pub(super) fn guard<T>(failure: T, body: impl FnOnce() -> T) -> T {
    // Unwind safety: what a panic may leave half-written is one configuration, which is refused, or
    // one handshake, which fails.
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(failure)
}

/// Argument of a callback, made of what C gives.
pub(super) trait FromC {
    /// Type of the argument in C.
    type Raw;

    /// Wraps the argument.
    ///
    /// # Safety
    /// C gave `raw` to a callback that takes this type, and the result is dropped before the callback returns.
    unsafe fn from_c(raw: Self::Raw) -> Self;
}

impl<T> FromC for *mut T {
    type Raw = Self;

    unsafe fn from_c(raw: Self) -> Self {
        raw
    }
}

impl<T> FromC for *const T {
    type Raw = Self;

    unsafe fn from_c(raw: Self) -> Self {
        raw
    }
}

impl FromC for usize {
    type Raw = Self;

    unsafe fn from_c(raw: Self) -> Self {
        raw
    }
}

impl FromC for c_int {
    type Raw = Self;

    unsafe fn from_c(raw: Self) -> Self {
        raw
    }
}

/// Defines a function that C calls. A panic in it gives the value after `?=`, and each argument is
/// made by its [`FromC`].
macro_rules! callback {
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block
        ?= $failure:expr
    ) => {
        $(#[$meta])*
        $vis unsafe extern "C" fn $name(
            $($arg: <$type as $crate::ffi::callback::FromC>::Raw),*
        ) $(-> $result)? {
            $crate::ffi::callback::guard($failure, || {
                $(
                    // SAFETY: who registers the function with C sees to it that C calls it with this
                    // argument, which outlives the call.
                    let $arg = unsafe { <$type as $crate::ffi::callback::FromC>::from_c($arg) };
                )*
                $body
            })
        }
    };
}
pub(super) use callback;
