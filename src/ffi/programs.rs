//! Programs of the configuration, which the service carries out: they are checked when all of nginx.conf has been
//! read, and the workers' user is known.

use super::cycle::CoreSettings;
use super::identity::Identity;
use acme_dns_core::config::{Location, ProgramFile};
use acme_dns_service::program::{User, check_file};

/// File that is carried out, with the place of its block.
pub(super) struct PlacedProgram {
    pub(super) file: ProgramFile,
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
