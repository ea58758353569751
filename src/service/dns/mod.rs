//! Written in this change.
