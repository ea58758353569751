//! Directories of what the testbed downloads and locks.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The cache of the testbed, `testbed` in cargo's target directory.
#[must_use]
pub fn cache_dir() -> PathBuf {
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        // A relative one is relative to where cargo was started, which is the workspace here.
        Some(dir) => workspace_dir().join(dir),
        None => workspace_dir().join("target"),
    };
    let dir = target.join("testbed");
    fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("cannot create {}: {e}", dir.display()));
    dir
}

/// Debian's libfaketime, for programs with threads.
pub const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// The root of the workspace.
#[must_use]
pub fn workspace_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .map_or_else(PathBuf::new, Path::to_path_buf)
}

/// The program `acme-dns-providers`, which `make test` has built: compiled as the tests are.
///
/// # Panics
/// If it is not there.
#[must_use]
pub fn providers_program() -> PathBuf {
    let path = cache_dir().with_file_name("debug").join("acme-dns-providers");
    assert!(path.exists(), "{}: run make compiled-tests", path.display());
    path
}

/// Makes `cache_dir()/name` once, however many test processes ask for it at the same time.
///
/// `make` fills the directory that it is given; it takes its final name only when it is complete.
pub fn cached(name: &str, make: impl FnOnce(&Path) -> Result<(), String>) -> PathBuf {
    let cache = cache_dir();
    let done = cache.join(name);
    if done.exists() {
        return done;
    }
    let _lock = lock(&cache.join(format!("{name}.lock")));
    if done.exists() {
        return done;
    }
    let partial = cache.join(format!("{name}.partial"));
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial)
        .unwrap_or_else(|e| panic!("cannot create {}: {e}", partial.display()));
    make(&partial).unwrap_or_else(|e| panic!("cannot prepare {name}: {e}"));
    fs::rename(&partial, &done)
        .unwrap_or_else(|e| panic!("cannot rename {} : {e}", partial.display()));
    done
}

/// An exclusive lock on a file, held until the file is dropped.
pub(crate) fn lock(path: &Path) -> File {
    let file = open_lock(path);
    file.lock().unwrap_or_else(|e| panic!("cannot lock {}: {e}", path.display()));
    file
}

/// Like [`lock`], but does not wait; `None` if another process has it.
pub(crate) fn try_lock(path: &Path) -> Option<File> {
    let file = open_lock(path);
    file.try_lock().ok().map(|()| file)
}

fn open_lock(path: &Path) -> File {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .unwrap_or_else(|e| panic!("cannot open {}: {e}", path.display()))
}
