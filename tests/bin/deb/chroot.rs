//! A chroot in which packages are installed and removed.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use servers::paths::cache_dir;
use servers::process::run;
use tempfile::TempDir;
use testbed::nginx::build::{self, NginxBuild};

use crate::Package;

/// Paths that are no package's, or change with every command.
const IGNORED: [&str; 6] = ["dev", "proc", "run", "tmp", "var/cache", "var/lib/dpkg"];

/// The same in directories where other things matter. The last five are made with a user, which stays.
const IGNORED_FILES: [&str; 8] = [
    "var/lib/apt",
    "var/log",
    "etc/ld.so.cache",
    "etc/.pwd.lock",
    "etc/group-",
    "etc/gshadow-",
    "etc/passwd-",
    "etc/shadow-",
];

/// Gone when it is dropped.
pub(crate) struct Chroot {
    dir: TempDir,
}

impl Chroot {
    /// A copy of the suite's chroot, with the nginx that the package is for.
    pub(crate) fn new(package: &Package) -> Result<Self, String> {
        let dir = tempfile::Builder::new()
            .prefix("deb-")
            // The workers are nobody.
            .permissions(Permissions::from_mode(0o755))
            .tempdir_in(cache_dir())
            .map_err(|e| format!("no temporary directory: {e}"))?;
        let chroot = Self { dir };
        let original = build::chroot(&package.suite).join(".");
        run(Command::new("cp").arg("--archive").arg(original).arg(chroot.path()))?;
        // Its processes are those of this machine: no script may stop or signal an nginx.
        chroot.write("usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)?;
        if !package.is_debian {
            let debian = ["nginx", "nginx-common", "libnginx-mod-stream", "libnginx-mod-mail"];
            chroot.apt("purge", &debian)?;
            let stand_in = chroot.stand_in(&package.build)?;
            chroot.apt("install", &[&stand_in])?;
        }
        Ok(chroot)
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Runs a program in it.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        run(Command::new("chroot")
            .arg(self.path())
            .args(["env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"])
            .arg(program)
            .args(arguments))
    }

    /// `apt-get`, which needs no network for packages that are files.
    pub(crate) fn apt(&self, what: &str, packages: &[&str]) -> Result<String, String> {
        let options = ["--yes", "--quiet", "--no-install-recommends", what];
        self.run("apt-get", &[&options, packages].concat())
    }

    /// Copies a package into it; the path is for [`apt`](Self::apt).
    pub(crate) fn bring(&self, package: &Path) -> Result<String, String> {
        let name = package.file_name().and_then(|name| name.to_str()).unwrap_or("package.deb");
        let inside = format!("/tmp/{name}");
        fs::copy(package, self.inside(&inside))
            .map_err(|e| format!("cannot copy {}: {e}", package.display()))?;
        Ok(inside)
    }

    /// Returns the name that a path of it has outside.
    pub(crate) fn inside(&self, path: &str) -> PathBuf {
        self.path().join(path.trim_start_matches('/'))
    }

    pub(crate) fn write(&self, path: &str, text: &str, mode: u32) -> Result<(), String> {
        let path = self.inside(path);
        fs::write(&path, text)
            .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(mode)))
            .map_err(|e| format!("cannot write {}: {e}", path.display()))
    }

    /// All paths that packages have put there.
    pub(crate) fn files(&self) -> Result<BTreeSet<String>, String> {
        let list = run(Command::new("find").arg(self.path()).args(["-printf", "%P\n"]))?;
        let below =
            |path: &str, dirs: &[&str]| dirs.iter().any(|dir| Path::new(path).starts_with(dir));
        let kept =
            list.lines().filter(|path| !below(path, &IGNORED) && !below(path, &IGNORED_FILES));
        Ok(kept.map(str::to_owned).collect())
    }

    /// A package that stands for the one of nginx.org: its names, its layout, and what is built from
    /// the same source. Returns its path.
    fn stand_in(&self, build: &NginxBuild) -> Result<String, String> {
        let tree = self.inside("/tmp/nginx");
        let version = &build.version;
        let control = format!(
            "Package: nginx\nVersion: {version}-1~test\nArchitecture: {arch}\n\
             Maintainer: nobody <nobody@packages.invalid>\nDescription: stand-in\n\
             Provides: httpd, nginx-r{version}\nConflicts: nginx-common, nginx-core\n",
            arch = run(Command::new("dpkg").arg("--print-architecture"))?.trim(),
        );
        // nginx makes its directories for temporary files only where there is a server.
        let config = "pid /run/nginx.pid;\nevents {}\nhttp {\n    access_log off;\n    \
                      include /etc/nginx/conf.d/*.conf;\n    server { listen 127.0.0.1:80; }\n}\n";
        let made = ["DEBIAN", "usr/sbin", "usr/lib/nginx/modules", "etc/nginx/conf.d"]
            .iter()
            .try_for_each(|dir| fs::create_dir_all(tree.join(dir)))
            .and_then(|()| fs::write(tree.join("DEBIAN/control"), control))
            .and_then(|()| fs::write(tree.join("etc/nginx/nginx.conf"), config))
            .and_then(|()| symlink("/usr/lib/nginx/modules", tree.join("etc/nginx/modules")))
            .and_then(|()| fs::copy(&build.binary, tree.join("usr/sbin/nginx")));
        made.map_err(|e| format!("{}: {e}", tree.display()))?;
        let path = "/tmp/nginx.deb";
        run(Command::new("dpkg-deb")
            .args(["-Znone", "--root-owner-group", "--build"])
            .arg(&tree)
            .arg(self.inside(path)))?;
        Ok(path.to_owned())
    }
}
