//! Containers and volumes, by the program `docker`, in the network that `tests/docker/run` has made.

use std::ffi::OsStr;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use servers::paths::workspace_dir;
use servers::process::{run, wait_until};

/// The images that docker/Dockerfile makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// The image that is built without `--target`.
    Root,
    /// `--target unprivileged`.
    Unprivileged,
}

impl Image {
    /// Builds the image, once in a test run, and gives its name.
    ///
    /// # Panics
    /// If it cannot be built.
    pub fn get(self) -> &'static str {
        static BUILT: [OnceLock<Result<(), String>>; 2] = [const { OnceLock::new() }; 2];
        let (name, arguments, index): (_, &[&str], _) = match self {
            Self::Root => ("acme-dns-test:root", &[], 0),
            Self::Unprivileged => ("acme-dns-test:unprivileged", &["--target", "unprivileged"], 1),
        };
        let built = BUILT[index].get_or_init(|| {
            if self == Self::Unprivileged {
                // Not at the same time: the second finds all in the cache.
                Self::Root.get();
            }
            build(name, arguments)
        });
        if let Err(error) = built {
            panic!("cannot build {name}: {error}");
        }
        name
    }
}

/// The arguments of `docker build` for the profiles of cargo: `DOCKER_PROFILES` has those of module and program, where they
/// are not to be those of a release.
#[must_use]
pub fn profiles() -> Vec<String> {
    let profiles = std::env::var("DOCKER_PROFILES").unwrap_or_default();
    let of = ["MODULE_PROFILE", "PROGRAM_PROFILE"].iter().zip(profiles.split_whitespace());
    of.flat_map(|(name, profile)| ["--build-arg".to_owned(), format!("{name}={profile}")]).collect()
}

/// Builds an image from docker/Dockerfile.
///
/// # Errors
/// Output of `docker build`.
pub fn build(name: &str, arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new("docker");
    // The network of the machine, because the engine may have no other that leads to a registry.
    command.args(["build", "--force-rm", "--network", "host"]);
    command.args(["--file", "docker/Dockerfile", "--tag", name]);
    command.args(profiles());
    command.args(arguments).arg(".").current_dir(workspace_dir());
    run(&mut command).map(|_| ())
}

/// Runs `docker`.
///
/// # Errors
/// Its output, if it fails.
pub fn docker(arguments: &[&str]) -> Result<String, String> {
    run(Command::new("docker").args(arguments)).map(|text| text.trim_end().to_owned())
}

/// The network of the containers, in which the testbed listens at [`servers::ports::address`].
///
/// # Panics
/// If there is none.
#[must_use]
pub fn network() -> String {
    std::env::var("TESTBED_NETWORK").unwrap_or_else(|_| panic!("use `make docker-test`"))
}

/// A name that no other test has.
#[must_use]
pub fn unique_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("acme-dns-{}-{number}", std::process::id())
}

/// A volume, which is removed when this is dropped; its containers have to be gone.
#[derive(Debug)]
pub struct Volume {
    /// Its name.
    pub name: String,
}

impl Volume {
    /// Makes an empty volume.
    ///
    /// # Panics
    /// If the engine refuses.
    #[must_use]
    pub fn create() -> Self {
        let name = unique_name();
        docker(&["volume", "create", &name]).unwrap_or_else(|e| panic!("no volume: {e}"));
        Self { name }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = docker(&["volume", "rm", "--force", &self.name]);
    }
}

/// A container, which is removed with its anonymous volumes when this is dropped.
#[derive(Debug)]
pub struct Container {
    name: String,
}

impl Container {
    /// Starts a container in the network of the testbed. The arguments are what belongs between
    /// `docker run` and the name of the image.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(image: &str, arguments: &[impl AsRef<OsStr>]) -> Self {
        let container = Self { name: unique_name() };
        let mut command = container.run_command(arguments);
        command.arg("--detach");
        run(command.arg(image)).unwrap_or_else(|e| panic!("cannot start a container: {e}"));
        container
    }

    /// Runs a container to its end. The output is what the container has written, and nothing of what `docker`
    /// says of the machine.
    ///
    /// # Panics
    /// If `docker` cannot be run, the container cannot be started, or it still runs after `timeout`.
    #[must_use]
    pub fn run(image: &str, arguments: &[impl AsRef<OsStr>], timeout: Duration) -> Output {
        let container = Self::start(image, arguments);
        let has_ended = || (container.inspect("{{.State.Status}}") == "exited").then_some(());
        assert!(wait_until(timeout, has_ended).is_some(), "it runs: {}", container.logs());
        let code: i32 = container
            .inspect("{{.State.ExitCode}}")
            .parse()
            .unwrap_or_else(|e| panic!("{}: {e}", container.name));
        // As a parent gets it from the kernel: the code is in the upper byte.
        Output { status: ExitStatus::from_raw(code << 8), ..container.output() }
    }

    /// A container that something else has started.
    #[must_use]
    pub fn adopt(name: &str) -> Self {
        Self { name: name.to_owned() }
    }

    fn run_command(&self, arguments: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new("docker");
        command.args(["run", "--name", &self.name, "--network", &network()]).args(arguments);
        command
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what `docker inspect` says in this format.
    ///
    /// # Panics
    /// If the container is gone.
    #[must_use]
    pub fn inspect(&self, format: &str) -> String {
        docker(&["inspect", "--format", format, &self.name]).unwrap_or_else(|e| panic!("{e}"))
    }

    /// A port at its address, which is another one after each start.
    ///
    /// # Panics
    /// If it does not run.
    #[must_use]
    pub fn addr(&self, port: u16) -> SocketAddr {
        let text = self.inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}");
        let address: IpAddr = text
            .parse()
            .unwrap_or_else(|_| panic!("{} has no address:\n{}", self.name, self.logs()));
        (address, port).into()
    }

    /// The number that its first process has on the machine.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.inspect("{{.State.Pid}}").parse().unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    /// Returns what it has written to standard output and to standard error.
    #[must_use]
    pub fn logs(&self) -> String {
        let output = self.output();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    fn output(&self) -> Output {
        let output = Command::new("docker").args(["logs", &self.name]).output();
        output.unwrap_or_else(|e| panic!("cannot run docker: {e}"))
    }

    /// Waits until a condition on what it has written holds.
    ///
    /// # Panics
    /// After `timeout`, with all that it has written.
    pub fn wait_for_logs(&self, timeout: Duration, condition: impl Fn(&str) -> bool) {
        let met = wait_until(timeout, || condition(&self.logs()).then_some(()));
        assert!(met.is_some(), "after {timeout:?}:\n{}", self.logs());
    }

    /// Runs a command in it, and gives its output.
    ///
    /// # Panics
    /// If the command fails.
    pub fn exec(&self, command: &[&str]) -> String {
        let arguments = [&["exec", &self.name], command].concat();
        docker(&arguments).unwrap_or_else(|e| panic!("{e}\n{}", self.logs()))
    }

    /// Runs `docker VERB NAME`, such as `restart`.
    ///
    /// # Panics
    /// If that fails.
    pub fn command(&self, verb: &[&str]) {
        docker(&[verb, &[&self.name]].concat()).unwrap_or_else(|e| panic!("{e}"));
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = docker(&["rm", "--force", "--volumes", &self.name]);
    }
}
