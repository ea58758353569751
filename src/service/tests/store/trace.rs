//! An operation under strace.

use crate::fixtures::Fixtures;
use crate::operations::OPERATIONS;
use rustix::process::Signal;
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

/// Says to a process of this test binary which operation it carries out, on what, with what.
const OPERATION: &str = "STORE_OPERATION";
const STATE: &str = "STORE_STATE";
const FIXTURES: &str = "STORE_FIXTURES";
const RESULT: &str = "STORE_RESULT";

/// Files that are not there: looking at them marks the operation in the trace.
const BEGIN: &str = "/store-operation-begins";
const END: &str = "/store-operation-ends";

/// The word of a process that is about to begin.
const READY: &str = "thread";

/// Calls that files have no part in, or whose failure nobody sees.
const LEFT_OUT: [&str; 7] = ["mmap", "close", "fcntl", "ioctl", "poll", "lseek", "execve"];

/// A system call of an operation.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    /// Which of its name it is in the process, from 1.
    pub(crate) number: usize,
    /// As strace writes it, from the parenthesis on, with the paths of descriptors.
    pub(crate) text: String,
}

impl Call {
    /// Returns whether it changes what is on disk.
    pub(crate) fn is_change(&self) -> bool {
        let changes = [
            "chmod",
            "fchmod",
            "fchmodat",
            "chown",
            "fchown",
            "fchownat",
            "mkdir",
            "mkdirat",
            "rename",
            "renameat",
            "renameat2",
            "rmdir",
            "symlink",
            "symlinkat",
            "unlink",
            "unlinkat",
            "write",
            "fsync",
            "fdatasync",
        ];
        changes.contains(&self.name.as_str()) || self.text.contains("O_CREAT")
    }
}

/// An injection into a process: the arguments of strace's `inject`.
pub(crate) type Injection = String;

/// End of an operation; `None`: it was killed.
pub(crate) type Ended = Option<Result<(), String>>;

/// Carries out an operation in a process of its own.
pub(crate) fn run(
    operation: usize,
    state: &Path,
    fixtures: &Fixtures,
    injections: &[Injection],
) -> (Ended, Vec<Call>) {
    let (output, result) = (state.with_extension("trace"), state.with_extension("result"));
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["trace::child", "--exact", "--nocapture"]).stderr(Stdio::null());
    command.env(OPERATION, operation.to_string()).env(STATE, state).env(RESULT, &result);
    command.env(FIXTURES, fixtures.dir()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let line = line_with(READY, &mut BufReader::new(child.stdout.take().unwrap()));
    let mut command = Command::new("strace");
    command.args(["-y", "-s", "16", "-e", "trace=%file,%desc", "-e", "signal=none"]);
    for injection in injections {
        command.arg("-e").arg(format!("inject={injection}"));
    }
    // Only this thread: its calls are counted from here on.
    let thread = line.rsplit(' ').next().unwrap().trim();
    command.arg("-o").arg(&output).args(["-p", thread]).stderr(Stdio::piped());
    let strace = command.spawn();
    let mut strace = strace.expect("strace is there: tests/packages.txt names its package");
    let mut said = BufReader::new(strace.stderr.take().unwrap());
    line_with("attached", &mut said);
    drop(child.stdin.take());
    let status = child.wait().unwrap();
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert!(strace.wait().is_ok(), "{rest}");
    let trace = fs::read_to_string(&output).unwrap();
    let ended = fs::read_to_string(&result).ok().map(|text| match text.as_str() {
        "" => Ok(()),
        error => Err(error.to_owned()),
    });
    let killed = status.signal() == Some(Signal::KILL.as_raw());
    assert!(ended.is_some() != killed, "neither ended nor killed: {injections:?}\n{rest}\n{trace}");
    let calls = calls(&trace);
    for file in [output, result] {
        let _ = fs::remove_file(file);
    }
    (ended, calls)
}

/// Reads lines up to one that has a word in it.
fn line_with(word: &str, lines: &mut impl BufRead) -> String {
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        if line.contains(word) {
            return line;
        }
        line.clear();
    }
    panic!("nobody says \"{word}\"")
}

/// The process that [`run`] starts; among the tests it does nothing.
#[test]
fn child() {
    let Ok(operation) = std::env::var(OPERATION) else { return };
    let operation = &OPERATIONS[operation.parse::<usize>().unwrap()];
    let path = |variable| std::path::PathBuf::from(std::env::var_os(variable).unwrap());
    let (state, result) = (path(STATE), path(RESULT));
    let fixtures = Fixtures::open(&path(FIXTURES));
    // OpenSSL reads its configuration once.
    let _ = (
        fixtures.key(1),
        openssl::x509::X509::stack_from_pem(fixtures.issued(1).fullchain.as_bytes()),
    );
    let begin = || {
        wait_for_strace();
        let _ = fs::metadata(BEGIN);
    };
    let done = operation.carry_out(&state, &fixtures, begin);
    let _ = fs::metadata(END);
    fs::write(result, done.map_or_else(|error| error.to_string(), |()| String::new())).unwrap();
}

/// Another thread waits for the end of the standard input: this one makes no call that is counted.
fn wait_for_strace() {
    let listener = thread::spawn(|| std::io::stdin().read(&mut [0]));
    // PROCESS/task/THREAD
    let thread = fs::read_link("/proc/thread-self").unwrap();
    println!("{READY} {}", thread.file_name().unwrap().to_string_lossy());
    let _ = listener.join().unwrap();
}

/// The calls of the operation in a trace.
fn calls(trace: &str) -> Vec<Call> {
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let (mut calls, mut is_within) = (Vec::new(), false);
    for line in trace.lines() {
        let Some((name, text)) = line.split_once('(') else { continue };
        let number = numbers.entry(name.to_owned()).or_default();
        *number += 1;
        if text.contains(BEGIN) {
            is_within = true;
        } else if text.contains(END) {
            is_within = false;
        } else if is_within && !text.contains("fixtures/") && !LEFT_OUT.contains(&name) {
            calls.push(Call { name: name.to_owned(), number: *number, text: text.to_owned() });
        }
    }
    calls
}
