//! Accounts at the CAs.

use super::{Store, StoreError, files};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use zeroize::{Zeroize, Zeroizing};

/// An account (RFC 8555 section 7.1.2) with its key.
#[derive(Clone)]
pub struct Account {
    /// Its URL, which requests are signed with.
    pub url: String,
    /// The URL of the directory that it belongs to.
    pub directory: String,
    /// Its contacts, as they were sent to the CA.
    pub contacts: Vec<String>,
    /// Its private key, PKCS #8 in DER.
    pub key: Zeroizing<Vec<u8>>,
}

#[derive(Deserialize, Serialize)]
struct AccountFile {
    url: String,
    directory: String,
    contacts: Vec<String>,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Store {
    /// Reads the account of an issuer.
    ///
    /// # Errors
    /// A file cannot be read or does not hold what it should.
    pub fn load_account(&self, issuer: &str) -> Result<Option<Account>, StoreError> {
        let (path, key_path) = self.account_paths(issuer);
        let Some(json) = files::read(&path)? else { return Ok(None) };
        let file: AccountFile =
            serde_json::from_slice(&json).map_err(|e| StoreError::invalid(&path, e.to_string()))?;
        let Some(pem) = files::read(&key_path)? else {
            return Err(StoreError::invalid(&key_path, "it is missing"));
        };
        let key = key_from_pem(&key_path, &pem)?;
        let AccountFile { url, directory, contacts } = file;
        Ok(Some(Account { url, directory, contacts, key }))
    }

    /// Keeps the account of an issuer.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save_account(&self, issuer: &str, account: &Account) -> Result<(), StoreError> {
        let (path, key_path) = self.account_paths(issuer);
        let Account { url, directory, contacts, key } = account.clone();
        let json = serde_json::to_vec_pretty(&AccountFile { url, directory, contacts })
            .map_err(|e| StoreError::invalid(&path, e.to_string()))?;
        files::ensure_directory(&self.accounts().join(issuer))?;
        // The key first: an account without a key is worth nothing.
        files::replace(&key_path, key_to_pem(&key).as_bytes())?;
        files::replace(&path, &json)
    }

    /// Puts the account of an issuer out of the way, under a name that nothing reads.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn set_account_aside(&self, issuer: &str) -> Result<PathBuf, StoreError> {
        let accounts = self.accounts();
        let names = files::list(&accounts)?;
        let free = (1_u32..).map(|n| format!("{issuer}~{n}")).find(|name| !names.contains(name));
        let aside = accounts.join(free.unwrap_or_default());
        files::rename(&accounts.join(issuer), &aside)?;
        Ok(aside)
    }

    fn account_paths(&self, issuer: &str) -> (PathBuf, PathBuf) {
        let directory = self.accounts().join(issuer);
        (directory.join("account.json"), directory.join("account_key.pem"))
    }
}

fn key_from_pem(path: &Path, pem: &[u8]) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let mut key = PrivatePkcs8KeyDer::from_pem_slice(pem)
        .map_err(|_| StoreError::invalid(path, "it holds no PKCS #8 private key in PEM"))?;
    let der = Zeroizing::new(key.secret_pkcs8_der().to_vec());
    key.zeroize();
    Ok(der)
}

/// The DER is kept as it is: OpenSSL might write the same key in a form that another library
/// does not read.
fn key_to_pem(der: &[u8]) -> Zeroizing<String> {
    const LINE: usize = 64;
    let base64 = Zeroizing::new(openssl::base64::encode_block(der));
    // Allocated once: a growing string would leave copies of the key behind.
    let mut pem = Zeroizing::new(String::with_capacity(base64.len() * 2 + 64));
    pem.push_str("-----BEGIN PRIVATE KEY-----\n");
    for line in base64.as_bytes().chunks(LINE) {
        pem.push_str(std::str::from_utf8(line).unwrap_or_default());
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use super::Account;
    use crate::store::Store;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::nid::Nid;
    use openssl::pkey::PKey;
    use std::fs;

    fn account() -> Account {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        Account {
            url: "https://ca.example/account/1".into(),
            directory: "https://ca.example/directory".into(),
            contacts: vec!["mailto:a@example.com".into()],
            key: key.private_key_to_pkcs8().unwrap().into(),
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
}
