//! Certificates by the number of their generation, put into a state path as the module's store does.
//!
//! Each generation has an intermediate authority of its own below one root, and other keys than the
//! one before. So a server that mixes two generations cannot be verified, or cannot sign.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::thread;

use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{BasicConstraints, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Name};
use serde_json::json;
use servers::authority::{authority_name, builder, new_key};

/// A generation takes them in turn: RSA keys take long to make.
const KEYS: usize = 2;

/// Before the number, in the subjects.
const GENERATION: &str = "generation ";

/// A certificate that is replaced again and again.
#[derive(Clone, Debug)]
pub struct Variant {
    /// Its directory in the store.
    pub directory: String,
    /// The DNS name that it holds.
    pub name: String,
    /// The type of its key, as the configuration has it: `ecdsa:256`, `rsa:2048`.
    pub key: &'static str,
}

/// The maker and writer of the certificates.
#[derive(Debug)]
pub struct Generations {
    state: PathBuf,
    issuer: String,
    variants: Vec<Variant>,
    root: X509,
    root_key: PKey<Private>,
    keys: BTreeMap<&'static str, Vec<PKey<Private>>>,
}

impl Generations {
    /// Prepares certificates in a state path that exists, from the CA with this directory URL.
    ///
    /// # Panics
    /// If OpenSSL refuses.
    #[must_use]
    pub fn new(state: &Path, directory_url: &str, variants: Vec<Variant>) -> Self {
        let (root, root_key) = new_root().unwrap_or_else(|e| panic!("no root: {e}"));
        let mut keys: BTreeMap<_, Vec<_>> = BTreeMap::new();
        thread::scope(|scope| {
            let mut kinds: Vec<_> = variants.iter().map(|variant| variant.key).collect();
            kinds.sort_unstable();
            kinds.dedup();
            let makers: Vec<_> = kinds
                .iter()
                .flat_map(|kind| std::iter::repeat_n(*kind, KEYS))
                .map(|kind| (kind, scope.spawn(move || new_key_of(kind))))
                .collect();
            for (kind, maker) in makers {
                let made = maker.join().unwrap_or_else(|e| std::panic::resume_unwind(e));
                let made = made.unwrap_or_else(|e| panic!("no key {kind}: {e}"));
                keys.entry(kind).or_default().push(made);
            }
        });
        let (state, issuer) = (state.to_owned(), json!({"directory": directory_url}).to_string());
        Self { state, issuer, variants, root, root_key, keys }
    }

    /// Returns the root that clients have to trust, in PEM.
    ///
    /// # Panics
    /// If OpenSSL refuses.
    #[must_use]
    pub fn root_pem(&self) -> String {
        let pem = self.root.to_pem().unwrap_or_else(|e| panic!("an unreadable root: {e}"));
        String::from_utf8_lossy(&pem).into_owned()
    }

    /// Puts one generation of all certificates into the state path.
    ///
    /// # Panics
    /// If OpenSSL or the file system refuses.
    pub fn write(&self, generation: u64) {
        let all: Vec<&str> = self.variants.iter().map(|it| it.directory.as_str()).collect();
        self.write_only(generation, &all);
    }

    /// The same with the certificates in these directories alone.
    ///
    /// # Panics
    /// If OpenSSL or the file system refuses.
    pub fn write_only(&self, generation: u64, directories: &[&str]) {
        let issuer = self.new_intermediate(generation);
        let issuer = issuer.unwrap_or_else(|e| panic!("no intermediate: {e}"));
        let is_meant = |variant: &&Variant| directories.contains(&variant.directory.as_str());
        for variant in self.variants.iter().filter(is_meant) {
            let name = &variant.directory;
            let issued = self.issue(generation, variant, &issuer);
            let [leaf, chain, key] = issued.unwrap_or_else(|e| panic!("no certificate: {e}"));
            self.save(generation, name, &[leaf, chain, key])
                .unwrap_or_else(|e| panic!("cannot write {name}: {e}"));
        }
    }

    fn new_intermediate(&self, generation: u64) -> Result<(X509, PKey<Private>), ErrorStack> {
        let (key, subject) = (new_key()?, subject("testbed intermediate", generation)?);
        let mut builder = builder(&subject, self.root.subject_name(), &key)?;
        builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
        builder.append_extension(KeyUsage::new().critical().key_cert_sign().build()?)?;
        builder.sign(&self.root_key, MessageDigest::sha256())?;
        Ok((builder.build(), key))
    }

    /// The leaf, its chain and its key in PEM.
    fn issue(
        &self,
        generation: u64,
        variant: &Variant,
        (issuer, issuer_key): &(X509, PKey<Private>),
    ) -> Result<[Vec<u8>; 3], ErrorStack> {
        let keys = &self.keys[variant.key];
        let key = &keys[generation as usize % keys.len()];
        let subject = subject(&variant.name, generation)?;
        let mut builder = builder(&subject, issuer.subject_name(), key)?;
        let mut names = SubjectAlternativeName::new();
        let names = names.dns(&variant.name).build(&builder.x509v3_context(Some(issuer), None))?;
        builder.append_extension(names)?;
        builder.append_extension(BasicConstraints::new().critical().build()?)?;
        builder.sign(issuer_key, MessageDigest::sha256())?;
        Ok([builder.build().to_pem()?, issuer.to_pem()?, key.private_key_to_pem_pkcs8()?])
    }

    /// A version with its files, and then the link to it by a rename. The version before stays.
    fn save(
        &self,
        generation: u64,
        name: &str,
        [leaf, chain, key]: &[Vec<u8>; 3],
    ) -> std::io::Result<()> {
        let certs = self.state.join("certs");
        let versions = certs.join(".versions").join(name);
        for directory in [&certs, &certs.join(".versions"), &versions] {
            self.make_directory(directory)?;
        }
        let version = versions.join(generation.to_string());
        self.make_directory(&version)?;
        let full_chain = [leaf.as_slice(), chain].concat();
        for (file, content) in [
            ("fullchain.pem", full_chain.as_slice()),
            ("privkey.pem", key),
            ("cert.pem", leaf),
            ("chain.pem", chain),
            ("issuer.json", self.issuer.as_bytes()),
        ] {
            let path = version.join(file);
            fs::write(&path, content)?;
            self.give(&path, 0o600)?;
        }
        let (link, new) = (certs.join(name), versions.join("link"));
        symlink(Path::new(".versions").join(name).join(generation.to_string()), &new)?;
        fs::rename(&new, &link)?;
        for entry in fs::read_dir(&versions)? {
            let entry = entry?;
            let number = entry.file_name().to_string_lossy().parse::<u64>();
            if number.is_ok_and(|number| number + 2 <= generation) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    fn make_directory(&self, path: &Path) -> std::io::Result<()> {
        match fs::create_dir(path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
            _ => self.give(path, 0o700),
        }
    }

    /// Everything belongs to the owner of the state path.
    fn give(&self, path: &Path, mode: u32) -> std::io::Result<()> {
        let owner = fs::metadata(&self.state)?;
        chown(path, Some(owner.uid()), Some(owner.gid()))?;
        fs::set_permissions(path, Permissions::from_mode(mode))
    }
}

/// The generation of a certificate in DER, if it has one.
#[must_use]
pub fn generation(certificate: &[u8]) -> Option<u64> {
    let certificate = X509::from_der(certificate).ok()?;
    let mut units = certificate.subject_name().entries_by_nid(Nid::ORGANIZATIONALUNITNAME);
    let unit = std::str::from_utf8(units.next()?.data().as_slice()).ok()?;
    unit.strip_prefix(GENERATION)?.parse().ok()
}

fn new_root() -> Result<(X509, PKey<Private>), ErrorStack> {
    let (key, name) = (new_key()?, authority_name()?);
    let mut builder = builder(&name, &name, &key)?;
    builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
    builder.append_extension(KeyUsage::new().critical().key_cert_sign().build()?)?;
    builder.sign(&key, MessageDigest::sha256())?;
    Ok((builder.build(), key))
}

fn new_key_of(kind: &str) -> Result<PKey<Private>, ErrorStack> {
    let curve = |nid| PKey::from_ec_key(EcKey::generate(&*EcGroup::from_curve_name(nid)?)?);
    match kind.split_once(':') {
        Some(("ecdsa", "256")) => curve(Nid::X9_62_PRIME256V1),
        Some(("ecdsa", "384")) => curve(Nid::SECP384R1),
        Some(("rsa", bits)) => {
            let bits = bits.parse().unwrap_or_else(|e| panic!("{kind}: {e}"));
            PKey::from_rsa(Rsa::generate(bits)?)
        }
        _ => panic!("{kind} is no type of key"),
    }
}

fn subject(common_name: &str, generation: u64) -> Result<X509Name, ErrorStack> {
    let mut name = X509Name::builder()?;
    name.append_entry_by_nid(Nid::COMMONNAME, common_name)?;
    let unit = format!("{GENERATION}{generation}");
    name.append_entry_by_nid(Nid::ORGANIZATIONALUNITNAME, &unit)?;
    Ok(name.build())
}
