//! Power failures: what is renamed or removed is on disk before and after, whenever the power fails.

use crate::faults::{copy, scratch};
use crate::fixtures::Fixtures;
use crate::operations::{OPERATIONS, prepare};
use crate::trace::{Call, run};
use std::path::Path;

#[test]
fn every_rename_has_its_content_on_disk_before_and_its_directory_after() {
    let dir = scratch();
    let fixtures = Fixtures::create(&dir.path().join("fixtures"));
    let (mut renames, mut broken) = (0, Vec::new());
    let is_root = rustix::process::geteuid().is_root();
    for (index, operation) in OPERATIONS.iter().enumerate() {
        if operation.groups != (None, None) && !is_root {
            continue;
        }
        let (template, state) = (dir.path().join("template"), dir.path().join("state"));
        prepare(operation, &template, &fixtures);
        copy(&template, &state);
        let (ended, calls) = run(index, &state, &fixtures, &[]);
        assert_eq!(ended, Some(Ok(())), "{}", operation.name);
        let done: Vec<Done> = calls.iter().filter_map(Done::of).collect();
        renames += done.iter().filter(|done| matches!(done, Done::Rename(..))).count();
        broken.extend(faults(&done).iter().map(|fault| format!("{}: {fault}", operation.name)));
        for path in [template, state] {
            let _ = std::fs::remove_dir_all(path);
        }
    }
    assert!(renames > OPERATIONS.len() / 2, "only {renames} renames");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// A call that succeeded, as far as it matters here.
#[derive(Debug)]
enum Done {
    /// A file or directory that was made.
    Create(String),
    Write(String),
    Rename(String, String),
    Remove(String),
    Sync(String),
}

impl Done {
    fn of(call: &Call) -> Option<Self> {
        if call.text.contains(") = -1 ") {
            return None;
        }
        let mut paths = paths(&call.text).into_iter();
        let descriptor = || Some(call.text.split_once('<')?.1.split_once('>')?.0.to_owned());
        match call.name.as_str() {
            "openat" if call.text.contains("O_CREAT") => paths.next().map(Self::Create),
            "mkdir" | "mkdirat" => paths.next().map(Self::Create),
            "write" => descriptor().map(Self::Write),
            "rename" | "renameat" | "renameat2" => Some(Self::Rename(paths.next()?, paths.next()?)),
            "unlink" | "unlinkat" => paths.next().map(Self::Remove),
            "fsync" => descriptor().map(Self::Sync),
            _ => None,
        }
    }

    fn changes(&self, path: &str) -> bool {
        match self {
            Self::Create(made) => made == path || parent(made) == path,
            Self::Write(written) => written == path,
            Self::Rename(from, to) => parent(from) == path || parent(to) == path,
            Self::Remove(_) | Self::Sync(_) => false,
        }
    }

    fn is_sync_of(&self, path: &str) -> bool {
        matches!(self, Self::Sync(synced) if synced == path)
    }
}

/// The paths of a call, as `"path"` or as `3</directory>, "name"`.
fn paths(text: &str) -> Vec<String> {
    let (mut paths, mut before) = (Vec::new(), "");
    for (index, part) in text.split('"').enumerate() {
        if index % 2 == 1 {
            let directory = before.strip_suffix(">, ").and_then(|text| text.rsplit_once('<'));
            let directory = directory.map_or("", |(_, directory)| directory);
            paths.push(Path::new(directory).join(part).to_string_lossy().into_owned());
        }
        before = part;
    }
    paths
}

/// Returns whether it does not matter if it is there after a power failure.
fn is_passing(path: &str, or: &str) -> bool {
    path.contains("/.tmp-") || path.contains(or)
}

fn parent(path: &str) -> &str {
    Path::new(path).parent().and_then(Path::to_str).unwrap_or_default()
}

fn faults(done: &[Done]) -> Vec<String> {
    let mut faults = Vec::new();
    for (index, call) in done.iter().enumerate() {
        let (before, after) = (&done[..index], &done[index + 1..]);
        // Directories that are not synced before the next change.
        let unsynced = |path: &str| {
            let next = after.iter().take_while(|next| matches!(next, Done::Sync(_)));
            !next.into_iter().any(|next| next.is_sync_of(parent(path)))
        };
        match call {
            Done::Rename(from, to) => {
                let changed = before.iter().rposition(|earlier| earlier.changes(from));
                let is_whole = changed
                    .is_none_or(|at| before[at..].iter().any(|later| later.is_sync_of(from)));
                if !is_whole {
                    faults.push(format!("{from} is not synced before it becomes {to}"));
                }
                if unsynced(to) || parent(from) != parent(to) && unsynced(from) {
                    faults.push(format!("the directory is not synced after {to} was renamed"));
                }
            }
            // What is unfinished or old may come back.
            Done::Remove(path) if !is_passing(path, "/.versions/") && unsynced(path) => {
                faults.push(format!("the directory is not synced after {path} was removed"));
            }
            Done::Create(path)
                if !is_passing(path, "/lock")
                    && !after.iter().any(|later| later.is_sync_of(parent(path))) =>
            {
                faults.push(format!("the directory is not synced after {path} was made"));
            }
            _ => {}
        }
    }
    faults
}
