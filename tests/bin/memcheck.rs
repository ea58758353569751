//! `make memcheck`: nginx with the module under valgrind, from its start over a certificate that it
//! obtains, handshakes and reloads to its stop.
//!
//! No process may touch memory that it must not, and the master must not grow with its reloads. What
//! grows is seen by comparing a run of few reloads with a run of many; an nginx without the module,
//! which serves the same certificate from files, says what nginx itself adds.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use servers::Testbed;
use servers::ZONE;
use servers::paths::{cache_dir, workspace_dir};
use servers::ports::Port;
use servers::process::{spawn, wait_until};
use testbed::clients::tls::{SslVersion, TlsClient};
use testbed::measurements::proc;
use testbed::nginx::build::NginxBuild;

/// The two numbers of reloads that are compared.
const FEW: usize = 5;
const MANY: usize = 25;

/// Valgrind makes everything 20 to 50 times slower, and looks through all memory when a process
/// ends.
const LIMIT: Duration = Duration::from_secs(300);

/// Number of further servers: the last of them share what nginx keeps for TLS.
const OTHERS: usize = 70;

/// Names of the lines of a watched domains file.
const LINES: [&str; 2] = ["line", "more"];

/// Lines of a report that are shown.
const SHOWN: usize = 60;

fn main() -> ExitCode {
    match memcheck() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("memcheck: {error}");
            ExitCode::FAILURE
        }
    }
}

fn memcheck() -> Result<bool, String> {
    let given = ["NGINX_BINARY", "ACME_DNS_MODULE"].map(|name| std::env::var_os(name).is_some());
    let build = match given {
        [true, true] => NginxBuild::get().clone(),
        _ => NginxBuild::with_symbols()?,
    };
    let logs = cache_dir().join("memcheck");
    let _ = fs::remove_dir_all(&logs);
    let bed = Testbed::start();
    println!("nginx {}, one certificate for {ZONE} and *.{ZONE}", build.version);
    println!("                                                    bytes of the master");
    println!("                processes  errors  leaks      lost  indirectly lost   reachable");
    // Names of one length: nginx keeps paths, and a byte more is a growth.
    let run = |name: &str, reloads: usize, files: Option<&Path>| {
        let name = &format!("{name}-{reloads:02}");
        let dir = bed.dir().join(name);
        let mut run = Run::new(&build, &bed, dir, logs.join(name), files)?;
        let report = run.run(reloads).map_err(|e| format!("{name}: {e}\n{}", run.log()))?;
        println!("{name:<15} {report}");
        Ok::<_, String>((report, run.certificate()))
    };
    let (few, files) = run("module", FEW, None)?;
    let (many, _) = run("module", MANY, None)?;
    let (control_few, _) = run("control", FEW, Some(&files))?;
    let (control_many, _) = run("control", MANY, Some(&files))?;
    let growth = Growth::between(&few.master, &many.master);
    let control = Growth::between(&control_few.master, &control_many.master);
    println!("bytes per reload: with the module {growth}; without {control}");
    println!("the reports are in {}", logs.display());
    let reports = [few, many, control_few, control_many];
    let shown: Vec<&str> = reports.iter().flat_map(|report| report.text.lines()).collect();
    shown.iter().take(SHOWN).for_each(|line| println!("{line}"));
    let faults: usize = reports.iter().map(|report| report.errors + report.leaks).sum();
    Ok(faults == 0 && growth.is_at_most(&control))
}

/// A server that chooses by name, with a watched domains file.
fn choosing(dir: &Path, port: &Port) -> String {
    let (file, listen) = (dir.join("domains.txt"), port.addr());
    format!(
        "acme_dns_domains {} watch;\nserver {{ listen {listen} ssl; server_name _; acme_dns sni; return 200; }}\n",
        file.display()
    )
}

fn write_lines(dir: &Path, lines: &[&str]) -> Result<(), String> {
    let text: String = lines.iter().map(|line| format!("{line}.{ZONE}\n")).collect();
    fs::write(dir.join("domains.txt"), text).map_err(|e| format!("domains.txt: {e}"))
}

/// An nginx under valgrind, in a directory of its own.
struct Run {
    dir: PathBuf,
    logs: PathBuf,
    binary: PathBuf,
    port: Port,
    /// Port of the server that chooses by name, of those with the module.
    by_name: Port,
    roots: String,
    has_module: bool,
    master: Option<Child>,
}

impl Run {
    /// With the module, or without it and with the files of a certificate.
    fn new(
        build: &NginxBuild,
        bed: &Testbed,
        dir: PathBuf,
        logs: PathBuf,
        files: Option<&Path>,
    ) -> Result<Self, String> {
        make_directory(&dir, 0o755)?;
        // The service is a child of the manager, which has the workers' user already.
        make_directory(&logs, 0o777)?;
        let (port, by_name) = (Port::reserve(), Port::reserve());
        let (main, http, server) = match files {
            None => (
                format!("load_module {};", build.module.display()),
                format!("{}{}", bed.directives(), choosing(&dir, &by_name)),
                format!("acme_dns {ZONE} *.{ZONE};"),
            ),
            Some(files) => (String::new(), String::new(), files_of(files)),
        };
        let user = match (rustix::process::geteuid().is_root(), files) {
            (true, None) => "user nobody nogroup;\nacme_dns_user daemon daemon;",
            (true, Some(_)) => "user nobody nogroup;",
            (false, _) => "",
        };
        let at = dir.display();
        let others = (0..=OTHERS).map(|n| {
            let (listen, name) = (port.addr(), other(n));
            format!("server {{ listen {listen} ssl; server_name {name}; {server} return 200; }}\n")
        });
        let others: String = others.collect();
        let config = format!(
            "{main}\n{user}\ndaemon off;\nmaster_process on;\nworker_processes 1;\n\
             pid {at}/nginx.pid;\nerror_log {at}/error.log info;\nevents {{ }}\nhttp {{\n\
             access_log off;\n{http}\nserver {{\nlisten {listen} ssl;\n\
             server_name {ZONE} *.{ZONE};\n{server}\n\
             location / {{ return 200; }}\n}}\n{others}}}\n",
            listen = port.addr(),
        );
        fs::write(dir.join("nginx.conf"), config).map_err(|e| format!("nginx.conf: {e}"))?;
        write_lines(&dir, &LINES[..1])?;
        Ok(Self {
            dir,
            logs,
            binary: build.binary.clone(),
            port,
            by_name,
            roots: bed.pebble.root_pem(0),
            has_module: files.is_none(),
            master: None,
        })
    }

    /// Returns the directory with a copy of the certificate's files.
    fn certificate(&self) -> PathBuf {
        self.dir.join("acme_dns/certs").join(ZONE)
    }

    fn run(&mut self, reloads: usize) -> Result<Report, String> {
        let master = self.start()?;
        self.shake_hands()?;
        // One more comes while nginx runs.
        write_lines(&self.dir, &LINES)?;
        self.choose_by_name(&LINES)?;
        for _ in 0..reloads {
            self.reload(master)?;
            self.shake_hands()?;
            self.choose_by_name(&LINES)?;
        }
        proc::kill(master, Signal::QUIT);
        self.wait("does not stop", |run| (!run.is_running()).then_some(()))?;
        Report::read(&self.logs, master)
    }

    fn start(&mut self) -> Result<u32, String> {
        let output = fs::File::create(self.dir.join("output.log"));
        let output = output.map_err(|e| format!("cannot create output.log: {e}"))?;
        let suppressions = workspace_dir().join("tests/memcheck.supp");
        let mut command = Command::new("setpriv");
        // TERM, unlike KILL, also ends the master's own children.
        command.args(["--pdeathsig", "TERM", "--", "valgrind", "--trace-children=yes"]);
        command.arg(format!("--log-file={}/%p.log", self.logs.display()));
        command.arg(format!("--suppressions={}", suppressions.display()));
        command.args(["--leak-check=full", "--show-leak-kinds=all"]);
        // Leaks are compared, not forbidden: OpenSSL and nginx leave some to the exit.
        command.args(["--errors-for-leak-kinds=none", "--num-callers=40", "--vgdb=no"]);
        command.arg(&self.binary).arg("-p").arg(&self.dir).args(["-e", "error.log"]);
        command.arg("-c").arg(self.dir.join("nginx.conf"));
        command.stdin(Stdio::null()).stderr(output);
        let child = spawn(command).map_err(|e| format!("cannot start valgrind: {e}"))?;
        let master = child.id();
        self.master = Some(child);
        self.wait_for_children(master, &[])?;
        Ok(master)
    }

    /// Reloads, and waits for the end of all processes of before.
    fn reload(&mut self, master: u32) -> Result<(), String> {
        let old = proc::children(master);
        proc::kill(master, Signal::HUP);
        self.wait_for_children(master, &old)
    }

    /// Waits until there are all processes and none of the old ones. They cannot be told by their
    /// titles: those are inside of valgrind.
    fn wait_for_children(&mut self, master: u32, old: &[u32]) -> Result<(), String> {
        let expected = if self.has_module { 2 } else { 1 };
        self.wait("does not have all processes", |_| {
            let children = proc::children(master);
            let new = !children.iter().any(|pid| old.contains(pid));
            (new && children.len() == expected).then_some(())
        })
    }

    /// Waits until the certificate of the authority is served for both names, in both versions of
    /// TLS.
    fn shake_hands(&mut self) -> Result<(), String> {
        for name in [ZONE.to_owned(), format!("www.{ZONE}"), other(OTHERS)] {
            for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
                let client = TlsClient::new(self.port.addr()).sni(&name).version(version);
                let client = client.roots(&self.roots);
                self.wait("serves no certificate", |_| client.handshake().ok())?;
            }
        }
        Ok(())
    }

    /// Waits until the server that chooses by name serves the certificates of all lines.
    fn choose_by_name(&mut self, lines: &[&str]) -> Result<(), String> {
        let lines = if self.has_module { lines } else { &[] };
        for line in lines {
            let name = format!("{line}.{ZONE}");
            let client = TlsClient::new(self.by_name.addr()).sni(&name).roots(&self.roots);
            self.wait("serves no certificate of a line", |_| client.handshake().ok())?;
        }
        Ok(())
    }

    /// Waits for something; an nginx that has ended is not waited for.
    fn wait<T>(
        &mut self,
        otherwise: &str,
        mut condition: impl FnMut(&mut Self) -> Option<T>,
    ) -> Result<T, String> {
        let met = wait_until(LIMIT, || {
            let running = self.is_running();
            match condition(self) {
                Some(value) => Some(Some(value)),
                None if running => None,
                None => Some(None),
            }
        });
        met.flatten().ok_or_else(|| format!("nginx {otherwise}"))
    }

    fn is_running(&mut self) -> bool {
        self.master.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    fn log(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.dir.join(name)).unwrap_or_default();
        read("output.log") + &read("error.log")
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let Some(mut child) = self.master.take() else { return };
        if matches!(child.try_wait(), Ok(None)) {
            let family = proc::children(child.id());
            // The master first: it would start anew what is killed.
            let _ = child.kill();
            let _ = child.wait();
            family.iter().for_each(|pid| proc::kill(*pid, Signal::KILL));
        }
    }
}

/// Findings of valgrind about all processes of a run.
struct Report {
    processes: usize,
    /// Accesses to memory that must not be touched, or has no value.
    errors: usize,
    /// Memory that code of ours, in any process, has allocated and then lost.
    leaks: usize,
    master: Memory,
    /// The errors and leaks.
    text: String,
}

/// Result of the leak check of a process that ended, in bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    lost: i64,
    indirect: i64,
    reachable: i64,
}

impl Report {
    fn read(logs: &Path, master: u32) -> Result<Self, String> {
        let mut report = Self {
            processes: 0,
            errors: 0,
            leaks: 0,
            master: Memory::default(),
            text: String::new(),
        };
        let entries = fs::read_dir(logs).map_err(|e| format!("{}: {e}", logs.display()))?;
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            let missing = || format!("{} is not complete", path.display());
            let errors = number_after(&text, "ERROR SUMMARY: ").ok_or_else(missing)?;
            report.processes += 1;
            report.errors += usize::try_from(errors).unwrap_or_default();
            let leaks: Vec<&str> = leaks_of(&text).collect();
            report.leaks += leaks.len();
            if errors != 0 {
                let _ = writeln!(report.text, "{}:\n{}", path.display(), errors_of(&text));
            }
            leaks.iter().for_each(|leak| {
                let _ = writeln!(report.text, "{leak}\n");
            });
            if path.file_stem().is_some_and(|stem| *stem == *master.to_string()) {
                report.master = Memory::read(&text);
            }
        }
        Ok(report)
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Memory { lost, indirect, reachable } = self.master;
        let Self { processes, errors, leaks, .. } = self;
        write!(f, "{processes:>9}  {errors:>6}  {leaks:>5}  ")?;
        write!(f, "{lost:>8}  {indirect:>15}  {reachable:>10}")
    }
}

impl Memory {
    /// A process that ended with all memory freed has no such lines.
    fn read(text: &str) -> Self {
        let bytes = |what: &str| number_after(text, what).unwrap_or_default();
        Self {
            lost: bytes("definitely lost: "),
            indirect: bytes("indirectly lost: "),
            reachable: bytes("still reachable: "),
        }
    }
}

/// Bytes that the master gains with a reload.
struct Growth {
    lost: f64,
    reachable: f64,
}

impl Growth {
    fn between(few: &Memory, many: &Memory) -> Self {
        let each = |few: i64, many: i64| (many - few) as f64 / (MANY - FEW) as f64;
        Self {
            lost: each(few.lost + few.indirect, many.lost + many.indirect),
            reachable: each(few.reachable, many.reachable),
        }
    }

    fn is_at_most(&self, other: &Self) -> bool {
        self.lost <= other.lost.max(0.0) && self.reachable <= other.reachable.max(0.0)
    }
}

impl std::fmt::Display for Growth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:+.1} lost, {:+.1} reachable", self.lost, self.reachable)
    }
}

/// The errors of a log, without the leaks that follow them.
fn errors_of(text: &str) -> &str {
    text.split("HEAP SUMMARY").next().unwrap_or(text)
}

/// The records of lost memory in whose stack there is code in Rust; nginx loses some of its own when
/// a worker ends.
fn leaks_of(text: &str) -> impl Iterator<Item = &str> {
    // Every line begins with `==PID== `, and such a line alone divides two records.
    let number = text.split_whitespace().next().unwrap_or_default();
    let divider = format!("{number} \n");
    let records: Vec<&str> = text.split(divider.as_str()).collect();
    let ours =
        |record: &&str| record.contains("definitely lost in loss") && record.contains(".rs:");
    records.into_iter().filter(ours)
}

/// The last number behind such a text, which valgrind writes with commas.
fn number_after(text: &str, what: &str) -> Option<i64> {
    let (_, rest) = text.rsplit_once(what)?;
    let number: String = rest
        .chars()
        .take_while(|c| c.is_ascii_digit() || *c == ',')
        .filter(|c| *c != ',')
        .collect();
    number.parse().ok()
}

/// The name of one of the [`OTHERS`].
fn other(number: usize) -> String {
    format!("other{number}.{ZONE}")
}

fn files_of(certificate: &Path) -> String {
    let at = certificate.display();
    format!("ssl_certificate {at}/fullchain.pem;\nssl_certificate_key {at}/privkey.pem;")
}

/// The workers are another user.
fn make_directory(path: &Path, mode: u32) -> Result<(), String> {
    fs::create_dir_all(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .map_err(|e| format!("cannot make {}: {e}", path.display()))
}
