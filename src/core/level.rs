//! Severities, as nginx has them.

/// Importance of a line of the error log. What each level means is a convention of this
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
    /// Plans: what happens next, and why.
    Info,
    /// Single steps.
    Debug,
}
