//! Files for other software.

use crate::bed::{Bed, Block};
use openssl::pkcs12::Pkcs12;
use rustix::process::{getegid, geteuid};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

fn openssl(args: &[&str]) -> String {
    let output = Command::new("openssl").args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Makes a directory for exported files.
fn directory(bed: &Bed) -> String {
    let path = bed.path("out");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

/// Sets the mode that is refused or needed.
fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

const FILES: Block<'static> = &[
    &["bundle", "$name.pem"],
    &["fullchain", "$name.crt"],
    &["certificate", "$name.cert"],
    &["chain", "$name.chain"],
    &["key", "$name.key"],
    &["der", "$name.der"],
    &["pkcs12", "$name.p12"],
    &["password_file", "pass word"],
];

fn export(bed: &mut Bed, more: Block<'_>) {
    let directory = directory(bed);
    let directory = ["directory", directory.as_str()];
    let block = [&[&directory[..]], FILES, more].concat();
    bed.export(&block);
}

#[test]
fn all_forms_are_read_by_openssl() {
    let mut bed = Bed::new();
    export(&mut bed, &[]);
    let chain = bed.save(90);
    let _desk = bed.start();
    bed.wait_for_log("of certificate \"a.example\": wrote \"a.example.pem\"");
    let file = |end: &str| bed.path("out").join(format!("a.example{end}")).display().to_string();
    assert_eq!(bed.read("out/a.example.crt"), chain);
    assert_eq!(bed.read("out/a.example.cert"), chain);
    assert_eq!(bed.read("out/a.example.chain"), "");
    let key = bed.read("out/a.example.key");
    assert_eq!(bed.read("out/a.example.pem"), chain.clone() + &key);
    let public = openssl(&["x509", "-in", &file(".pem"), "-noout", "-pubkey"]);
    assert_eq!(openssl(&["pkey", "-in", &file(".pem"), "-pubout"]), public);
    let der = openssl(&["x509", "-inform", "der", "-in", &file(".der")]);
    assert_eq!(der, chain);
    let pkcs12 = ["pkcs12", "-in", &file(".p12"), "-passin", "pass:pass word", "-nodes"];
    let text = openssl(&pkcs12);
    assert!(text.contains("PRIVATE KEY") && text.contains("BEGIN CERTIFICATE"), "{text}");
    for (end, mode) in [(".pem", 0o600), (".key", 0o600), (".p12", 0o600), (".crt", 0o644)] {
        assert_eq!(fs::metadata(file(end)).unwrap().mode() & 0o7777, mode, "{end}");
    }
    assert_eq!(fs::read_dir(bed.path("out")).unwrap().count(), 7, "no leftover");
}

/// Waits until a certificate is exported.
fn wait_for(bed: &Bed, chain: &str) {
    bed.wait("the export", || (bed.read("out/a.example.crt") == chain).then_some(()));
}

#[test]
fn files_change_with_the_certificate_and_only_then() {
    let mut bed = Bed::new();
    let hook = bed.script("reload", "echo $ACME_DNS_EVENT $ACME_DNS_EXPORT >> $dir/ran");
    export(&mut bed, &[&["hook", &hook]]);
    let desk = bed.start();
    let chain = bed.save(90);
    desk.tell_issued();
    wait_for(&bed, &chain);
    let out = bed.path("out").display().to_string();
    assert_eq!(bed.wait_for_lines("ran", 1), [format!("issued {out}")]);
    bed.wait_for_log("was told of \"issued\"");
    bed.wait_for_notes(1);
    drop(desk);
    let desk = bed.start();
    let chain = bed.save(90);
    desk.tell_issued();
    wait_for(&bed, &chain);
    let expected = [format!("issued {out}"), format!("renewed {out}")];
    assert_eq!(bed.wait_for_lines("ran", 2), expected);
}

#[test]
fn nothing_is_written_that_is_there_and_what_is_missing_comes_back() {
    let mut bed = Bed::new();
    let hook = bed.script("reload", "echo >> $dir/ran");
    export(&mut bed, &[&["hook", &hook]]);
    let chain = bed.save(90);
    let out = bed.path("out");
    let desk = bed.start();
    wait_for(&bed, &chain);
    bed.wait_for_lines("ran", 1);
    bed.wait_for_notes(1);
    drop(desk);
    let stamps = || -> Vec<u64> {
        let mut files: Vec<_> = fs::read_dir(&out).unwrap().map(|file| file.unwrap()).collect();
        files.sort_by_key(|file| file.file_name());
        files.iter().map(|file| file.metadata().unwrap().ino()).collect()
    };
    let before = stamps();
    type Damage = fn(&Path);
    let rows: [(&str, Option<Damage>, usize); 5] = [
        ("nothing", None, 1),
        ("removed", Some(|out| fs::remove_file(out.join("a.example.key")).unwrap()), 2),
        ("changed", Some(|out| fs::write(out.join("a.example.p12"), "x").unwrap()), 3),
        ("mode", Some(|out| set_mode(&out.join("a.example.pem"), 0o644)), 4),
        (
            "a link",
            Some(|out| {
                let precious = out.parent().unwrap().join("precious");
                fs::write(&precious, "precious").unwrap();
                fs::remove_file(out.join("a.example.key")).unwrap();
                symlink(precious, out.join("a.example.key")).unwrap();
            }),
            5,
        ),
    ];
    for (row, damage, runs) in rows {
        if let Some(damage) = damage {
            damage(&out);
        }
        let desk = bed.start();
        if damage.is_none() {
            std::thread::sleep(std::time::Duration::from_millis(300));
            assert_eq!(stamps(), before, "{row}");
        }
        assert_eq!(bed.wait_for_lines("ran", runs).len(), runs, "{row}");
        bed.wait_for_notes(1);
        drop(desk);
    }
    assert_eq!(bed.read("precious"), "precious");
    assert!(bed.read("out/a.example.key").contains("PRIVATE KEY"));
    let p12 = fs::read(out.join("a.example.p12")).unwrap();
    assert!(Pkcs12::from_der(&p12).unwrap().parse2("pass word").is_ok());
}

#[test]
fn an_export_that_cannot_be_written_says_why_and_is_tried_again() {
    let is_root = geteuid().is_root();
    // Root may give a file to any group; others only to their own.
    let foreign = (!is_root).then_some("0");
    let own = getegid().as_raw().to_string();
    let rows: [(&str, u32, Option<&str>); 3] = [
        ("can be written by everyone", 0o757, Some(&own)),
        ("can be written by its group", 0o775, Some(&own)),
        ("the user of the service must be one of its members", 0o755, foreign),
    ];
    for (expected, mode, group) in rows {
        let Some(group) = group else { continue };
        let mut bed = Bed::new();
        export(&mut bed, &[&["group", group]]);
        let chain = bed.save(90);
        set_mode(&bed.path("out"), mode);
        let desk = bed.start();
        let line = bed.wait_for_log(expected);
        assert!(line.contains("next attempt in"), "{line}");
        assert_eq!(fs::read_dir(bed.path("out")).unwrap().count(), 0, "{expected}");
        if mode != 0o755 {
            set_mode(&bed.path("out"), 0o755);
            wait_for(&bed, &chain);
            bed.wait_for_log("was told of");
            let mode = fs::metadata(bed.path("out/a.example.key")).unwrap().mode();
            assert_eq!(mode & 0o7777, 0o640);
        }
        drop(desk);
    }
}

#[test]
fn a_program_of_an_export_that_fails_is_run_again_over_a_restart() {
    let mut bed = Bed::new();
    let hook = bed.script("reload", "echo >> $dir/tried; test -e $dir/good && echo >> $dir/ran");
    export(&mut bed, &[&["hook", &hook]]);
    let chain = bed.save(90);
    let desk = bed.start();
    wait_for(&bed, &chain);
    bed.wait_for_lines("tried", 2);
    drop(desk);
    fs::write(bed.path("good"), "").unwrap();
    let _desk = bed.start();
    assert_eq!(bed.wait_for_lines("ran", 1).len(), 1);
}
