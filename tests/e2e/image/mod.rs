//! The scripts of the image, without the image: configuration from the environment, and the health
//! check.

mod generated;
mod health;
mod mistakes;
mod moving;
mod names;
mod providers;
mod served;
mod volume;

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread;

use servers::paths::workspace_dir;
use servers::ports::Port;
use testbed::nginx::Nginx;
use testbed::nginx::build::NginxBuild;

/// In every variable that holds a secret.
const SECRET: &str = "c0ffee5ec2e7c0ffee5ec2e7";

/// Variables that are enough.
const ENOUGH: [(&str, &str); 3] = [
    ("ACME_DNS_DOMAINS", "example.com *.example.com"),
    ("ACME_DNS_ACCEPT_TERMS", "yes"),
    ("CLOUDFLARE_API_TOKEN", SECRET),
];

/// A directory that looks like the image to its scripts.
struct Image {
    nginx: Nginx,
    http: Port,
    https: Port,
    status: Port,
}

impl Image {
    fn new() -> Self {
        let mut nginx = Nginx::new(NginxBuild::get());
        for name in ["bin", "conf.d"] {
            fs::create_dir(nginx.dir().join(name)).expect("it can be made");
        }
        let dir = nginx.dir().display();
        // As that of the image, with the directories of a test.
        let mut text = format!(
            "load_module modules/ngx_http_acme_dns_module.so;\n\
             user nobody nogroup; acme_dns_user daemon daemon;\n\
             worker_processes 1;\nerror_log {dir}/error.log notice;\npid {dir}/nginx.pid;\n\
             events {{\n    worker_connections 1024;\n}}\nhttp {{\n    \
             default_type application/octet-stream;\n    access_log off;\n"
        );
        for name in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            text.push_str(&format!("    {name}_temp_path {dir}/temp/{name};\n"));
        }
        text.push_str(&format!("    include {dir}/conf.d/*.conf;\n}}\n"));
        nginx.add_file("nginx.conf", &text);
        nginx.config(text);
        let image =
            Self { nginx, http: Port::reserve(), https: Port::reserve(), status: Port::reserve() };
        let binary = NginxBuild::get().binary.display();
        image.program("nginx", &format!("exec {binary} \"$@\""));
        image.file("secret", SECRET);
        image.file("empty", "");
        image.file("domains.txt", "example.net > net\n");
        image
    }

    /// A program before all others.
    fn program(&self, name: &str, script: &str) {
        let path = self.nginx.dir().join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("it can be written");
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("a mode");
    }

    fn file(&self, name: &str, text: &str) {
        self.nginx.add_file(name, text);
    }

    fn generated(&self) -> PathBuf {
        self.nginx.dir().join("conf.d/acme_dns.conf")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.generated()).expect("a configuration was generated")
    }

    /// Runs one of the scripts with these variables; `DIR` stands for the directory.
    fn run(&self, script: &str, variables: &[(&str, &str)]) -> Output {
        self.command(&["sh"], script, variables).output().expect("sh runs")
    }

    /// The same as a command, by a shell that another program may start.
    fn command(&self, shell: &[&str], script: &str, variables: &[(&str, &str)]) -> Command {
        let dir = self.nginx.dir().display().to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).arg(workspace_dir().join("docker").join(script));
        command.arg(self.nginx.dir().join("nginx.conf"));
        command.env_clear().env("PATH", format!("{dir}/bin:{path}"));
        command.env("NGINX_ENVSUBST_OUTPUT_DIR", format!("{dir}/conf.d"));
        command.env("ACME_DNS_HTTP_PORT", self.http.number().to_string());
        command.env("ACME_DNS_HTTPS_PORT", self.https.number().to_string());
        command.env("ACME_DNS_STATUS", self.status.number().to_string());
        for (name, value) in variables {
            command.env(name, value.replace("DIR", &dir));
        }
        command
    }

    /// Generates the configuration; gives what is written to the standard error.
    fn generate(&self, variables: &[(&str, &str)]) -> Result<String, String> {
        let output = self.run("entrypoint/25-acme-dns.sh", variables);
        let [out, error] = [&output.stdout, &output.stderr].map(|o| String::from_utf8_lossy(o));
        assert!(!out.contains(SECRET) && !error.contains(SECRET), "{out}{error}");
        let error = error.replace(&self.nginx.dir().display().to_string(), "DIR");
        if output.status.success() { Ok(error) } else { Err(error) }
    }

    /// The health check: what it says, if not all is well.
    fn health(&self) -> Result<(), String> {
        let state_path = self.state_path();
        let output = self.run("healthcheck", &[("ACME_DNS_STATE_PATH", &state_path)]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        if output.status.success() { Ok(()) } else { Err(text) }
    }

    /// Has certificates renewed.
    fn renew(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("sh");
        command.arg(workspace_dir().join("docker/renew"));
        command.arg("-c").arg(self.nginx.dir().join("nginx.conf")).args(arguments);
        command.output().expect("sh runs")
    }

    fn state_path(&self) -> String {
        self.nginx.dir().join("acme_dns").display().to_string()
    }

    /// Runs curl; returns the answer with its header.
    fn curl(&self, roots: &str, url: &str, arguments: &[&str]) -> String {
        self.file("roots.pem", roots);
        let url = url
            .replace("HTTPS", &self.https.number().to_string())
            .replace("HTTP", &self.http.number().to_string());
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--include", "--noproxy", "*", "--cacert"]);
        command.arg(self.nginx.dir().join("roots.pem"));
        command.args(["--connect-to", "::127.0.0.1:"]).args(arguments).arg(url);
        let output = command.output().expect("curl runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Returns the variables that are enough, with other values; an empty one is as good as none.
fn with<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    ENOUGH.iter().chain(changes).copied().collect()
}

/// An application that answers every request with what it was sent.
fn application() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.expect("a connection");
            let mut request = [0; 4096];
            let length = connection.read(&mut request).expect("a request");
            let header = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            connection.write_all(header.as_bytes()).expect("it is sent");
            connection.write_all(&request[..length]).expect("it is sent");
        }
    });
    port
}
