//! Programs in the configuration: who may write to them.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use servers::paths::providers_program;

use super::{Bench, HERE, ISSUER, SERVER};
use crate::site::{NOBODY, SERVICE};

/// A configuration with a program in a directory of its own, and the message about it.
fn bench() -> Bench {
    let bench = Bench::new();
    fs::create_dir(bench.nginx.dir().join("hooks")).expect("a new directory");
    bench.nginx.add_file("hooks/hook.sh", "#!/bin/sh\n");
    bench
}

fn block(bench: &Bench, program: &str) -> String {
    let dir = bench.nginx.dir().display();
    format!(
        "acme_dns_provider own exec {{ {HERE}\n    command {dir}/{program};\n}}\n{SERVER}\n{ISSUER}"
    )
}

fn set(path: &Path, owner: u32, mode: u32) {
    chown(path, Some(owner), Some(0)).expect("root may do that");
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode");
}

#[test]
fn refuses_a_program_that_others_can_write() {
    let mut bench = bench();
    let (hooks, hook) = (bench.nginx.dir().join("hooks"), bench.nginx.dir().join("hooks/hook.sh"));
    let by = |writer: &str| {
        let way = format!(
            "\"DIR/hooks\" can be written by {writer}, and \"DIR/hooks/hook.sh\" depends on it"
        );
        (Some(way), Some(format!("\"DIR/hooks/hook.sh\" can be written by {writer}")))
    };
    let (user, everyone, group) = (by("user \"nobody\""), by("everyone"), by("its group 0"));
    let not_executable = "\"DIR/hooks/hook.sh\" is not executable, set its mode to 0755";
    // Owner and mode of the directory and of the program.
    for (way, program, expected) in [
        ((0, 0o755), (0, 0o755), None),
        ((0, 0o755), (1, 0o700), None),
        ((0, 0o1777), (0, 0o755), None),
        ((0, 0o755), (0, 0o644), Some(not_executable.to_owned())),
        ((0, 0o755), (NOBODY, 0o755), user.1),
        ((0, 0o755), (0, 0o757), everyone.1),
        ((0, 0o755), (0, 0o775), group.1),
        ((NOBODY, 0o755), (0, 0o755), user.0),
        ((0, 0o777), (0, 0o755), everyone.0),
        ((0, 0o775), (0, 0o755), group.0),
    ] {
        set(&hooks, way.0, way.1);
        set(&hook, program.0, program.1);
        let http = block(&bench, "hooks/hook.sh");
        match expected {
            Some(message) => bench.refuses(&[(http, format!("{message} in HERE"))]),
            None => assert_eq!(bench.test(&http), (true, Vec::new())),
        }
    }
}

#[test]
fn refuses_a_program_that_is_none() {
    let mut bench = bench();
    let missing = "stat() \"DIR/hooks/no\" failed (2: No such file or directory) in HERE";
    let rows = [
        (block(&bench, "hooks/no"), missing.to_owned()),
        (block(&bench, "hooks"), "\"DIR/hooks\" is not a regular file in HERE".to_owned()),
    ];
    bench.refuses(&rows);
}

#[test]
fn refuses_programs_without_a_master() {
    let mut bench = bench();
    set(&bench.nginx.dir().join("hooks/hook.sh"), 0, 0o755);
    let http = block(&bench, "hooks/hook.sh");
    bench.user = "daemon; master_process off";
    let message = "\"DIR/hooks/hook.sh\" cannot be run with \"master_process off\" in HERE";
    bench.refuses(&[(http, message.to_owned())]);
}

/// A block of a library type.
fn library() -> String {
    format!(
        "acme_dns_provider cloud hetzner {{ {HERE}\n    token_file token;\n}}\n{SERVER}\n{ISSUER}"
    )
}

#[test]
fn a_type_of_the_library_needs_the_program_beside_the_module() {
    let mut bench = Bench::new();
    let missing = |path: &str| {
        format!(
            "provider \"cloud\" of type \"hetzner\" needs the program acme-dns-providers, which is not at {path}; \
             install the package or name it with \"acme_dns_providers\" in HERE"
        )
    };
    bench.refuses(&[(library(), missing("DIR/modules/acme-dns-providers"))]);
    let program = bench.nginx.dir().join("modules/acme-dns-providers");
    fs::copy(providers_program(), &program).expect("it can be copied");
    assert_eq!(bench.test(&library()), (true, Vec::new()));
    set(&program, 0, 0o757);
    let open = "\"DIR/modules/acme-dns-providers\" can be written by everyone in HERE";
    bench.refuses(&[(library(), open.to_owned())]);
    // Another one is named.
    let named = providers_program();
    let main = |path: &str| format!("daemon; acme_dns_providers {path}");
    bench.user = main(&named.display().to_string()).leak();
    assert_eq!(bench.test(&library()), (true, Vec::new()));
    bench.user = "daemon; acme_dns_providers /nowhere/program";
    bench.refuses(&[(library(), missing("/nowhere/program"))]);
    // Without such a type nobody looks.
    let others = format!("{}\n{SERVER}\n{ISSUER}", super::PROVIDER);
    assert_eq!(bench.test(&others), (true, Vec::new()));
    bench.user = "daemon; acme_dns_providers bin/program";
    let (good, lines) = bench.test(&others);
    let message =
        "invalid program \"bin/program\", it must be an absolute path in DIR/nginx.conf:2";
    assert_eq!((good, lines), (false, vec![format!("[emerg] {message}")]));
}

#[test]
fn refuses_hooks_that_others_can_write_and_exports_where_others_can() {
    let mut bench = bench();
    let (hooks, hook) = (bench.nginx.dir().join("hooks"), bench.nginx.dir().join("hooks/hook.sh"));
    set(&hook, 0, 0o755);
    let dir = bench.nginx.dir().display().to_string();
    let http = |own: &str| {
        let own = own.replace("DIR", &dir);
        format!("{own}\n{SERVER}\n{ISSUER}\n{}", super::PROVIDER)
    };
    let export = |name: &str| {
        http(&format!(
            "acme_dns_export {name} {{ {HERE}\n directory DIR/hooks; bundle $name.pem; }}"
        ))
    };
    let told = http(&format!("acme_dns_hook DIR/hooks/hook.sh -v {{ {HERE}\n events failed; }}"));
    for good in [export("*"), export("a.example.com"), told.clone()] {
        assert_eq!(bench.test(&good), (true, Vec::new()), "{good}");
    }
    set(&hook, NOBODY, 0o755);
    bench.refuses(&[(
        told,
        "\"DIR/hooks/hook.sh\" can be written by user \"nobody\" in HERE".to_owned(),
    )]);
    let mistake = "\"DIR/hooks\" can be written by user \"nobody\" in HERE";
    set(&hooks, NOBODY, 0o755);
    bench.refuses(&[(export("*"), mistake.to_owned())]);
    set(&hooks, SERVICE, 0o755);
    assert_eq!(bench.test(&export("*")), (true, Vec::new()));
    let unknown = "there is no certificate \"other.example\" for \"acme_dns_export other.example\": its name \
                   is that of its directory in \"certs\" of the state path in HERE";
    bench.refuses(&[(export("other.example"), unknown.to_owned())]);
}
