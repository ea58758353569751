//! The soak of `make soak`, shorter.

use std::io::{self, Write};

use testbed::measurements::soak::{self, Plan};

#[test]
fn certificates_are_renewed_under_fire_and_no_handshake_fails() {
    let verdict = soak::run(&Plan::short(1), &|line| println!("{line}"));
    // Not with `println!`: the figures are wanted when the test passes, too.
    let _ = writeln!(io::stderr(), "a short soak:\n{}", verdict.table);
    assert_eq!(verdict.complaints, [""; 0]);
}
