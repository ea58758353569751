//! The doctor: `ACME_DNS_CHECK=all nginx -t`. A process of its own, with the service's user, environment and secrets,
//! makes the checks of [`acme_dns_service::doctor`]; whether there is a problem is its exit status.

use super::callback::guard;
use super::child;
use super::conf::{CoreConf, Ready};
use super::cycle::Cycle;
use super::nginx::tell_test;
use super::privileges;
use super::service_process::secrets;
use acme_dns_core::findings::{Report, Request};
use acme_dns_core::id::CertificateId;
use acme_dns_core::level::Level;
use acme_dns_core::material::Material;
use acme_dns_service::doctor::{LIMIT, Settings, check};
use acme_dns_service::event::Event;
use acme_dns_service::host::{Host, NoRoom};
use std::env;
use std::io::{self, Write};
use std::process::Command;
use std::sync::Arc;

/// The variable that asks for a check.
const VARIABLE: &str = "ACME_DNS_CHECK";

/// Process around a check: nobody listens to its events, since all that counts is in the report.
struct CheckHost;

impl Host for CheckHost {
    fn tell(&self, _: &Event) {}

    fn listens(&self, _: Level) -> bool {
        false
    }

    fn publish(&self, _: CertificateId, _: &Material) -> Result<(), NoRoom> {
        Ok(())
    }

    fn prepare_program(&self, command: &mut Command) {
        child::prepare(command);
    }
}

/// Makes the check that the environment asks for, after a configuration was tested; without that, nothing. Gives
/// whether the test succeeds. What is said goes to the terminal alone: the log is that of an NGINX at work.
pub(super) fn run(cycle: Cycle<'_>, conf: &CoreConf) -> bool {
    let Some(value) = env::var_os(VARIABLE) else { return true };
    let checked = Request::parse(&value.to_string_lossy());
    let checked = checked.and_then(|request| run_apart(cycle, conf, &request));
    if let Err(message) = &checked {
        tell_test(&format!("acme_dns: {message}"));
    }
    // NGINX itself does not say so where a module fails.
    if checked != Ok(true) {
        let file = cycle.conf_file().unwrap_or_default();
        tell_test(&format!("configuration file {file} test failed"));
    }
    checked == Ok(true)
}

/// Makes a check in a process of its own; gives whether there is no problem.
fn run_apart(cycle: Cycle<'_>, conf: &CoreConf, request: &Request) -> Result<bool, String> {
    let Some(ready) = conf.ready() else {
        return Err("the configuration has no certificates to check".to_owned());
    };
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        -1 => Err(format!("the check cannot be made: {}", io::Error::last_os_error())),
        0 => {
            let code = guard(1, || examine(cycle, conf, ready, request));
            // Not `exit()`: what nginx, OpenSSL and this module do there is the parent's business.
            // SAFETY: ends the process.
            unsafe { libc::_exit(code) };
        }
        pid => Ok(has_succeeded(pid)),
    }
}

/// Waits for the end of a process.
fn has_succeeded(pid: libc::pid_t) -> bool {
    let mut status = 0;
    loop {
        // SAFETY: the status is written there.
        let ended = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        if ended == pid {
            return libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0;
        }
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return false;
        }
    }
}

/// Checks as the user of the service, and shows the result; gives the exit status.
fn examine(cycle: Cycle<'_>, conf: &CoreConf, ready: &Ready, request: &Request) -> i32 {
    privileges::close();
    // Who interrupts NGINX leaves no test record behind.
    // SAFETY: a plain system call.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) };
    let user = match become_user(ready) {
        Ok(user) => user,
        Err(error) => {
            tell_test(&format!("acme_dns: cannot take the user of the service: {error}"));
            return 1;
        }
    };
    if cycle.set_environment().is_none() {
        tell_test("acme_dns: out of memory");
        return 1;
    }
    let settings = Settings {
        config: Arc::clone(&ready.config),
        secrets: secrets(conf),
        user,
        shared_user: ready.identity.shared_user(),
        host: Arc::new(CheckHost),
        limit: LIMIT,
    };
    match check(settings, request) {
        Ok(report) => i32::from(!(show(&report, request.is_json) && report.is_good())),
        Err(error) => {
            tell_test(&format!("acme_dns: {error}"));
            1
        }
    }
}

/// Takes the user that the service takes, and gives its name.
fn become_user(ready: &Ready) -> io::Result<String> {
    let identity = &ready.identity;
    privileges::take_user(identity.user, &identity.groups)?;
    if !identity.name.is_empty() {
        return Ok(identity.name.clone());
    }
    // SAFETY: a plain system call.
    let number = unsafe { libc::geteuid() };
    Ok(format!("number {number}"))
}

/// Writes the report; false if it cannot be written.
fn show(report: &Report, is_json: bool) -> bool {
    match is_json {
        true => {
            io::stdout().write_all(report.json().as_bytes()).and_then(|()| io::stdout().flush())
        }
        false => io::stderr().write_all(report.table().as_bytes()),
    }
    .is_ok()
}
