//! Other software that is given exported certificates, each as its example in docs/hooks.md says. `make software-test`
//! installs it.

use crate::bed::{Bed, Block, LIMIT, NAME};
use openssl::x509::X509;
use servers::paths::workspace_dir;
use servers::ports::Port;
use servers::process::Process;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An export of a certificate and its key, and the configuration of a program that reads it.
struct Software {
    bed: Bed,
    port: Port,
    /// The leaf that the program is to show.
    leaf: X509,
}

impl Software {
    /// Exports a certificate under this name, for the group of a user.
    fn new(name: &str, user: &str) -> Self {
        let group = Command::new("id").args(["-g", user]).output().unwrap().stdout;
        let group = String::from_utf8(group).unwrap();
        let mut bed = Bed::new();
        let out = bed.path("out");
        fs::create_dir(&out).unwrap();
        for open in [&out, &bed.path("")] {
            fs::set_permissions(open, Permissions::from_mode(0o755)).unwrap();
        }
        let files = ["crt", "key"].map(|ending| format!("{name}.{ending}"));
        let directory = out.display().to_string();
        let block: Block<'_> = &[
            &["directory", &directory],
            &["fullchain", &files[0]],
            &["key", &files[1]],
            &["mode", "0640"],
            &["group", group.trim()],
        ];
        bed.export_of(NAME, block);
        let chain = bed.save(90);
        let desk = bed.start();
        bed.wait_for_log(&format!("wrote \"{}\"", files[0]));
        drop(desk);
        let leaf = X509::from_pem(chain.as_bytes()).unwrap();
        Self { bed, port: Port::reserve(), leaf }
    }

    fn dir(&self) -> PathBuf {
        self.bed.path("")
    }

    /// Gives an example with our directory in the place of its own.
    fn example(&self, file: &str, theirs: &str, ours: &Path) -> String {
        let example = fs::read_to_string(workspace_dir().join("docs/examples").join(file)).unwrap();
        let adapted = example.replace(theirs, &ours.display().to_string());
        assert_ne!(example, adapted, "{file} does not name {theirs}");
        adapted
    }

    fn start(&self, command: &mut Command) -> Process {
        let mut process = Process::start(command, &self.bed.path("log"));
        process.wait_for_port(self.port.addr(), LIMIT);
        process
    }

    /// Shakes hands, and compares what is shown.
    fn check(&self, protocol: &str, process: &Process) {
        let mut client = Command::new("openssl");
        client.args(["s_client", "-starttls", protocol, "-servername", NAME, "-connect"]);
        client.arg(self.port.addr().to_string()).stdin(std::process::Stdio::null());
        let shown = self.bed.wait(protocol, || {
            let output = client.output().unwrap();
            X509::from_pem(&output.stdout).ok()
        });
        let (shown, expected) = (shown.to_der().unwrap(), self.leaf.to_der().unwrap());
        assert_eq!(shown, expected, "{}", process.log());
    }
}

#[test]
#[ignore = "make software-test installs Postfix"]
fn postfix_shows_what_is_exported() {
    let software = Software::new("mail", "root");
    let (dir, port) = (software.dir(), software.port.addr());
    let example = software.example("postfix.cf", "/var/lib/acme_dns_export/mail", &dir.join("out"));
    let config = dir.join("postfix");
    for name in ["postfix", "queue", "data"] {
        fs::create_dir(dir.join(name)).unwrap();
    }
    let at = dir.display();
    let main = format!(
        "compatibility_level = 3.6\nqueue_directory = {at}/queue\ndata_directory = {at}/data\n\
         inet_interfaces = 127.0.0.1\nmaillog_file_prefixes = {at}\nmaillog_file = {at}/maillog\n\
         local_recipient_maps =\nalias_maps =\nmydestination =\n{example}"
    );
    fs::write(config.join("main.cf"), main).unwrap();
    let master = format!(
        "{port} inet n - n - - smtpd\ntlsmgr unix - - n 1000? 1 tlsmgr\nanvil unix - - n - 1 anvil\n\
         rewrite unix - - n - - trivial-rewrite\nproxymap unix - - n - - proxymap\n\
         postlog unix-dgram n - n - 1 postlogd\ncleanup unix n - n - 0 cleanup\n\
         pickup unix n - n 60 1 pickup\nqmgr unix n - n 300 1 qmgr\n"
    );
    fs::write(config.join("master.cf"), master).unwrap();
    let owner = Command::new("chown").arg("postfix").arg(dir.join("data")).status();
    assert!(owner.unwrap().success());
    let check = Command::new("/usr/sbin/postfix").arg("-c").arg(&config).arg("check").status();
    assert!(check.unwrap().success());
    // `postfix start-fg` begins a session of its own, which nobody could end with this test.
    let mut command = Command::new("/usr/lib/postfix/sbin/master");
    command.args(["-d", "-c"]).arg(&config);
    let process = software.start(&mut command);
    software.check("smtp", &process);
}

#[test]
#[ignore = "make software-test installs Dovecot"]
fn dovecot_shows_what_is_exported() {
    let software = Software::new("mail", "root");
    let (dir, port) = (software.dir(), software.port.addr());
    let example =
        software.example("dovecot.conf", "/var/lib/acme_dns_export/mail", &dir.join("out"));
    let at = dir.display();
    let config = format!(
        "protocols = imap\nbase_dir = {at}/run\nstate_dir = {at}/run\nlog_path = {at}/dovecot.log\n\
         mail_location = maildir:{at}/mail\n\
         service imap-login {{\n inet_listener imap {{\n  address = {}\n  port = {}\n }}\n \
         inet_listener imaps {{\n  port = 0\n }}\n}}\n\
         passdb {{\n driver = static\n args = nopassword=y\n}}\n\
         userdb {{\n driver = static\n args = uid=nobody gid=nogroup home={at}\n}}\n{example}",
        port.ip(),
        port.port()
    );
    fs::write(dir.join("dovecot.conf"), config).unwrap();
    let mut command = Command::new("/usr/sbin/dovecot");
    command.arg("-F").arg("-c").arg(dir.join("dovecot.conf"));
    let process = software.start(&mut command);
    software.check("imap", &process);
}

/// PostgreSQL reads a copy that belongs to its user, as the commands of the unit make it.
#[test]
#[ignore = "make software-test installs PostgreSQL"]
fn postgresql_shows_what_is_exported() {
    let software = Software::new("db", "postgres");
    let (dir, port) = (software.dir(), software.port.addr());
    let home = dir.join("home");
    fs::create_dir(&home).unwrap();
    let owner = Command::new("chown").arg("postgres:postgres").arg(&home).status();
    assert!(owner.unwrap().success());
    let as_postgres = |program: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", program]);
        command.current_dir(&home);
        command
    };
    let unit = "systemd/acme-dns-postgresql.service";
    let unit = software.example(unit, "/var/lib/acme_dns_export/postgresql", &dir.join("out"));
    let unit = unit.replace("/var/lib/postgresql/", &format!("{}/", home.display()));
    let copies: Vec<&str> =
        unit.lines().filter_map(|line| line.strip_prefix("ExecStart=/usr/bin/")).collect();
    assert_eq!(copies.len(), 2, "{unit}");
    for copy in copies {
        let mut words = copy.split(' ');
        let mut command = as_postgres(words.next().unwrap());
        assert!(command.args(words).status().unwrap().success(), "{copy}");
    }
    let programs = fs::read_dir("/usr/lib/postgresql").unwrap().next().unwrap().unwrap().path();
    let program = |name: &str| programs.join("bin").join(name).display().to_string();
    let data = home.join("data").display().to_string();
    let made = as_postgres(&program("initdb")).args(["--no-sync", "-D", &data]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let example = software.example("postgresql.conf", "/var/lib/postgresql", &home);
    let own = format!(
        "{example}\nlisten_addresses = '{}'\nport = {}\nunix_socket_directories = ''\n",
        port.ip(),
        port.port()
    );
    fs::write(home.join("data/postgresql.conf"), own).unwrap();
    let process = software.start(as_postgres(&program("postgres")).args(["-D", &data]));
    software.check("postgres", &process);
}
