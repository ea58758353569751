//! Files under fire: the process ends, or the disk refuses, at every system call of an operation.
//!
//! The test program starts itself anew under strace, which makes the calls fail. Each operation is
//! recorded first, so that the table follows the code.

mod operation;
mod trace;

use acme_dns_service::store::Store;
use operation::{OPERATIONS, Operation};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use trace::{Call, Trace};

/// What the child does, and where.
const OPERATION: &str = "ACME_DNS_TEST_OPERATION";
const STATE: &str = "ACME_DNS_TEST_STATE";

/// The child's exit status when the store reports an error.
const REFUSED: i32 = 3;

const ERRORS: [(&str, &str); 2] =
    [("ENOSPC", "No space left on device"), ("EIO", "Input/output error")];

/// Not a test: what [`run`] starts.
#[test]
fn child() {
    let Ok(name) = std::env::var(OPERATION) else { return };
    let state = PathBuf::from(std::env::var_os(STATE).unwrap());
    let operation = OPERATIONS.iter().find(|operation| operation.name == name).unwrap();
    if let Err(error) = operation.perform(&state) {
        eprintln!("refused: {error}");
        std::process::exit(REFUSED);
    }
}

/// Runs an operation in a process of its own, under strace.
fn run(operation: &Operation, state: &Path, inject: Option<&str>) -> (Output, Trace) {
    let log = state.with_extension("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-qq", "-s", "256", "-e"]).arg(format!("trace={}", trace::CALLS));
    command.arg("-o").arg(&log);
    if let Some(inject) = inject {
        command.args(["-e", &format!("inject={inject}")]);
    }
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture", "--test-threads=1"]);
    command.env(OPERATION, operation.name).env(STATE, state).env("RUST_BACKTRACE", "0");
    let output = command.output().expect("strace is installed");
    (output, Trace::read(&log, state))
}

/// A state path in which the operation can be performed.
fn prepared(operation: &Operation, dir: &Path, name: &str) -> PathBuf {
    let state = dir.join(name);
    fs::create_dir(&state).unwrap();
    operation.prepare(&state);
    state
}

/// Whatever has happened: the state is the old one or the new one, with exact modes and without
/// leftovers, and the operation can be performed now.
fn check(operation: &Operation, state: &Path, what: &str) {
    let store = Store::open(state).unwrap();
    let lock = store.lock().unwrap();
    assert!(lock.is_some(), "{what}: it is locked");
    for (path, mode) in below(state) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(!name.starts_with(".tmp"), "{what}: {} is left", path.display());
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{what}: {}", path.display());
    }
    operation.check(&store, what);
    drop(lock);
    operation.perform(state).unwrap_or_else(|error| panic!("{what}, then again: {error}"));
    operation.check_done(&store, what);
}

/// All files and directories, with their modes.
fn below(dir: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_symlink() {
            continue;
        }
        found.push((path.clone(), metadata.permissions().mode() & 0o7777));
        if metadata.is_dir() {
            found.extend(below(&path));
        }
    }
    found
}

/// A row of the table.
struct Row {
    calls: usize,
    killed: usize,
    refused: usize,
}

fn under_fire(operation: &Operation) -> Row {
    let dir = tempfile::tempdir().unwrap();
    let state = prepared(operation, dir.path(), "recorded");
    let (output, recorded) = run(operation, &state, None);
    assert!(output.status.success(), "{}: {output:?}", operation.name);
    recorded.assert_durable(operation.name);
    operation.check_done(&Store::open(&state).unwrap(), operation.name);
    let calls = recorded.calls();
    assert!(!calls.is_empty(), "{}: nothing was recorded", operation.name);
    let mut row = Row { calls: calls.len(), killed: 0, refused: 0 };
    for (number, call) in calls.iter().enumerate() {
        let state = prepared(operation, dir.path(), &format!("kill-{number}"));
        let (output, _) = run(operation, &state, Some(&call.inject("signal=SIGKILL")));
        row.killed += usize::from(!output.status.success());
        check(operation, &state, &format!("{}, killed at {call}", operation.name));
        for (error, text) in ERRORS {
            let state = prepared(operation, dir.path(), &format!("{error}-{number}"));
            let (output, trace) =
                run(operation, &state, Some(&call.inject(&format!("error={error}"))));
            let what = format!("{}, {error} at {call}", operation.name);
            row.refused += usize::from(check_message(&output, &trace, &state, text, &what));
            check(operation, &state, &what);
        }
    }
    row
}

/// An operation that reports an error says which path and what the system said.
fn check_message(output: &Output, trace: &Trace, state: &Path, text: &str, what: &str) -> bool {
    // A call of the test program itself, where the numbers have moved.
    if !trace.has_struck() || output.status.success() {
        return false;
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(REFUSED), "{what}: {said}");
    let line = said.lines().find(|line| line.contains("refused: ")).unwrap_or_default();
    assert!(line.contains(&state.display().to_string()), "{what}: {said}");
    assert!(line.to_lowercase().contains(&text.to_lowercase()), "{what}: {said}");
    true
}

#[test]
fn every_operation_survives_every_end_and_every_error() {
    let rows: Vec<(&str, Row)> = thread::scope(|scope| {
        let work = |part: usize| {
            let mine = OPERATIONS.iter().skip(part).step_by(4);
            mine.map(|operation| (operation.name, under_fire(operation))).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..4).map(|part| scope.spawn(move || work(part))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("all survive")).collect()
    });
    println!(
        "{:24} {:>5} {:>6} {:>7} {:>8}",
        "operation", "calls", "killed", "refused", "survived"
    );
    for (name, Row { calls, killed, refused }) in &rows {
        let faults = calls * (1 + ERRORS.len());
        println!("{name:24} {calls:5} {killed:6} {refused:7} {faults:8}");
        assert!(killed * 10 >= calls * 8, "{name}: only {killed} of {calls} were killed");
    }
}

#[test]
fn calls_are_read_from_a_trace() {
    let state = Path::new("/s");
    let text = "7 openat(AT_FDCWD</>, \"/etc/x\", O_RDONLY) = 3\n\
                7 openat(AT_FDCWD</>, \"/s/.tmp-0-a\", O_WRONLY|O_CREAT, 0600) = 3</s/.tmp-0-a>\n\
                7 fsync(3</s/.tmp-0-a>) = 0\n\
                8 rename(\"/s/.tmp-0-a\", \"/s/a\") = -1 EIO (Input/output error) (INJECTED)\n";
    let trace = Trace::parse(text, state);
    let calls: Vec<String> = trace.calls().iter().map(Call::to_string).collect();
    assert_eq!(calls, ["openat 2", "fsync 1", "rename 1"]);
    assert!(trace.has_struck());
}
