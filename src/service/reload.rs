//! The part of nginx's configuration that reads certificate files: when they change, a reload is needed.
//!
//! The files of the configuration are read once more when nginx has accepted them ([`Watch::scan`]): any
//! directive of any module that names a file below `certs/` of the state path counts. A name with a
//! variable in it does not, as nginx reads such a file when it needs it.
//!
//! The same look notes what the configuration consists of, domains files too. A reload is safe as long as that has not
//! changed: nginx has accepted it before. If it has, a reload could be refused, or put a half-finished
//! change into force, and is left to the person who made it.

use crate::stamp::FileStamp;
use crate::store::{certificate_of, certificate_path, certificates_path};
use acme_dns_core::config::syntax::directives;
use acme_dns_core::config::{Config, Reload};
use openssl::sha::sha256;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Files whose configuration is included more deeply than this include each other.
const MAX_DEPTH: usize = 32;

/// Largest lag of a file's time behind the clock: two ticks of the kernel's.
const LAG: Duration = Duration::from_millis(20);

/// Files that a configuration reads and consists of.
#[derive(Clone, Debug)]
pub struct Watch {
    /// The moment at which nginx began to read the configuration.
    pub since: SystemTime,
    /// The names of variants whose files it reads.
    pub names: BTreeSet<String>,
    /// The names of all certificates below `certs/` whose files it reads, configured or not.
    pub read: BTreeSet<String>,
    /// Set if it names files below `certs/` with a variable, so that workers read these.
    pub by_variable: bool,
    /// Set unless `acme_dns_reload off` forbids reloads.
    pub may_reload: bool,
    parts: Vec<ConfigPart>,
    /// The files with secrets, as they were when they were read.
    secrets: Vec<(PathBuf, Option<FileStamp>)>,
}

/// A part of the configuration.
#[derive(Clone, Debug)]
enum ConfigPart {
    /// A file with its content; `None` if it could not be read. `is_data`: it is a domains file.
    File { path: PathBuf, seen: Option<(FileStamp, [u8; 32])>, is_data: bool },
    /// A watched domains file with its size, where it is a file: the service takes its changes. Where most of it is
    /// gone, that may be a mistake, which no reload is to confirm.
    Watched { path: PathBuf, size: Option<u64> },
    /// Files that an `include` has found.
    Pattern { pattern: PathBuf, found: Vec<PathBuf> },
}

impl ConfigPart {
    fn obstacle(&self) -> Option<Obstacle> {
        match self {
            Self::Watched { path, size } => {
                let is_lost = size.is_some_and(|size| file_size(path).unwrap_or(0) * 2 < size);
                is_lost.then(|| Obstacle::Changed(path.clone()))
            }
            Self::Pattern { pattern, found } => {
                (glob(pattern) != *found).then(|| Obstacle::Changed(pattern.clone()))
            }
            Self::File { path, seen, .. } => match (FileStamp::of(path), seen) {
                (Ok(state), Some((before, _))) if state == *before => None,
                // Written anew perhaps, as tools do that manage configurations, but the same.
                (Ok(_), Some((_, hash))) => match fs::read(path) {
                    Ok(content) if sha256(&content) == *hash => None,
                    Ok(_) => Some(Obstacle::Changed(path.clone())),
                    Err(error) => Some(Obstacle::Unknown(path.clone(), error.to_string())),
                },
                (Ok(_), None) => Some(Obstacle::Changed(path.clone())),
                (Err(error), Some(_)) if error.kind() == io::ErrorKind::NotFound => {
                    Some(Obstacle::Changed(path.clone()))
                }
                (Err(_), None) => None,
                (Err(error), Some(_)) => Some(Obstacle::Unknown(path.clone(), error.to_string())),
            },
        }
    }
}

/// Reason why nginx is not reloaded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Obstacle {
    /// This part of the configuration has changed since nginx has loaded it.
    Changed(PathBuf),
    /// This part cannot be looked at, for the system's reason.
    Unknown(PathBuf, String),
}

/// Places where nginx looks for files.
#[derive(Clone, Copy, Debug)]
pub struct Paths<'a> {
    /// The configuration's first file.
    pub main: &'a Path,
    /// The directory that names of certificates and included files are relative to.
    pub prefix: &'a Path,
}

impl Watch {
    /// Reads the configuration that nginx has accepted. What cannot be read is passed over, as
    /// [`Watch::obstacle`] will say.
    pub fn scan(config: &Config, paths: Paths<'_>, since: SystemTime) -> Self {
        let mut scan = Scan {
            watch: Self {
                since,
                names: BTreeSet::new(),
                read: BTreeSet::new(),
                by_variable: false,
                may_reload: config.reload != Reload::Off,
                parts: Vec::new(),
                secrets: Vec::new(),
            },
            certificates: certificates_path(&config.state_path),
            paths,
        };
        scan.read(paths.main, 0);
        scan.watch.read.clone_from(&scan.watch.names);
        let all = config.variants.values().map(|variant| variant.name.clone());
        match config.reload {
            Reload::Off => scan.watch.names.clear(),
            Reload::On => scan.watch.names = all.collect(),
            Reload::Auto => {
                let all: BTreeSet<String> = all.collect();
                scan.watch.names.retain(|name| all.contains(name));
            }
        }
        scan.watch
    }

    /// Has files with secrets watched, too. Their contents are not looked at: this process may be unable to.
    pub fn add_secrets(&mut self, paths: impl IntoIterator<Item = PathBuf>) {
        let seen = paths.into_iter().map(|path| {
            let state = FileStamp::of(&path).ok();
            (path, state)
        });
        self.secrets.extend(seen);
    }

    /// Lists the files with secrets and domains that have changed since nginx has loaded them. What cannot be seen
    /// counts as unchanged.
    pub fn changed_data(&self) -> Vec<&Path> {
        let secrets = self.secrets.iter().filter(|(path, seen)| match FileStamp::of(path) {
            Ok(state) => Some(state) != *seen,
            // One that is being replaced comes back.
            Err(_) => false,
        });
        let secrets = secrets.map(|(path, _)| path.as_path());
        let domains = self.parts.iter().filter_map(|part| match part {
            ConfigPart::File { path, is_data: true, .. } => {
                matches!(part.obstacle(), Some(Obstacle::Changed(_))).then_some(path.as_path())
            }
            _ => None,
        });
        let mut changed: Vec<&Path> = secrets.chain(domains).collect();
        changed.sort_unstable();
        changed.dedup();
        changed
    }

    /// Finds what speaks against a reload for files with secrets or domains, if anything does.
    pub fn obstacle_beside_data(&self) -> Option<Obstacle> {
        let parts = self.parts.iter();
        let parts = parts.filter(|part| !matches!(part, ConfigPart::File { is_data: true, .. }));
        parts.into_iter().find_map(ConfigPart::obstacle)
    }

    /// Lists the variants whose files have changed since nginx has read them.
    pub fn changed(&self, state_path: &Path, now: SystemTime) -> Vec<String> {
        let names = self.names.iter().filter(|name| {
            // The link is made anew with each certificate. Its target may have been written long before.
            let link = fs::symlink_metadata(certificate_path(state_path, name));
            let changed = link.and_then(|link| link.modified());
            // A time to come is that of a clock that was wrong.
            changed.is_ok_and(|time| time + LAG > self.since && time <= now + LAG)
        });
        names.cloned().collect()
    }

    /// Finds what speaks against a reload, if anything does.
    pub fn obstacle(&self) -> Option<Obstacle> {
        self.parts.iter().find_map(ConfigPart::obstacle)
    }
}

struct Scan<'a> {
    watch: Watch,
    certificates: PathBuf,
    paths: Paths<'a>,
}

impl Scan<'_> {
    /// Reads a file that the configuration consists of.
    fn note(&mut self, path: &Path, is_data: bool) -> Option<Vec<u8>> {
        let content = fs::read(path).ok();
        let seen =
            content.as_ref().and_then(|text| Some((FileStamp::of(path).ok()?, sha256(text))));
        self.watch.parts.push(ConfigPart::File { path: path.to_owned(), seen, is_data });
        content
    }

    fn read(&mut self, path: &Path, depth: usize) {
        let Some(content) = self.note(path, false) else { return };
        for words in directives(&String::from_utf8_lossy(&content)) {
            let [name, args @ ..] = words.as_slice() else { continue };
            if name == "include" && depth < MAX_DEPTH {
                args.iter().for_each(|pattern| self.include(pattern, depth + 1));
            }
            if let ("acme_dns_domains", Some(file)) = (name.as_str(), args.first()) {
                let path = self.paths.prefix.join(file);
                match args.iter().any(|arg| arg == "watch") {
                    true => {
                        let size = file_size(&path);
                        self.watch.parts.push(ConfigPart::Watched { path, size });
                    }
                    false => {
                        self.note(&path, true);
                    }
                }
            }
            let is_of_tls = name.contains("ssl") || name.contains("certificate");
            for arg in args {
                if arg.contains('$') {
                    self.watch.by_variable |= self.is_below_certificates(arg);
                } else {
                    self.watch.names.extend(self.certificate(arg, is_of_tls));
                }
            }
        }
    }

    fn include(&mut self, pattern: &str, depth: usize) {
        let pattern = self.paths.prefix.join(pattern);
        if !pattern.to_string_lossy().contains(['*', '?', '[']) {
            return self.read(&pattern, depth);
        }
        let found = glob(&pattern);
        self.watch.parts.push(ConfigPart::Pattern { pattern, found: found.clone() });
        found.iter().for_each(|file| self.read(file, depth));
    }

    /// Tells whether a file whose name has a variable in it may lie below `certs/`.
    fn is_below_certificates(&self, arg: &str) -> bool {
        let fixed = arg.split('$').next().unwrap_or_default();
        let Some((fixed, _)) = fixed.rsplit_once('/') else { return false };
        let path = normalized(&self.paths.prefix.join(fixed));
        let is_below = |path: &Path, of: &Path| path.starts_with(of);
        is_below(&path, &self.certificates)
            || path.canonicalize().is_ok_and(|path| {
                self.certificates.canonicalize().is_ok_and(|of| is_below(&path, &of))
            })
    }

    /// Finds the certificate that a file belongs to.
    fn certificate(&self, arg: &str, follows_links: bool) -> Option<String> {
        // Most arguments are no paths, and with thousands of servers there are many.
        if !arg.contains('/') && !follows_links {
            return None;
        }
        let path = normalized(&self.paths.prefix.join(arg));
        if let Some(name) = name_below(&self.certificates, &path) {
            return Some(name);
        }
        let path = follows_links.then(|| path.canonicalize().ok()).flatten()?;
        name_below(&self.certificates.canonicalize().ok()?, &path)
    }
}

/// Gives the size of a file; `None` if it is none.
fn file_size(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|found| found.len())
}

fn glob(pattern: &Path) -> Vec<PathBuf> {
    glob::glob(&pattern.to_string_lossy()).into_iter().flatten().flatten().collect()
}

/// A path without `.`, `..` and repeated slashes.
fn normalized(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}

/// Finds the certificate that a file below their directory belongs to.
fn name_below(certificates: &Path, path: &Path) -> Option<String> {
    certificate_of(path.strip_prefix(certificates).ok()?).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{Obstacle, Paths, Watch};
    use acme_dns_core::config::{Config, Reload};
    use acme_dns_core::key::KeyType;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::time::{Duration, SystemTime};
    use tempfile::TempDir;

    /// A prefix with the state path `state` in it.
    fn prefix(text: &str) -> TempDir {
        let prefix = tempfile::tempdir().unwrap();
        fs::create_dir_all(prefix.path().join("state/certs/.versions/linked.test/1")).unwrap();
        let file = prefix.path().join("state/certs/.versions/linked.test/1/fullchain.pem");
        fs::write(file, "").unwrap();
        symlink(".versions/linked.test/1", prefix.path().join("state/certs/linked.test")).unwrap();
        write(&prefix, "nginx.conf", text);
        prefix
    }

    fn write(prefix: &TempDir, file: &str, text: &str) {
        let path = prefix.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.replace("PREFIX", &prefix.path().display().to_string())).unwrap();
    }

    fn scan_with(prefix: &Path, reload: Reload) -> Watch {
        let mut config = Config { reload, ..Config::with_state_path(prefix.join("state")) };
        for name in ["a.test", "b.test", "linked.test"] {
            config.add_certificate(name, &[], &[KeyType::default()]);
        }
        let main = prefix.join("nginx.conf");
        Watch::scan(&config, Paths { main: &main, prefix }, SystemTime::now())
    }

    fn scan(prefix: &TempDir) -> Watch {
        scan_with(prefix.path(), Reload::Auto)
    }

    #[test]
    fn what_names_a_file_of_a_certificate_reads_it() {
        let rows: [(&str, &[&str]); 11] = [
            ("ssl_certificate PREFIX/state/certs/a.test/fullchain.pem;", &["a.test"]),
            (
                "http { server { ssl_certificate_key state/certs/a.test/privkey.pem; } }",
                &["a.test"],
            ),
            ("proxy_ssl_trusted_certificate ./x/../state//certs/b.test/chain.pem;", &["b.test"]),
            ("mail{ssl_client_certificate 'state/certs/b.test/chain.pem';}", &["b.test"]),
            ("some_module file=1 PREFIX/state/certs/a.test/cert.pem;", &["a.test"]),
            ("ssl_certificate PREFIX/state/certs/.versions/a.test/3/cert.pem;", &["a.test"]),
            ("ssl_certificate PREFIX/link.pem;", &["linked.test"]),
            ("ssl_certificate state/certs/$host/fullchain.pem;", &[]),
            ("ssl_certificate state/certs/other.test/fullchain.pem;", &[]),
            ("acme_dns_state_path PREFIX/state;", &[]),
            ("# ssl_certificate state/certs/a.test/fullchain.pem;", &[]),
        ];
        for (text, expected) in rows {
            let prefix = prefix(text);
            symlink("state/certs/linked.test/fullchain.pem", prefix.path().join("link.pem"))
                .unwrap();
            let names: Vec<_> = scan(&prefix).names.into_iter().collect();
            assert_eq!(names, expected, "{text}");
        }
    }

    #[test]
    fn a_variable_below_the_certificates_is_noted() {
        let rows = [
            ("ssl_certificate PREFIX/state/certs/$ssl_server_name/fullchain.pem;", true),
            ("ssl_certificate_key state/certs/${host}/privkey.pem;", true),
            ("ssl_certificate state/certs/a.test/$file;", true),
            ("ssl_certificate linked/$host/fullchain.pem;", true),
            ("ssl_certificate state/certs/a.test/fullchain.pem;", false),
            ("ssl_certificate other/$host/fullchain.pem;", false),
            ("ssl_certificate data:$certificate;", false),
            ("proxy_pass http://$host/state/certs/a.test;", false),
            ("# ssl_certificate state/certs/$host/fullchain.pem;", false),
        ];
        for (text, expected) in rows {
            let prefix = prefix(text);
            symlink("state/certs", prefix.path().join("linked")).unwrap();
            for reload in [Reload::Auto, Reload::Off] {
                assert_eq!(scan_with(prefix.path(), reload).by_variable, expected, "{text}");
            }
        }
    }

    #[test]
    fn included_files_are_read_as_nginx_finds_them() {
        let prefix = prefix("http { include sites/*.conf; include PREFIX/more.conf; }");
        write(&prefix, "sites/a.conf", "ssl_certificate state/certs/a.test/fullchain.pem;");
        write(&prefix, "sites/b.other", "ssl_certificate state/certs/linked.test/fullchain.pem;");
        write(&prefix, "more.conf", "ssl_crl state/certs/b.test/crl.pem; include more.conf;");
        let names: Vec<_> = scan(&prefix).names.into_iter().collect();
        assert_eq!(names, ["a.test", "b.test"]);
    }

    #[test]
    fn the_directive_has_the_last_word() {
        let prefix = prefix("ssl_certificate state/certs/a.test/fullchain.pem;");
        assert_eq!(scan_with(prefix.path(), Reload::Off).names.len(), 0);
        assert_eq!(scan_with(prefix.path(), Reload::On).names.len(), 3);
    }

    #[test]
    fn only_a_configuration_that_nginx_has_accepted_is_loaded_again() {
        let prefix = prefix("include sites/*.conf; acme_dns_domains domains.txt key=rsa:2048;");
        write(&prefix, "domains.txt", "a.test");
        write(&prefix, "sites/a.conf", "a;");
        let watch = scan(&prefix);
        let changed = |path: &str| Some(Obstacle::Changed(prefix.path().join(path)));
        assert_eq!(watch.obstacle(), None);
        write(&prefix, "sites/b.conf", "b;");
        assert_eq!(watch.obstacle(), changed("sites/*.conf"), "a file more");
        fs::remove_file(prefix.path().join("sites/b.conf")).unwrap();
        assert_eq!(watch.obstacle(), None);
        write(&prefix, "sites/a.conf", "c;");
        assert_eq!(watch.obstacle(), changed("sites/a.conf"));
        // Written anew, the same: what a tool does that manages configurations.
        write(&prefix, "sites/new", "a;");
        fs::rename(prefix.path().join("sites/new"), prefix.path().join("sites/a.conf")).unwrap();
        assert_eq!(watch.obstacle(), None);
        write(&prefix, "domains.txt", "a.test www.a.test");
        assert_eq!(watch.obstacle(), changed("domains.txt"));
        write(&prefix, "domains.txt", "a.test");
        assert_eq!(watch.obstacle(), None);
        fs::remove_file(prefix.path().join("nginx.conf")).unwrap();
        assert_eq!(watch.obstacle(), changed("nginx.conf"));
    }

    #[test]
    fn a_watched_file_may_change_unless_most_of_it_is_gone() {
        let prefix = prefix("acme_dns_domains domains.txt key=rsa:2048 watch;");
        write(&prefix, "domains.txt", "a.test\nb.test\n");
        let watch = scan(&prefix);
        write(&prefix, "domains.txt", "a.test\nb.test\nc.test\n");
        assert_eq!((watch.obstacle(), watch.changed_data().len()), (None, 0));
        write(&prefix, "domains.txt", "");
        let path = prefix.path().join("domains.txt");
        assert_eq!(watch.obstacle(), Some(Obstacle::Changed(path)));
    }

    #[test]
    fn what_has_changed_since_the_configuration_was_read_is_told_by_its_link() {
        let prefix = prefix("ssl_certificate state/certs/linked.test/fullchain.pem;");
        let mut watch = scan(&prefix);
        let state = prefix.path().join("state");
        let (now, minute) = (SystemTime::now(), Duration::from_secs(60));
        watch.since = now - minute;
        assert_eq!(watch.changed(&state, now), ["linked.test"]);
        assert_eq!(watch.changed(&state, now - minute), [""; 0], "dated into the future");
        watch.since = now + minute;
        assert_eq!(watch.changed(&state, now), [""; 0], "nginx has read it since");
    }
}
