//! Every operation, killed at and refused by each of its system calls: with one error, which differs from
//! call to call, or with all of them where the environment has `STORE_FAULTS=all`.

use crate::fixtures::Fixtures;
use crate::operations::{OPERATIONS, Operation, prepare};
use crate::trace::{Call, run};
use crate::view::{faults, view};
use acme_dns_service::store::Store;
use servers::process::wait_until;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Errors of the system, and their texts.
const ERRORS: [(&str, &str); 4] = [
    ("EIO", "5: Input/output error"),
    ("EACCES", "13: Permission denied"),
    ("ENOSPC", "28: No space left on device"),
    ("EROFS", "30: Read-only file system"),
];

/// Of what changes nothing.
const ERRORS_OF_READING: usize = 2;

/// A fault of a call.
#[derive(Clone, Copy)]
enum Fault {
    Kill,
    Error(usize),
    /// The file system cannot do it: there is another way.
    Unsupported,
}

/// An operation with what is there before it, and what is to be there afterwards.
struct Subject {
    index: usize,
    operation: &'static Operation,
    template: PathBuf,
    calls: Vec<Call>,
    states: Vec<Vec<String>>,
}

/// Outcomes of the faults of one operation.
#[derive(Clone, Default)]
struct Row {
    kills: usize,
    errors: usize,
    /// Of these, the operation succeeded all the same.
    harmless: usize,
    failed: Vec<String>,
}

/// A directory in memory, where fsync costs nothing: the calls are the same.
pub(crate) fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    dir.unwrap()
}

pub(crate) fn copy(from: &Path, to: &Path) {
    if from.exists() {
        assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
    }
}

impl Subject {
    fn new(index: usize, dir: &Path, fixtures: &Fixtures) -> Self {
        let operation = &OPERATIONS[index];
        let (before, group) = operation.groups;
        let template = dir.join(format!("template-{index}"));
        prepare(operation, &template, fixtures);
        let mut states = Vec::new();
        let mut state = dir.join(format!("state-{index}-old"));
        copy(&template, &state);
        if template.exists() {
            states.push(view_of(&state, before));
        }
        for (number, act) in operation.between.iter().enumerate() {
            state = dir.join(format!("state-{index}-{number}"));
            copy(&template, &state);
            act(&Store::open_shared(&state, group).unwrap(), fixtures).unwrap();
            states.push(view_of(&state, group));
        }
        state = dir.join(format!("state-{index}-new"));
        copy(&template, &state);
        operation.carry_out(&state, fixtures, || {}).unwrap();
        states.push(view_of(&state, group));
        let state = dir.join(format!("state-{index}-recorded"));
        copy(&template, &state);
        let (ended, calls) = run(index, &state, fixtures, &[]);
        assert_eq!(ended, Some(Ok(())), "{}", operation.name);
        Self { index, operation, template, calls, states }
    }

    fn faults(&self, takes_all: bool) -> Vec<(usize, Fault)> {
        let mut faults = Vec::new();
        for (index, call) in self.calls.iter().enumerate() {
            let errors = if call.is_change() { ERRORS.len() } else { ERRORS_OF_READING };
            let one = (self.index + index) % errors;
            // Killed before a call that changes nothing is killed before the next one that does.
            if call.is_change() {
                faults.push((index, Fault::Kill));
            }
            let errors = if takes_all { 0..errors } else { one..one + 1 };
            faults.extend(errors.map(|error| (index, Fault::Error(error))));
            if let "renameat2" | "openat2" = call.name.as_str() {
                faults.push((index, Fault::Unsupported));
            }
        }
        faults
    }

    /// Does something to one call, and says what is wrong then.
    fn suffer(
        &self,
        call: usize,
        fault: Fault,
        dir: &Path,
        fixtures: &Fixtures,
    ) -> Result<bool, String> {
        let (call, (before, group)) = (&self.calls[call], self.operation.groups);
        copy(&self.template, dir);
        let what = match fault {
            Fault::Kill => "signal=SIGKILL".to_owned(),
            Fault::Error(error) => format!("error={}", ERRORS[error].0),
            Fault::Unsupported if call.name == "openat2" => "error=EPERM".to_owned(),
            Fault::Unsupported => "error=EINVAL".to_owned(),
        };
        let injection = format!("{}:{what}:when={}", call.name, call.number);
        let (ended, _) = run(self.index, dir, fixtures, &[injection]);
        let succeeded = match (&ended, fault) {
            (None, Fault::Kill) => false,
            (None, _) => return Err("killed".to_owned()),
            (Some(_), Fault::Kill) => return Err("not killed".to_owned()),
            (Some(Ok(())), _) => true,
            (Some(Err(error)), Fault::Error(number)) => {
                let path = dir.parent().unwrap().to_string_lossy();
                if !error.contains(&*path) || !error.contains(ERRORS[number].1) {
                    return Err(format!("the message is \"{error}\""));
                }
                // Trying again and again must not fill the disk.
                let is_tidy =
                    |dir: &Path| dir.exists() && faults(dir, fixtures, None, group).is_empty();
                if before == group && is_tidy(&self.template) && !is_tidy(dir) {
                    let wrong = faults(dir, fixtures, None, group).join(", ");
                    return Err(format!("before the next start: {wrong}"));
                }
                false
            }
            (Some(Err(error)), Fault::Unsupported) => return Err(error.clone()),
        };
        self.recover(dir, succeeded, fixtures).map(|()| succeeded)
    }

    /// The next process: what it finds, and whether it can do what the one before could not.
    fn recover(&self, dir: &Path, succeeded: bool, fixtures: &Fixtures) -> Result<(), String> {
        let (new, (_, group)) = (self.states.last().unwrap(), self.operation.groups);
        let found = view_of(dir, group);
        let is_as_good = self.operation.leaves_out && self.states.contains(&found);
        if succeeded && found != *new && !is_as_good {
            return Err(format!("it succeeded, but there is {found:#?}, not {new:#?}"));
        }
        // Nothing of a state path that is being made can be lost.
        if self.template.exists() && !self.states.contains(&found) {
            return Err(format!("there is {found:#?}, not one of {:#?}", self.states));
        }
        let wrong = faults(dir, fixtures, self.operation.good, group);
        if !wrong.is_empty() {
            return Err(wrong.join(", "));
        }
        let repeated = self.operation.carry_out(dir, fixtures, || {});
        repeated.map_err(|error| format!("repeated: {error}"))?;
        let found = view_of(dir, group);
        if found != *new {
            return Err(format!("repeated, there is {found:#?}, not {new:#?}"));
        }
        let wrong = faults(dir, fixtures, self.operation.good, group);
        if wrong.is_empty() { Ok(()) } else { Err(format!("repeated: {}", wrong.join(", "))) }
    }
}

/// Returns what there is when a process has taken the lock. Paths differ.
fn view_of(dir: &Path, group: Option<u32>) -> Vec<String> {
    let store = Store::open_shared(dir, group).unwrap();
    // A process that is about to be started has a copy of every open file for a moment.
    let lock = wait_until(Duration::from_secs(10), || store.lock().unwrap()).unwrap();
    assert!(lock.left().is_none(), "{:?}", lock.left());
    let path = dir.to_string_lossy().into_owned();
    view(&store).into_iter().map(|line| line.replace(&path, "")).collect()
}

#[test]
fn every_operation_survives_every_fault_of_every_call() {
    let dir = scratch();
    let fixtures = Fixtures::create(&dir.path().join("fixtures"));
    let is_root = rustix::process::geteuid().is_root();
    let takes_all = std::env::var_os("STORE_FAULTS").is_some_and(|faults| faults == "all");
    let subjects: Vec<Subject> = (0..OPERATIONS.len())
        .filter(|index| is_root || OPERATIONS[*index].groups == (None, None))
        .map(|index| Subject::new(index, dir.path(), &fixtures))
        .collect();
    let cells: Vec<(usize, usize, Fault)> = subjects
        .iter()
        .enumerate()
        .flat_map(|(n, subject)| subject.faults(takes_all).into_iter().map(move |(c, f)| (n, c, f)))
        .collect();
    let rows = Mutex::new(vec![Row::default(); subjects.len()]);
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((subject, call, fault)) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
            let scratch = tempfile::tempdir_in(dir.path()).unwrap();
            let state = scratch.path().join("state");
            let suffered = subjects[*subject].suffer(*call, *fault, &state, &fixtures);
            let row = &mut rows.lock().unwrap()[*subject];
            match fault {
                Fault::Kill => row.kills += 1,
                Fault::Error(_) | Fault::Unsupported => row.errors += 1,
            }
            match suffered {
                Ok(succeeded) => row.harmless += usize::from(succeeded),
                Err(error) => {
                    row.failed.push(say(&subjects[*subject].calls[*call], *fault, &error))
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(work);
        }
    });
    report(&subjects, &rows.into_inner().unwrap());
}

fn say(call: &Call, fault: Fault, error: &str) -> String {
    let what = match fault {
        Fault::Kill => "killed at",
        Fault::Error(error) => ERRORS[error].0,
        Fault::Unsupported => "unsupported",
    };
    format!("{what} {} #{} {}: {error}", call.name, call.number, call.text)
}

fn report(subjects: &[Subject], rows: &[Row]) {
    println!(
        "{:34}{:>6}{:>7}{:>8}{:>10}{:>10}",
        "operation", "calls", "kills", "errors", "harmless", "survived"
    );
    for (subject, row) in subjects.iter().zip(rows) {
        let survived = row.kills + row.errors - row.failed.len();
        println!(
            "{:34}{:>6}{:>7}{:>8}{:>10}{:>10}",
            subject.operation.name,
            subject.calls.len(),
            row.kills,
            row.errors,
            row.harmless,
            survived
        );
    }
    let failed: Vec<String> = subjects
        .iter()
        .zip(rows)
        .flat_map(|(s, row)| row.failed.iter().map(|f| format!("{}: {f}", s.operation.name)))
        .collect();
    assert!(failed.is_empty(), "{} faults not survived:\n{}", failed.len(), failed.join("\n"));
}
