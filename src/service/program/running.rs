//! A program that runs, and its end.

use super::Pipes;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::Duration;
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::time::{sleep, timeout};

/// Pause between two looks whether it has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Time to end in good order, once it is asked to.
const GRACE: Duration = Duration::from_secs(5);

/// End of a program.
#[derive(Debug)]
pub(super) enum End {
    Status(i32),
    Signal(i32),
    TimedOut(Duration),
    Lost(String),
}

/// Program that leads a group of processes. All of them are killed when this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    child: Option<Child>,
    /// Number of the program, and of its group.
    pid: Option<Pid>,
}

impl Running {
    /// Starts a command, which has a group of its own.
    pub(super) fn start(command: &mut Command) -> io::Result<Self> {
        let child = command.spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        Ok(Self { child: Some(child), pid })
    }

    /// Takes the ends of its pipes.
    pub(super) fn take_pipes(&mut self) -> io::Result<Pipes> {
        let Some(child) = &mut self.child else { return Err(io::ErrorKind::NotFound.into()) };
        let input = child.stdin.take().map(|pipe| Sender::from_owned_fd(OwnedFd::from(pipe)));
        let output = child.stdout.take().map(|pipe| Receiver::from_owned_fd(OwnedFd::from(pipe)));
        let errors = child.stderr.take().map(|pipe| Receiver::from_owned_fd(OwnedFd::from(pipe)));
        Ok(Pipes {
            input: input.transpose()?,
            output: output.transpose()?,
            errors: errors.transpose()?,
        })
    }

    /// Waits for its end, but not longer than `limit`, and kills what it leaves behind in its group.
    pub(super) async fn end(&mut self, limit: Duration) -> End {
        let in_time = timeout(limit, self.exited()).await.is_ok();
        if !in_time {
            self.signal(Signal::TERM);
            let _exited = timeout(GRACE, self.exited()).await;
        }
        self.signal(Signal::KILL);
        // What the kernel itself is busy with may not end.
        let has_ended = timeout(GRACE, self.exited()).await.is_ok();
        if !in_time {
            return End::TimedOut(limit);
        }
        match self.child.as_mut().filter(|_| has_ended).map(Child::wait) {
            Some(Ok(status)) => {
                self.child = None;
                end_of(status)
            }
            Some(Err(error)) => {
                self.child = None;
                End::Lost(error.to_string())
            }
            None => End::Lost("it does not end".to_owned()),
        }
    }

    /// Waits until the program itself has ended. Its status stays to be fetched: until then no other group has
    /// its number.
    async fn exited(&self) {
        let Some(pid) = self.pid else { return };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        while let Ok(None) = waitid(WaitId::Pid(pid), options) {
            sleep(LOOK).await;
        }
    }

    /// Sends a signal to all processes of the group. It may be that none is left.
    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid {
            let _sent = kill_process_group(pid, signal);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        self.signal(Signal::KILL);
        // Somebody has to fetch its status, and this thread has other things to do.
        let _waiting = thread::Builder::new().spawn(move || child.wait());
    }
}

fn end_of(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Status(code),
        (None, Some(signal)) => End::Signal(signal),
        (None, None) => End::Lost(status.to_string()),
    }
}
