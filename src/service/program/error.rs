//! Errors of programs, with what a person can do about them.

use super::running::End;
use acme_dns_core::text::errno;
use std::io;
use std::path::Path;
use std::time::Duration;
use thiserror::Error;

/// Status of a shell that cannot execute a command.
const NOT_EXECUTABLE: i32 = 126;

/// Status of a shell that does not find a command.
const NOT_FOUND: i32 = 127;

/// Error of a program. `last` has the last lines that it has printed, as a line of the log shows them.
#[derive(Clone, Debug, Error)]
pub enum ProgramError {
    /// Somebody else may write to one of its files, or one is missing.
    #[error("{0}")]
    Unsafe(String),
    /// It has no home directory.
    #[error("its home directory cannot be made: {0}")]
    NoHome(String),
    /// The system does not start it.
    #[error("\"{path}\" cannot be started ({error}){advice}")]
    NotStarted {
        /// The program.
        path: String,
        /// The error of the system.
        error: String,
        /// Advice for a person, or nothing.
        advice: &'static str,
        /// Set if the system may do it later.
        is_temporary: bool,
    },
    /// It has ended with another status than 0.
    #[error("it has ended with status {status}{}{}", meaning(*.status), shown(.last))]
    Failed {
        /// The status.
        status: i32,
        /// The last lines.
        last: Vec<String>,
    },
    /// A signal has ended it.
    #[error("it was ended by signal {signal}{}", shown(.last))]
    Killed {
        /// The signal.
        signal: i32,
        /// The last lines.
        last: Vec<String>,
    },
    /// It was ended because it has taken too long.
    #[error(
        "it was not done in {} s and was ended{advice}{}",
        .after.as_secs(), shown(.last)
    )]
    TimedOut {
        /// Time that it was given.
        after: Duration,
        /// Advice for a person, or nothing.
        advice: &'static str,
        /// The last lines.
        last: Vec<String>,
    },
    /// It is not the program that is expected, and was sent nothing.
    #[error("\"{path}\" {mistake}")]
    Unsuitable {
        /// The program.
        path: String,
        /// The difference, and what to do about it.
        mistake: String,
    },
    /// It has ended, and nobody knows how.
    #[error("its status is lost: {why}{}", shown(.last))]
    Lost {
        /// The error of the system.
        why: String,
        /// The last lines.
        last: Vec<String>,
    },
}

impl ProgramError {
    /// Makes the error of a program that the system does not start.
    pub(super) fn not_started(path: &str, error: &io::Error) -> Self {
        let advice = match error.kind() {
            io::ErrorKind::NotFound if Path::new(path).exists() => {
                "; the interpreter that its first line names is missing"
            }
            io::ErrorKind::PermissionDenied => {
                "; the user of the service must be able to read and execute it"
            }
            io::ErrorKind::ExecutableFileBusy => "; somebody has it open to write to it",
            _ => "",
        };
        let is_temporary = matches!(
            error.kind(),
            io::ErrorKind::WouldBlock
                | io::ErrorKind::OutOfMemory
                | io::ErrorKind::ExecutableFileBusy
        );
        Self::NotStarted { path: path.to_owned(), error: errno(error), advice, is_temporary }
    }

    /// Tells whether it was started with a task, and may have done something.
    #[must_use]
    pub fn was_started(&self) -> bool {
        !matches!(
            self,
            Self::Unsafe(_) | Self::NoHome(_) | Self::NotStarted { .. } | Self::Unsuitable { .. }
        )
    }

    /// Tells whether it fails whatever it is asked for.
    #[must_use]
    pub fn is_general(&self) -> bool {
        match self {
            Self::Unsafe(_)
            | Self::NoHome(_)
            | Self::NotStarted { .. }
            | Self::Unsuitable { .. } => true,
            Self::Failed { status, .. } => matches!(*status, NOT_EXECUTABLE | NOT_FOUND),
            Self::TimedOut { .. } => true,
            Self::Killed { .. } | Self::Lost { .. } => false,
        }
    }

    /// Tells whether it is useless to try again before a person has changed something.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Unsafe(_) | Self::Unsuitable { .. } => true,
            Self::NotStarted { is_temporary, .. } => !is_temporary,
            Self::Failed { status, .. } => matches!(*status, NOT_EXECUTABLE | NOT_FOUND),
            Self::NoHome(_) | Self::Killed { .. } | Self::TimedOut { .. } | Self::Lost { .. } => {
                false
            }
        }
    }
}

/// Makes an error of the end of a program, if it is one.
pub(super) fn of(end: End, last: Vec<String>, advice: &'static str) -> Option<ProgramError> {
    match end {
        End::Status(0) => None,
        End::Status(status) => Some(ProgramError::Failed { status, last }),
        End::Signal(signal) => Some(ProgramError::Killed { signal, last }),
        End::TimedOut(after) => Some(ProgramError::TimedOut { after, advice, last }),
        End::Lost(why) => Some(ProgramError::Lost { why, last }),
    }
}

fn meaning(status: i32) -> &'static str {
    match status {
        NOT_EXECUTABLE => ", as a shell does that cannot execute a command: check its mode",
        NOT_FOUND => {
            ", as a shell does that does not find a command: install it, or give its directory by \"env PATH\""
        }
        _ => "",
    }
}

fn shown(last: &[String]) -> String {
    match last {
        [] => String::new(),
        last => format!("; it said: {}", last.join(" | ")),
    }
}
