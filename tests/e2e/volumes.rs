//! A state path that belongs to somebody else, as volumes of containers do.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use servers::acme_proxy::AcmeStep;

use crate::site::{LIMIT, Site, below};

const NAME: &str = "example.test";

/// A volume: who has made it, and as whom nginx works in it.
struct Volume {
    row: &'static str,
    /// Owner, group and mode of the directory.
    directory: (u32, u32, u32),
    /// User, group and further group of nginx, its master too.
    user: (u32, u32, u32),
    /// The platform's work on the files before each start.
    before_start: fn(&Path),
}

const VOLUMES: [Volume; 5] = [
    Volume {
        row: "fsGroup of Kubernetes",
        directory: (0, 2000, 0o2775),
        user: (1000, 3000, 2000),
        before_start: |path| share(path, 2000),
    },
    Volume {
        row: "fsGroup, and another user at each start",
        directory: (0, 2000, 0o2775),
        user: (1000, 3000, 2000),
        before_start: |path| {
            share(path, 2000);
            // All that the user before has made is of another one.
            below(path).iter().skip(1).for_each(|path| give(path, Some(1234), None));
        },
    },
    Volume {
        row: "bind mount that all may write to",
        directory: (1001, 1001, 0o777),
        user: (101, 101, 101),
        before_start: |_| (),
    },
    Volume {
        row: "arbitrary user of OpenShift, in group 0",
        directory: (0, 0, 0o775),
        user: (1_000_620_000, 0, 0),
        before_start: |_| (),
    },
    Volume {
        row: "files that an init container has given to root",
        directory: (0, 2000, 0o2775),
        user: (1000, 3000, 2000),
        before_start: |path| {
            below(path).iter().for_each(|path| give(path, Some(0), Some(2000)));
            share(path, 2000);
        },
    },
];

fn give(path: &Path, user: Option<u32>, group: Option<u32>) {
    std::os::unix::fs::lchown(path, user, group).expect("root may do that");
}

/// Does what Kubernetes does to a volume with `fsGroup` when it mounts it.
fn share(path: &Path, group: u32) {
    for path in below(path) {
        let metadata = path.symlink_metadata().expect("it is there");
        give(&path, None, Some(group));
        if !metadata.is_symlink() {
            let more = if metadata.is_dir() { 0o2770 } else { 0o660 };
            let mode = metadata.permissions().mode() | more;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
        }
    }
}

/// A site whose nginx has this user, and whose state path is this directory.
fn site(volume: &Volume) -> Site {
    let mut site = Site::new();
    site.run_as(volume.user);
    let (owner, group, mode) = volume.directory;
    fs::create_dir(site.state()).expect("it can be made");
    chown(site.state(), Some(owner), Some(group)).expect("root may do that");
    fs::set_permissions(site.state(), fs::Permissions::from_mode(mode)).expect("a mode");
    site.set_servers(&[NAME]);
    site
}

fn count(site: &Site, step: AcmeStep) -> usize {
    site.proxy.traffic.count(&step.requests())
}

#[test]
fn a_state_path_of_somebody_else_costs_one_order() {
    for volume in &VOLUMES {
        let mut site = site(volume);
        site.start_nginx();
        let leaf = site.wait_for_certificate(NAME).leaf;
        site.wait_until_clean();
        for start in 0..6 {
            let mark = site.nginx.log_mark();
            let is_restart = start < 5;
            if is_restart {
                site.nginx.quit();
                (volume.before_start)(&site.state());
                site.nginx.start();
            } else {
                site.reload();
            }
            assert_eq!(site.served(NAME), leaf, "{}: at once", volume.row);
            let text = "certificate \"example.test\" from \"";
            if is_restart {
                let line = site.nginx.wait_for_log_from(mark, text, LIMIT);
                assert!(line.contains("valid until") && line.contains(", renewal at "), "{line}");
            }
            for level in ["error", "warn"] {
                assert_eq!(site.lines(level, mark), [""; 0], "{} {start}", volume.row);
            }
        }
        let counts = (count(&site, AcmeStep::NewOrder), count(&site, AcmeStep::NewAccount));
        assert_eq!(counts, (1, 1), "{}\n{}", volume.row, site.nginx.log());
    }
}

/// The one line that says that a file cannot be read.
fn wait_for_unreadable(site: &Site, mark: u64, owner: &str) {
    let text = "certificate \"example.test\" on disk cannot be read, no replacement is ordered";
    let line = site.nginx.wait_for_log_from(mark, text, LIMIT);
    assert!(line.contains("[error]") && line.contains("chown -R 1000"), "{line}");
    assert!(line.contains(&format!("belongs to user {owner}, ")), "{line}");
}

#[test]
fn a_certificate_that_may_not_be_read_is_not_ordered_and_served_once_it_can_be() {
    let mut site = site(&VOLUMES[0]);
    site.start_nginx();
    let leaf = site.wait_for_certificate(NAME).leaf;
    site.wait_until_clean();
    let key = site.state().join("certs").join(NAME).join("privkey.pem");
    let key = key.canonicalize().expect("it is there");
    site.nginx.quit();
    // Without the group that Kubernetes gives; and what nobody may read.
    for (owner, mode) in [(0, 0o600), (1000, 0o000)] {
        give(&key, Some(owner), Some(0));
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).expect("a mode");
        for _ in 0..2 {
            let mark = site.nginx.log_mark();
            site.nginx.start();
            wait_for_unreadable(&site, mark, &owner.to_string());
            assert!(site.serves_fallback(NAME));
            site.nginx.quit();
        }
    }
    let mark = site.nginx.log_mark();
    site.nginx.start();
    wait_for_unreadable(&site, mark, "1000");
    give(&key, Some(1000), None);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("a mode");
    assert_eq!(site.wait_for_certificate(NAME).leaf, leaf, "without a reload");
    site.nginx.wait_for_log("can be read again and is served, valid until", LIMIT);
    assert_eq!((count(&site, AcmeStep::NewOrder), count(&site, AcmeStep::NewAccount)), (1, 1));
}
