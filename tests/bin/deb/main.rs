//! `make deb`: a package of the module for every nginx that we support, and one of the program
//! `acme-dns-providers` for all of them. With `--test`, each of them is installed beside its nginx, obtains
//! a certificate, and is removed again. With `--kept`, the modules are those that `make matrix` has just built.
//!
//! Arguments choose among them: `vendored`, which stands for the nginx of nginx.org, or the name of a
//! Debian suite.

mod check;
mod chroot;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use servers::Testbed;
use servers::package::codename;
use servers::paths::{cache_dir, providers_program, workspace_dir};
use servers::process::{caught, run};
use testbed::nginx::build::{self, ALL, NginxBuild, VENDORED};

/// A package that has been built.
struct Package {
    /// As `dpkg` knows it.
    name: String,
    path: PathBuf,
    /// The suite that its nginx runs on.
    suite: String,
    /// True if it is for Debian's own nginx, not for that of nginx.org.
    is_debian: bool,
    build: NginxBuild,
}

fn main() -> ExitCode {
    let (options, mut chosen): (Vec<_>, Vec<_>) =
        env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let has = |option: &str| options.iter().any(|given| given == option);
    if chosen.is_empty() {
        chosen = ALL.map(str::to_owned).to_vec();
    }
    let mut packages = Vec::new();
    let mut failed = 0;
    for from in &chosen {
        println!("==> package for the nginx of {from}");
        match caught(|| package(from, has("--kept"))) {
            Ok(package) => {
                println!("    {}", package.path.display());
                packages.push(package);
            }
            Err(error) => {
                failed += 1;
                println!("    failed: {error}");
            }
        }
    }
    println!("==> package of acme-dns-providers");
    match caught(|| providers(has("--kept"))) {
        Ok(path) => {
            println!("    {}", path.display());
            if has("--test") && !packages.is_empty() {
                failed += test_all(&packages, &path);
            }
        }
        Err(error) => {
            failed += 1;
            println!("    failed: {error}");
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn package(from: &str, kept: bool) -> Result<Package, String> {
    let build = if kept { NginxBuild::kept(from)? } else { NginxBuild::of(from)? };
    // What is not Debian's is linked with the libraries of this machine.
    let own = codename().ok_or("/etc/os-release does not name the suite of this machine")?;
    let is_debian = from != VENDORED;
    let suite = if is_debian { from.to_owned() } else { own };
    let mut script = Command::new(workspace_dir().join("docker/deb/build"));
    script.arg(&build.module).arg(&build.version).arg(output_dir()).arg(&suite);
    if is_debian {
        script.arg(build::nginx_dev(&suite));
    }
    if !build::is_own(&suite) {
        script.arg(build::chroot(&suite).join("var/lib/dpkg"));
    }
    let path = PathBuf::from(run(&mut script)?.trim());
    let name = path.file_name().and_then(|name| name.to_str()?.split('_').next());
    let name = name.ok_or("docker/deb/build does not say what it has made")?.to_owned();
    Ok(Package { name, path, suite, is_debian, build })
}

/// Makes the package of the program for providers, which is built for it, or is that of the tests.
fn providers(kept: bool) -> Result<PathBuf, String> {
    let program = if kept { providers_program() } else { optimized_program()? };
    let mut script = Command::new(workspace_dir().join("docker/deb/providers"));
    Ok(PathBuf::from(run(script.arg(program).arg(output_dir()))?.trim()))
}

fn optimized_program() -> Result<PathBuf, String> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace_dir()).args(["build", "--locked", "--profile", "providers"]);
    run(cargo.args(["--package", "acme-dns-providers"]))?;
    Ok(cache_dir().with_file_name("providers").join("acme-dns-providers"))
}

/// `deb` in cargo's target directory.
fn output_dir() -> PathBuf {
    cache_dir().parent().unwrap_or(Path::new("target")).join("deb")
}

/// The number of those that fail.
fn test_all(packages: &[Package], providers: &Path) -> usize {
    let bed = Testbed::start();
    let mut failed = 0;
    for package in packages {
        println!("==> {} for nginx {}", package.name, package.build.version);
        let start = Instant::now();
        // One for another version of nginx, if there is one.
        let other = packages.iter().find(|other| other.build.version != package.build.version);
        match caught(|| check::check(&bed, package, other, providers)) {
            Ok(()) => println!("    ok after {:.1?}", start.elapsed()),
            Err(error) => {
                failed += 1;
                println!("    failed: {error}");
            }
        }
    }
    failed
}
