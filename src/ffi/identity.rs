//! The user that the service takes (`acme_dns_user`), as the configuration and the system have it. How a process
//! takes it is in `privileges`.

use super::cycle::CoreSettings;
use super::nginx::is_root;
use super::privileges::Ids;
use acme_dns_core::config::Location;
use acme_dns_service::event::NginxEvent;
use acme_dns_service::store::Trust;
use std::ffi::{CStr, CString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// User of the service where none is configured, if the system has one of this name.
const DEFAULT_USER: &str = "acme_dns";

/// Largest number of a user's groups that are looked at.
const MAX_GROUPS: usize = 256;

/// User, groups and directory of the service.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    /// Its user; `None`: that of the manager.
    pub(super) user: Option<Ids>,
    /// User of the workers, where the master is root.
    pub(super) workers: Option<Ids>,
    /// The name of its user, for people.
    pub(super) name: String,
    /// The name of the workers' user.
    pub(super) workers_name: String,
    /// The groups that it has besides that of its user.
    pub(super) groups: Vec<u32>,
    pub(super) state_path: PathBuf,
    /// Set if files of another user lie in the state path.
    pub(super) has_foreign_files: bool,
    /// Event to tell of what protects less than it could.
    pub(super) missing: Option<NginxEvent>,
}

impl Identity {
    /// Finds the owner of the state path, if it is one of those whom the master trusts.
    pub(super) fn owner_of_files(&self) -> Option<Ids> {
        let metadata = fs::metadata(&self.state_path).ok()?;
        let (uid, gid) = (metadata.uid(), metadata.gid());
        let known = [self.user, self.workers].into_iter().flatten();
        known.map(|ids| ids.uid).find(|known| *known == uid).map(|uid| Ids { uid, gid })
    }

    /// Names the user of the workers, if they can read what the service can: it is its user too.
    pub(super) fn shared_user(&self) -> Option<String> {
        match (self.user, self.workers) {
            (Some(user), Some(workers)) if user.uid != workers.uid => None,
            (_, Some(_)) => Some(self.workers_name.clone()),
            // There is one user for everything.
            (_, None) => Some(own_name()),
        }
    }

    /// Gives the owners whose files the master may read in the state path.
    pub(super) fn trust(&self) -> Trust {
        match is_root() {
            true => Trust::Owners(
                [self.user, self.workers].into_iter().flatten().map(|i| i.uid).collect(),
            ),
            false => Trust::Everyone,
        }
    }
}

/// User of the system.
#[derive(Clone, Debug)]
pub(super) struct NamedUser {
    pub(super) name: String,
    pub(super) ids: Ids,
    pub(super) location: Location,
}

impl NamedUser {
    /// Finds a user, and the group that it is to have if not its own.
    pub(super) fn find(
        name: &str,
        group: Option<&str>,
        location: Location,
    ) -> Result<Self, String> {
        let mut ids = user(name).ok_or_else(|| format!("unknown user \"{name}\""))?;
        if let Some(group) = group {
            ids.gid = find_group(group)?;
        }
        if ids.uid == 0 {
            return Err(format!("user \"{name}\" is root: the service must not run as root"));
        }
        Ok(Self { name: name.to_owned(), ids, location })
    }
}

/// Finds the number of a group.
pub(super) fn find_group(name: &str) -> Result<u32, String> {
    let unknown = || format!("unknown group \"{name}\"");
    let text = CString::new(name).map_err(|_| unknown())?;
    // SAFETY: the name ends in NUL; nginx has one thread while it reads its configuration.
    let entry = unsafe { libc::getgrnam(text.as_ptr()) };
    // SAFETY: null, or an entry that is good until the next call.
    unsafe { entry.as_ref() }.map(|entry| entry.gr_gid).ok_or_else(unknown)
}

fn user(name: &str) -> Option<Ids> {
    let name = CString::new(name).ok()?;
    // SAFETY: the name ends in NUL; nginx has one thread while it reads its configuration.
    let entry = unsafe { libc::getpwnam(name.as_ptr()) };
    // SAFETY: null, or an entry that is good until the next call.
    unsafe { entry.as_ref() }.map(|entry| Ids { uid: entry.pw_uid, gid: entry.pw_gid })
}

/// Gives the name of this process's user; its number if it has none.
fn own_name() -> String {
    // SAFETY: a plain system call.
    let uid = unsafe { libc::geteuid() };
    // SAFETY: nginx has one thread while it reads its configuration.
    let entry = unsafe { libc::getpwuid(uid) };
    // SAFETY: null, or an entry that is good until the next call.
    let name = unsafe { entry.as_ref() }.map(|entry| entry.pw_name);
    // SAFETY: the entry has a name that ends in NUL.
    let name = name.map(|name| unsafe { CStr::from_ptr(name) });
    name.map_or_else(|| uid.to_string(), |name| name.to_string_lossy().into_owned())
}

/// Finds the groups of a user.
pub(super) fn groups_of(name: &str, gid: u32) -> Vec<u32> {
    let Ok(name) = CString::new(name) else { return Vec::new() };
    let mut groups = vec![0; MAX_GROUPS];
    let mut count = i32::try_from(groups.len()).unwrap_or_default();
    // SAFETY: there is room for that many numbers; the name ends in NUL.
    unsafe { libc::getgrouplist(CStr::as_ptr(&name), gid, groups.as_mut_ptr(), &raw mut count) };
    groups.truncate(usize::try_from(count).unwrap_or_default());
    groups
}

/// Decides which user the service takes.
///
/// # Errors
/// The configured user cannot be taken.
pub(super) fn decide(
    given: Option<&NamedUser>,
    settings: &CoreSettings<'_>,
    certs_group: Option<u32>,
    state_path: &Path,
    warn: impl Fn(&str),
) -> Result<Identity, String> {
    let mut identity = Identity {
        user: None,
        workers: None,
        name: String::new(),
        workers_name: String::new(),
        groups: Vec::new(),
        state_path: state_path.to_owned(),
        has_foreign_files: false,
        missing: None,
    };
    if !is_root() {
        if let Some(NamedUser { location, .. }) = given {
            warn(&format!(
                "the \"acme_dns_user\" directive makes sense only if the master process runs with \
                 super-user privileges, ignored in {location}"
            ));
        }
        return Ok(identity);
    }
    let workers = Ids { uid: settings.user(), gid: settings.group() };
    if workers.uid == 0 {
        warn(
            "acme_dns: workers run as root: nothing separates them from DNS credentials and account \
             keys, set \"user\" to an unprivileged user",
        );
        return Ok(identity);
    }
    identity.workers_name = settings.user_name();
    identity.workers = Some(workers);
    let found = given.map(|given| (given.name.clone(), given.ids)).or_else(|| {
        let ids = user(DEFAULT_USER).filter(|ids| ids.uid != 0)?;
        Some((DEFAULT_USER.to_owned(), ids))
    });
    let (name, ids) = found.unwrap_or_else(|| (identity.workers_name.clone(), workers));
    if ids.uid == workers.uid {
        let event = NginxEvent::Unseparated { user: name.clone(), default: DEFAULT_USER };
        identity.missing = Some(event);
    }
    identity.groups = groups_of(&name, ids.gid);
    // What workers may read of nginx's configuration is compared before a reload.
    identity.groups.extend([workers.gid].into_iter().chain(certs_group));
    identity.groups.sort_unstable();
    identity.groups.dedup();
    (identity.user, identity.name) = (Some(ids), name);
    Ok(identity)
}
