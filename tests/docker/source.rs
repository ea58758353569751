//! The source that the module is built for comes from the crate, or from nginx.org with a signature
//! that counts. Without nginx.org: its files are those of the test, and one signer is another.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use servers::paths::workspace_dir;
use servers::process::run;
use tempfile::TempDir;

const VERSION: &str = "1.2.3";

/// A directory that stands for nginx.org, for the programs that the script calls, and for cargo's.
struct Site {
    dir: TempDir,
}

impl Site {
    fn new() -> Self {
        let site = Self { dir: tempfile::tempdir().expect("a directory") };
        for name in ["bin", "org", "signer", "cargo/registry/src/index"] {
            fs::create_dir_all(site.path(name)).expect("a directory");
        }
        fs::set_permissions(site.path("signer"), Permissions::from_mode(0o700)).expect("ours");
        site.program("nginx", &format!("echo 'nginx version: nginx/{VERSION}' >&2"));
        let org = site.path("org");
        site.program("curl", &format!("for url; do :; done; cp {org}/\"${{url##*/}}\" ."));
        site
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.path(&format!("bin/{name}"));
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("it is written");
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("ours");
    }

    fn gpg(&self, arguments: &[&str]) -> String {
        let mut gpg = Command::new("gpg");
        gpg.args(["--batch", "--quiet", "--homedir", &self.path("signer")]);
        run(gpg.args(arguments)).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Makes a key, and gives its fingerprint.
    fn key(&self) -> String {
        self.gpg(&["--passphrase", "", "--quick-generate-key", "signer@example.test", "ed25519"]);
        let listed = self.gpg(&["--with-colons", "--list-keys"]);
        let line = listed.lines().find(|line| line.starts_with("fpr:")).expect("a key");
        for name in ["arut", "pluknet", "thresh"] {
            self.gpg(&["--yes", "--output", &self.path(&format!("org/{name}.key")), "--export"]);
        }
        line.split(':').nth(9).expect("its fingerprint").to_owned()
    }

    /// A signed archive of a source.
    fn archive(&self) {
        let tree = format!("nginx-{VERSION}");
        fs::create_dir(self.path(&tree)).expect("a directory");
        fs::write(self.path(&format!("{tree}/configure")), "").expect("it is written");
        let archive = self.archive_path();
        run(Command::new("tar").args(["-C", &self.path("."), "-czf", &archive, &tree]))
            .unwrap_or_else(|e| panic!("{e}"));
        self.gpg(&["--armor", "--detach-sign", &archive]);
    }

    fn archive_path(&self) -> String {
        self.path(&format!("org/nginx-{VERSION}.tar.gz"))
    }

    /// Runs the script; `signer` is put in the place of one that it knows.
    fn fetch(&self, signer: Option<&str>) -> Output {
        let text = fs::read_to_string(workspace_dir().join("docker/nginx-source")).expect("it");
        let known = "D6786CE303D9A9022998DC6CC8464D549AF75C0A";
        assert!(text.contains(known));
        let script = self.path("nginx-source");
        fs::write(&script, text.replace(known, signer.unwrap_or(known))).expect("it is written");
        let path = std::env::var("PATH").unwrap_or_default();
        Command::new("sh")
            .args([&script, &self.path("source")])
            .env("PATH", format!("{}:{path}", self.path("bin")))
            .env("CARGO_HOME", self.path("cargo"))
            .output()
            .expect("sh runs")
    }

    fn has_source(&self) -> bool {
        Path::new(&self.path("source")).join("configure").is_file()
    }
}

/// A change of a site with a signed archive.
type Change = fn(&Site);

#[test]
fn an_archive_counts_if_one_who_signs_releases_has_signed_it() {
    let changes: [(&str, bool, Change); 4] = [
        ("nothing", true, |_| {}),
        ("nobody known", false, |_| {}),
        ("another archive", false, |site| {
            let mut bytes = fs::read(site.archive_path()).expect("it is there");
            bytes.push(0);
            fs::write(site.archive_path(), bytes).expect("it is written");
        }),
        ("no signature", false, |site| {
            fs::write(format!("{}.asc", site.archive_path()), "").expect("it is written");
        }),
    ];
    for (what, accepted, change) in changes {
        let site = Site::new();
        let signer = site.key();
        site.archive();
        change(&site);
        let output = site.fetch((what != "nobody known").then_some(&signer));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), accepted, "{what}: {errors}");
        assert_eq!(site.has_source(), accepted, "{what}");
        assert_eq!(
            errors.contains("is not signed by one who signs"),
            !accepted,
            "{what}: {errors}"
        );
    }
}

#[test]
#[ignore = "QUICK=1 leaves it out"]
fn the_crate_is_taken_if_it_has_the_version() {
    for (version, taken) in [(VERSION, true), ("1.2.34", false)] {
        let site = Site::new();
        let tree = format!("cargo/registry/src/index/nginx-src-9.9.9+{version}/nginx/auto");
        fs::create_dir_all(site.path(&tree)).expect("a directory");
        fs::write(site.path(&format!("{tree}/configure")), "").expect("it is written");
        // There is no archive to be had.
        assert_eq!(site.fetch(None).status.success(), taken, "{version}");
        assert_eq!(site.has_source(), taken, "{version}");
    }
}
