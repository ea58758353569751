//! Running processes, as /proc shows them.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use rustix::process::{Pid, Signal, kill_process};

/// Sends a signal. A process that is gone is not an error: it may just have ended.
///
/// # Panics
/// If the process exists and may not be signalled.
pub fn kill(pid: u32, signal: Signal) {
    let Some(raw) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    match kill_process(raw, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(e) => panic!("cannot signal process {pid}: {e}"),
    }
}

/// Returns whether the process exists and is more than an exit status that nobody has fetched.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != "Z")
}

/// The children of a process, lowest number first.
#[must_use]
pub fn children(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap_or_else(|e| panic!("cannot read /proc: {e}"));
    let mut found: Vec<u32> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| stat(*pid).is_some_and(|(state, of)| of == parent && state != "Z"))
        .collect();
    found.sort_unstable();
    found
}

/// Title of the cache manager of an nginx.
const MANAGER: &str = "nginx: cache manager process";

/// The processes of an nginx: its master, the master's children, and their children.
#[must_use]
pub fn family(master: u32) -> Vec<u32> {
    let mut family = vec![master];
    for child in children(master) {
        family.push(child);
        // That of a newer binary has a family of its own.
        if !title(child).starts_with("nginx: master process") {
            family.extend(children(child));
        }
    }
    family
}

/// The cache managers of a master: two while an old one leaves.
#[must_use]
pub fn managers(master: u32) -> Vec<u32> {
    children(master).into_iter().filter(|pid| title(*pid) == MANAGER).collect()
}

/// The processes of a master that obtain certificates: two while an old one leaves.
#[must_use]
pub fn services(master: u32) -> Vec<u32> {
    let mut family = family(master);
    family.retain(|pid| title(*pid) == "nginx: acme dns process");
    family
}

/// State and parent.
fn stat(pid: u32) -> Option<(String, u32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may itself contain spaces and parentheses.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

/// The command line, or what the process has put there as its title; empty if it is gone.
#[must_use]
pub fn title(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).replace('\0', " ");
    text.trim_end().to_owned()
}

/// Counts the open descriptors of a process.
#[must_use]
pub fn open_descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// The memory that is this process's alone, and its part of what it shares, in bytes.
#[must_use]
pub fn proportional_bytes(pid: u32) -> u64 {
    rollup_bytes(pid, "Pss:")
}

fn rollup_bytes(pid: u32, field: &str) -> u64 {
    field_bytes(&format!("/proc/{pid}/smaps_rollup"), field)
}

/// The memory that this process has written and no other has, in bytes: unlike [`private_bytes`], without what it shares
/// with the process that has started it.
#[must_use]
pub fn own_bytes(pid: u32) -> u64 {
    rollup_bytes(pid, "Private_Dirty:")
}

/// The shared memory that the process has touched, in bytes, each mapping of its own.
#[must_use]
pub fn shared_bytes(pid: u32) -> u64 {
    status_bytes(pid, "RssShmem:")
}

/// The resident set, in bytes.
#[must_use]
pub fn resident_bytes(pid: u32) -> u64 {
    status_bytes(pid, "VmRSS:")
}

/// The part of the resident set that no file and no other process has, in bytes: heap and stacks.
#[must_use]
pub fn private_bytes(pid: u32) -> u64 {
    status_bytes(pid, "RssAnon:")
}

fn status_bytes(pid: u32, field: &str) -> u64 {
    field_bytes(&format!("/proc/{pid}/status"), field)
}

fn field_bytes(file: &str, field: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix(field))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

/// Counts how often `needle` occurs in the memory of a process: heap, stacks, shared memory, files.
///
/// # Panics
/// If the process is gone or its memory may not be read.
#[must_use]
pub fn count_in_memory(pid: u32, needle: &[u8]) -> usize {
    let (maps, mem) = (format!("/proc/{pid}/maps"), format!("/proc/{pid}/mem"));
    let maps = fs::read_to_string(&maps).unwrap_or_else(|e| panic!("cannot read {maps}: {e}"));
    let mem = File::open(&mem).unwrap_or_else(|e| panic!("cannot open {mem}: {e}"));
    let finder = memchr::memmem::Finder::new(needle);
    maps.lines()
        .filter_map(readable_region)
        .map(|(start, end)| {
            let mut bytes = vec![0; usize::try_from(end - start).unwrap_or_default()];
            // A region that ends early, as a truncated file does, has no memory behind the rest.
            let read = mem.read_at(&mut bytes, start).unwrap_or_default();
            finder.find_iter(bytes.get(..read).unwrap_or_default()).count()
        })
        .sum()
}

/// A line is `start-end perms offset device inode path`; the kernel's own regions are no memory of
/// the process.
fn readable_region(line: &str) -> Option<(u64, u64)> {
    let (range, rest) = line.split_once(' ')?;
    if !rest.starts_with('r') || rest.ends_with("[vvar]") || rest.ends_with("[vsyscall]") {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_secret_in_its_own_memory() {
        // Put together at run time, so that the program itself does not contain it.
        let secret = ["a secret", " that", " is nowhere else"].concat().into_bytes();
        assert!(count_in_memory(std::process::id(), &secret) >= 1);
        let reversed: Vec<u8> = secret.iter().rev().copied().collect();
        let absent = [reversed.as_slice(), &secret].concat();
        drop(secret);
        assert!(count_in_memory(std::process::id(), &absent) >= 1);
        assert!(open_descriptors(std::process::id()) > 2);
        let (all, private) =
            (resident_bytes(std::process::id()), private_bytes(std::process::id()));
        assert!(100_000 < private && private < all, "{private} of {all}");
    }
}
