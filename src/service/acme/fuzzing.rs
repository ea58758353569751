//! The readers of a CA's answers, for the fuzzer of `tests/fuzz`.

use super::directory::Directory;
use super::problem::Problem;
use crate::x509::verify::{self, Unfit};
use acme_dns_core::material::Material;
use acme_dns_core::time::UnixTime;
use openssl::pkey::{PKey, Private};

/// Reads a directory; gives the names of its profiles.
#[must_use]
pub fn read_directory(body: &[u8]) -> Option<Vec<String>> {
    Some(Directory::parse(body, "https://ca.example/directory").ok()?.profiles().to_vec())
}

/// Reads a problem document.
#[must_use]
pub fn read_problem(body: &[u8]) -> Option<Problem> {
    Some(Problem::new(&serde_json::from_slice(body).ok()?))
}

/// Checks the chain of a CA as an order does.
///
/// # Errors
/// Its fault.
pub fn read_chain(
    pem: &[u8],
    key: &PKey<Private>,
    names: &[String],
    now: UnixTime,
) -> Result<Material, String> {
    let verified =
        verify::verify(pem, key, names, now, Some(now)).map_err(|unfit| match unfit {
            Unfit::Wrong(why) => why,
            Unfit::Early { from, .. } => format!("it becomes valid at {from}"),
        })?;
    crate::x509::material(key, &verified.chain).map_err(|e| e.to_string())
}
