//! Every file operation of the helper is where it is killed, fails, or takes long.
//!
//! strace puts the faults into the system calls. Which calls there are is recorded from an order that
//! nothing happens to. The test holds the lock of the state path until strace is attached, as a helper
//! does nothing without it. Each cell has a certificate and an account of its own, so that a path
//! says whose call it is. A helper that comes after is not traced, and a fault ends with strace. What
//! is written several times, such as the journal, has its fault the first time.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use rustix::process::Signal;
use servers::bed::{ZONE, issuer};
use servers::process::{Process, wait_until};
use testbed::measurements::proc;

use super::{BYSTANDER, Matrix};
use crate::site::{LIMIT, Site};

/// The calls that change files. What a kill before `fsync` leaves is what one before the next call
/// leaves, as the machine goes on.
const CALLS: [&str; 8] =
    ["mkdir", "openat", "write", "fsync", "rename", "symlink", "unlink", "rmdir"];

/// Words that stand in recorded paths for the state path, the name of the certificate and that of the
/// issuer, and for the number in the names of unfinished files.
const PLACES: [&str; 3] = ["STATE", "NAME", "ISSUER"];
const NUMBER: &str = ".tmp-N-";

/// Unfinished files have lower numbers than this.
const NUMBERS: usize = 200;

/// A system call.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Operation {
    call: &'static str,
    /// Paths that it is about, with [`PLACES`] and [`NUMBER`] in it. strace knows some calls by the first of
    /// two paths only.
    paths: Vec<String>,
}

impl Operation {
    /// Reads a line of strace. `None`: it changes nothing that belongs to one certificate.
    fn read(line: &str, places: &[String; 3]) -> Option<Self> {
        let (call, arguments) = line.split_once(' ')?.1.trim_start().split_once('(')?;
        let call = CALLS.into_iter().find(|known| *known == call)?;
        let paths: Vec<&str> = match call {
            "openat" if !arguments.contains("O_CREAT") => return None,
            "write" | "fsync" => vec![arguments.split_once('<')?.1.split_once('>')?.0],
            // Every other piece between quotes is a string.
            _ => arguments.split('"').skip(1).step_by(2).collect(),
        };
        let [state, name, issuer] = places;
        let inside = paths.last()?.strip_prefix(state.as_str())?;
        if !(inside.contains(name) || inside.contains(issuer)) {
            return None;
        }
        let place = |path: &str| {
            let mut path = path.to_owned();
            for (place, value) in PLACES.iter().zip([state, name, issuer]) {
                path = path.replace(value.as_str(), place);
            }
            match path.split_once(".tmp-") {
                Some((before, after)) => {
                    let (_, name) = after.split_once('-').unwrap_or_default();
                    format!("{before}{NUMBER}{name}")
                }
                None => path,
            }
        };
        Some(Self { call, paths: paths.into_iter().map(place).collect() })
    }

    /// The paths that it may have for a cell.
    fn paths(&self, places: &[String; 3]) -> Vec<String> {
        let numbered = |path: &String| -> Vec<String> {
            let mut path = path.clone();
            for (place, value) in PLACES.iter().zip(places) {
                path = path.replace(place, value);
            }
            let numbers = if path.contains(NUMBER) { NUMBERS } else { 1 };
            (0..numbers).map(|n| path.replace(NUMBER, &format!(".tmp-{n}-"))).collect()
        };
        self.paths.iter().flat_map(numbered).collect()
    }

    /// Returns whether it is the last one, which removes the progress of the order.
    fn is_end(&self) -> bool {
        self.call == "unlink" && self.paths.iter().any(|path| path.starts_with("STATE/orders/"))
    }

    fn text(&self) -> String {
        let path = self.paths.last().map_or("", String::as_str);
        format!("{} {}", self.call, path.trim_start_matches("STATE/"))
    }
}

/// A certificate and what happens to it.
struct Cell {
    operation: Operation,
    number: usize,
}

impl Cell {
    fn name(&self) -> String {
        format!("c{}.{ZONE}", self.number)
    }

    fn places(&self, site: &Site) -> [String; 3] {
        places(site, self.number)
    }
}

fn places(site: &Site, number: usize) -> [String; 3] {
    [site.state().display().to_string(), format!("c{number}.{ZONE}"), format!("ca{number}")]
}

/// A server and an issuer, so an account, for each number.
fn configure(site: &mut Site, numbers: impl IntoIterator<Item = usize>) {
    site.set_servers(&[]);
    site.add_server(BYSTANDER, "on issuer=pebble");
    site.http.clear();
    for number in numbers {
        let (url, ca) = (site.proxy.directory_url(), site.proxy.ca_file());
        let issuer = issuer(&format!("ca{number}"), &url, ca, "");
        site.http += &issuer;
        site.add_server(&format!("c{number}.{ZONE}"), &format!("on issuer=ca{number}"));
    }
}

/// Starts a helper that is traced from before its first change on.
fn reload_traced(site: &mut Site, arguments: &[String]) -> Tracer {
    let old = site.helpers();
    let lock = replace_lock(&site.state());
    site.reload();
    // The old helper holds the old file. The new one works alone when it gets the new one.
    let helper = site.wait_for_other_helper(&old);
    let tracer = Tracer::attach(site.bed.dir(), helper, arguments);
    drop(lock);
    tracer
}

/// Puts a lock file in the place of the one that there is, and locks it.
fn replace_lock(state: &Path) -> File {
    let (path, new) = (state.join("lock"), state.join("lock.new"));
    let old = fs::metadata(&path).expect("there is a lock");
    let file = File::create(&new).expect("a new file");
    file.set_permissions(old.permissions()).expect("its mode can be set");
    chown(&new, Some(old.uid()), Some(old.gid())).expect("it can be given away");
    file.lock().expect("it can be locked");
    fs::rename(&new, &path).expect("it takes the place of the old one");
    file
}

/// A strace of one helper.
struct Tracer {
    strace: Process,
    helper: u32,
    output: PathBuf,
}

impl Tracer {
    fn attach(dir: &Path, helper: u32, arguments: &[String]) -> Self {
        let output = dir.join(format!("strace-{helper}"));
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-y", "-s", "0", "-p", &helper.to_string(), "-o"]);
        command.arg(&output).args(arguments);
        let mut strace = Process::start(&command, &dir.join("strace.log"));
        let is_traced = |task: fs::DirEntry| {
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            status.contains("TracerPid:") && !status.contains("TracerPid:\t0\n")
        };
        let attached = wait_until(LIMIT, || {
            let tasks = fs::read_dir(format!("/proc/{helper}/task")).ok()?;
            let ended = !strace.is_running();
            (ended || tasks.filter_map(Result::ok).all(is_traced)).then_some(!ended)
        });
        assert_eq!(attached, Some(true), "strace does not attach:\n{}", strace.log());
        Self { strace, helper, output }
    }

    fn lines(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Lets the helper go on alone.
    fn detach(mut self) {
        self.strace.signal(Signal::INT);
        assert!(self.strace.wait(LIMIT).is_some(), "strace does not end");
    }
}

/// The operations of a first certificate with a new account, in their order.
fn record(site: &mut Site) -> Vec<Operation> {
    let places = places(site, 0);
    configure(site, [0]);
    let tracer = reload_traced(site, &[format!("--trace={}", CALLS.join(","))]);
    site.wait_for_certificate(&places[1]);
    site.wait_until_clean();
    let lines = tracer.lines();
    tracer.detach();
    let mut seen = BTreeSet::new();
    let operations = lines.lines().filter_map(|line| Operation::read(line, &places));
    let operations: Vec<_> = operations.filter(|o| seen.insert(o.clone())).collect();
    assert!(operations.len() > 20, "{operations:?} of\n{lines}");
    operations
}

/// Returns the arguments of strace for cells that share a call.
fn arguments(site: &Site, call: &str, cells: &[&Cell], fault: &str) -> Vec<String> {
    let paths = cells.iter().flat_map(|cell| cell.operation.paths(&cell.places(site)));
    let paths = paths.flat_map(|path| ["-P".to_owned(), path]);
    let calls = [format!("--trace={call}"), format!("--inject={call}:{fault}")];
    calls.into_iter().chain(paths).collect()
}

#[test]
fn killed_at_file_operations_before_the_certificate_is_there() {
    kill("killed at file operations", |operation| !is_of_certificate(operation));
}

/// The last one, when the progress of the order is removed, is the publication: the new certificate
/// is on disk, and no worker has it.
#[test]
fn killed_at_file_operations_of_the_certificate() {
    kill("killed at file operations", is_of_certificate);
}

fn is_of_certificate(operation: &Operation) -> bool {
    operation.is_end() || operation.paths.iter().any(|path| path.contains("/certs/"))
}

fn kill(title: &'static str, chosen: impl Fn(&Operation) -> bool) {
    let mut matrix = Matrix::start(title);
    let operations = record(&mut matrix.site);
    let operations = operations.into_iter().filter(|o| o.call != "fsync" && chosen(o));
    for (operation, number) in operations.zip(1..) {
        let cell = Cell { operation, number };
        let (name, what) = (cell.name(), cell.operation.text());
        configure(&mut matrix.site, [number]);
        let fault = "signal=SIGKILL:when=1";
        let arguments = arguments(&matrix.site, cell.operation.call, &[&cell], fault);
        let tracer = reload_traced(&mut matrix.site, &arguments);
        let killed = wait_until(LIMIT, || (!proc::is_alive(tracer.helper)).then(Instant::now));
        let killed = killed.unwrap_or_else(|| panic!("{what}: not reached\n{}", tracer.lines()));
        matrix.site.wait_for_certificate(&name);
        let took = killed.elapsed().as_millis();
        matrix.check_obtained(&what, &name);
        matrix.row(&what, "kill", &format!("obtained {took} ms later"));
    }
    matrix.check_clean(title);
    matrix.end();
}

#[test]
fn file_operations_that_fail() {
    all_at_once("file operations that fail", "error=ENOSPC", "no space left");
}

#[test]
fn file_operations_that_take_long() {
    all_at_once("file operations that take long", "delay_enter=1000000", "takes 1 s");
}

/// Each operation has a certificate; those that share a call are under way at once.
fn all_at_once(title: &'static str, fault: &str, text: &str) {
    let mut matrix = Matrix::start(title);
    let operations = record(&mut matrix.site);
    let cells = operations.into_iter().zip(1..);
    let cells: Vec<Cell> = cells.map(|(operation, number)| Cell { operation, number }).collect();
    for call in CALLS {
        let group: Vec<&Cell> = cells.iter().filter(|cell| cell.operation.call == call).collect();
        if group.is_empty() {
            continue;
        }
        configure(&mut matrix.site, group.iter().map(|cell| cell.number));
        let arguments = arguments(&matrix.site, call, &group, fault);
        let tracer = reload_traced(&mut matrix.site, &arguments);
        let mut waiting = group;
        let struck = wait_until(LIMIT, || {
            let lines = tracer.lines();
            waiting.retain(|cell| !has_struck(&lines, cell, &matrix.site));
            waiting.is_empty().then_some(())
        });
        let left: Vec<_> = waiting.iter().map(|cell| cell.operation.text()).collect();
        assert!(struck.is_some(), "not reached: {left:?}\n{}", tracer.lines());
        tracer.detach();
    }
    // Those that failed are tried again now.
    configure(&mut matrix.site, cells.iter().map(|cell| cell.number));
    matrix.site.reload();
    let log = matrix.site.nginx.log();
    for cell in &cells {
        let what = cell.operation.text();
        matrix.check_obtained(&what, &cell.name());
        let failed = format!("certificate \"{}\" was not obtained", cell.name());
        let how = if log.contains(&failed) { "at the next attempt" } else { "at once" };
        matrix.row(&what, text, &format!("obtained {how}"));
    }
    matrix.check_clean(title);
    matrix.end();
}

/// Returns whether strace has seen the call: what it sees has the fault.
fn has_struck(lines: &str, cell: &Cell, site: &Site) -> bool {
    let places = cell.places(site);
    let struck = |line: &str| Operation::read(line, &places).as_ref() == Some(&cell.operation);
    lines.lines().any(struck)
}
