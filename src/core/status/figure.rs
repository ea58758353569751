//! Numbers that are counted or noted while the service works.

use super::certificate::words;

words! {
    /// Part of an issuance whose duration is noted.
    pub enum Phase {
        /// TXT records are written.
        Dns = 1, "dns";
        /// The servers of the zones show them.
        Propagation = 2, "propagation";
        /// The CA validates.
        Validation = 3, "validation";
        /// The certificate is issued.
        Finalize = 4, "finalize";
    }
}

words! {
    /// Result that is counted.
    pub enum Counted {
        /// It succeeded.
        Ok = 1, "ok";
        /// It failed.
        Failed = 2, "failed";
    }
}
