//! Sharing by several hosts: records with a revision, leases with a fencing number, and news of changes, on an engine
//! that exists.
//!
//! An engine is asked through [`Engine`] only. Each type has a module of its own; [`sealed`] is an engine above any of
//! them that encrypts what goes down and opens what comes up, so that they see bytes. Which records there are, who
//! orders and what happens while the engine is away is decided by those who use this, not in here.

mod error;
pub mod etcd;
pub mod redis;
pub mod sealed;

pub use error::{SetupError, ShareError};

use crate::http::Identity;
use acme_dns_core::config::{
    ClientCertificate, EncryptionKey, SecretId, Sentinel, Share, ShareKind,
};
use async_trait::async_trait;
use etcd::Etcd;
use redis::Redis;
use sealed::{KeyRing, Sealed};
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::time::Duration;
use zeroize::Zeroizing;

/// Number of a change in an engine. It orders the changes of one engine, and is compared with nothing else: an engine
/// that was emptied begins anew.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Revision(pub u64);

/// Place of a record below the prefix, such as `certificates/ab12`. One that comes from an engine is only somebody's word.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SharePath(Box<str>);

impl SharePath {
    /// Makes a path.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self(path.into())
    }

    /// Gives its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SharePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&acme_dns_core::text::excerpt(&self.0, 200))
    }
}

/// Content of a record. It may hold keys.
pub type Content = Zeroizing<Vec<u8>>;

/// A record as it lies in an engine.
#[derive(Clone, Eq, PartialEq)]
pub struct Shared {
    /// Its place.
    pub path: SharePath,
    /// The change that has made it.
    pub revision: Revision,
    /// Its content.
    pub content: Content,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, revision, content } = self;
        write!(f, "{path} at {} ({} bytes)", revision.0, content.len())
    }
}

/// State of a record that a change may replace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expected {
    /// There is none.
    Absent,
    /// It is as this change has made it.
    At(Revision),
}

/// End of an attempt to change a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Written {
    /// It was changed.
    Done(Revision),
    /// It was not as expected: somebody was faster.
    Lost,
    /// The lease was gone: another may hold it.
    Fenced,
}

/// A lease that was held when the engine last answered. It ends by itself where it is not renewed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lease {
    /// Its name.
    pub name: String,
    /// Its number: whoever held it before had a lower one.
    pub fence: u64,
    /// Word that the engine knows the holder by.
    pub token: String,
    /// Time after which it ends unless it is renewed.
    pub ttl: Duration,
}

/// A change of a record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// It was put there.
    Put(Shared),
    /// It is gone.
    Removed {
        /// Its place.
        path: SharePath,
        /// The change.
        revision: Revision,
    },
    /// It is none of ours that can be read: it is left alone, and named.
    Refused {
        /// Its place.
        path: SharePath,
        /// The change that has made it. Putting another in its place expects this one.
        revision: Revision,
        /// The reason.
        why: Refusal,
    },
}

/// Kind of the paths that the ends of leases are told by.
const LEASES: &str = "leases/";

impl Change {
    /// Makes the change that tells the end of a lease: the removal of `leases/NAME`, where no record is.
    fn lease_ended(name: &str, revision: Revision) -> Self {
        Self::Removed { path: SharePath::new(&format!("{LEASES}{name}")), revision }
    }

    /// Gives the name of the lease that has ended, if it is that.
    #[must_use]
    pub fn ended_lease(&self) -> Option<&str> {
        match self {
            Self::Removed { path, .. } => path.as_str().strip_prefix(LEASES),
            Self::Put(_) | Self::Refused { .. } => None,
        }
    }

    /// Gives the number of the change.
    #[must_use]
    pub fn revision(&self) -> Revision {
        match self {
            Self::Put(Shared { revision, .. })
            | Self::Removed { revision, .. }
            | Self::Refused { revision, .. } => *revision,
        }
    }

    /// Gives the place of the record.
    #[must_use]
    pub fn path(&self) -> &SharePath {
        match self {
            Self::Put(Shared { path, .. })
            | Self::Removed { path, .. }
            | Self::Refused { path, .. } => path,
        }
    }
}

/// Reason why a record was not opened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// A newer version of the module has written it: it has to stay.
    Newer {
        /// The version of its form.
        version: u8,
    },
    /// No key in `encryption_key_file` is the one that it was encrypted with.
    UnknownKey {
        /// Identifier of that key.
        key: String,
    },
    /// It was changed, moved, or written by somebody without the key.
    Forged,
}

/// Changes up to a revision, the oldest first. Without a change it says that there was none until then.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct News {
    /// Revision from which a watch goes on.
    pub revision: Revision,
    /// The changes.
    pub changes: Vec<Change>,
}

/// End of a watch that cannot go on where it was: the engine no longer has all changes since. All that there is has to be
/// loaded anew.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Missed;

/// Times that an engine is given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Patience {
    /// Longest time for a request to one server: a lease has to be renewed in time at another.
    pub request: Duration,
    /// Silence after which a watch is begun anew.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { request: Duration::from_secs(5), silence: Duration::from_secs(30) }
    }
}

/// An engine that hosts share records on.
///
/// A call that fails by [`ShareError::is_unclear`] may have been carried out.
#[async_trait(?Send)]
pub trait Engine {
    /// Loads all records, each as [`Change::Put`] or [`Change::Refused`].
    ///
    /// # Errors
    /// The engine is away, or refuses.
    async fn load(&self) -> Result<News, ShareError>;

    /// Reads a record as it is now, with all changes that others have been told are done.
    ///
    /// # Errors
    /// The engine is away, or refuses.
    async fn get(&self, path: &SharePath) -> Result<Option<Change>, ShareError>;

    /// Puts a record in the place of the expected one; with a lease, only while that is held.
    ///
    /// # Errors
    /// The engine is away, or refuses.
    async fn put(
        &self,
        path: &SharePath,
        content: &[u8],
        expected: Expected,
        lease: Option<&Lease>,
    ) -> Result<Written, ShareError>;

    /// Removes the expected record; with a lease, only while that is held.
    ///
    /// # Errors
    /// The engine is away, or refuses.
    async fn remove(
        &self,
        path: &SharePath,
        expected: Revision,
        lease: Option<&Lease>,
    ) -> Result<Written, ShareError>;

    /// Takes a lease for a time; `None` where another holds it.
    ///
    /// # Errors
    /// The engine is away, or refuses.
    async fn lease(&self, name: &str, ttl: Duration) -> Result<Option<Lease>, ShareError>;

    /// Makes a lease last for another of its times; `false` where it is gone.
    ///
    /// # Errors
    /// The engine is away, or refuses.
    async fn renew(&self, lease: &Lease) -> Result<bool, ShareError>;

    /// Gives a lease back. One that is gone is no error.
    ///
    /// # Errors
    /// The engine is away, or refuses.
    async fn release(&self, lease: &Lease) -> Result<(), ShareError>;

    /// Tells all changes after a revision as they come, until it fails or has missed some, and leases that end
    /// ([`Change::ended_lease`]): all that are given back, and those whose time is over if the engine tells of them. It
    /// tells of no change now and then, so that it can be seen to be alive.
    ///
    /// # Errors
    /// The engine is away, or refuses. The caller goes on from the last revision that it was told.
    async fn watch(&self, from: Revision, tell: &mut dyn FnMut(News))
    -> Result<Missed, ShareError>;
}

/// Makes the engine of a configuration, with its encryption; `secret` gives the secrets that it refers to. Nobody is
/// contacted.
///
/// # Errors
/// A certificate or a key cannot be used.
pub fn open(
    share: &Share,
    secret: impl Fn(SecretId) -> SecretString,
    patience: Patience,
) -> Result<Sealed, SetupError> {
    let client = share.client_certificate.as_ref();
    let key = client.map(|client| secret(client.key));
    let identity = client.zip(key.as_ref());
    let identity = identity.map(|(ClientCertificate { certificate, .. }, key)| Identity {
        certificate,
        key: key.expose_secret().as_bytes(),
    });
    let password = share.password.map(&secret);
    let engine: Box<dyn Engine> = match &share.kind {
        ShareKind::Etcd => Box::new(Etcd::new(share, password, identity, patience)?),
        ShareKind::Redis { sentinel, .. } => {
            let of_sentinel = sentinel.as_ref().and_then(|Sentinel { password, .. }| *password);
            let passwords = [password, of_sentinel.map(&secret)];
            Box::new(Redis::new(share, passwords, identity, patience)?)
        }
    };
    let keys = share.encryption_keys.iter().map(|id| EncryptionKey::parse(&secret(*id)));
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    Ok(Sealed::new(engine, KeyRing::new(&share.prefix, keys)))
}
