//! NGINX with the module, run as its users run it: the master as root, the workers as nobody.

use std::fs::{self, File, Permissions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use servers::process::{spawn, wait_until};
use tempfile::TempDir;

use crate::measurements::proc;
use crate::nginx::build::NginxBuild;

pub mod build;
pub mod docker;
pub mod example;
pub mod generations;

/// Longer than any start, reload or stop on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// The user and the group of the service. Any but the workers' would do; every Debian has these.
const SERVICE_USER: &str = "daemon daemon";

/// The module in the prefix.
const MODULE: &str = "modules/ngx_http_acme_dns_module.so";

/// An nginx with its own prefix, which ends with this value or with the test process.
///
/// The methods that are named like directives set what the next start or reload uses.
#[derive(Debug)]
pub struct Nginx {
    build: NginxBuild,
    dir: PathBuf,
    _temporary: Option<TempDir>,
    workers: usize,
    log_level: String,
    load_module: bool,
    /// The text that loads the module instead of our own line.
    load_text: Option<String>,
    daemon: bool,
    master_process: bool,
    env: Vec<(String, String)>,
    service_user: Option<String>,
    main: String,
    http: Option<String>,
    whole: Option<String>,
    child: Option<Child>,
    /// Of a master that is a daemon, and so nobody's child.
    daemon_pid: Option<u32>,
}

impl Nginx {
    /// An nginx of this build, not yet started, with a temporary directory as its prefix.
    ///
    /// # Panics
    /// If the directory cannot be made, or the workers' user could not enter it.
    #[must_use]
    pub fn new(build: &NginxBuild) -> Self {
        let parent = build.root.as_ref().map_or_else(std::env::temp_dir, |root| root.join("tmp"));
        let dir = tempfile::Builder::new()
            .prefix("acme-dns-")
            // The workers are nobody.
            .permissions(Permissions::from_mode(0o755))
            .tempdir_in(&parent)
            .unwrap_or_else(|e| panic!("no temporary directory in {}: {e}", parent.display()));
        let path = dir.path().to_owned();
        let mut nginx = Self::new_in(build, &path);
        nginx._temporary = Some(dir);
        nginx
    }

    /// The same with a directory that exists and stays. It must lie in the build's chroot.
    ///
    /// # Panics
    /// If the workers' user could not enter it.
    #[must_use]
    pub fn new_in(build: &NginxBuild, dir: &Path) -> Self {
        for parent in dir.ancestors().take_while(|parent| Some(*parent) != build.root.as_deref()) {
            let open = fs::metadata(parent).is_ok_and(|m| m.permissions().mode() & 0o001 != 0);
            assert!(open, "{} is closed to the user nobody", parent.display());
        }
        let nginx = Self {
            build: build.clone(),
            dir: dir.to_owned(),
            _temporary: None,
            workers: 1,
            log_level: "info".to_owned(),
            load_module: true,
            load_text: None,
            daemon: false,
            master_process: true,
            env: Vec::new(),
            service_user: Some(SERVICE_USER.to_owned()),
            main: String::new(),
            http: Some(String::new()),
            whole: None,
            child: None,
            daemon_pid: None,
        };
        for name in ["modules", "temp"] {
            fs::create_dir_all(dir.join(name))
                .unwrap_or_else(|e| panic!("cannot make {name}: {e}"));
        }
        nginx
    }

    /// Sets what goes into `http { }`. Replaces [`config`](Self::config).
    pub fn http(&mut self, text: impl Into<String>) -> &mut Self {
        (self.http, self.whole) = (Some(text.into()), None);
        self
    }

    /// No `http { }` at all.
    pub fn no_http(&mut self) -> &mut Self {
        (self.http, self.whole) = (None, None);
        self
    }

    /// Sets what stands beside `http { }`: directives, `stream { }`, `mail { }`.
    pub fn main(&mut self, text: impl Into<String>) -> &mut Self {
        self.main = text.into();
        self
    }

    /// A complete nginx.conf, taken as it is. Where it does not say otherwise itself, nginx stays in
    /// the foreground and has its pid file here.
    pub fn config(&mut self, text: impl Into<String>) -> &mut Self {
        self.whole = Some(text.into());
        self
    }

    /// `worker_processes`.
    pub fn workers(&mut self, n: usize) -> &mut Self {
        self.workers = n;
        self
    }

    /// The level of the error log; `info` if not set.
    pub fn log_level(&mut self, level: &str) -> &mut Self {
        level.clone_into(&mut self.log_level);
        self
    }

    /// Sets whether the module is loaded, which it is if not set.
    pub fn load_module(&mut self, load: bool) -> &mut Self {
        self.load_module = load;
        self
    }

    /// Loads what is installed in the chroot, by this text of the configuration. As a distribution's
    /// nginx has it, `modules` in the prefix is a link to the directory of all modules.
    ///
    /// # Panics
    /// If the link cannot be made.
    pub fn load_installed(&mut self, text: &str) -> &mut Self {
        let link = self.dir.join("modules");
        fs::remove_dir(&link)
            .and_then(|()| std::os::unix::fs::symlink("/usr/lib/nginx/modules", &link))
            .unwrap_or_else(|e| panic!("cannot make the link {}: {e}", link.display()));
        self.load_text = Some(text.to_owned());
        self
    }

    /// Loads the module, which is in the prefix, and others by this text of the configuration.
    pub fn load(&mut self, text: &str) -> &mut Self {
        self.load_text = Some(text.to_owned());
        self
    }

    /// `daemon on`.
    pub fn daemon(&mut self, on: bool) -> &mut Self {
        self.daemon = on;
        self
    }

    /// `master_process off` if false.
    pub fn master_process(&mut self, on: bool) -> &mut Self {
        self.master_process = on;
        self
    }

    /// The arguments of `acme_dns_user`, which is written where the module is loaded and the master
    /// is root; `None` leaves the directive out.
    pub fn service_user(&mut self, user: Option<&str>) -> &mut Self {
        self.service_user = user.map(str::to_owned);
        self
    }

    /// A variable in the environment of the master.
    pub fn env(&mut self, name: &str, value: &str) -> &mut Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The prefix, as this process sees it.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A file in the prefix, as nginx sees it: what to write in its configuration.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        let path = self.dir.join(name);
        match self.build.root.as_deref().and_then(|root| path.strip_prefix(root).ok()) {
            Some(inside) => Path::new("/").join(inside),
            None => path,
        }
    }

    /// Writes a file that only root can read into the prefix, and returns its path as nginx sees it.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn add_file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        self.write(name, content.as_ref());
        fs::set_permissions(self.dir.join(name), Permissions::from_mode(0o600))
            .unwrap_or_else(|e| panic!("cannot restrict {name}: {e}"));
        self.path(name)
    }

    /// `nginx -t`: whether the configuration is good, and what nginx says about it.
    #[must_use]
    pub fn test(&self) -> (bool, String) {
        let output = self.test_with(&[]);
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Runs `nginx -t` with more variables in its environment, and gives what it says.
    ///
    /// # Panics
    /// If it cannot be run.
    #[must_use]
    pub fn test_with(&self, variables: &[(&str, &str)]) -> Output {
        self.write_config();
        let mut command = self.command();
        command.arg("-t").stdin(Stdio::null()).envs(variables.iter().copied());
        command.output().unwrap_or_else(|e| panic!("cannot run nginx: {e}"))
    }

    /// Starts it and waits until all workers are there.
    ///
    /// # Panics
    /// If it does not come up; with its log.
    pub fn start(&mut self) {
        self.try_start().unwrap_or_else(|e| panic!("{e}"));
    }

    /// Like [`start`](Self::start).
    ///
    /// # Errors
    /// The log, if it does not come up.
    pub fn try_start(&mut self) -> Result<(), String> {
        assert!(!self.is_running(), "this nginx runs already");
        self.write_config();
        let _ = fs::remove_file(self.dir.join("nginx.pid"));
        let output = File::options().create(true).append(true).open(self.dir.join("output.log"));
        let output = output
            .and_then(|file| Ok((file.try_clone()?, file)))
            .map_err(|e| format!("cannot open output.log: {e}"))?;
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(output.0).stderr(output.1);
        let child = spawn(command).map_err(|e| format!("cannot start nginx: {e}"))?;
        self.child = Some(child);
        let up = wait_until(LIMIT, || {
            let exited = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            match exited {
                Some(status) if !(self.daemon && status.success()) => return Some(false),
                _ => {}
            }
            let pid = fs::read_to_string(self.dir.join("nginx.pid")).ok()?.trim().parse().ok()?;
            if self.daemon {
                self.daemon_pid = Some(pid);
            }
            self.complete().then_some(true)
        });
        if up == Some(true) {
            return Ok(());
        }
        self.stop_hard();
        let output = fs::read_to_string(self.dir.join("output.log")).unwrap_or_default();
        Err(format!("nginx {} does not start:\n{output}{}", self.build.version, self.log()))
    }

    /// Returns whether the master is alive.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.pid().is_some_and(proc::is_alive)
    }

    /// Reloads the configuration and waits until all workers are new ones that serve; old ones may
    /// still be finishing.
    ///
    /// # Panics
    /// If nginx refuses the configuration; with its log.
    pub fn reload(&mut self) {
        self.try_reload().unwrap_or_else(|e| panic!("{e}"));
    }

    /// Like [`reload`](Self::reload).
    ///
    /// # Errors
    /// The log from here on, if nginx refuses the configuration.
    pub fn try_reload(&mut self) -> Result<(), String> {
        self.write_config();
        let (old, mark) = (self.worker_pids(), self.log_mark());
        proc::kill(self.master_pid(), Signal::HUP);
        let done = wait_until(LIMIT, || {
            if self.log_from(mark).contains("[emerg]") {
                return Some(false);
            }
            let new = self.worker_pids();
            let replaced = self.complete() && !new.iter().any(|pid| old.contains(pid));
            replaced.then_some(true)
        });
        match done {
            Some(true) => Ok(()),
            _ => Err(format!("nginx does not reload:\n{}", self.log_from(mark))),
        }
    }

    /// Ends it as `nginx -s quit` does; connections are finished.
    ///
    /// # Panics
    /// If it has not ended in time.
    pub fn quit(&mut self) {
        self.end(Signal::QUIT);
    }

    /// Ends it as `nginx -s stop` does, at once.
    ///
    /// # Panics
    /// If it has not ended in time.
    pub fn stop(&mut self) {
        self.end(Signal::TERM);
    }

    /// Kills the master and all its processes, as a power cut would.
    pub fn stop_hard(&mut self) {
        if let Some(master) = self.pid() {
            // The master first: it would start anew what is killed.
            let family = proc::family(master);
            proc::kill(master, Signal::KILL);
            family.iter().for_each(|pid| proc::kill(*pid, Signal::KILL));
            let _ = wait_until(LIMIT, || {
                let _ = self.child.as_mut().map(Child::try_wait);
                let gone =
                    !proc::is_alive(master) && !family.iter().any(|pid| proc::is_alive(*pid));
                gone.then_some(())
            });
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
        self.daemon_pid = None;
    }

    /// The process id of the master, or of the single process.
    ///
    /// # Panics
    /// If nginx has not been started.
    #[must_use]
    pub fn master_pid(&self) -> u32 {
        self.pid().unwrap_or_else(|| panic!("nginx has not been started"))
    }

    /// The workers that serve; not those that finish old connections after a reload.
    #[must_use]
    pub fn worker_pids(&self) -> Vec<u32> {
        let Some(master) = self.pid() else { return Vec::new() };
        let mut children = proc::children(master);
        children.retain(|pid| proc::title(*pid) == "nginx: worker process");
        children
    }

    /// The process that obtains certificates, a child of the [manager](Self::manager_pid), if there
    /// is one.
    #[must_use]
    pub fn helper_pid(&self) -> Option<u32> {
        self.pid().and_then(|master| proc::services(master).first().copied())
    }

    /// nginx's cache manager.
    ///
    /// # Panics
    /// If there is none in time.
    #[must_use]
    pub fn manager_pid(&self) -> u32 {
        wait_until(LIMIT, || proc::managers(self.master_pid()).first().copied())
            .unwrap_or_else(|| panic!("nginx has no cache manager:\n{}", self.log()))
    }

    /// Waits for the helper.
    ///
    /// # Panics
    /// If there is none in time.
    pub fn wait_for_helper(&self) -> u32 {
        wait_until(LIMIT, || self.helper_pid())
            .unwrap_or_else(|| panic!("nginx has no helper:\n{}", self.log()))
    }

    /// All that nginx has logged, over all starts.
    #[must_use]
    pub fn log(&self) -> String {
        self.log_from(0)
    }

    /// Returns the end of the log as it is now: for [`log_from`](Self::log_from) and
    /// [`wait_for_log_from`](Self::wait_for_log_from).
    #[must_use]
    pub fn log_mark(&self) -> u64 {
        fs::metadata(self.dir.join("error.log")).map_or(0, |meta| meta.len())
    }

    /// Returns what nginx has logged since `mark`.
    #[must_use]
    pub fn log_from(&self, mark: u64) -> String {
        let mut bytes = Vec::new();
        if let Ok(mut file) = File::open(self.dir.join("error.log")) {
            let _ = file.seek(SeekFrom::Start(mark)).and_then(|_| file.read_to_end(&mut bytes));
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits for a line of the log that contains `text`, and returns it.
    ///
    /// # Panics
    /// After `limit`, or when nginx has ended without it; with the log.
    pub fn wait_for_log(&self, text: &str, limit: Duration) -> String {
        self.wait_for_log_from(0, text, limit)
    }

    /// The same for lines after `mark`.
    ///
    /// # Panics
    /// As [`wait_for_log`](Self::wait_for_log).
    pub fn wait_for_log_from(&self, mark: u64, text: &str, limit: Duration) -> String {
        let found = wait_until(limit, || {
            // The order matters: nginx may write the line and end at once.
            let ended = !self.is_running();
            let log = self.log_from(mark);
            // A line without its end is still being written.
            let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let line = whole.lines().find(|line| line.contains(text)).map(str::to_owned);
            if line.is_some() || ended { Some(line) } else { None }
        });
        found.flatten().unwrap_or_else(|| {
            panic!("nginx did not log \"{text}\" within {limit:?}:\n{}", self.log_from(mark))
        })
    }

    fn pid(&self) -> Option<u32> {
        self.daemon_pid.or_else(|| self.child.as_ref().map(Child::id))
    }

    /// Returns whether all workers are there. A process has its title once it serves.
    fn complete(&self) -> bool {
        let expected = if !self.master_process {
            0
        } else if self.whole.is_some() {
            1
        } else {
            self.workers
        };
        self.worker_pids().len() >= expected
    }

    fn end(&mut self, signal: Signal) {
        let Some(master) = self.pid() else { return };
        proc::kill(master, signal);
        let ended = wait_until(LIMIT, || {
            // Fetches the exit status: until then the process exists.
            let _ = self.child.as_mut().map(Child::try_wait);
            (!proc::is_alive(master)).then_some(())
        });
        if ended.is_none() {
            self.stop_hard();
            panic!("nginx did not end within {LIMIT:?} of {signal:?}:\n{}", self.log());
        }
        self.child = None;
        self.daemon_pid = None;
    }

    /// nginx with what every invocation has.
    fn command(&self) -> Command {
        let nginx = self.build.command();
        let mut command = Command::new("setpriv");
        // TERM, unlike KILL, also ends the master's own children.
        command.args(["--pdeathsig", "TERM", "--"]);
        command.arg(nginx.get_program()).args(nginx.get_args());
        command.arg("-p").arg(self.path("")).arg("-c").arg(self.path("nginx.conf"));
        command.arg("-e").arg(self.path("error.log"));
        if let Some(config) = &self.whole {
            let has = |name: &str| config.lines().any(|line| line.trim_start().starts_with(name));
            let mut global = String::new();
            if !has("daemon ") {
                global.push_str("daemon off; ");
            }
            if !has("pid ") {
                global.push_str(&format!("pid {}; ", self.path("nginx.pid").display()));
            }
            command.arg("-g").arg(global);
        }
        for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
            // One of this machine's is no part of a test.
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Writes nginx.conf, for those who start or reload nginx by other means.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write_config(&self) {
        // Where `load_module modules/...` looks, and inside of a chroot.
        let module = self.dir.join(MODULE);
        if self.load_module && self.load_text.is_none() && !module.exists() {
            fs::copy(&self.build.module, &module)
                .unwrap_or_else(|e| panic!("cannot copy {}: {e}", self.build.module.display()));
        }
        let config = self.whole.clone().unwrap_or_else(|| self.generated_config());
        self.write("nginx.conf", config.as_bytes());
    }

    fn generated_config(&self) -> String {
        let on = |on| if on { "on" } else { "off" };
        let mut text = String::new();
        if self.load_module {
            let own = || format!("load_module {};", self.path(MODULE).display());
            text.push_str(&self.load_text.clone().unwrap_or_else(own));
            text.push('\n');
        }
        if rustix::process::geteuid().is_root() {
            // Debian has no group nobody.
            text.push_str("user nobody nogroup;\n");
            if let (true, Some(user)) = (self.load_module, &self.service_user) {
                text.push_str(&format!("acme_dns_user {user};\n"));
            }
        }
        text.push_str(&format!(
            "daemon {};\nmaster_process {};\nworker_processes {};\npid {};\nerror_log {} {};\n",
            on(self.daemon),
            on(self.master_process),
            self.workers,
            self.path("nginx.pid").display(),
            self.path("error.log").display(),
            self.log_level,
        ));
        text.push_str(&format!("{}\nevents {{ }}\n", self.main));
        if let Some(http) = &self.http {
            text.push_str("http {\n    access_log off;\n");
            for name in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
                let path = self.path(&format!("temp/{name}"));
                text.push_str(&format!("    {name}_temp_path {};\n", path.display()));
            }
            text.push_str(&format!("{http}\n}}\n"));
        }
        text
    }

    fn write(&self, name: &str, content: &[u8]) {
        let path = self.dir.join(name);
        fs::write(&path, content)
            .unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Not `stop`: that panics, and a test that fails drops this while it panics.
        if let Some(master) = self.pid() {
            let family = proc::family(master);
            proc::kill(master, Signal::TERM);
            let _ = wait_until(Duration::from_secs(5), || {
                let _ = self.child.as_mut().map(Child::try_wait);
                (!proc::is_alive(master)).then_some(())
            });
            self.stop_hard();
            // What the master has left behind, and nobody else's process of the same number.
            let left = family.iter().filter(|pid| proc::title(**pid).starts_with("nginx:"));
            left.for_each(|pid| proc::kill(*pid, Signal::KILL));
        }
    }
}

#[cfg(test)]
mod tests;
