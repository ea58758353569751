//! Attacks on a running nginx by the user of its workers: what somebody can do who has taken over a
//! worker, or any other program of that user.
//!
//! The programs are in `tests/attacks`. Each makes one attack, and prints what came of it. They run
//! for a moment here; `ATTACK_SECONDS` gives those more time that have to win a race.

mod channel;
mod forgeries;
mod links;
mod memory;
mod modules;
mod privileges;
mod rewriting;
mod state;

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use openssl::pkey::PKey;
use serde_json::{Value, json};
use servers::paths::workspace_dir;
use servers::process::spawn;
use tempfile::TempDir;
use testbed::measurements::proc;
use testbed::nginx::Nginx;

use crate::site::{NOBODY, Site};

const NAME: &str = "example.test";

/// Debian's, whatever else is installed for root alone.
const PYTHON: &str = "/usr/bin/python3";

/// Returns the time that an attack goes on which has to win a race.
fn time_of_a_race() -> Duration {
    let given = std::env::var("ATTACK_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(given.unwrap_or(3))
}

/// The programs, where the user of the workers can read them.
struct Attacker {
    dir: TempDir,
}

impl Attacker {
    fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("attacks-")
            .permissions(Permissions::from_mode(0o777))
            .tempdir()
            .expect("a temporary directory");
        // Not as the umask has it.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o1777)).expect("a mode");
        for entry in fs::read_dir(workspace_dir().join("tests/attacks")).expect("they are there") {
            let from = entry.expect("an entry").path();
            if from.extension().is_some_and(|extension| extension == "py") {
                let to = dir.path().join(from.file_name().expect("a name"));
                fs::copy(&from, &to).expect("it can be copied");
                fs::set_permissions(&to, Permissions::from_mode(0o644)).expect("a mode");
            }
        }
        Self { dir }
    }

    /// A directory that everybody may write to.
    fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Makes an attack as the workers' user; gives what the program says of it.
    fn run(&self, program: &str, given: &Value) -> Value {
        self.start(program, given).finish()
    }

    /// The same as root.
    fn run_as_root(&self, program: &str, given: &Value) -> Value {
        Attack::start(self.program(PYTHON, &[], program, given)).finish()
    }

    fn start(&self, program: &str, given: &Value) -> Attack {
        let id = NOBODY.to_string();
        let (user, group) = (format!("--reuid={id}"), format!("--regid={id}"));
        let change = [&*user, &group, "--clear-groups", "--pdeathsig=KILL", "--", PYTHON];
        Attack::start(self.program("setpriv", &change, program, given))
    }

    fn program(&self, command: &str, arguments: &[&str], program: &str, given: &Value) -> Command {
        let mut command = Command::new(command);
        // Nothing is compiled into a directory that others look at.
        command.args(arguments).arg("-B").arg(self.dir().join(program)).arg(given.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// An attack that is under way.
struct Attack(Child);

impl Attack {
    fn start(command: Command) -> Self {
        Self(spawn(command).expect("it starts"))
    }

    fn finish(self) -> Value {
        let output = self.0.wait_with_output().expect("it ends");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", output.status);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {errors}"))
    }
}

/// A site with two workers and a certificate. Root only: another user's attacks on itself would say
/// nothing.
fn site() -> Site {
    assert!(rustix::process::geteuid().is_root(), "these tests are for root");
    let mut site = Site::new();
    site.nginx.workers(2);
    site.set_servers(&[NAME]);
    site
}

/// Directives that have nginx start its cache loader.
fn cache(nginx: &Nginx) -> String {
    format!("proxy_cache_path {} keys_zone=cache:1m;", nginx.path("cache").display())
}

/// All processes but the master, by their titles; workers are numbered.
fn processes(nginx: &Nginx) -> Vec<(String, u32)> {
    let mut workers = 0;
    let named = |pid: u32| {
        let name = match proc::title(pid).as_str() {
            "nginx: worker process" => {
                workers += 1;
                format!("worker {workers}")
            }
            "nginx: acme dns process" => "service".to_owned(),
            "nginx: cache manager process" => "manager".to_owned(),
            "nginx: cache loader process" => "loader".to_owned(),
            // A child that has not begun has the title of the master.
            other => format!("{other} ({pid})"),
        };
        (name, pid)
    };
    let master = nginx.master_pid();
    proc::family(master).into_iter().filter(|pid| *pid != master).map(named).collect()
}

/// As [`processes`], for a program.
fn processes_json(nginx: &Nginx) -> Value {
    Value::Object(processes(nginx).into_iter().map(|(name, pid)| (name, json!(pid))).collect())
}

/// Returns the secrets that no process facing the internet may have, as the programs take them: token and account
/// key.
fn needles(site: &Site) -> Value {
    let mut needles = vec![site.bed.token().as_bytes().to_vec()];
    let pem = fs::read_to_string(site.state().join("accounts/pebble/account_key.pem"));
    let pem = pem.expect("the account has a key");
    let lines = pem.lines().filter(|line| line.len() >= 40 && !line.starts_with('-'));
    needles.extend(lines.map(|line| line.as_bytes().to_vec()));
    let key = PKey::private_key_from_pem(pem.as_bytes()).expect("a key");
    let number = key.ec_key().expect("an EC key").private_key().to_vec();
    needles.push(number);
    assert!(needles.len() >= 3);
    needles.iter().map(|needle| hex(needle)).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checks that everything works as before an attack: what is there is served, a certificate is renewed,
/// and another one obtained.
fn check_all_works(site: &mut Site, master: u32) {
    let before = site.wait_for_certificate(NAME).leaf;
    ask_for_renewal(site).expect("it can be asked for");
    site.reload();
    site.wait_for_other(NAME, &before.serial);
    site.set_servers(&[NAME, "more.example.test"]);
    site.reload();
    site.wait_for_certificate("more.example.test");
    assert_eq!(site.nginx.master_pid(), master);
    assert!(proc::is_alive(master), "{}", site.nginx.log());
    assert!(!site.nginx.log().contains(&format!("process {master} exited")));
}

/// Asks for a new certificate at the next reload.
fn ask_for_renewal(site: &Site) -> io::Result<()> {
    fs::write(site.state().join(format!("actions/renew-{NAME}")), "")
}
