//! Files of other clients: Traefik's `acme.json` and what Caddy says of a certificate. The first byte
//! chooses the file.
#![no_main]

use acme_dns_service::import::fuzzing::{read_caddy, read_traefik};
use libfuzzer_sys::fuzz_target;
use std::cell::OnceCell;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use url::Url;

/// The longest line of PEM (RFC 7468 section 2).
const LINE: usize = 64;

struct Trees {
    traefik: TempDir,
    caddy: TempDir,
    ca: Url,
}

impl Trees {
    fn new() -> Self {
        let directory = || tempfile::tempdir().expect("a temporary directory");
        let caddy = directory();
        let certificate = caddy.path().join("certificates/ca/a.example");
        fs::create_dir_all(certificate).expect("a directory");
        let ca = Url::parse("https://ca.example/directory").expect("a URL");
        Self { traefik: directory(), caddy, ca }
    }
}

thread_local! {
    static TREES: OnceCell<Trees> = const { OnceCell::new() };
}

fuzz_target!(|bytes: &[u8]| {
    let [kind, content @ ..] = bytes else { return };
    TREES.with(|trees| {
        let trees = trees.get_or_init(Trees::new);
        match kind {
            b't' => traefik(trees.traefik.path(), &trees.ca, content),
            b'c' => caddy(trees.caddy.path(), &trees.ca, content),
            _ => {}
        }
    });
});

fn traefik(directory: &Path, ca: &Url, content: &[u8]) {
    fs::write(directory.join("acme.json"), content).expect("the file is written");
    match read_traefik(directory, ca) {
        Ok((certificates, account)) => {
            // Base64 is longer than what it stands for.
            let size: usize = certificates.iter().map(|(chain, key)| chain.len() + key.len()).sum();
            assert!(size <= content.len());
            let lines = account.iter().flat_map(|pem| pem.split(|byte| *byte == b'\n'));
            assert!(lines.into_iter().all(|line| line.len() <= LINE));
        }
        Err(why) => fuzzing::assert_line(&why, directory.as_os_str().len() + 100),
    }
}

fn caddy(directory: &Path, ca: &Url, content: &[u8]) {
    let file = directory.join("certificates/ca/a.example/a.example.json");
    fs::write(&file, content).expect("the file is written");
    let found = read_caddy(directory, ca).expect("the directory is read");
    let [origin] = found.as_slice() else { panic!("one certificate") };
    if let Err(why) = origin {
        fuzzing::assert_line(why, file.as_os_str().len() + 100);
    }
}
