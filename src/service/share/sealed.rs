//! Encryption of records, above any engine.
//!
//! A record is AES-256-GCM (NIST SP 800-38D) with a random nonce, good for some 2^32 records a key:
//!
//! ```text
//! version (1 byte) | identifier of the key (8) | nonce (12) | encrypted content | tag (16)
//! ```
//!
//! Version, identifier, prefix and path are authenticated with it: nothing can be changed, nor moved to another place. An
//! older record at the same place is not noticed here; the content has to have a number of its own.

use super::{
    Change, Content, Engine, Expected, Lease, Missed, News, Refusal, Revision, ShareError,
    SharePath, Shared, Written,
};
use acme_dns_core::config::EncryptionKey;
use async_trait::async_trait;
use openssl::error::ErrorStack;
use openssl::rand::rand_bytes;
use openssl::sha::Sha256;
use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};
use std::fmt;
use std::time::Duration;
use zeroize::Zeroizing;

/// Version of the form of records.
const VERSION: u8 = 1;

const KEY_ID: usize = 8;
const NONCE: usize = 12;
const TAG: usize = 16;

/// Length of what stands before the content.
const HEADER: usize = 1 + KEY_ID + NONCE;

/// The keys that open records; the first of them encrypts.
#[derive(Debug)]
pub struct KeyRing {
    prefix: String,
    keys: Vec<NamedKey>,
}

#[derive(Debug)]
struct NamedKey {
    id: [u8; KEY_ID],
    key: EncryptionKey,
}

/// An open record, and whether its key is the first.
struct Opened {
    content: Content,
    is_current: bool,
}

impl KeyRing {
    /// Makes one of keys for the records below a prefix.
    #[must_use]
    pub fn new(prefix: &str, keys: impl IntoIterator<Item = EncryptionKey>) -> Self {
        let named = |key: EncryptionKey| NamedKey { id: identifier(&key), key };
        Self { prefix: prefix.to_owned(), keys: keys.into_iter().map(named).collect() }
    }

    /// Encrypts the content of a record.
    fn seal(&self, path: &SharePath, content: &[u8]) -> Result<Vec<u8>, ShareError> {
        let failed = |detail: String| ShareError::Encryption { detail };
        let key = self.keys.first().ok_or_else(|| failed("there is no key".to_owned()))?;
        self.seal_with(key, path, content).map_err(|error| failed(error.to_string()))
    }

    fn seal_with(
        &self,
        key: &NamedKey,
        path: &SharePath,
        content: &[u8],
    ) -> Result<Vec<u8>, ErrorStack> {
        let (mut nonce, mut tag) = ([0; NONCE], [0; TAG]);
        rand_bytes(&mut nonce)?;
        let associated = self.associated(&key.id, path);
        let cipher = Cipher::aes_256_gcm();
        let encrypted =
            encrypt_aead(cipher, key.key.bytes(), Some(&nonce), &associated, content, &mut tag)?;
        Ok([&[VERSION], &key.id[..], &nonce, &encrypted, &tag].concat())
    }

    /// Opens a record.
    fn open(&self, path: &SharePath, record: &[u8]) -> Result<Opened, Refusal> {
        match record.first() {
            Some(&VERSION) => {}
            Some(&version) if version > VERSION => return Err(Refusal::Newer { version }),
            _ => return Err(Refusal::Forged),
        }
        let (header, rest) = record.split_at_checked(HEADER).ok_or(Refusal::Forged)?;
        let (id, nonce) = header[1..].split_at(KEY_ID);
        let end = rest.len().checked_sub(TAG).ok_or(Refusal::Forged)?;
        let (encrypted, tag) = rest.split_at(end);
        let place = self.keys.iter().position(|key| key.id == id);
        let place = place.ok_or_else(|| Refusal::UnknownKey { key: hex(id) })?;
        let key = &self.keys[place];
        let associated = self.associated(&key.id, path);
        let cipher = Cipher::aes_256_gcm();
        let content =
            decrypt_aead(cipher, key.key.bytes(), Some(nonce), &associated, encrypted, tag)
                .map_err(|_| Refusal::Forged)?;
        Ok(Opened { content: Zeroizing::new(content), is_current: place == 0 })
    }

    /// Data that is authenticated with the content. A prefix has no NUL, so that it ends at the first.
    fn associated(&self, id: &[u8; KEY_ID], path: &SharePath) -> Vec<u8> {
        [&[VERSION], &id[..], self.prefix.as_bytes(), &[0], path.as_str().as_bytes()].concat()
    }
}

/// Makes the identifier of a key, which tells nothing about it.
fn identifier(key: &EncryptionKey) -> [u8; KEY_ID] {
    let mut hash = Sha256::new();
    hash.update(b"acme_dns_share key\0");
    hash.update(key.bytes());
    let digest = hash.finish();
    let mut id = [0; KEY_ID];
    id.copy_from_slice(&digest[..KEY_ID]);
    id
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An engine whose records are encrypted.
pub struct Sealed {
    engine: Box<dyn Engine>,
    ring: KeyRing,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed").field("ring", &self.ring).finish_non_exhaustive()
    }
}

impl Sealed {
    /// Makes one of an engine and keys.
    #[must_use]
    pub fn new(engine: Box<dyn Engine>, ring: KeyRing) -> Self {
        Self { engine, ring }
    }

    /// Opens a change, and tells whether its record is to be encrypted anew.
    fn open(&self, change: Change) -> (Change, bool) {
        let Change::Put(Shared { path, revision, content }) = change else {
            return (change, false);
        };
        match self.ring.open(&path, &content) {
            Ok(Opened { content, is_current }) => {
                (Change::Put(Shared { path, revision, content }), !is_current)
            }
            Err(why) => (Change::Refused { path, revision, why }, false),
        }
    }

    fn open_all(&self, news: News) -> News {
        let changes = news.changes.into_iter().map(|change| self.open(change).0).collect();
        News { revision: news.revision, changes }
    }
}

#[async_trait(?Send)]
impl Engine for Sealed {
    /// Loads all records. Those with an old key are put back with the new one, so that the old can be dropped after a
    /// while; one that could not be is left to the next load.
    async fn load(&self) -> Result<News, ShareError> {
        let News { revision, changes } = self.engine.load().await?;
        let mut opened = Vec::with_capacity(changes.len());
        for change in changes {
            let (mut change, is_old) = self.open(change);
            if is_old && let Change::Put(shared) = &mut change {
                let Shared { path, revision, content } = shared;
                let put = self.put(path, content, Expected::At(*revision), None).await;
                if let Ok(Written::Done(new)) = put {
                    *revision = new;
                }
            }
            opened.push(change);
        }
        Ok(News { revision, changes: opened })
    }

    async fn get(&self, path: &SharePath) -> Result<Option<Change>, ShareError> {
        Ok(self.engine.get(path).await?.map(|change| self.open(change).0))
    }

    async fn put(
        &self,
        path: &SharePath,
        content: &[u8],
        expected: Expected,
        lease: Option<&Lease>,
    ) -> Result<Written, ShareError> {
        self.engine.put(path, &self.ring.seal(path, content)?, expected, lease).await
    }

    async fn remove(
        &self,
        path: &SharePath,
        expected: Revision,
        lease: Option<&Lease>,
    ) -> Result<Written, ShareError> {
        self.engine.remove(path, expected, lease).await
    }

    async fn lease(&self, name: &str, ttl: Duration) -> Result<Option<Lease>, ShareError> {
        self.engine.lease(name, ttl).await
    }

    async fn renew(&self, lease: &Lease) -> Result<bool, ShareError> {
        self.engine.renew(lease).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), ShareError> {
        self.engine.release(lease).await
    }

    async fn watch(
        &self,
        from: Revision,
        tell: &mut dyn FnMut(News),
    ) -> Result<Missed, ShareError> {
        self.engine.watch(from, &mut |news| tell(self.open_all(news))).await
    }
}

#[cfg(test)]
mod tests {
    use super::{HEADER, KEY_ID, KeyRing, Opened, TAG};
    use crate::share::{Refusal, SharePath};
    use acme_dns_core::config::EncryptionKey;
    use secrecy::SecretString;

    fn key(digit: char) -> EncryptionKey {
        EncryptionKey::parse(&SecretString::from(digit.to_string().repeat(64))).unwrap()
    }

    fn ring(digits: &str) -> KeyRing {
        KeyRing::new("fleet", digits.chars().map(key))
    }

    fn path() -> SharePath {
        SharePath::new("certificates/a")
    }

    fn opened(ring: &KeyRing, path: &SharePath, record: &[u8]) -> Result<Vec<u8>, Refusal> {
        ring.open(path, record).map(|Opened { content, .. }| content.to_vec())
    }

    #[test]
    fn what_is_sealed_is_opened_and_never_looks_alike() {
        let ring = ring("1");
        for content in [&b""[..], b"x", &[7; 5000]] {
            let sealed = ring.seal(&path(), content).unwrap();
            assert_eq!(opened(&ring, &path(), &sealed).unwrap(), content);
            assert_eq!(sealed.len(), HEADER + content.len() + TAG);
            assert_ne!(ring.seal(&path(), content).unwrap(), sealed);
        }
        let sealed = ring.seal(&path(), b"-----BEGIN PRIVATE KEY-----").unwrap();
        assert!(!sealed.windows(5).any(|part| part == b"BEGIN"));
    }

    #[test]
    fn a_change_of_any_byte_is_noticed() {
        let ring = ring("1");
        let sealed = ring.seal(&path(), b"content").unwrap();
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            let why = opened(&ring, &path(), &changed).expect_err("it was changed");
            let expected = match place {
                // Version 0 is none.
                0 => matches!(why, Refusal::Forged),
                1..=KEY_ID => matches!(why, Refusal::UnknownKey { .. }),
                _ => why == Refusal::Forged,
            };
            assert!(expected, "{place}: {why:?}");
        }
        for length in 0..sealed.len() {
            assert!(opened(&ring, &path(), &sealed[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_record_is_of_its_place() {
        let sealed = ring("1").seal(&path(), b"content").unwrap();
        let elsewhere = SharePath::new("certificates/b");
        assert_eq!(opened(&ring("1"), &elsewhere, &sealed), Err(Refusal::Forged));
        let other_fleet = KeyRing::new("other", [key('1')]);
        assert_eq!(opened(&other_fleet, &path(), &sealed), Err(Refusal::Forged));
    }

    #[test]
    fn keys_are_replaced_one_after_the_other() {
        let (old, both, new) = (ring("1"), ring("21"), ring("2"));
        let (before, after) =
            (old.seal(&path(), b"old").unwrap(), both.seal(&path(), b"new").unwrap());
        assert_eq!(opened(&both, &path(), &before).unwrap(), b"old");
        assert!(!both.open(&path(), &before).unwrap().is_current);
        assert!(both.open(&path(), &after).unwrap().is_current);
        assert_eq!(opened(&new, &path(), &after).unwrap(), b"new");
        let why = opened(&new, &path(), &before).expect_err("its key is gone");
        assert!(matches!(&why, Refusal::UnknownKey { key } if key.len() == 2 * KEY_ID), "{why:?}");
    }

    #[test]
    fn a_record_of_a_newer_version_is_named() {
        let mut sealed = ring("1").seal(&path(), b"content").unwrap();
        sealed[0] = 2;
        assert_eq!(opened(&ring("1"), &path(), &sealed), Err(Refusal::Newer { version: 2 }));
    }

    #[test]
    fn keys_are_not_shown() {
        assert!(!format!("{:?}", ring("7")).contains("77"));
    }
}
