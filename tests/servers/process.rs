//! Servers that are processes of their own.

use std::any::Any;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Pause of a wait between two looks at its condition.
pub(crate) const POLL: Duration = Duration::from_millis(10);

/// Longer than the start of any server takes while all processors and disks are busy with others.
///
/// It costs nothing: a program that ends is noticed at once.
pub(crate) const START: Duration = Duration::from_secs(180);

/// Longest time until a signal has stopped a program.
const STOP: Duration = Duration::from_secs(10);

/// Waits until `condition` gives a value; `None` after `timeout`.
pub fn wait_until<T>(timeout: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + timeout;
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::sleep(POLL);
    }
}

/// A program that is killed when this is dropped, and when the test process dies.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    exited: Option<ExitStatus>,
    log: PathBuf,
}

impl Process {
    /// Starts a program, with its output and errors appended to the file `log`.
    ///
    /// # Panics
    /// If the program cannot be started.
    #[must_use]
    pub fn start(command: &Command, log: &Path) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .and_then(|out| Ok((out.try_clone()?, out)))
            .unwrap_or_else(|e| panic!("cannot open {}: {e}", log.display()));
        let mut wrapped = die_with_parent(command);
        wrapped.stdin(Stdio::null()).stdout(output.0).stderr(output.1);
        let child = spawn(wrapped).unwrap_or_else(|e| panic!("cannot start {name}: {e}"));
        Self { name, child, exited: None, log: log.to_owned() }
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns whether the program still runs; a stopped one does.
    pub fn is_running(&mut self) -> bool {
        self.try_wait().is_none()
    }

    /// The exit status, if the program has ended.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        if self.exited.is_none() {
            self.exited = self.child.try_wait().ok().flatten();
        }
        self.exited
    }

    /// Waits for the program to end by itself.
    pub fn wait(&mut self, timeout: Duration) -> Option<ExitStatus> {
        wait_until(timeout, || self.try_wait())
    }

    /// Sends a signal; does nothing if the program has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.try_wait().is_none()
            && let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
        {
            kill_process(pid, signal)
                .unwrap_or_else(|e| panic!("cannot signal {} ({pid:?}): {e}", self.name));
        }
    }

    /// Stops it where it is (SIGSTOP): connections are accepted by the kernel, but not answered.
    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
        // On a busy machine its threads run on until the first of them has taken the signal.
        let pid = self.child.id();
        wait_until(STOP, || (!self.is_running() || is_stopped(pid)).then_some(()));
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
    }

    /// Kills the program and waits for its end.
    pub fn stop(&mut self) -> ExitStatus {
        let _ = self.child.kill();
        let status = self.exited.unwrap_or_else(|| {
            self.child.wait().unwrap_or_else(|_| ExitStatus::from_raw(Signal::KILL.as_raw()))
        });
        self.exited = Some(status);
        status
    }

    /// Returns its output so far.
    #[must_use]
    pub fn log(&self) -> String {
        read_log(&self.log)
    }

    /// Waits until the log contains `text`.
    ///
    /// # Panics
    /// After `timeout`, or when the program ends without having written it; with the whole log.
    pub fn wait_for_log(&mut self, text: &str, timeout: Duration) {
        let found = wait_until(timeout, || {
            // The order matters: a program may write the text and end at once.
            let ended = self.try_wait().is_some();
            let found = self.log().contains(text);
            (found || ended).then_some(found)
        });
        if found != Some(true) {
            panic!("{} did not log \"{text}\" within {timeout:?}:\n{}", self.name, self.log());
        }
    }

    /// Waits until a TCP connection to `addr` succeeds.
    ///
    /// # Panics
    /// After `timeout`, or when the program ends; with the log.
    pub fn wait_for_port(&mut self, addr: SocketAddr, timeout: Duration) {
        let open = wait_until(timeout, || {
            let open = TcpStream::connect_timeout(&addr, Duration::from_millis(200)).is_ok();
            (open || self.try_wait().is_some()).then_some(open)
        });
        if open != Some(true) {
            let condition = self.condition();
            panic!("{} does not listen on {addr}: {condition}\n{}", self.name, self.log());
        }
    }

    /// Describes what it does at this moment: ended, or its state, its processor time, where it waits, and how busy the machine is.
    fn condition(&mut self) -> String {
        if let Some(status) = self.try_wait() {
            return format!("it has ended, {status}");
        }
        let read = |path: String| fs::read_to_string(path).unwrap_or_default();
        let status = read(format!("/proc/{}/status", self.pid()));
        let state = status.lines().find(|line| line.starts_with("State:")).unwrap_or_default();
        let times = read(format!("/proc/{}/schedstat", self.pid()));
        let place = read(format!("/proc/{}/wchan", self.pid()));
        let load = read("/proc/loadavg".to_owned());
        format!("{state}, schedstat {} ns, in {place}, load {}", times.trim(), load.trim())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Returns whether all threads of a process are stopped: proc(5), `/proc/PID/stat`.
fn is_stopped(pid: u32) -> bool {
    let is_stopped = |thread: fs::DirEntry| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|fields| fields.starts_with('T'))
    };
    fs::read_dir(format!("/proc/{pid}/task"))
        .is_ok_and(|mut threads| threads.all(|thread| thread.is_ok_and(is_stopped)))
}

pub(crate) fn read_log(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The same command under `setpriv`, which makes the kernel kill it when its parent dies.
pub fn die_with_parent(command: &Command) -> Command {
    let mut wrapped = Command::new("setpriv");
    wrapped.args(["--pdeathsig", "KILL", "--"]);
    wrapped.arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(key, value),
            None => wrapped.env_remove(key),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        wrapped.current_dir(dir);
    }
    wrapped
}

/// Spawns from a thread that lives as long as the process.
///
/// The kernel takes the end of the spawning *thread* for the parent's death, and a test's thread
/// may end before a server that several tests share.
pub fn spawn(command: Command) -> std::io::Result<Child> {
    type Request = (Command, Sender<std::io::Result<Child>>);
    static SPAWNER: OnceLock<Mutex<Sender<Request>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (requests, queue) = channel::<Request>();
        thread::spawn(move || {
            for (mut command, answer) in queue {
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(requests)
    });
    let gone = || std::io::Error::other("the spawning thread is gone");
    let (answer, result) = channel();
    let sent = spawner.lock().unwrap_or_else(PoisonError::into_inner).send((command, answer));
    sent.map_err(|_| gone())?;
    result.recv().map_err(|_| gone())?
}

/// Runs a program to its end.
///
/// # Errors
/// Its output, if it cannot be started or fails.
pub fn run(command: &mut Command) -> Result<String, String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("cannot run {}: {e}", command.get_program().display()))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(format!("{} {}:\n{stdout}{stderr}", command.get_program().display(), output.status))
}

/// Makes an error of a panic, which is how the testbed fails: one of several that fails must not keep
/// the others from their turn.
///
/// # Errors
/// That of `work`, or the text of its panic.
pub fn caught<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| Err(text(&*payload)))
}

fn text(payload: &(dyn Any + Send)) -> String {
    let words = payload.downcast_ref::<String>().map(String::as_str);
    words.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}
