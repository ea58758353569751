//! The image is the official one with the module, and nothing else.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;
use servers::paths::workspace_dir;
use testbed::nginx::docker::{Image, build, docker};

/// Most that module, program and scripts may add, in megabytes; where they are not optimized, so much more.
const LIMIT_MB: f64 = 24.0;
const LIMIT_MB_DRAFT: f64 = 40.0;

/// The default of an `ARG` in the Dockerfile.
pub(crate) fn argument(name: &str) -> String {
    let text = fs::read_to_string(workspace_dir().join("docker/Dockerfile"));
    let text = text.expect("the Dockerfile");
    let value = text.lines().find_map(|line| line.strip_prefix(&format!("ARG {name}=")));
    value.expect("its argument").to_owned()
}

fn inspect(image: &str, format: &str) -> String {
    docker(&["image", "inspect", "--format", format, image]).expect("the image is there")
}

fn megabytes(image: &str) -> f64 {
    inspect(image, "{{.Size}}").parse::<f64>().expect("a number") / 1e6
}

#[test]
fn little_is_added_to_the_official_image() {
    let official = megabytes(&argument("NGINX_IMAGE"));
    let is_draft = std::env::var("DOCKER_PROFILES").is_ok_and(|profiles| !profiles.is_empty());
    let limit = if is_draft { LIMIT_MB_DRAFT } else { LIMIT_MB };
    for image in [Image::Root, Image::Unprivileged] {
        let added = megabytes(image.get()) - official;
        eprintln!("{}: {added:.1} MB added to {official:.0} MB", image.get());
        assert!(0.0 < added && added < limit, "{added} MB");
    }
}

#[test]
fn it_runs_as_the_official_image_does() {
    let (official, image) = (argument("NGINX_IMAGE"), Image::Root.get());
    for format in [
        "{{json .Config.Entrypoint}}",
        "{{json .Config.Cmd}}",
        "{{json .Config.Env}}",
        "{{json .Config.StopSignal}}",
        "{{json .Config.User}}",
        "{{json .Config.WorkingDir}}",
    ] {
        assert_eq!(inspect(image, format), inspect(&official, format), "{format}");
    }
    // Port 80 is that of the official image.
    for (image, expected) in [
        (image, r#"{"443/tcp":{},"80/tcp":{}}"#),
        (Image::Unprivileged.get(), r#"{"80/tcp":{},"8080/tcp":{},"8443/tcp":{}}"#),
    ] {
        assert_eq!(inspect(image, "{{json .Config.ExposedPorts}}"), expected);
    }
    let volumes = inspect(image, "{{json .Config.Volumes}}");
    assert_eq!(volumes, r#"{"/var/lib/acme_dns":{}}"#);
    let version = inspect(image, r#"{{index .Config.Labels "org.opencontainers.image.version"}}"#);
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_image_says_what_is_in_it() {
    let doc = "/usr/share/doc/nginx-acme-dns";
    let read = |name: &str| {
        let run = ["run", "--rm", "--network", "none", "--entrypoint", "cat", Image::Root.get()];
        docker(&[&run[..], &[&format!("{doc}/{name}")]].concat()).unwrap_or_else(|e| panic!("{e}"))
    };
    let licenses = read("licenses");
    for expected in ["openssl v0.10.", "Permission is hereby granted", "UNICODE LICENSE V3"] {
        assert!(licenses.contains(expected), "{expected}");
    }
    assert!(read("LICENSE").contains("Apache License"));
    let list: Value = serde_json::from_str(&read("sbom.cdx.json")).expect("JSON");
    assert_eq!(list["bomFormat"], "CycloneDX");
}

#[test]
fn the_labels_say_where_an_image_is_from() {
    let name = "acme-dns-test:labels";
    // All but the labels is in the cache then.
    Image::Root.get();
    let told = ["SOURCE=https://git.example/it", "REVISION=1a2b", "CREATED=2027-01-02T03:04:05Z"];
    let arguments: Vec<_> = told.iter().flat_map(|value| ["--build-arg", value]).collect();
    build(name, &arguments).unwrap_or_else(|e| panic!("{e}"));
    let label = |name_of: &str| {
        inspect(
            name,
            &format!(r#"{{{{index .Config.Labels "org.opencontainers.image.{name_of}"}}}}"#),
        )
    };
    let base = argument("NGINX_IMAGE");
    let found = ["source", "url", "revision", "created", "base.name"].map(label);
    let _ = docker(&["image", "rm", name]);
    let expected =
        ["https://git.example/it", "https://git.example/it", "1a2b", "2027-01-02T03:04:05Z", &base];
    assert_eq!(found, expected);
}

#[test]
#[ignore = "QUICK=1 leaves it out"]
fn an_image_that_cannot_be_used_is_refused() {
    for (kind, line) in [("bare", "RUN rm /usr/bin/apt-get"), ("user", "USER 101")] {
        let base = format!("acme-dns-test:{kind}");
        let dockerfile = format!("FROM {}\n{line}\n", argument("NGINX_IMAGE"));
        let mut command = Command::new("docker");
        command
            .args(["build", "--tag", &base, "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.spawn().expect("docker runs");
        let mut input = child.stdin.take().expect("a pipe");
        input.write_all(dockerfile.as_bytes()).expect("docker reads");
        drop(input);
        assert!(child.wait().expect("it ends").success(), "{kind}");
        let refused = build("acme-dns-test:none", &["--build-arg", &format!("NGINX_IMAGE={base}")]);
        let _ = docker(&["image", "rm", &base]);
        let error = refused.expect_err(kind);
        assert!(error.contains("must be an official nginx image on Debian"), "{kind}: {error}");
    }
}
