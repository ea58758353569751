//! Requests of workers to the service: renewals that somebody has asked for at the status page.
//!
//! Workers can write nothing of the shared memory that others read, and know no way to the state path. What they can
//! write is this: one bit for each certificate, in memory of its own. The service looks at it and takes what it finds,
//! whoever has set it; what it makes of that is in `acme_dns_service::engine`. A flood of requests sets bits that are
//! set already. Nothing in here has a length or a place, so there is nothing to forge but a request.
//!
//! With the bits goes the key of the form tokens, which no other site can guess. Both outlive a reload.

use super::memory::{map, memory_file};
use acme_dns_core::config::Config;
use acme_dns_core::id::CertificateId;
use acme_dns_core::status::control::{token, token_messages};
use acme_dns_core::time::UnixTime;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

const WORD: usize = size_of::<AtomicU64>();
const BITS: usize = u64::BITS as usize;
const KEY: usize = 32;

/// Requests of one configuration.
#[derive(Debug)]
pub(super) struct Requests {
    bits: NonNull<AtomicU64>,
    certificates: usize,
    /// Place at which the service goes on to look: each has its turn, however many there are.
    turn: AtomicUsize,
    key: [u8; KEY],
}

// SAFETY: the mapping lives as long as the value, and is read and written by atomic operations only.
unsafe impl Send for Requests {}
// SAFETY: as above.
unsafe impl Sync for Requests {}

impl Requests {
    /// Makes the memory for a configuration, with what was asked for under the one before.
    ///
    /// # Errors
    /// The system gives no memory or no random numbers.
    pub(super) fn begin(
        config: &Config,
        before: Option<(&Self, &Config)>,
    ) -> io::Result<Arc<Self>> {
        let mut key = [0; KEY];
        match before {
            Some((before, _)) => key = before.key,
            None => openssl::rand::rand_bytes(&mut key)?,
        }
        let certificates = config.certificates.capacity();
        let bits = map_words(certificates.div_ceil(BITS).max(1) * WORD)?;
        let requests = Self { bits, certificates, turn: AtomicUsize::new(0), key };
        if let Some((before, old)) = before {
            let asked = old.certificates.iter().filter(|(id, _)| before.is_asked(*id));
            let asked: HashSet<&str> = asked.map(|(_, it)| it.name.as_str()).collect();
            let known = config.certificates.iter();
            let known = known.filter(|(_, certificate)| asked.contains(certificate.name.as_str()));
            known.for_each(|(id, _)| requests.ask(id));
        }
        Ok(Arc::new(requests))
    }

    fn words(&self) -> &[AtomicU64] {
        let count = self.certificates.div_ceil(BITS).max(1);
        // SAFETY: so many words were mapped, zeroed; others write them atomically too.
        unsafe { std::slice::from_raw_parts(self.bits.as_ptr(), count) }
    }

    fn bit(&self, certificate: CertificateId) -> Option<(&AtomicU64, u64)> {
        let index = certificate.index();
        let word = self.words().get(index / BITS).filter(|_| index < self.certificates)?;
        Some((word, 1 << (index % BITS)))
    }

    /// Asks for the renewal of a certificate.
    pub(super) fn ask(&self, certificate: CertificateId) {
        if let Some((word, bit)) = self.bit(certificate) {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Tells whether the renewal of a certificate was asked for and not looked at yet.
    pub(super) fn is_asked(&self, certificate: CertificateId) -> bool {
        self.bit(certificate).is_some_and(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
    }

    /// Takes so many of the certificates whose renewal was asked for, in turn.
    pub(super) fn take(&self, most: usize) -> Vec<CertificateId> {
        let words = self.words();
        let begin = self.turn.load(Ordering::Relaxed) % (words.len() * BITS);
        let (first, before) = (begin / BITS, (1 << (begin % BITS)) - 1);
        let mut taken = Vec::new();
        // The first word comes twice: from the place on, and at the end up to it.
        for number in 0..=words.len() {
            let at = (first + number) % words.len();
            let Some(word) = words.get(at) else { continue };
            let looked_at = match number {
                0 => !before,
                last if last == words.len() => before,
                _ => u64::MAX,
            };
            let mut asked = word.load(Ordering::Relaxed) & looked_at;
            while asked != 0 {
                let index = at * BITS + asked.trailing_zeros() as usize;
                if taken.len() >= most {
                    self.turn.store(index, Ordering::Relaxed);
                    return taken;
                }
                word.fetch_and(!(asked & asked.wrapping_neg()), Ordering::Relaxed);
                asked &= asked - 1;
                if index < self.certificates {
                    taken.push(CertificateId::new(index));
                }
            }
        }
        taken
    }

    /// Makes a token for the form of a certificate.
    pub(super) fn token(&self, name: &str, now: UnixTime) -> String {
        let [newest, _] = token_messages(name, now);
        // Without a code there is a token that is never accepted.
        self.code(&newest).map(|code| token(&code)).unwrap_or_default()
    }

    /// Tells whether a token is one for the form of a certificate.
    pub(super) fn accepts(&self, name: &str, given: &str, now: UnixTime) -> bool {
        token_messages(name, now).iter().any(|message| {
            let Ok(code) = self.code(message) else { return false };
            let right = token(&code);
            right.len() == given.len() && openssl::memcmp::eq(right.as_bytes(), given.as_bytes())
        })
    }

    fn code(&self, message: &str) -> Result<Vec<u8>, ErrorStack> {
        let key = PKey::hmac(&self.key)?;
        Signer::new(MessageDigest::sha256(), &key)?.sign_oneshot_to_vec(message.as_bytes())
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        let size = self.words().len() * WORD;
        // SAFETY: the mapping is this value's, of this size; nothing refers to it any more.
        unsafe { libc::munmap(self.bits.as_ptr().cast(), size) };
    }
}

/// Maps zeroed memory that all processes to come write. Nobody can make it shorter, under the feet of the others.
fn map_words(size: usize) -> io::Result<NonNull<AtomicU64>> {
    let both = libc::PROT_READ | libc::PROT_WRITE;
    let file = sealed_file(size).ok();
    Ok(map(size, both, file.as_ref())?.cast())
}

fn sealed_file(size: usize) -> io::Result<OwnedFd> {
    let file = memory_file(c"acme_dns_requests", size)?;
    let seals = libc::F_SEAL_GROW | libc::F_SEAL_SHRINK | libc::F_SEAL_SEAL;
    // SAFETY: a plain system call.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(file)
}
