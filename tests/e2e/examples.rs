//! The examples that users copy are good configurations.

use std::fs;
use std::path::Path;

use servers::authority::Authority;
use servers::paths::workspace_dir;
use testbed::nginx::Nginx;
use testbed::nginx::build::NginxBuild;

const MODULE: &str = "modules/ngx_http_acme_dns_module.so";

/// Every configuration of the directory, with its name.
fn examples() -> Vec<(String, String)> {
    let dir = workspace_dir().join("nginx-conf");
    let entries = fs::read_dir(&dir).expect("the directory of the examples");
    let mut found: Vec<_> = entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(path).expect("an example"))
        })
        .filter(|(name, _): &(String, _)| name.ends_with(".conf"))
        .collect();
    found.sort();
    found
}

/// Runs `nginx -t` on an example in which only the address and the directories of secrets and
/// certificates are others.
fn test(prefix: &Path, example: &str) -> String {
    let build = NginxBuild::get();
    let dir = prefix.display();
    let text = example
        .replace("you@example.com", "you@example.dev")
        .replace("/run/secrets/", &format!("{dir}/secrets/"))
        .replace("/etc/ssl/", &format!("{dir}/ssl/"));
    let conf = prefix.join("nginx.conf");
    fs::write(&conf, text).expect("it can be written");
    let mut command = build.command();
    command.arg("-t").arg("-p").arg(prefix).arg("-c").arg(&conf);
    // Debian has no group nobody.
    command.args(["-g", "user nobody nogroup;"]);
    command.env("PRIVATE_TOKEN", "a-token");
    let output = command.output().expect("nginx runs");
    String::from_utf8_lossy(&output.stderr).replace(&conf.display().to_string(), "CONF")
}

#[test]
fn examples_are_accepted_without_a_warning() {
    let nginx = Nginx::new(NginxBuild::get());
    for name in ["logs", "secrets", "ssl"] {
        fs::create_dir(nginx.dir().join(name)).expect("it can be made");
    }
    fs::copy(&NginxBuild::get().module, nginx.dir().join(MODULE)).expect("the module");
    for name in ["secrets/cloudflare_token", "secrets/public_token", "secrets/zerossl_mac_key"] {
        nginx.add_file(name, "a-token");
    }
    let domains = workspace_dir().join("nginx-conf/domains.txt");
    fs::copy(domains, nginx.dir().join("domains.txt")).expect("it can be copied");
    let authority = Authority::create(&nginx.dir().join("authority"));
    for (file, name) in [
        (authority.ca_file(), "ssl/internal-ca.pem"),
        (authority.certificate_file(), "ssl/bought.pem"),
        (authority.key_file(), "ssl/bought.key"),
    ] {
        fs::copy(file, nginx.dir().join(name)).expect("it can be copied");
    }
    let examples = examples();
    assert!(examples.len() >= 4, "{}", examples.len());
    let expected = "nginx: the configuration file CONF syntax is ok\n\
                    nginx: configuration file CONF test is successful\n";
    for (name, text) in examples {
        assert_eq!(test(nginx.dir(), &text), expected, "{name}");
    }
}

/// The configuration in a manifest for Kubernetes.
fn nginx_conf(manifest: &str) -> String {
    let text = fs::read_to_string(workspace_dir().join(manifest)).expect("the manifest");
    let (_, rest) = text.split_once("  nginx.conf: |\n").expect("a configuration");
    let lines = rest.lines().take_while(|line| *line != "---");
    lines.fold(String::new(), |all, line| all + line.strip_prefix("    ").unwrap_or(line) + "\n")
}

#[test]
fn the_configuration_in_the_manifest_of_a_fleet_is_accepted() {
    let nginx = Nginx::new(NginxBuild::get());
    let dir = nginx.dir().display();
    for name in ["logs", "secrets", "secrets/cloudflare", "secrets/share", "own"] {
        fs::create_dir(nginx.dir().join(name)).expect("it can be made");
    }
    fs::copy(&NginxBuild::get().module, nginx.dir().join(MODULE)).expect("the module");
    let authority = Authority::create(&nginx.dir().join("authority"));
    fs::copy(authority.ca_file(), nginx.dir().join("secrets/share/ca.crt")).expect("a copy");
    nginx.add_file("secrets/cloudflare/token", "a-token");
    nginx.add_file("secrets/share/password", "a-password");
    nginx.add_file("secrets/share/key", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=");
    nginx.add_file("mime.types", "");
    let text = nginx_conf("docker/kubernetes/fleet.yaml")
        .replace("/tmp/", &format!("{dir}/own/"))
        .replace("/dev/", &format!("{dir}/own/"))
        .replace("app.default.svc.cluster.local", "127.0.0.1");
    let said = test(nginx.dir(), &text);
    assert!(said.ends_with("nginx: configuration file CONF test is successful\n"), "{said}");
    assert!(!said.contains("[warn]") && !said.contains("[emerg]"), "{said}");
}

#[test]
fn the_smallest_example_is_that_of_the_readme() {
    let readme = fs::read_to_string(workspace_dir().join("README.md")).expect("the README");
    let (_, minimal) = examples()
        .into_iter()
        .find(|(name, _)| name == "minimal.conf")
        .expect("the smallest example");
    assert!(readme.contains(&format!("```nginx\n{minimal}```")), "{minimal}");
}
