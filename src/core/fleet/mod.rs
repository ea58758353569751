//! Certificates that several hosts share: which are the same, which of two is newer, and who orders when.
//!
//! The state machine of a host that has something to order:
//!
//! ```text
//!             engine in reach                    lease taken, nothing newer there
//!   Due -------------------------> Lease ----------------------------------------> order, offer, release
//!    |  ^                           |  |
//!    |  +---------------------------+  | another host has a newer one
//!    |    another host has the lease   v
//!    |                               Adopt
//!    | engine away
//!    v
//!   Wait until the last tenth, or for ten minutes -------> Alone: order; offer when the engine is back
//! ```
//!
//! Nothing here does I/O: who asks says what is on disk, since when the engine is away, and what time it is.

mod record_key;
mod turn;

pub use record_key::RecordKey;
pub use turn::{Claimant, Held, Reach, Side, Turn, newer, place_of};
