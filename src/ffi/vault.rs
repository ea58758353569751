//! Secrets, from the moment the master reads them until the service takes them. Directives that name them are read
//! in `acme_dns_core::config`.
//!
//! They live in one anonymous mapping that is left out of core dumps. All processes unmap it before they
//! listen to anybody, but the service, a child of the same master, which keeps it. Nothing copies a secret
//! to the heap before the fork, as heap pages would be shared with the workers. The environment is such a
//! copy that nginx makes: every variable that holds a secret is overwritten, read from there or not.

use super::parser::{Parser, PathBase};
use super::privileges::Ids;
use acme_dns_core::config::keys::{check_account_key, check_key, check_mac_key};
use acme_dns_core::config::{Resources, SecretCheck, SecretId, SecretSource};
use acme_dns_core::text::errno;
use acme_dns_service::import::ImportedKey;
use openssl::x509::X509;
use secrecy::SecretString;
use std::ffi::{CStr, CString, c_char, c_void};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::ptr;

/// Room for the secrets of one configuration; a token has some dozens of bytes.
const SIZE: usize = 64 * 1024;

/// Reason that a full vault gives.
const FULL: &str = "secrets are limited to 64 KB in total";

/// Length of the longest secret, in bytes: a document with some dozens of accounts. A larger file is something else.
const MAX_SECRET: usize = 16 * 1024;

/// Length from which on a secret is not found in the value of a variable by chance, in bytes.
const UNMISTAKABLE: usize = 8;

/// The secrets of one configuration.
#[derive(Debug)]
pub(super) struct Vault {
    base: *mut u8,
    used: usize,
    entries: Vec<(usize, usize)>,
    /// Values in the block of the environment that nginx inherited.
    environment: Vec<(*mut c_char, usize)>,
    /// The files that secrets were read from.
    files: Vec<SecretFile>,
}

/// A file with a secret, and who can read it.
#[derive(Debug)]
struct SecretFile {
    path: String,
    owner: Ids,
    mode: u32,
}

impl Vault {
    pub(super) fn new() -> Self {
        Self {
            base: ptr::null_mut(),
            used: 0,
            entries: Vec::new(),
            environment: Vec::new(),
            files: Vec::new(),
        }
    }

    /// Warns, when all secrets have been read, of those that the workers' user can read in their files, and finds
    /// copies in the environment, which all processes have.
    pub(super) fn finish(&mut self, workers: Option<Ids>, warn: impl Fn(&str)) {
        for SecretFile { path, owner, mode } in &self.files {
            let Some(workers) = workers else { continue };
            let how = if owner.uid == workers.uid {
                "belongs to"
            } else if owner.gid == workers.gid && mode & 0o040 != 0 {
                "is readable through its group by"
            } else {
                continue;
            };
            warn(&format!(
                "secret file \"{path}\" {how} the workers' user, give it to root and set its mode to 0600"
            ));
        }
        let copies = environment().into_iter().filter(|(value, length)| {
            // SAFETY: a value of the environment, which nothing changes meanwhile.
            let value = unsafe { std::slice::from_raw_parts(value.cast::<u8>(), *length) };
            self.holds_secret(value)
        });
        self.environment = copies.collect();
    }

    /// Gives the files that secrets were read from.
    pub(super) fn files(&self) -> impl Iterator<Item = PathBuf> {
        self.files.iter().map(|file| PathBuf::from(&file.path))
    }

    fn holds_secret(&self, value: &[u8]) -> bool {
        self.entries.iter().any(|(offset, length)| {
            // SAFETY: `keep` wrote `length` bytes at this offset of the mapping.
            let start = unsafe { self.base.add(*offset) };
            // SAFETY: as above.
            let secret = unsafe { std::slice::from_raw_parts(start, *length) };
            let holds = || value.windows(secret.len()).any(|window| window == secret);
            value.trim_ascii() == secret || (secret.len() >= UNMISTAKABLE && holds())
        })
    }

    /// Gives the secret as the service takes it; called in its process, after the fork.
    pub(super) fn secret(&self, id: SecretId) -> Option<SecretString> {
        let (offset, length) = *self.entries.get(id.0)?;
        // SAFETY: `keep` wrote `length` bytes at this offset of the mapping.
        let start = unsafe { self.base.add(offset) };
        // SAFETY: as above.
        let bytes = unsafe { std::slice::from_raw_parts(start, length) };
        std::str::from_utf8(bytes).ok().map(SecretString::from)
    }

    /// Makes the secrets unreachable in this process.
    pub(super) fn forget(&mut self) {
        for (value, length) in self.environment.drain(..) {
            // SAFETY: the environment block is never freed; in a child of the master only this code uses it.
            unsafe { wipe(value.cast(), length) };
        }
        self.unmap();
    }

    fn unmap(&mut self) {
        if !self.base.is_null() {
            // SAFETY: the mapping is this vault's own, of this size.
            unsafe { wipe(self.base, SIZE) };
            // SAFETY: as above; nothing refers to it any more.
            unsafe { libc::munmap(self.base.cast(), SIZE) };
            self.base = ptr::null_mut();
            self.entries.clear();
        }
    }

    /// Gives the free part of the mapping.
    fn room(&mut self) -> io::Result<&mut [u8]> {
        if self.base.is_null() {
            self.base = map()?;
        }
        // SAFETY: `used` never exceeds the mapping.
        let start = unsafe { self.base.add(self.used) };
        // SAFETY: the mapping is `SIZE` long and exclusively this vault's.
        Ok(unsafe { std::slice::from_raw_parts_mut(start, SIZE - self.used) })
    }

    /// Takes the first `length` bytes of the room as a secret, without surrounding white space, if
    /// it passes a check.
    fn keep(&mut self, length: usize, check: SecretCheck) -> Result<SecretId, String> {
        let used = self.used;
        let room = self.room().map_err(|e| e.to_string())?;
        let bytes = room.get(..length).unwrap_or_default();
        let leading = bytes.len() - bytes.trim_ascii_start().len();
        let secret = bytes.trim_ascii();
        if secret.is_empty() {
            return Err("is empty".to_owned());
        }
        check(secret)?;
        let secret_length = secret.len();
        self.entries.push((used + leading, secret_length));
        self.used += length;
        Ok(SecretId(self.entries.len() - 1))
    }

    fn read_file(&mut self, path: &str, check: SecretCheck) -> Result<(SecretId, bool), String> {
        let (length, exposed) = self.read(path)?;
        let id = self.keep(length, check).map_err(|why| format!("\"{path}\" {why}"))?;
        Ok((id, exposed))
    }

    /// Reads a file into the room; gives its length, and whether everyone can access it.
    fn read(&mut self, path: &str) -> Result<(usize, bool), String> {
        let file = File::open(path)
            .map_err(|error| format!("open() \"{path}\" failed ({})", errno(&error)))?;
        self.read_open(file, path)
    }

    fn read_open(&mut self, mut file: File, path: &str) -> Result<(usize, bool), String> {
        let failed =
            |call: &str, e: &io::Error| format!("{call}() \"{path}\" failed ({})", errno(e));
        let room = self.room().map_err(|e| failed("mmap", &e))?;
        let mut length = 0;
        loop {
            let rest = room.get_mut(length..).unwrap_or_default();
            if rest.is_empty() {
                return Err(format!("no room for \"{path}\": {FULL}"));
            }
            match file.read(rest).map_err(|e| failed("read", &e))? {
                0 => break,
                read => length += read,
            }
            if length > MAX_SECRET {
                return Err(format!("\"{path}\" exceeds {MAX_SECRET} bytes"));
            }
        }
        Ok((length, self.remember(&file, path)?))
    }

    /// Reads the key of an account of another client, in PEM or as a JWK, as it is.
    pub(super) fn account_key(
        &mut self,
        key: ImportedKey,
        path: &Path,
    ) -> Result<SecretId, String> {
        let path = path.to_string_lossy();
        let length = match key.pem {
            None => self.read_open(key.file, &path)?.0,
            Some(pem) => {
                let length =
                    self.copy(&pem).ok_or_else(|| format!("no room for \"{path}\": {FULL}"))?;
                self.remember(&key.file, &path)?;
                length
            }
        };
        let id = self.keep(length, check_account_key);
        id.map_err(|why| format!("\"{path}\" {why}"))
    }

    /// Copies a secret into the room, if there is enough of it; gives its length.
    fn copy(&mut self, secret: &[u8]) -> Option<usize> {
        self.room().ok()?.get_mut(..secret.len())?.copy_from_slice(secret);
        Some(secret.len())
    }

    /// Remembers who can read a file with a secret; gives whether everyone can access it.
    fn remember(&mut self, file: &File, path: &str) -> Result<bool, String> {
        let metadata = file.metadata();
        let metadata =
            metadata.map_err(|error| format!("fstat() \"{path}\" failed ({})", errno(&error)))?;
        let (owner, mode) = (Ids { uid: metadata.uid(), gid: metadata.gid() }, metadata.mode());
        self.files.push(SecretFile { path: path.to_owned(), owner, mode });
        Ok(mode & 0o007 != 0)
    }

    fn read_environment(&mut self, name: &str, check: SecretCheck) -> Result<SecretId, String> {
        let variable = CString::new(name).map_err(|_| format!("invalid variable \"{name}\""))?;
        // SAFETY: the master has one thread while it reads its configuration.
        let value = unsafe { libc::getenv(variable.as_ptr()) };
        if value.is_null() {
            return Err(format!("the environment variable \"{name}\" is not set"));
        }
        // SAFETY: a variable is a string that ends in NUL.
        let length = unsafe { libc::strlen(value) };
        if length > MAX_SECRET {
            return Err(format!("the environment variable \"{name}\" exceeds {MAX_SECRET} bytes"));
        }
        // SAFETY: as above.
        let bytes = unsafe { std::slice::from_raw_parts(value.cast::<u8>(), length) };
        let room = self.room().map_err(|e| format!("mmap() failed ({})", errno(&e)))?;
        let Some(room) = room.get_mut(..length) else {
            return Err(format!("no room for the environment variable \"{name}\": {FULL}"));
        };
        room.copy_from_slice(bytes);
        self.keep(length, check).map_err(|why| format!("the environment variable \"{name}\" {why}"))
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        // The environment stays: the next configuration may read it again.
        self.unmap();
    }
}

/// Finds the values of all variables, with their lengths.
fn environment() -> Vec<(*mut c_char, usize)> {
    unsafe extern "C" {
        static environ: *const *mut c_char;
    }
    let mut values = Vec::new();
    // SAFETY: set by the C library; the master has one thread while it reads its configuration.
    let mut entry = unsafe { environ };
    // SAFETY: the list ends with a null pointer.
    while let Some(variable) = unsafe { entry.as_ref() }.filter(|variable| !variable.is_null()) {
        // SAFETY: a variable is a string that ends in NUL.
        let text = unsafe { CStr::from_ptr(*variable) }.to_bytes();
        if let Some(name) = text.iter().position(|byte| *byte == b'=') {
            // SAFETY: within the string, or at its end.
            let value = unsafe { variable.add(name + 1) };
            values.push((value, text.len() - name - 1));
        }
        // SAFETY: not the last entry.
        entry = unsafe { entry.add(1) };
    }
    values
}

/// Maps the pages of a vault.
fn map() -> io::Result<*mut u8> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new anonymous mapping, at an address of the kernel's choice.
    let address = unsafe { libc::mmap(ptr::null_mut(), SIZE, protection, flags, -1, 0) };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping was just made. A kernel without this advice dumps it, no more.
    unsafe { libc::madvise(address, SIZE, libc::MADV_DONTDUMP) };
    Ok(address.cast())
}

/// Overwrites memory in a way that the compiler does not leave out.
///
/// # Safety
/// `length` bytes can be written at `start`.
unsafe fn wipe(start: *mut u8, length: usize) {
    // SAFETY: by this function's contract.
    unsafe { libc::explicit_bzero(start.cast::<c_void>(), length) };
}

/// Reads for the directive at which the parser stands.
pub(super) struct ConfResources<'a> {
    pub(super) cf: &'a Parser,
    pub(super) vault: &'a mut Vault,
}

impl ConfResources<'_> {
    fn path(&self, path: &str) -> Result<String, String> {
        let full = self.cf.full_name(path, PathBase::Configuration);
        full.ok_or_else(|| format!("invalid path \"{path}\""))
    }

    fn read(&mut self, source: &SecretSource, check: SecretCheck) -> Result<SecretId, String> {
        let path = match source {
            SecretSource::File(path) => self.path(path)?,
            SecretSource::Environment(name) => return self.vault.read_environment(name, check),
        };
        let (id, exposed) = self.vault.read_file(&path, check)?;
        if exposed {
            self.cf.warn(&format!(
                "secret file \"{path}\" can be accessed by everyone, set its mode to 0600"
            ));
        }
        Ok(id)
    }
}

impl Resources for ConfResources<'_> {
    fn warn(&mut self, message: &str) {
        self.cf.warn(message);
    }

    fn secret(&mut self, source: &SecretSource, check: SecretCheck) -> Result<SecretId, String> {
        self.read(source, check)
    }

    fn mac_key(&mut self, source: &SecretSource) -> Result<SecretId, String> {
        self.read(source, check_mac_key)
    }

    fn private_key(&mut self, path: &str) -> Result<SecretId, String> {
        self.read(&SecretSource::File(path.to_owned()), check_key)
    }

    fn certificates(&mut self, path: &str) -> Result<Vec<u8>, String> {
        let path = self.path(path)?;
        let pem = std::fs::read(&path)
            .map_err(|e| format!("open() \"{path}\" failed ({})", errno(&e)))?;
        match X509::stack_from_pem(&pem) {
            Ok(certificates) if !certificates.is_empty() => Ok(pem),
            _ => Err(format!("\"{path}\" holds no certificate in PEM")),
        }
    }
}
