//! The state path where none is configured.

use std::path::{Path, PathBuf};

/// Its name below the prefix.
const NAME: &str = "acme_dns";

/// Its place where the prefix is a distribution's: the prefix is for files that do not change (Filesystem
/// Hierarchy Standard 3.0, sections 3.7 and 4.1), state belongs here (5.8).
const OF_PACKAGES: &str = "/var/lib/acme_dns";

/// The state path where none is configured.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DefaultPath {
    /// The path.
    pub path: PathBuf,
    /// Set if a directory stays in use that is below a distribution's prefix, as the default of earlier
    /// versions was.
    pub is_old: bool,
}

impl DefaultPath {
    /// Finds it for a prefix of nginx; `is_there` tells whether there is something at a path.
    #[must_use]
    pub fn new(prefix: &Path, is_there: impl Fn(&Path) -> bool) -> Self {
        let below = prefix.join(NAME);
        let is_of = |directory: &str| prefix.starts_with(directory);
        let is_packaged = is_of("/etc") || is_of("/usr") && !is_of("/usr/local");
        // An empty one may be a volume.
        match (is_packaged, is_packaged && is_there(&below)) {
            (true, false) => Self { path: OF_PACKAGES.into(), is_old: false },
            (_, is_old) => Self { path: below, is_old },
        }
    }

    /// The place to which a directory may be moved that is still in use.
    #[must_use]
    pub fn of_packages() -> &'static str {
        OF_PACKAGES
    }
}

#[cfg(test)]
mod tests {
    use super::DefaultPath;
    use std::path::Path;

    #[test]
    fn packages_have_their_state_under_var_lib_unless_it_is_elsewhere_already() {
        for (prefix, is_there, path, is_old) in [
            ("/usr/share/nginx", false, "/var/lib/acme_dns", false),
            ("/usr/share/nginx", true, "/usr/share/nginx/acme_dns", true),
            ("/usr/share/nginx/", false, "/var/lib/acme_dns", false),
            ("/etc/nginx", false, "/var/lib/acme_dns", false),
            ("/etc/nginx/", true, "/etc/nginx/acme_dns", true),
            ("/usr/local/nginx", false, "/usr/local/nginx/acme_dns", false),
            ("/usr/local/nginx", true, "/usr/local/nginx/acme_dns", false),
            ("/opt/nginx", true, "/opt/nginx/acme_dns", false),
            ("/home/me/nginx", false, "/home/me/nginx/acme_dns", false),
            ("/usrlocal", false, "/usrlocal/acme_dns", false),
        ] {
            let found = DefaultPath::new(Path::new(prefix), |looked| {
                assert_eq!(looked, Path::new(prefix).join("acme_dns"));
                is_there
            });
            assert_eq!(found, DefaultPath { path: path.into(), is_old }, "{prefix} {is_there}");
        }
    }
}
