//! Measurements and records: processes by /proc, a soak under faults, exchanges with an API.

pub mod proc;
pub mod recorder;
pub mod replay;
pub mod scrub;
pub mod soak;
