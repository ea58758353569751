//! Programs of the user's, run for the service: started with nothing but what they are given, watched,
//! and ended with all that they have started.
//!
//! What a program is given and what its end means is for the caller; [`crate::dns`] has hooks that change the
//! DNS. What only the nginx edge can do to a new process is handed down by
//! [`Host::prepare_program`](crate::host::Host::prepare_program).
//!
//! Whether a program has ended is looked at from time to time: a descriptor that would tell needs Linux 5.3,
//! and the runtime's own way a handler of SIGCHLD, of which NGINX has one too. The look leaves the
//! status, so that the number of the process is still taken when its group is killed.

mod error;
mod file;
mod home;
mod output;
mod running;

pub use acme_dns_core::redact::Redactor;
pub use error::ProgramError;
pub use file::{User, check_directory, check_file, check_writers_of};

use acme_dns_core::config::ProgramFile;
use acme_dns_core::providers_protocol::PROGRAM;
use home::Home;
use output::{Output, read_pipe};
use running::Running;
use secrecy::{ExposeSecret, SecretString};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::sleep;

/// So many programs run at the same time.
const MAX_RUNNING: usize = 4;

/// Path of programs that programs start.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Time for output that is still in a pipe when its program has ended. A process that has left the group may
/// keep the pipe open for ever.
const REST_OF_OUTPUT: Duration = Duration::from_millis(500);

/// Attempts to start a program whose file somebody writes to, and the pause after each.
const BUSY_ATTEMPTS: usize = 20;
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// Words and variables that a program is called with.
pub struct Call {
    /// The program's absolute path.
    pub path: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables of its environment, besides those that every program has.
    pub variables: Vec<(String, String)>,
    /// Its standard input.
    pub input: Input,
}

/// Standard input of a program.
pub enum Input {
    /// Nothing.
    Nothing,
    /// A text.
    Text(SecretString),
    /// A text that depends on the first line that it prints; with none, its input ends. The log does not show what
    /// such a program prints, but for its errors.
    Reply(Box<Reply>),
}

/// Gives what a program is sent, by the first line that it prints.
pub type Reply = dyn Fn(&str) -> Option<SecretString>;

/// A program that is to run.
pub struct Program<'a> {
    /// The call.
    pub call: Call,
    /// The files of which it consists: nobody else may write to them.
    pub files: &'a [ProgramFile],
    /// The secrets that it is given, which its output must not show.
    pub redactor: &'a Redactor,
    /// The time that it may take.
    pub timeout: Duration,
    /// Advice for a person if it takes longer, or nothing.
    pub timeout_advice: &'static str,
}

/// Runs programs.
pub struct Programs {
    /// Directory of their home directories.
    homes: PathBuf,
    /// Path of `acme-dns-providers`.
    providers_program: String,
    last_home: Cell<u64>,
    prepare: Box<dyn Fn(&mut Command)>,
    places: Semaphore,
}

impl fmt::Debug for Programs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Programs").field("homes", &self.homes).finish_non_exhaustive()
    }
}

impl Programs {
    /// Makes a runner whose programs have their home directories below `homes`; what an earlier process has
    /// left there is removed. `prepare` does to each command what needs the nginx edge.
    pub fn new(homes: PathBuf, prepare: impl Fn(&mut Command) + 'static) -> Self {
        home::remove_all(&homes);
        let places = Semaphore::new(MAX_RUNNING);
        let (providers_program, last_home) = (PROGRAM.to_owned(), Cell::default());
        Self { homes, providers_program, last_home, prepare: Box::new(prepare), places }
    }

    /// Sets the path of the program `acme-dns-providers`, where it is known.
    #[must_use]
    pub fn with_providers_program(mut self, path: Option<&str>) -> Self {
        if let Some(path) = path {
            path.clone_into(&mut self.providers_program);
        }
        self
    }

    /// Gives the path of the program `acme-dns-providers`; its name where no path is set.
    pub(crate) fn providers_program(&self) -> &str {
        &self.providers_program
    }

    /// Runs a program to its end, and gives its standard output. `tell` hears each line of what it prints,
    /// as far as there are not too many.
    ///
    /// # Errors
    /// It was not started, or has not ended with status 0. If this is dropped, it is killed.
    pub async fn run(
        &self,
        program: Program<'_>,
        tell: &dyn Fn(String),
    ) -> Result<String, ProgramError> {
        let _place = self.places.acquire().await;
        for file in program.files {
            check_file(file, None).map_err(ProgramError::Unsafe)?;
        }
        self.last_home.set(self.last_home.get() + 1);
        let home = Home::new(&self.homes, self.last_home.get()).map_err(ProgramError::NoHome)?;
        let call = &program.call;
        let not_started = |error| ProgramError::not_started(&call.path, &error);
        let mut child = self.start_once_written(call, &home).await.map_err(not_started)?;
        let pipes = child.take_pipes().map_err(not_started)?;
        let output = RefCell::new(Output::new(program.redactor, tell));
        let (tell_end, ended) = oneshot::channel();
        let ending = async {
            let end = child.end(program.timeout).await;
            let _nobody_reads = tell_end.send(());
            end
        };
        let reading = async {
            let rest = async {
                let _ended = ended.await;
                sleep(REST_OF_OUTPUT).await;
            };
            tokio::select! {
                ((), (), ()) = exchange(pipes, &call.input, &output) => {}
                () = rest => {}
            }
        };
        let (end, ()) = tokio::join!(ending, reading);
        let (standard, last) = output.into_inner().finish();
        match error::of(end, last, program.timeout_advice) {
            Some(error) => Err(error),
            None => Ok(standard),
        }
    }

    /// Starts a program. It is tried again for a while if somebody writes to the program's file: it is being replaced, or
    /// a process that was forked meanwhile has inherited the open file, and will have closed it in a moment.
    async fn start_once_written(&self, call: &Call, home: &Home) -> io::Result<Running> {
        for _ in 0..BUSY_ATTEMPTS {
            match self.start(call, home) {
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                    sleep(BUSY_PAUSE).await;
                }
                started => return started,
            }
        }
        self.start(call, home)
    }

    fn start(&self, call: &Call, home: &Home) -> io::Result<Running> {
        let mut command = Command::new(&call.path);
        let has_input = !matches!(call.input, Input::Nothing);
        command
            .args(&call.arguments)
            .env_clear()
            .envs([("PATH", PATH), ("LANG", "C.UTF-8")])
            .env("HOME", home.path())
            .env("TMPDIR", home.path())
            .envs(call.variables.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(if has_input { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        (self.prepare)(&mut command);
        Running::start(&mut command)
    }
}

/// Ends of a program's pipes.
struct Pipes {
    input: Option<Sender>,
    output: Option<Receiver>,
    errors: Option<Receiver>,
}

/// Writes the input of a program, and reads all that it prints.
async fn exchange(pipes: Pipes, input: &Input, output: &RefCell<Output<'_>>) -> ((), (), ()) {
    let Pipes { input: sender, output: standard, errors } = pipes;
    let (tell_first, first) = oneshot::channel();
    let mut tell_first = Some(tell_first);
    let feed = async {
        let text = match input {
            Input::Nothing => None,
            Input::Text(text) => Some(text.clone()),
            Input::Reply(reply) => first.await.ok().and_then(|line: String| reply(&line)),
        };
        if let (Some(mut sender), Some(text)) = (sender, text) {
            // A program need not read it.
            let _written = sender.write_all(text.expose_secret().as_bytes()).await;
        }
    };
    let is_shown = !matches!(input, Input::Reply(_));
    let read_standard = |line: &[u8]| {
        if let Some(tell_first) = tell_first.take() {
            let _nobody_asks = tell_first.send(String::from_utf8_lossy(line).into_owned());
        }
        output.borrow_mut().add_standard(line, is_shown);
    };
    tokio::join!(
        feed,
        read_pipe(standard, read_standard),
        read_pipe(errors, |line| output.borrow_mut().add_error(line)),
    )
}
