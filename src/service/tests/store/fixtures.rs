//! Things that are kept in these tests: made once, and read by the processes that keep it.

use acme_dns_service::store::{Account, IssuedPem, PendingOrder};
use servers::authority::Authority;
use std::fs;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The name of the certificate that all is about.
pub(crate) const NAME: &str = "a.example";

const CERTIFICATES: usize = 4;

/// Certificates with their keys.
pub(crate) struct Fixtures {
    dir: PathBuf,
}

impl Fixtures {
    /// Makes them.
    pub(crate) fn create(dir: &Path) -> Self {
        for number in 1..=CERTIFICATES {
            let _ = Authority::create(&dir.join(number.to_string()));
        }
        Self::open(dir)
    }

    pub(crate) fn open(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn read(&self, number: usize, file: &str) -> String {
        fs::read_to_string(self.dir.join(number.to_string()).join(file)).unwrap()
    }

    pub(crate) fn issued(&self, number: usize) -> IssuedPem {
        IssuedPem {
            key: Zeroizing::new(self.read(number, "key.pem")),
            fullchain: self.read(number, "cert.pem") + &self.read(number, "ca.pem"),
            directory: format!("https://ca.example/directory/{number}"),
            profile: (number > 1).then(|| "short".to_owned()),
            ordered: None,
            is_imported: false,
        }
    }

    /// The key of an account, in DER.
    pub(crate) fn key(&self, number: usize) -> Vec<u8> {
        let key =
            openssl::pkey::PKey::private_key_from_pem(self.read(number, "key.pem").as_bytes());
        key.unwrap().private_key_to_pkcs8().unwrap()
    }

    pub(crate) fn account(&self, contact: &str) -> Account {
        Account {
            url: "https://ca.example/account/1".to_owned(),
            directory: "https://ca.example/directory".to_owned(),
            contacts: vec![contact.to_owned()],
            taken_from: None,
            former_keys: Vec::new(),
            key: self.key(1).into(),
        }
    }

    pub(crate) fn order(&self, number: usize) -> PendingOrder {
        PendingOrder {
            url: format!("https://ca.example/order/{number}"),
            account: "https://ca.example/account/1".to_owned(),
            directory: "https://ca.example/directory".to_owned(),
            names: vec![NAME.to_owned()],
            profile: None,
            key: Some(Zeroizing::new(self.read(number, "key.pem"))),
        }
    }
}
