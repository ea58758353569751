//! The greeting of the program: the module knows the same types, and speaks the same version.

use acme_dns_core::config::provider::library_types;
use acme_dns_core::providers_protocol::{Hello, VERSION};
use std::process::{Command, Stdio};

#[test]
fn the_program_has_the_types_of_the_module() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_acme-dns-providers"));
    let output = program.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success());
    let hello: Hello = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(hello.protocol, VERSION);
    let (mut own, mut known) =
        (library_types().map(|kind| kind.name).collect::<Vec<_>>(), hello.types);
    own.sort_unstable();
    known.sort_unstable();
    assert_eq!(known, own);
}
