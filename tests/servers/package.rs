//! Programs from a newer Debian than the machine's, unpacked into the cache, and from PyPI.
//!
//! The machine's own apt is not touched: lists, cache and sources lie in the cache as well, and
//! the mirror is the one that the machine's own sources name.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::paths::{cache_dir, cached};
use crate::process::run;

/// The suites that have Pebble, the best first: trixie's 2.6 knows no profiles.
const SUITES: [&str; 2] = ["sid", "trixie"];

/// The path of the Pebble program. `PEBBLE` in the environment names another one.
///
/// # Panics
/// If it can neither be found nor downloaded.
#[must_use]
pub fn pebble() -> PathBuf {
    if let Some(path) = std::env::var_os("PEBBLE") {
        return path.into();
    }
    cached("pebble", |dir| {
        let mut errors = String::new();
        for suite in SUITES {
            match unpack(dir, suite, "pebble") {
                Ok(()) => return Ok(()),
                Err(e) => errors.push_str(&format!("\n{suite}: {e}")),
            }
        }
        Err(errors)
    })
    .join("usr/bin/pebble")
}

/// The virtual environment with these packages of PyPI, made once in the cache.
///
/// # Panics
/// If it cannot be made.
#[must_use]
pub fn from_pypi(name: &str, requirements: &[&str]) -> PathBuf {
    // It knows its own path, so it cannot be made elsewhere and renamed: what is cached is the mark
    // that it is complete.
    let venv = cache_dir().join(format!("{name}-venv"));
    cached(&format!("{name}-complete"), |_| {
        let _ = fs::remove_dir_all(&venv);
        // Debian's own Python, as others may lack the module venv.
        run(Command::new("/usr/bin/python3").args(["-m", "venv"]).arg(&venv))?;
        let mut pip = Command::new(venv.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check"]).args(requirements);
        run(&mut pip).map(|_| ())
    });
    venv
}

/// Caddy, as a CA and as a web server that is its own client.
#[must_use]
pub fn caddy_program() -> PathBuf {
    cached("caddy", |dir| unpack(dir, "sid", "caddy")).join("usr/bin/caddy")
}

/// The directory that a package of a suite is unpacked in.
#[must_use]
pub fn unpacked(package: &str, suite: &str) -> PathBuf {
    cached(&format!("{package}-{suite}"), |dir| unpack(dir, suite, package))
}

/// Unpacks a package of a Debian suite into `dir`.
///
/// # Errors
/// If it cannot be downloaded or unpacked, with what the program says.
pub fn unpack(dir: &Path, suite: &str, package: &str) -> Result<(), String> {
    let source = debian_source().ok_or("the machine has no apt source of a Debian release")?;
    let work = tempfile::tempdir().map_err(|e| format!("no temporary directory: {e}"))?;
    for sub in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(work.path().join(sub)).map_err(|e| format!("{sub}: {e}"))?;
    }
    let sources = work.path().join("sources.list");
    let line = format!("deb [signed-by={}] {} {suite} main\n", source.keyring, source.mirror);
    fs::write(&sources, line).map_err(|e| format!("{}: {e}", sources.display()))?;

    let apt_get = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.current_dir(work.path()).arg("-qq");
        for (option, value) in [
            ("Dir::Etc::SourceList", sources.clone()),
            ("Dir::Etc::SourceParts", "/dev/null".into()),
            ("Dir::State::Lists", work.path().join("lists")),
            ("Dir::Cache", work.path().join("cache")),
            // The user _apt cannot enter the temporary directory.
            ("APT::Sandbox::User", "root".into()),
            // Some mirrors are snapshots.
            ("Acquire::Check-Valid-Until", "false".into()),
            ("Acquire::Languages", "none".into()),
        ] {
            command.arg("-o").arg(format!("{option}={}", value.display()));
        }
        run(command.args(arguments))
    };
    apt_get(&["update"])?;
    // The suite, because the machine's own apt may have installed a newer one from elsewhere.
    apt_get(&["download", &format!("{package}/{suite}")])?;
    let deb = fs::read_dir(work.path())
        .ok()
        .and_then(|mut entries| {
            entries.find_map(|entry| {
                let path = entry.ok()?.path();
                (path.extension()? == "deb").then_some(path)
            })
        })
        .ok_or("apt-get has downloaded nothing")?;
    run(Command::new("dpkg").arg("-x").arg(deb).arg(dir)).map(|_| ())
}

/// A source of packages, as apt knows it.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// The URL of the mirror.
    pub mirror: String,
    /// The file with the keys that sign its lists.
    pub keyring: String,
}

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The name of the machine's own release, such as `bookworm`.
#[must_use]
pub fn codename() -> Option<String> {
    let release = fs::read_to_string("/etc/os-release").ok()?;
    let name = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    Some(name.trim_matches('"').to_owned())
}

/// The mirror that the machine gets its own release from.
#[must_use]
pub fn debian_source() -> Option<Source> {
    let codename = codename()?;
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
    }
    files.iter().find_map(|file| {
        let text = fs::read_to_string(file).ok()?;
        match file.extension()?.to_str()? {
            "sources" => deb822(&text, &codename),
            "list" => one_line(&text, &codename),
            _ => None,
        }
    })
}

/// The format of `*.sources`: stanzas of fields.
fn deb822(text: &str, codename: &str) -> Option<Source> {
    text.split("\n\n").find_map(|stanza| {
        let field = |name: &str| {
            stanza.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        let enabled = field("Enabled").is_none_or(|value| value != "no");
        if !enabled || !field("Suites")?.split_whitespace().any(|suite| suite == codename) {
            return None;
        }
        let mirror = field("URIs")?.split_whitespace().next()?.to_owned();
        let keyring = field("Signed-By").filter(|path| path.starts_with('/')).unwrap_or(KEYRING);
        Some(Source { mirror, keyring: keyring.to_owned() })
    })
}

/// The format of `*.list`: `deb [options] URI suite components`.
fn one_line(text: &str, codename: &str) -> Option<Source> {
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix("deb ")?.trim_start();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => ("", rest),
        };
        let mut words = rest.split_whitespace();
        let mirror = words.next()?.to_owned();
        if words.next()? != codename {
            return None;
        }
        let signed_by = options.split_whitespace().find_map(|o| o.strip_prefix("signed-by="));
        Some(Source { mirror, keyring: signed_by.unwrap_or(KEYRING).to_owned() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_mirror_from_deb822_sources() {
        let text = "Types: deb\n# a comment: with a colon\nURIs: http://security.test/s\n\
                    Suites: bookworm-security\nComponents: main\n\nTypes: deb\n\
                    URIs: http://mirror.test/debian\nSuites: bookworm bookworm-updates\n\
                    Components: main\nSigned-By: /keys/debian.gpg\n";
        let source = deb822(text, "bookworm").expect("there is one");
        assert_eq!(source.mirror, "http://mirror.test/debian");
        assert_eq!(source.keyring, "/keys/debian.gpg");
        assert_eq!(deb822(text, "trixie"), None);
    }

    #[test]
    fn reads_the_mirror_from_one_line_sources() {
        let text = "# deb http://old.test bookworm main\n\
                    deb [arch=amd64 signed-by=/k.gpg] http://mirror.test/debian bookworm main\n";
        let source = one_line(text, "bookworm").expect("there is one");
        let expected =
            Source { mirror: "http://mirror.test/debian".into(), keyring: "/k.gpg".into() };
        assert_eq!(source, expected);
        let plain = one_line("deb http://m.test/d bookworm main", "bookworm");
        assert_eq!(plain.expect("there is one").keyring, KEYRING);
    }
}
