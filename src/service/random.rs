//! Names and values that nobody can guess.

/// Gives random bytes in hexadecimal; `None` if there is no randomness.
pub(crate) fn random_hex<const BYTES: usize>() -> Option<String> {
    let mut bytes = [0; BYTES];
    openssl::rand::rand_bytes(&mut bytes).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
