//! promtool, which comes with Prometheus: it reads metrics and rules as Prometheus does.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::package::{codename, unpacked};
use crate::process::run;

/// The path of the program, of the machine's own Debian.
///
/// # Panics
/// If it can neither be found nor downloaded.
#[must_use]
pub fn program() -> PathBuf {
    let suite = codename().unwrap_or_else(|| "bookworm".to_owned());
    unpacked("prometheus", &suite).join("usr/bin/promtool")
}

/// Has metrics read and judged.
///
/// # Errors
/// Their faults.
pub fn check_metrics(text: &str) -> Result<(), String> {
    let mut command = Command::new(program());
    command.args(["check", "metrics"]).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("promtool: {e}"))?;
    let mut stdin = child.stdin.take().ok_or("promtool has no input")?;
    stdin.write_all(text.as_bytes()).map_err(|e| format!("promtool: {e}"))?;
    drop(stdin);
    let output = child.wait_with_output().map_err(|e| format!("promtool: {e}"))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.success() && said.is_empty()).then_some(()).ok_or(said)
}

/// Runs the tests of rules.
///
/// # Errors
/// Its output.
pub fn test_rules(file: &Path) -> Result<String, String> {
    run(Command::new(program()).args(["test", "rules"]).arg(file))
}

/// Has rules read and judged.
///
/// # Errors
/// Its output.
pub fn check_rules(file: &Path) -> Result<String, String> {
    run(Command::new(program()).args(["check", "rules", "--lint-fatal"]).arg(file))
}
