//! Severities, as nginx has them.

/// How important a line of the error log is. What each level means is a convention of this
/// project: `Error` asks for a person, `Warn` will be retried, `Notice` is an event worth keeping,
/// `Info` is the plan, `Debug` the single steps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
    /// A person is needed.
    Error,
    /// Something went wrong and will be retried.
    Warn,
    /// A certificate was issued, an account was created, something was cleaned up.
    Notice,
    /// What will happen next, and why.
    Info,
    /// Single steps.
    Debug,
}
