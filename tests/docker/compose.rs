//! The examples for compose, with the servers of the testbed instead of those that they name.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use servers::ZONE;
use servers::paths::workspace_dir;
use servers::process::{run, wait_until};
use testbed::nginx::docker::{Container, Image, docker, network, unique_name};

use crate::stage::{LIMIT, Stage};

/// A project, which is removed with its volumes when this is dropped.
pub(crate) struct Project {
    name: String,
    files: [String; 2],
}

impl Project {
    /// An example of `docker/` with changes, which are kept in a directory.
    pub(crate) fn new(example: &str, changes: &Value, directory: &Path) -> Self {
        let example = workspace_dir().join("docker").join(example);
        let path = directory.join("compose.json");
        fs::write(&path, changes.to_string()).expect("it is written");
        let files = [example.display().to_string(), path.display().to_string()];
        Self { name: unique_name(), files }
    }

    /// Starts it, and gives the container of a service.
    pub(crate) fn up(&self, service: &str) -> Container {
        self.compose(&["up", "--detach", "--no-build"]).unwrap_or_else(|e| panic!("{e}"));
        self.container(service)
    }

    /// Starts one service, and gives its container.
    pub(crate) fn up_alone(&self, service: &str) -> Container {
        let up = ["up", "--detach", "--no-build", service];
        self.compose(&up).unwrap_or_else(|e| panic!("{e}"));
        self.container(service)
    }

    fn container(&self, service: &str) -> Container {
        let id = self.compose(&["ps", "--quiet", service]).unwrap_or_else(|e| panic!("{e}"));
        Container::adopt(id.trim())
    }

    /// Runs compose: a plugin of `docker`, or the program it was before.
    fn compose(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = if docker(&["compose", "version"]).is_ok() {
            let mut command = Command::new("docker");
            command.arg("compose");
            command
        } else {
            Command::new("docker-compose")
        };
        command.args(["--project-name", &self.name]);
        command.args(self.files.iter().flat_map(|file| ["--file", file]));
        run(command.args(arguments))
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let _ = self.compose(&["down", "--volumes", "--timeout", "1"]);
    }
}

/// Returns the changes that put the testbed in the place of the internet.
fn changes(stage: &Stage) -> Value {
    let mut environment =
        json!({ "ACME_DNS_STAGING": "", "ACME_DNS_DOMAINS": format!("{ZONE} *.{ZONE}\n") });
    for (name, value) in stage.variables() {
        environment[name] = value.into();
    }
    // Without the token, which is a secret of the example.
    let [ca, _, api_ca] = stage.mounts();
    let volumes = [ca, api_ca].map(|(host, inside)| format!("{host}:{inside}:ro"));
    json!({
        "services": {
            "nginx": {
                "image": Image::Root.get(),
                "environment": environment,
                "volumes": volumes,
            }
        },
        "secrets": { "cloudflare_token": { "file": stage.bed.token_file() } },
        // Nothing is published from an internal network.
        "networks": { "default": { "name": network(), "external": true } },
    })
}

#[test]
fn the_example_for_compose_serves_its_application() {
    let stage = Stage::new();
    let project = Project::new("compose.yaml", &changes(&stage), stage.bed.dir());
    let container = project.up("nginx");
    let leaf = stage.wait_for_certificate(&container, 443);
    assert_eq!(leaf.sans, [format!("*.{ZONE}"), ZONE.to_owned()]);
    let mut visit = stage.client(&container, 443, ZONE).visitor().expect("good settings");
    let answer = wait_until(LIMIT, || visit().ok().filter(|visit| visit.answer.status == 200));
    let answer = answer.unwrap_or_else(|| panic!("{}", container.logs())).answer;
    assert!(answer.body.contains("Welcome to nginx!"), "{answer:?}");
}
