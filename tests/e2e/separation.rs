//! The service has a user of its own: the state path changes hands, the manager goes on as nginx's.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use servers::acme_proxy::AcmeStep;
use servers::process::wait_until;
use testbed::measurements::proc;
use testbed::nginx::Nginx;
use testbed::nginx::build::NginxBuild;

use crate::site::{LIMIT, NOBODY, SERVICE, Site, below};
use crate::support::s_client;

const NAME: &str = "example.test";

/// A site whose service is the workers' user, which is how state paths of earlier versions look.
fn old_site() -> Site {
    let mut site = Site::new();
    site.nginx.daemon(true);
    site.nginx.service_user(Some("nobody nogroup"));
    site.set_servers(&[NAME]);
    site
}

fn orders(site: &Site) -> usize {
    site.proxy.traffic.count(&AcmeStep::NewOrder.requests())
}

fn owner(path: &Path) -> u32 {
    path.symlink_metadata().unwrap_or_else(|e| panic!("{}: {e}", path.display())).uid()
}

/// All that the store makes belongs to this user.
pub(crate) fn check_owner(site: &Site, uid: u32) {
    let state = site.state();
    let kept = ["accounts", "certs", "orders", "journal", "actions"];
    let ours = kept.iter().flat_map(|name| below(&state.join(name)));
    for path in ours.chain([state.clone(), state.join("lock")]) {
        // What is being written has another name a moment later.
        let Ok(metadata) = path.symlink_metadata() else { continue };
        assert_eq!(metadata.uid(), uid, "{}", path.display());
    }
}

/// The way back that the log names.
pub(crate) fn give_back(site: &Site) {
    let log = site.nginx.log();
    let line = log.lines().rfind(|line| line.contains("now belongs to user")).expect("a notice");
    let (_, command) = line.split_once("run: ").expect("it names a command");
    let status = Command::new("sh").args(["-c", command]).status().expect("a shell");
    assert!(status.success(), "{command}");
}

#[test]
fn a_state_path_changes_hands_and_back_without_an_order() {
    let mut site = old_site();
    site.start_nginx();
    let leaf = site.wait_for_certificate(NAME).leaf;
    site.wait_until_clean();
    check_owner(&site, NOBODY);
    // What dehydrated has there is not ours.
    let foreign = ["config", "hook.sh", "domains.txt"].map(|name| site.state().join(name));
    for path in &foreign {
        fs::write(path, "dehydrated's").expect("it can be written");
        chown(path, Some(2), Some(2)).expect("root may do that");
    }
    for round in 0..2 {
        site.nginx.quit();
        site.nginx.service_user(Some("daemon daemon"));
        let mark = site.nginx.log_mark();
        site.start_nginx();
        assert_eq!(site.served(NAME), leaf, "served at once");
        site.nginx.wait_for_log_from(mark, "now belongs to user \"daemon\"", LIMIT);
        let helper = site.nginx.wait_for_helper();
        site.reload();
        site.wait_for_other_helper(&[helper]);
        check_owner(&site, SERVICE);
        // The way back is a command for all of it.
        assert!(round > 0 || foreign.iter().all(|path| owner(path) == 2));
        site.nginx.quit();
        give_back(&site);
        site.nginx.service_user(Some("nobody nogroup"));
        site.start_nginx();
        assert_eq!(site.served(NAME), leaf, "served at once");
        site.nginx.wait_for_helper();
        check_owner(&site, NOBODY);
    }
    assert_eq!(orders(&site), 1);
    assert!(site.lines("error", 0).is_empty(), "{:?}", site.lines("error", 0));
    let notices = site.lines("notice", 0);
    let readable = "until now every process of \"nobody\" could read its keys";
    assert!(notices.iter().any(|line| line.contains(readable)), "{notices:#?}");
    assert!(notices.iter().any(|line| line.contains("the service runs as the workers' user")));
}

#[test]
fn a_state_path_changes_hands_after_the_old_helper_has_left() {
    let mut site = old_site();
    site.start_nginx();
    let leaf = site.wait_for_certificate(NAME).leaf;
    site.wait_until_clean();
    let old = site.nginx.master_pid();
    site.nginx.service_user(Some("daemon daemon"));
    site.configure();
    assert!(site.nginx.test().0, "the configuration is good, and written");
    proc::kill(old, Signal::USR2);
    site.nginx.wait_for_log("waiting for another process to release state path", LIMIT);
    check_owner(&site, NOBODY);
    site.nginx.quit();
    let taken = || site.nginx.log().contains("now belongs to user \"daemon\"").then_some(());
    assert!(wait_until(LIMIT, taken).is_some(), "{}", site.nginx.log());
    let new = fs::read_to_string(site.nginx.dir().join("nginx.pid")).expect("of the new master");
    let new = crate::process::Orphan(new.trim().parse().expect("a number"));
    let works = || proc::services(new.0).first().copied();
    assert!(wait_until(LIMIT, works).is_some(), "{}", site.nginx.log());
    assert_eq!((site.served(NAME), orders(&site)), (leaf, 1));
    check_owner(&site, SERVICE);
}

#[test]
fn a_master_that_may_not_read_what_others_have_serves_it_from_the_start() {
    let mut site = Site::new();
    // As a container with `cap_drop: ALL`, and what nginx itself needs.
    let build = NginxBuild::get();
    let wrapper = site.bed.dir().join("nginx");
    let script = format!(
        "#!/bin/sh\nexec setpriv --bounding-set=-all,+chown,+kill,+setgid,+setuid --pdeathsig TERM -- \
         {} \"$@\"\n",
        build.binary.display()
    );
    fs::write(&wrapper, script).expect("it can be written");
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("a mode");
    // A user of its own, and the workers'.
    for (user, owner) in [("daemon daemon", SERVICE), ("nobody nogroup", NOBODY)] {
        site.nginx = Nginx::new(&NginxBuild { binary: wrapper.clone(), ..build.clone() });
        site.nginx.service_user(Some(user));
        let before = orders(&site);
        site.set_servers(&[NAME]);
        site.start_nginx();
        let leaf = site.wait_for_certificate(NAME).leaf;
        site.wait_until_clean();
        check_owner(&site, owner);
        site.nginx.quit();
        let mark = site.nginx.log_mark();
        // Whatever the service may be about to do, the master has it already.
        site.nginx.start();
        assert_eq!(site.served(NAME), leaf);
        site.reload();
        assert_eq!(site.served(NAME), leaf);
        for level in ["error", "warn"] {
            assert_eq!(site.lines(level, mark), [""; 0], "{user}");
        }
        let log = site.nginx.log_from(mark);
        assert!(!log.contains("no certificate") && !log.contains("left to the service"), "{log}");
        assert_eq!(orders(&site), before + 1, "{user}");
    }
}

#[test]
fn what_root_puts_into_the_state_path_is_given_to_the_service() {
    let mut site = Site::start(&[NAME]);
    let leaf = site.wait_for_certificate(NAME).leaf;
    site.wait_until_clean();
    site.nginx.quit();
    // A backup that root has restored, with links followed.
    let link = site.state().join("certs").join(NAME);
    let copy = site.state().join("certs/copy");
    fs::create_dir(&copy).expect("it can be made");
    for entry in fs::read_dir(&link).expect("a directory") {
        let from = entry.expect("an entry").path();
        let to = copy.join(from.file_name().expect("a name"));
        fs::write(&to, fs::read(&from).expect("a file")).expect("it can be written");
        fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).expect("a mode");
    }
    fs::remove_file(&link).expect("the link is there");
    fs::rename(&copy, &link).expect("it can be renamed");
    site.start_nginx();
    assert_eq!(site.served(NAME), leaf);
    let taken = || (owner(&link.join("privkey.pem")) == SERVICE).then_some(());
    assert!(wait_until(LIMIT, taken).is_some(), "{}", site.nginx.log());
    site.nginx.wait_for_helper();
    site.reload();
    assert_eq!((site.served(NAME), orders(&site)), (leaf, 1));
}

#[test]
fn files_below_certs_with_a_variable_are_open_to_workers_and_their_group() {
    let mut site = old_site();
    site.start_nginx();
    let leaf = site.wait_for_certificate(NAME).leaf;
    site.wait_until_clean();
    let key = site.state().join("certs").join(NAME).join("privkey.pem");
    let read = |path: &Path, user: &str| {
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={user}"), "--regid=nogroup", "--clear-groups", "cat"]);
        command.arg(path).output().expect("setpriv is there").status.success()
    };
    let port = servers::ports::Port::reserve();
    let certs = site.state().join("certs").display().to_string();
    site.http = format!(
        "server {{ listen {} ssl; server_name {NAME};
             ssl_certificate {certs}/$ssl_server_name/fullchain.pem;
             ssl_certificate_key {certs}/$ssl_server_name/privkey.pem; return 200; }}",
        port.addr()
    );
    let client = testbed::clients::tls::TlsClient::new(port.addr()).sni(NAME);
    let served = || client.handshake().ok().map(|chain| chain.leaf);
    site.reload();
    assert_eq!(served().as_ref(), Some(&leaf), "the workers' user owns all");
    site.nginx.quit();
    site.nginx.service_user(Some("daemon daemon"));
    site.start_nginx();
    site.nginx.wait_for_log("now belongs to user \"daemon\"", LIMIT);
    assert_eq!(wait_until(LIMIT, served).as_ref(), Some(&leaf), "{}", site.nginx.log());
    check_owner(&site, SERVICE);
    assert!(read(&key, "nobody") && read(&key, "games"), "the group of the workers");
    for path in ["accounts", "lock", "journal"] {
        assert!(!read(&site.state().join(path), "nobody"), "{path}");
    }
    let mode = |path: &Path| fs::metadata(path).expect("it is there").mode() & 0o7777;
    assert_eq!((mode(&site.state()), mode(&site.state().join("certs"))), (0o710, 0o750));
    assert_eq!(site.lines("notice", 0).iter().filter(|l| l.contains("with a variable")).count(), 1);
    // And closed again.
    site.http = String::new();
    let helper = site.nginx.wait_for_helper();
    site.reload();
    site.wait_for_other_helper(&[helper]);
    let closed = || (!read(&key, "nobody")).then_some(());
    assert!(wait_until(LIMIT, closed).is_some());
    assert_eq!(orders(&site), 1);
}

#[test]
fn a_configuration_that_only_the_workers_group_may_read_is_compared_before_a_reload() {
    let mut site = Site::new();
    site.set_servers(&[NAME]);
    site.http = format!(
        "server {{ listen unix:{0} ssl; ssl_certificate {1}/fullchain.pem; \
         ssl_certificate_key {1}/privkey.pem; return 200; }}",
        site.nginx.path("own.sock").display(),
        site.state().join("certs").join(NAME).display(),
    );
    // The files must be there before nginx can read them.
    let with_files = std::mem::take(&mut site.http);
    site.start_nginx();
    let leaf = site.wait_for_certificate(NAME).leaf;
    site.wait_until_clean();
    site.http = with_files;
    site.reload();
    let conf = site.nginx.dir().join("nginx.conf");
    fs::set_permissions(&conf, fs::Permissions::from_mode(0o640)).expect("a mode");
    chown(&conf, Some(0), Some(NOBODY)).expect("root may do that");
    let helper = site.nginx.wait_for_helper();
    fs::write(site.state().join("actions").join(format!("renew-{NAME}")), "").expect("an action");
    chown(site.state().join("actions").join(format!("renew-{NAME}")), Some(SERVICE), None)
        .expect("root may do that");
    // Asked for by a signal, which does not write the configuration anew.
    proc::kill(site.nginx.master_pid(), Signal::HUP);
    let second = site.wait_for_other_helper(&[helper]);
    site.wait_for_other(NAME, &leaf.serial);
    site.wait_for_other_helper(&[helper, second]);
    assert!(site.lines("warn", 0).is_empty(), "{:?}", site.lines("warn", 0));
}

#[test]
fn no_line_of_the_service_is_lost_while_logs_are_rotated() {
    let names: Vec<String> = (0..12).map(|n| format!("n{n}.{NAME}")).collect();
    let mut site = Site::new();
    site.nginx.log_level("debug");
    names.iter().for_each(|name| site.add_server(name, "on"));
    site.start_nginx();
    let log = site.nginx.dir().join("error.log");
    let mut rotated: Vec<PathBuf> = Vec::new();
    let all = |rotated: &[PathBuf]| {
        let texts = rotated.iter().chain([&log]).map(fs::read_to_string);
        texts.map(Result::unwrap_or_default).collect::<String>()
    };
    let issued = |text: &str| text.matches("\" issued by ").count();
    let done = wait_until(LIMIT, || {
        let to = log.with_file_name(format!("error.log.{}", rotated.len()));
        fs::rename(&log, &to).expect("it can be renamed");
        rotated.push(to);
        proc::kill(site.nginx.master_pid(), Signal::USR1);
        wait_until(LIMIT, || log.exists().then_some(()))?;
        (issued(&all(&rotated)) >= names.len()).then_some(())
    });
    let text = all(&rotated);
    assert!(done.is_some() && rotated.len() > 10, "{} rotations\n{text}", rotated.len());
    for name in &names {
        for line in ["order ", "order is ready", "\" issued by "] {
            let of_name = |text: &&str| {
                text.contains(&format!("certificate \"{name}\"")) && text.contains(line)
            };
            let count = text.lines().filter(of_name).count();
            assert!(count >= 1, "{name}: no line with {line:?}");
        }
    }
    // The service has no log of its own open, which would be an old one by now.
    let open = fs::read_dir(format!("/proc/{}/fd", site.nginx.wait_for_helper())).expect("root");
    let targets = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let logs: Vec<_> =
        targets.filter(|path| path.to_string_lossy().contains("error.log")).collect();
    assert!(logs.is_empty(), "{logs:?}");
}

#[test]
fn a_service_that_ends_again_and_again_is_told_and_pauses() {
    let site = Site::start(&[NAME]);
    site.wait_for_certificate(NAME);
    let mut killed = Vec::new();
    for _ in 0..4 {
        let service = site.wait_for_other_helper(&killed);
        proc::kill(service, Signal::KILL);
        killed.push(service);
        site.nginx.wait_for_log(
            &format!("acme dns process {service} exited (on signal 9), restarting it"),
            LIMIT,
        );
    }
    site.nginx.wait_for_log("the acme dns process has ended 3 times in a row", LIMIT);
    let service = site.wait_for_other_helper(&killed);
    assert_eq!(owner(Path::new(&format!("/proc/{service}/environ"))), 0, "it is not dumpable");
    site.wait_for_certificate(NAME);
}

#[test]
fn a_service_that_cannot_be_started_is_missed() {
    let mut site = Site::new();
    site.set_servers(&[NAME]);
    // The workers' user has more processes than this, as other tests run beside this one or not: it
    // concerns what is not root alone.
    let build = NginxBuild::get();
    let wrapper = site.bed.dir().join("nginx");
    let script =
        format!("#!/bin/sh\nexec prlimit --nproc=1:1 -- {} \"$@\"\n", build.binary.display());
    fs::write(&wrapper, script).expect("it can be written");
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("a mode");
    site.nginx = Nginx::new(&NginxBuild { binary: wrapper, ..build.clone() });
    site.configure();
    let _no_helper = site.nginx.try_start();
    site.nginx.wait_for_log("acme_dns: cannot start the acme dns process", LIMIT);
    site.nginx.wait_for_log("acme dns process has not started within 10 s", LIMIT);
    assert!(site.serves_fallback(NAME), "nginx itself serves");
}

#[test]
fn a_cache_beside_the_service_goes_on_being_cleaned() {
    let mut site = Site::new();
    let cache = site.nginx.dir().join("cache");
    let addr = site.addr();
    site.http = format!(
        "proxy_cache_path {0} keys_zone=cache:1m inactive=15s;
         server {{ listen unix:{0}.sock; return 200 cached; }}
         server {{ listen {addr} ssl; server_name c.{NAME}; acme_dns on;
             location / {{ proxy_pass http://unix:{0}.sock; proxy_cache cache;
                           proxy_cache_valid 1h; }} }}",
        cache.display()
    );
    site.set_servers(&[NAME]);
    site.start_nginx();
    site.wait_for_certificate(&format!("c.{NAME}"));
    let files = || below(&cache).into_iter().filter(|path| path.is_file()).count();
    let shown = s_client(addr, &format!("c.{NAME}"), &["-servername", &format!("c.{NAME}")]);
    assert!(shown.contains("200 OK"), "{shown}");
    let is_cached = wait_until(LIMIT, || (files() == 1).then_some(()));
    assert!(is_cached.is_some(), "{}", site.nginx.log());
    assert!(wait_until(LIMIT, || (files() == 0).then_some(())).is_some(), "{}", site.nginx.log());
}

#[test]
fn a_link_to_the_state_path_is_as_good_as_the_state_path() {
    let mut site = Site::new();
    let real = site.nginx.dir().join("real");
    fs::create_dir(&real).expect("it can be made");
    chown(&real, Some(SERVICE), Some(SERVICE)).expect("root may do that");
    symlink(&real, site.state()).expect("a link");
    site.set_servers(&[NAME]);
    site.start_nginx();
    let leaf = site.wait_for_certificate(NAME).leaf;
    assert_eq!(site.check_files(NAME), leaf);
    assert_eq!(fs::metadata(&real).expect("it is there").mode() & 0o7777, 0o700);
}

/// A library that ends a service while a file is there, in a call that it alone makes before it is told to
/// begin.
fn early_end(site: &Site, file: &Path) -> PathBuf {
    let (source, library) = (site.bed.dir().join("end.c"), site.bed.dir().join("end.so"));
    let text = format!(
        "#include <unistd.h>\nint signalfd(int fd, const void *set, int flags) {{\n\
         if (access(\"{}\", F_OK) == 0) _exit(7);\n\
         int (*next)(int, const void *, int) = dlsym(RTLD_NEXT, \"signalfd\");\n\
         return next(fd, set, flags); }}\n",
        file.display()
    );
    fs::write(&source, format!("#define _GNU_SOURCE\n#include <dlfcn.h>\n{text}"))
        .expect("written");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source);
    assert!(compiler.status().is_ok_and(|status| status.success()), "{text}");
    library
}

#[test]
fn a_service_that_ends_before_it_begins_is_told_and_started_anew() {
    let mut site = Site::new();
    let file = site.bed.dir().join("ends");
    fs::write(&file, "").expect("it can be written");
    let library = early_end(&site, &file);
    site.nginx.env("LD_PRELOAD", &library.display().to_string());
    site.set_servers(&[NAME]);
    site.configure();
    let _no_helper = site.nginx.try_start();
    let told = "exited (with code 7), restarting it";
    for count in 1..=2 {
        let seen =
            wait_until(LIMIT, || (site.nginx.log().matches(told).count() >= count).then_some(()));
        assert!(seen.is_some(), "it is started anew:\n{}", site.nginx.log());
    }
    fs::remove_file(&file).expect("it is there");
    site.wait_for_certificate(NAME);
}
