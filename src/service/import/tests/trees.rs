//! Trees with links, strange files and other owners.

use super::{
    ONE_KEY, REAL, REAL_CA, config, dehydrated, give, make, search, search_in, tree, write,
};
use crate::import::{account_files, open_account_key};
use acme_dns_core::config::ImportFormat;
use acme_dns_core::level::Level;
use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::Path;

#[test]
fn strange_trees_are_told_once_and_stop_nobody() {
    let junk = tree(&[("certificates/a.crt", &make(&["a.test"], 30).chain)]);
    write(junk.path(), &[("certificates/a.json", "{junk"), ("certificates/a.key", "x")]);
    let (found, told) = search_in(ImportFormat::Lego, junk.path());
    assert!(found.is_empty() && told.len() == 1, "{told:?}");
    assert!(told[0].1.contains("a.json\" does not say which CA it is from"), "{told:?}");

    let empty = tree(&[]);
    let (_, told) = search_in(ImportFormat::Certbot, empty.path());
    let text = format!("\"{}\" holds no certificates of certbot", empty.path().display());
    assert_eq!(
        told,
        [(Level::Warn, format!("certificates of another client cannot be imported: {text}"))]
    );

    let file = tree(&[("live", "a file")]);
    let (_, told) = search_in(ImportFormat::Certbot, file.path());
    assert!(told[0].1.contains("/live\" failed (20: Not a directory)"), "{told:?}");

    let (found, told) = search_in(ImportFormat::Uacme, &empty.path().join("missing"));
    assert!(found.is_empty() && told.is_empty(), "nginx -t has warned: {told:?}");
}

#[test]
fn links_lead_to_what_was_issued_last() {
    let made = make(&["a.test"], 30);
    let dir = tree(&[
        ("archive/a/fullchain2.pem", &made.chain),
        ("archive/a/privkey2.pem", &made.key),
        ("live/README", ""),
    ]);
    fs::create_dir(dir.path().join("live/a")).unwrap();
    for file in ["fullchain", "privkey"] {
        let link = dir.path().join(format!("live/a/{file}.pem"));
        symlink(format!("../../archive/a/{file}2.pem"), link).unwrap();
    }
    let (found, told) = search_in(ImportFormat::Certbot, dir.path());
    assert_eq!((found.len(), told), (1, vec![]));
    let trees = [(ImportFormat::Certbot, dir.path())];
    let (found, told) = search(&config(&trees, &["b.test"], &ONE_KEY));
    assert_eq!((found.len(), told), (0, vec![]), "a file that is no certificate is none");
}

type Change = fn(&Path, &Path);
/// Changes to a tree of certbot, given it and another directory, and what is said then; empty if it is
/// imported all the same.
const CHANGES: [(&str, Change, &str); 9] = [
    ("as certbot leaves it", |_, _| {}, ""),
    (
        "an absolute link within",
        |tree, _| {
            fs::remove_file(tree.join("live/a/privkey.pem")).unwrap();
            symlink(tree.join("archive/a/privkey2.pem"), tree.join("live/a/privkey.pem")).unwrap();
        },
        "",
    ),
    (
        "a directory by a link",
        |tree, _| {
            fs::rename(tree.join("live"), tree.join("real")).unwrap();
            symlink("archive/../real", tree.join("live")).unwrap();
        },
        "",
    ),
    (
        "an absolute link out of it",
        |tree, out| {
            fs::remove_file(tree.join("archive/a/privkey2.pem")).unwrap();
            symlink(out.join("privkey2.pem"), tree.join("archive/a/privkey2.pem")).unwrap();
        },
        "it leads out of",
    ),
    (
        "a relative link out of it",
        |tree, out| {
            fs::remove_file(tree.join("live/a/privkey.pem")).unwrap();
            let name = out.file_name().unwrap();
            let target = Path::new("../../..").join(name).join("privkey2.pem");
            symlink(target, tree.join("live/a/privkey.pem")).unwrap();
        },
        "it leads out of",
    ),
    (
        "a directory out of it",
        |tree, out| {
            fs::remove_dir_all(tree.join("archive/a")).unwrap();
            symlink(out, tree.join("archive/a")).unwrap();
        },
        "it leads out of",
    ),
    (
        "a circle",
        |tree, _| {
            fs::remove_file(tree.join("live/a/privkey.pem")).unwrap();
            symlink("privkey.pem", tree.join("live/a/privkey.pem")).unwrap();
        },
        "Too many levels of symbolic links",
    ),
    (
        "a hard link",
        |tree, out| {
            fs::remove_file(tree.join("archive/a/privkey2.pem")).unwrap();
            let key = tree.join("archive/a/privkey2.pem");
            fs::hard_link(out.join("privkey2.pem"), key).unwrap();
        },
        "a hard link",
    ),
    (
        "a file of a third user",
        |tree, _| {
            chown(tree.join("archive/a/privkey2.pem"), Some(1), Some(1)).unwrap();
        },
        "belongs neither to root nor to the owner",
    ),
];

#[test]
fn a_tree_of_another_user_leads_nowhere_else() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let made = make(&["a.test"], 30);
    for (row, change, expected) in CHANGES {
        let files =
            [("archive/a/fullchain2.pem", &*made.chain), ("archive/a/privkey2.pem", &made.key)];
        let (dir, out) = (tree(&files), tree(&[("privkey2.pem", &made.key)]));
        write(out.path(), &[("fullchain2.pem", &made.chain)]);
        fs::create_dir_all(dir.path().join("live/a")).unwrap();
        for file in ["fullchain", "privkey"] {
            let link = dir.path().join(format!("live/a/{file}.pem"));
            symlink(format!("../../archive/a/{file}2.pem"), link).unwrap();
        }
        give(dir.path());
        change(dir.path(), out.path());
        let (found, told) = search_in(ImportFormat::Certbot, dir.path());
        assert_eq!(found.len(), usize::from(expected.is_empty()), "{row}: {told:?}");
        assert!(
            told.iter().any(|(_, line)| line.contains(expected)) || expected.is_empty(),
            "{row}: {told:?}"
        );
        // Where the tree is root's, root has made its links.
        if expected.contains("leads out") {
            chown(dir.path(), Some(0), Some(0)).unwrap();
            for file in ["archive/a/fullchain2.pem", "archive/a/privkey2.pem"] {
                chown(dir.path().join(file), Some(0), Some(0)).unwrap();
            }
            let (found, told) = search_in(ImportFormat::Certbot, dir.path());
            assert_eq!(found.len(), 1, "{row}: {told:?}");
        }
    }
}

#[test]
fn a_configuration_of_another_user_names_no_directory_outside() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let made = make(&["a.test"], 30);
    let elsewhere = dehydrated(&[("a.test", &made)]);
    let base = format!("BASEDIR={}\nCA={REAL}\n", elsewhere.path().display());
    for (owner, expected) in [(0, 1), (65_534, 0)] {
        let dir = tree(&[("config", &base)]);
        chown(dir.path(), Some(owner), Some(owner)).unwrap();
        let (found, told) = search_in(ImportFormat::Dehydrated, dir.path());
        assert_eq!(found.len(), expected, "{owner}: {told:?}");
        let is_told = told.iter().any(|(_, line)| line.contains("it leads out of"));
        assert_eq!(is_told, expected == 0, "{told:?}");
    }
}

#[test]
fn the_key_of_an_account_is_opened_in_its_tree_only() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    for format in [ImportFormat::Uacme, ImportFormat::Caddy] {
        check_links_of_account_key(format);
    }
}

fn check_links_of_account_key(format: ImportFormat) {
    let path = match format {
        ImportFormat::Uacme => "private/key.pem",
        _ => "acme/ca.example-14000-acme-dir/users/default/default.key",
    };
    let real = format!("{path}.real");
    let real = real.rsplit('/').next().unwrap();
    for (link, expected) in [(real, true), ("/etc/shadow", false)] {
        let dir = tree(&[(&format!("{path}.real"), "a key")]);
        symlink(link, dir.path().join(path)).unwrap();
        give(dir.path());
        let mut config = config(&[(format, dir.path())], &["a.test"], &ONE_KEY);
        config.issuers.truncate(1);
        let files = account_files(&config, REAL_CA);
        let opened = open_account_key(&config, &files[0]);
        assert_eq!(opened.is_ok_and(|file| file.is_some()), expected, "{format}: {link}");
    }
}
