//! Accounts at the CAs.

use super::door::{MAX_KEY, Place};
use super::layout::{ACCOUNT, ACCOUNT_KEY, ACCOUNTS, NEW_ACCOUNT_KEY};
use super::{Store, StoreError, files, secret};
use crate::x509::keys;
use acme_dns_core::pem::{self, KeyDer, KeyForm};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// An account (RFC 8555 section 7.1.2) with its key.
#[derive(Clone, Deserialize, Serialize)]
pub struct Account {
    /// Its URL, which requests are signed with.
    pub url: String,
    /// The URL of the directory that it belongs to.
    pub directory: String,
    /// Its contacts, as they were sent to the CA.
    pub contacts: Vec<String>,
    /// The thumbprint (RFC 7638) of the key of another type from which it was taken over.
    pub taken_from: Option<String>,
    /// The thumbprints of the keys that it had before, the last ones last.
    pub former_keys: Vec<String>,
    /// Its private key, PKCS #8 in DER.
    #[serde(with = "secret::pkcs8")]
    pub key: Zeroizing<Vec<u8>>,
}

#[derive(Deserialize, Serialize)]
struct AccountFile {
    url: String,
    directory: String,
    contacts: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    taken_from: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former_keys: Vec<String>,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("url", &self.url).finish_non_exhaustive()
    }
}

/// All files of the accounts, in case the state path is lost under a running service.
#[derive(Default)]
pub(crate) struct AccountsCopy {
    /// Times of the directories: they change with each file.
    stamp: Vec<Option<(i64, u64)>>,
    /// Each with its directory below `accounts/`.
    files: Vec<(String, String, Zeroizing<Vec<u8>>)>,
}

impl Store {
    /// Takes a copy of the accounts of these issuers, unless nothing has changed since the last one.
    pub(crate) fn copy_accounts<'a>(
        &self,
        issuers: impl Iterator<Item = &'a str>,
        copy: &mut AccountsCopy,
    ) {
        let directories = issuers.flat_map(|name| [name.to_owned(), format!("{name}/staging")]);
        let directories: Vec<String> = directories.collect();
        let modified = |directory: &String| {
            let stat = self.accounts().join(directory).stat().ok().flatten()?;
            Some((stat.st_mtime, stat.st_mtime_nsec))
        };
        let stamp = directories.iter().map(modified).collect();
        if copy.stamp == stamp {
            return;
        }
        let mut files = Vec::new();
        for directory in directories {
            let place = self.accounts().join(&directory);
            for name in place.entries().unwrap_or_default() {
                // A directory is not read.
                if let Ok(Some(content)) = place.join(&name).read(MAX_KEY) {
                    files.push((directory.clone(), name, content));
                }
            }
        }
        *copy = AccountsCopy { stamp, files };
    }

    /// Tells whether there is no account at all.
    pub(crate) fn has_no_account(&self) -> bool {
        self.accounts().entries().is_ok_and(|entries| entries.is_empty())
    }

    /// Writes back what is missing of the accounts; gives how many issuers have got something back.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn restore_accounts(&self, copy: &AccountsCopy) -> Result<usize, StoreError> {
        let is_missing = |directory: &str| !has_account(self.path(), directory);
        let missing: BTreeSet<&str> = copy
            .files
            .iter()
            .map(|(directory, ..)| directory.as_str())
            .filter(|directory| is_missing(directory))
            .collect();
        // The keys first, as where an account is made.
        let (keys, others): (Vec<_>, Vec<_>) =
            copy.files.iter().partition(|(_, name, _)| name.ends_with(".pem"));
        for (directory, name, content) in keys.into_iter().chain(others) {
            if missing.contains(directory.as_str()) {
                files::replace(&self.account_directory(directory)?.join(name), content)?;
            }
        }
        Ok(missing.len())
    }

    /// Reads the account of an issuer.
    ///
    /// # Errors
    /// A file cannot be read or does not hold what it should.
    pub fn load_account(&self, issuer: &str) -> Result<Option<Account>, StoreError> {
        let (path, key_path) = self.account_paths(issuer);
        let Some(file) = path.read_json::<AccountFile>()? else { return Ok(None) };
        let key = read_key(&key_path)?;
        let key = key.ok_or_else(|| key_path.invalid("it is missing"))?;
        let AccountFile { url, directory, contacts, taken_from, former_keys } = file;
        Ok(Some(Account { url, directory, contacts, taken_from, former_keys, key }))
    }

    /// Keeps the account of an issuer.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save_account(&self, issuer: &str, account: &Account) -> Result<(), StoreError> {
        let (path, _) = self.account_paths(issuer);
        let Account { url, directory, contacts, taken_from, former_keys, key } = account.clone();
        let file = AccountFile { url, directory, contacts, taken_from, former_keys };
        let json = serde_json::to_vec_pretty(&file).map_err(|e| path.invalid(e.to_string()))?;
        // The key first: an account without a key is worth nothing.
        self.save_account_key(issuer, &key)?;
        files::replace(&path, &json)
    }

    /// Reads the key of an issuer's account, which may be there before the account is.
    ///
    /// # Errors
    /// The file cannot be read or holds no key.
    pub fn load_account_key(&self, issuer: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        read_key(&self.account_paths(issuer).1)
    }

    /// Keeps the key of an account, PKCS #8 in DER: before the CA is asked for the account, so that
    /// no crash loses it. Another key that is there goes out of the way: it may be an account's.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save_account_key(&self, issuer: &str, key: &[u8]) -> Result<(), StoreError> {
        let path = self.account_paths(issuer).1;
        match read_key(&path) {
            Ok(None) => {}
            Ok(Some(kept)) if kept.as_slice() == key => {}
            Ok(Some(_)) | Err(StoreError::Invalid { .. }) => {
                files::set_aside(&path, ACCOUNT_KEY)?;
            }
            Err(error) => return Err(error),
        }
        self.write_key(issuer, &path, key)
    }

    /// Reads the key that is to replace the account's, if a change was begun.
    ///
    /// # Errors
    /// The file cannot be read or holds no key.
    pub fn load_new_account_key(
        &self,
        issuer: &str,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        read_key(&self.new_account_key(issuer))
    }

    /// Keeps the key that is to replace the account's.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save_new_account_key(&self, issuer: &str, key: &[u8]) -> Result<(), StoreError> {
        self.write_key(issuer, &self.new_account_key(issuer), key)
    }

    /// Replaces the account's key with the new one, by one rename.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn adopt_new_account_key(&self, issuer: &str) -> Result<(), StoreError> {
        files::rename(&self.new_account_key(issuer), &self.account_paths(issuer).1)
    }

    /// Removes the key that was to replace the account's.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn drop_new_account_key(&self, issuer: &str) -> Result<(), StoreError> {
        files::remove(&self.new_account_key(issuer))
    }

    fn write_key(&self, issuer: &str, place: &Place, key: &[u8]) -> Result<(), StoreError> {
        self.account_directory(issuer)?;
        files::replace(place, keys::to_pem(key).as_bytes())
    }

    /// Makes the directory of an account. That in the staging environment is within the issuer's.
    fn account_directory(&self, issuer: &str) -> Result<Place, StoreError> {
        let mut directory = self.accounts();
        for component in Path::new(issuer) {
            directory = directory.join(component);
            files::ensure_directory(&directory)?;
        }
        Ok(directory)
    }

    /// Puts the account of an issuer out of the way, under a name that nothing reads. One in the
    /// staging environment goes with it: it is made anew at no cost.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn set_account_aside(&self, issuer: &str) -> Result<PathBuf, StoreError> {
        let place = self.accounts().join(issuer);
        let name = place.file_name().to_string_lossy();
        let names = files::list(&place.parent())?;
        let free = (1_u32..).map(|n| format!("{name}~{n}")).find(|name| !names.contains(name));
        let aside = place.with_file_name(free.unwrap_or_default());
        files::rename(&place, &aside)?;
        Ok(aside.path())
    }

    /// The directory of an issuer's account, for a message to a person.
    pub(crate) fn account_path(&self, issuer: &str) -> PathBuf {
        self.accounts().join(issuer).path()
    }

    fn new_account_key(&self, issuer: &str) -> Place {
        self.accounts().join(issuer).join(NEW_ACCOUNT_KEY)
    }

    fn account_paths(&self, issuer: &str) -> (Place, Place) {
        let directory = self.accounts().join(issuer);
        (directory.join(ACCOUNT), directory.join(ACCOUNT_KEY))
    }
}

/// Tells whether there is an account of an issuer, or the key of one.
#[must_use]
pub fn has_account(state_path: &Path, issuer: &str) -> bool {
    let directory = state_path.join(ACCOUNTS).join(issuer);
    [ACCOUNT, ACCOUNT_KEY].iter().any(|name| directory.join(name).symlink_metadata().is_ok())
}

fn read_key(place: &Place) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
    place.read(MAX_KEY)?.map(|pem| key_from_pem(&place.path(), &pem)).transpose()
}

fn key_from_pem(path: &Path, pem: &[u8]) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    match pem::decode(pem) {
        Ok(KeyDer { form: KeyForm::Pkcs8, der }) => Ok(der),
        _ => Err(StoreError::invalid(path, "it holds no PKCS #8 private key in PEM")),
    }
}

#[cfg(test)]
mod tests {
    use super::Account;
    use crate::store::Store;
    use crate::x509::testing::key;
    use openssl::pkey::PKey;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn account() -> Account {
        Account {
            url: "https://ca.example/account/1".into(),
            directory: "https://ca.example/directory".into(),
            contacts: vec!["mailto:a@example.com".into()],
            taken_from: None,
            former_keys: Vec::new(),
            key: key().private_key_to_pkcs8().unwrap().into(),
        }
    }

    #[test]
    fn an_account_is_read_as_it_was_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let kept = account();
        assert!(store.load_account("ca").unwrap().is_none());
        store.save_account("ca", &kept).unwrap();
        let read = store.load_account("ca").unwrap().unwrap();
        assert_eq!((&read.url, &read.directory), (&kept.url, &kept.directory));
        assert_eq!((&read.contacts, &read.key), (&kept.contacts, &kept.key));
        let pem = fs::read(dir.path().join("accounts/ca/account_key.pem")).unwrap();
        assert!(PKey::private_key_from_pem(&pem).is_ok(), "other software can read it");
        assert_eq!(format!("{read:?}"), "Account { url: \"https://ca.example/account/1\", .. }");
    }

    #[test]
    fn an_account_without_its_key_is_an_error_and_can_be_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        for expected in ["ca~1", "ca~2"] {
            store.save_account("ca", &account()).unwrap();
            fs::write(dir.path().join("accounts/ca/account_key.pem"), "-----BEGIN").unwrap();
            let error = store.load_account("ca").unwrap_err().to_string();
            assert!(error.contains("account_key.pem"), "{error}");
            assert!(store.set_account_aside("ca").unwrap().ends_with(expected));
            assert!(store.load_account("ca").unwrap().is_none());
        }
    }

    #[test]
    fn an_account_in_the_staging_environment_is_apart() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (staging, production) = (account(), account());
        for expected in ["accounts/ca/staging~1", "accounts/ca/staging~2"] {
            store.save_account("ca/staging", &staging).unwrap();
            assert!(store.load_account("ca").unwrap().is_none());
            assert!(store.set_account_aside("ca/staging").unwrap().ends_with(expected));
        }
        store.save_account("ca/staging", &staging).unwrap();
        store.save_account("ca", &production).unwrap();
        for (name, kept) in [("ca", &production), ("ca/staging", &staging)] {
            assert_eq!(store.load_account(name).unwrap().unwrap().key, kept.key, "{name}");
        }
        let leftover = dir.path().join("accounts/ca/staging/.tmp-1-account.json");
        fs::write(&leftover, "half").unwrap();
        let _lock = store.lock().unwrap().unwrap();
        assert!(!leftover.exists());
    }

    #[test]
    fn a_new_key_replaces_the_old_one_or_goes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (kept, new) = (account(), account().key);
        store.save_account("ca", &kept).unwrap();
        store.save_new_account_key("ca", &new).unwrap();
        let path = dir.path().join("accounts/ca/account_key.new.pem");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(store.load_new_account_key("ca").unwrap().as_ref(), Some(&new));
        store.drop_new_account_key("ca").unwrap();
        assert_eq!(store.load_new_account_key("ca").unwrap(), None);
        assert_eq!(store.load_account_key("ca").unwrap(), Some(kept.key));
        store.save_account_key("ca", &new).unwrap();
        assert!(path.with_file_name("account_key.pem.invalid").exists(), "no key is overwritten");
        store.save_new_account_key("ca", &new).unwrap();
        store.adopt_new_account_key("ca").unwrap();
        assert_eq!(store.load_account("ca").unwrap().unwrap().key, new);
        assert!(!path.exists());
    }
}
