//! Programs of the configuration, which the service carries out, and directories that it writes files for other
//! software into: they are checked when all of nginx.conf has been read, and the workers' user is known.

use super::cycle::CoreSettings;
use super::identity::Identity;
use acme_dns_core::config::{Config, Export, Location, ProgramFile, Provider, ProviderKind};
use acme_dns_core::providers_protocol::PROGRAM;
use acme_dns_service::program::{User, check_directory, check_file};
use std::ffi::{CStr, OsStr, c_void};
use std::fs;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// File that is carried out, with the place of its block.
pub(super) struct PlacedProgram {
    pub(super) file: ProgramFile,
    pub(super) location: Location,
}

/// Block of a provider that needs the program `acme-dns-providers`.
pub(super) struct LibraryBlock {
    provider: String,
    kind: &'static str,
    location: Location,
}

impl LibraryBlock {
    /// Makes one of a provider that needs the program.
    pub(super) fn of(provider: &Provider, location: Location) -> Option<Self> {
        let ProviderKind::Library(settings) = &provider.kind else { return None };
        Some(Self { provider: provider.name.clone(), kind: settings.kind.name, location })
    }
}

/// Finds the program `acme-dns-providers`: the one that is named, or the one beside the module.
///
/// # Errors
/// It is not there, with the place of the block that needs it.
pub(super) fn find(named: Option<&str>, block: &LibraryBlock) -> Result<PlacedProgram, String> {
    let LibraryBlock { provider, kind, location } = block;
    let beside = || directory_of_module().map(|dir| dir.join(PROGRAM).display().to_string());
    let path = named.map(str::to_owned).or_else(beside);
    let path = path.ok_or("acme_dns: the directory of the module cannot be found")?;
    // What cannot be looked at is there, for all that is known.
    if !Path::new(&path).try_exists().unwrap_or(true) {
        return Err(format!(
            "provider \"{provider}\" of type \"{kind}\" needs the program {PROGRAM}, which is not at {path}; install \
             the package or name it with \"acme_dns_providers\" in {location}"
        ));
    }
    let file = ProgramFile { path, is_script: false };
    Ok(PlacedProgram { file, location: location.clone() })
}

/// Gives the directory of the file that this code was loaded from.
fn directory_of_module() -> Option<PathBuf> {
    let here: *const c_void = (find as fn(Option<&str>, &LibraryBlock) -> _) as *const c_void;
    let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: writes to `info`, if it knows the address.
    if unsafe { libc::dladdr(here, info.as_mut_ptr()) } == 0 {
        return None;
    }
    // SAFETY: all zero bits are valid, and so is what was written.
    let info = unsafe { info.assume_init() };
    if info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: a string of the dynamic linker's, which stays as long as this code.
    let file = unsafe { CStr::from_ptr(info.dli_fname) };
    let directory = Path::new(OsStr::from_bytes(file.to_bytes())).parent()?;
    fs::canonicalize(directory).ok()
}

/// Files for other software, with the place of their block.
pub(super) struct PlacedExport {
    pub(super) export: Export,
    pub(super) location: Location,
}

/// Checks that nobody but those who may write the configuration can write to programs.
///
/// # Errors
/// The first mistake, with its place.
pub(super) fn check(
    programs: &[PlacedProgram],
    settings: &CoreSettings<'_>,
    identity: &Identity,
) -> Result<(), String> {
    let workers = identity.workers.map(|ids| User { uid: ids.uid, name: &identity.workers_name });
    for PlacedProgram { file, location } in programs {
        if !settings.has_master() {
            // nginx fetches the status of every child of its process, whoever waits for it.
            return Err(format!(
                "\"{}\" cannot be run with \"master_process off\" in {location}",
                file.path
            ));
        }
        check_file(file, workers).map_err(|mistake| format!("{mistake} in {location}"))?;
    }
    Ok(())
}

/// Checks that what is exported is a certificate of the configuration, that its directory is there, apart from the
/// state path, and that neither everyone nor the workers can put other files into it.
///
/// # Errors
/// The first mistake, with its place.
pub(super) fn check_exports(
    exports: &[PlacedExport],
    config: &Config,
    identity: &Identity,
) -> Result<(), String> {
    // Without a user of its own the service can write only where the workers can.
    let is_separate = identity.user.map(|ids| ids.uid) != identity.workers.map(|ids| ids.uid);
    let workers = identity.workers.filter(|_| is_separate);
    let workers = workers.map(|ids| User { uid: ids.uid, name: &identity.workers_name });
    let is_known = |name: &str| config.variants.values().any(|variant| variant.name == name);
    for PlacedExport { export, location } in exports {
        let placed = |mistake: String| format!("{mistake} in {location}");
        export.check_certificate(is_known).map_err(placed)?;
        let path = &export.directory;
        if path.starts_with(&config.state_path) {
            let path = path.display();
            return Err(placed(format!(
                "\"{path}\" is in the state path, choose another directory"
            )));
        }
        check_directory(path, workers).map_err(placed)?;
    }
    Ok(())
}
