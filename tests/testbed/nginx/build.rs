//! NGINX and the module built for it, in the versions that we support.
//!
//! A build is an nginx and the module for it. The version of the crate `nginx-src` comes from its
//! source; the others are Debian's: the module is built with the suite's package `nginx-dev`, and a
//! suite that is not the machine's own runs in a chroot, because its nginx wants newer libraries.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use servers::package;
use servers::paths::{cache_dir, cached, workspace_dir};
use servers::process::run;

/// Name of what cargo makes of the root package.
const MODULE: &str = "ngx_http_acme_dns_module";

/// An nginx and the module for it.
#[derive(Clone, Debug)]
pub struct NginxBuild {
    /// Such as `1.28.3`.
    pub version: String,
    /// The program, inside of `root` if there is one.
    pub binary: PathBuf,
    /// The module; always a path outside of `root`.
    pub module: PathBuf,
    /// nginx's own modules for streams and mail, inside of `root` if there is one; none where they
    /// are in the program.
    pub dynamic: Vec<PathBuf>,
    /// The Lua module, behind the one that it needs; only in a chroot, where its libraries are.
    pub lua: Vec<PathBuf>,
    /// The chroot that the program needs.
    pub root: Option<PathBuf>,
}

/// Sources of each nginx that we support, oldest first: 1.22, 1.26, 1.28 and 1.30.
pub const ALL: [&str; 4] = ["bookworm", "trixie", VENDORED, "sid"];

/// The one of [`ALL`] that is no suite of Debian.
pub const VENDORED: &str = "vendored";

impl NginxBuild {
    /// One of [`ALL`].
    ///
    /// # Errors
    /// As [`vendored`](Self::vendored) and [`debian`](Self::debian).
    pub fn of(from: &str) -> Result<Self, String> {
        if from == VENDORED { Self::vendored() } else { Self::debian(from) }
    }

    /// The build that the tests use: `NGINX_BINARY` and `ACME_DNS_MODULE` of the environment, or what
    /// [`kept`](Self::kept) has for `NGINX_FROM`, or else what [`vendored`](Self::vendored) builds.
    ///
    /// # Panics
    /// If it cannot be built.
    pub fn get() -> &'static Self {
        // A failure is kept as well: the next test would only run into it again.
        static BUILD: OnceLock<Result<NginxBuild, String>> = OnceLock::new();
        let build = BUILD.get_or_init(|| {
            let given = (std::env::var_os("NGINX_BINARY"), std::env::var_os("ACME_DNS_MODULE"));
            match given {
                (Some(binary), Some(module)) => Self::found(binary.into(), module.into(), None),
                _ => std::env::var("NGINX_FROM")
                    .map_or_else(|_| Self::vendored(), |from| Self::kept(&from)),
            }
        });
        build.as_ref().unwrap_or_else(|e| panic!("no nginx with the module: {e}"))
    }

    /// Builds the nginx that the crate `nginx-src` carries, and the module for it.
    ///
    /// # Errors
    /// Output of cargo, beyond what it has written to the terminal.
    pub fn vendored() -> Result<Self, String> {
        Self::from_crate("release")?.keep()
    }

    /// The same with the symbols that a debugger or valgrind shows.
    ///
    /// # Errors
    /// Output of cargo, beyond what it has written to the terminal.
    pub fn with_symbols() -> Result<Self, String> {
        Self::from_crate("memcheck")
    }

    /// Builds with a profile of the workspace.
    fn from_crate(profile: &str) -> Result<Self, String> {
        let mut cargo = cargo_build(profile);
        cargo.args(["--features", "vendored"]);
        let messages = messages(&mut cargo)?;
        let out_dir = messages
            .iter()
            .filter(|message| message["reason"] == "build-script-executed")
            .find(|message| message["package_id"].as_str().is_some_and(is_nginx_sys))
            .and_then(|message| message["out_dir"].as_str())
            .ok_or("cargo does not say where it has built nginx")?;
        let binary = Path::new(out_dir).join("objs/nginx");
        Self::found(binary, artifact(&messages)?, None)
    }

    /// Builds the module for the nginx of a Debian suite, and gets that nginx. `MATRIX_PROFILE` is another profile than
    /// that of a release.
    ///
    /// # Errors
    /// When a package cannot be had, or cargo fails.
    pub fn debian(suite: &str) -> Result<Self, String> {
        let source = debian_files(suite).join(SOURCE);
        let profile = std::env::var("MATRIX_PROFILE");
        let mut cargo = cargo_build(profile.as_deref().unwrap_or("release"));
        cargo.env("NGINX_SOURCE_DIR", &source).env("NGINX_BUILD_DIR", source.join("objs"));
        // The module's file has the same name for every nginx: in a directory of its own it does
        // not make cargo build the vendored one again. All suites share what they can there.
        cargo.arg("--target-dir").arg(cache_dir().join("matrix"));
        let module = artifact(&messages(&mut cargo)?)?;
        Self::of_suite(suite, module)?.keep()
    }

    /// Returns what [`of`](Self::of) has built last, as it is: cargo would compile it anew after every other
    /// one.
    ///
    /// # Errors
    /// If there is none.
    pub fn kept(from: &str) -> Result<Self, String> {
        if from == VENDORED {
            return Self::vendored();
        }
        let mut build = Self::of_suite(from, PathBuf::new())?;
        build.module = build.kept_module();
        let is_there = build.module.is_file();
        is_there.then_some(build).ok_or_else(|| format!("no module for {from} was built before"))
    }

    /// The nginx of a suite, and the module.
    fn of_suite(suite: &str, module: PathBuf) -> Result<Self, String> {
        let root = debian_files(suite).join("root");
        let (mut build, prefix) = if is_own(suite) {
            (Self::found(root.join("usr/sbin/nginx"), module, None)?, root)
        } else {
            (Self::found("/usr/sbin/nginx".into(), module, Some(root))?, PathBuf::from("/"))
        };
        let path = |name: &str| prefix.join(format!("usr/lib/nginx/modules/{name}_module.so"));
        build.dynamic = ["ngx_stream", "ngx_mail"].map(path).to_vec();
        if build.root.is_some() {
            build.lua = ["ndk_http", "ngx_http_lua"].map(path).to_vec();
        }
        Ok(build)
    }

    /// Returns whether this nginx is of that version or a later one.
    #[must_use]
    pub fn is_at_least(&self, major: u32, minor: u32) -> bool {
        let mut parts = self.version.split('.').map_while(|part| part.parse().ok());
        let version: (u32, u32) = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        version >= (major, minor)
    }

    /// Runs the program of this build, in its chroot.
    #[must_use]
    pub fn command(&self) -> Command {
        match &self.root {
            None => Command::new(&self.binary),
            Some(root) => {
                let mut command = Command::new("chroot");
                command.arg(root).arg(&self.binary);
                command
            }
        }
    }

    /// The directories with the headers that a module for this nginx is compiled with; `None` where
    /// only the program is there.
    #[must_use]
    pub fn headers(&self) -> Option<Vec<PathBuf>> {
        let objs = self.binary.parent()?;
        // Where the crate nginx-sys notes what it has built: the source in quotes, and its options.
        let built = fs::read_to_string(objs.join("last-build-info")).ok()?;
        let source = Path::new(built.strip_prefix('"')?.split_once('"')?.0).join("src");
        let parts = ["core", "event", "event/modules", "event/quic", "os/unix"];
        let http = ["http", "http/modules", "http/v2", "http/v3"];
        let parts = parts.iter().chain(&http);
        let mut headers: Vec<PathBuf> = parts.map(|part| source.join(part)).collect();
        headers.push(objs.to_owned());
        Some(headers)
    }

    fn found(binary: PathBuf, module: PathBuf, root: Option<PathBuf>) -> Result<Self, String> {
        let (version, dynamic, lua) = (String::new(), Vec::new(), Vec::new());
        let mut build = Self { version, binary, module, dynamic, lua, root };
        let output = build
            .command()
            .arg("-v")
            .output()
            .map_err(|e| format!("cannot run {}: {e}", build.binary.display()))?;
        // Such as "nginx version: nginx/1.26.3 (Debian)", on stderr.
        let text = String::from_utf8_lossy(&output.stderr);
        build.version = text
            .split_once("nginx/")
            .and_then(|(_, rest)| rest.split_whitespace().next())
            .ok_or_else(|| format!("{} -v says: {text}", build.binary.display()))?
            .to_owned();
        Ok(build)
    }

    /// Keeps the module where no other build writes. By a rename: an nginx that runs with the file
    /// of before must not see it change.
    fn keep(mut self) -> Result<Self, String> {
        let kept = self.kept_module();
        let new = kept.with_extension(process::id().to_string());
        fs::create_dir_all(kept.parent().unwrap_or(&kept))
            .and_then(|()| fs::copy(&self.module, &new))
            .and_then(|_| fs::rename(&new, &kept))
            .map_err(|e| format!("{}: {e}", kept.display()))?;
        self.module = kept;
        Ok(self)
    }

    fn kept_module(&self) -> PathBuf {
        cache_dir().join("modules").join(&self.version).join(format!("{MODULE}.so"))
    }
}

/// nginx, with its modules for streams and mail.
const PACKAGES: [&str; 3] = ["nginx", "libnginx-mod-stream", "libnginx-mod-mail"];

/// Directory of the sources in the package `nginx-dev`, below the directory it is unpacked in.
const SOURCE: &str = "dev/usr/share/nginx/src";

/// Gets the sources of a suite's nginx, configures them as the suite does, and gets its program.
/// Both come at the same time, so that they are of the same version.
fn prepare(dir: &Path, suite: &str) -> Result<(), String> {
    package::unpack(&dir.join("dev"), suite, "nginx-dev")?;
    // Debian's compiler options are for its own compiler: only -fPIC matters here. A relative
    // build directory survives the renaming of `dir`.
    let configure = ". ./conf_flags; \
        ./configure \"${NGX_CONF_FLAGS[@]}\" --with-cc-opt='-g -O2 -fPIC' --with-ld-opt= --builddir=objs";
    run(Command::new("bash").args(["-ec", configure]).current_dir(dir.join(SOURCE)))?;

    let root = dir.join("root");
    if is_own(suite) {
        return PACKAGES.iter().try_for_each(|package| package::unpack(&root, suite, package));
    }
    bootstrap(&root, suite)
}

/// A third party's module that has its own ideas of TLS contexts.
const LUA: &str = "libnginx-mod-http-lua";

/// Makes a chroot of the suite with its nginx.
fn bootstrap(root: &Path, suite: &str) -> Result<(), String> {
    let source = package::debian_source().ok_or("the machine has no apt source of Debian")?;
    let line = format!("deb [signed-by={}] {} {suite} main", source.keyring, source.mirror);
    run(Command::new("mmdebstrap")
        .args(["--mode=root", "--variant=minbase", "--quiet"])
        // The last one is what our packages need.
        .arg(format!("--include={},{LUA},adduser", PACKAGES.join(",")))
        .arg("--aptopt=APT::Sandbox::User \"root\"")
        // Some mirrors are snapshots.
        .arg("--aptopt=Acquire::Check-Valid-Until \"false\"")
        .args([suite, &root.display().to_string(), &line]))
    .map(|_| ())
}

/// Returns the directory that [`prepare`] has made.
fn debian_files(suite: &str) -> PathBuf {
    cached(&format!("nginx-complete-{suite}"), |dir| prepare(dir, suite))
}

/// The unpacked package `nginx-dev` of a suite.
#[must_use]
pub fn nginx_dev(suite: &str) -> PathBuf {
    debian_files(suite).join("dev")
}

/// A chroot of a suite, its nginx installed, with modules for streams, mail and Lua. It is not to be
/// changed.
#[must_use]
pub fn chroot(suite: &str) -> PathBuf {
    if is_own(suite) {
        // Nothing else needs one.
        cached(&format!("nginx-chroot-complete-{suite}"), |dir| bootstrap(&dir.join("root"), suite))
    } else {
        debian_files(suite)
    }
    .join("root")
}

/// Returns whether it is the suite of this machine.
#[must_use]
pub fn is_own(suite: &str) -> bool {
    package::codename().is_some_and(|own| own == suite)
}

/// `cargo build` with a profile, as it is when it is typed: the variables that cargo gives to the programs
/// it runs would make it build nginx anew.
fn cargo_build(profile: &str) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--profile", profile, "--message-format=json-render-diagnostics"]);
    cargo.current_dir(workspace_dir());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let of_package =
            ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_", "CARGO_PRIMARY_", "NGINX_"]
                .iter()
                .any(|prefix| text.starts_with(prefix));
        if of_package || text == "OUT_DIR" || text == "CARGO_TARGET_TMPDIR" {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// Runs cargo, whose progress goes to the terminal, and returns the messages it writes.
fn messages(cargo: &mut Command) -> Result<Vec<Value>, String> {
    let output = cargo
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| format!("cannot run cargo: {e}"))?;
    if !output.status.success() {
        return Err(format!("cargo build: {}", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

fn artifact(messages: &[Value]) -> Result<PathBuf, String> {
    messages
        .iter()
        .filter(|message| message["reason"] == "compiler-artifact")
        .find(|message| message["target"]["name"] == MODULE)
        .and_then(|message| message["filenames"][0].as_str())
        .map(PathBuf::from)
        .ok_or_else(|| format!("cargo has built no {MODULE}"))
}

/// A package id is `registry+URL#nginx-sys@0.5.0`.
fn is_nginx_sys(package_id: &str) -> bool {
    package_id.rsplit('#').next().is_some_and(|name| name.starts_with("nginx-sys@"))
}
