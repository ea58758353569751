//! Checks of what a package must do, from its installation to its end.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use servers::Testbed;
use servers::authority::Authority;
use servers::process::run;
use testbed::nginx::Nginx;
use testbed::nginx::build::NginxBuild;
use testbed::nginx::example::Example;

use crate::Package;
use crate::chroot::Chroot;

const MODULE: &str = "/usr/lib/nginx/modules/ngx_http_acme_dns_module.so";
const PROVIDERS: &str = "/usr/lib/nginx/modules/acme-dns-providers";
const LINK: &str = "/etc/nginx/modules-enabled/50-mod-http-acme-dns.conf";

/// Included by the nginx.conf of both distributions.
const SITE: &str = "/etc/nginx/conf.d/acme_dns.conf";
const TOKEN: &str = "/etc/nginx/token";
const STATE: &str = "/var/lib/acme_dns";

/// The user that a package makes.
const USER: &str = "acme_dns";

pub(crate) fn check(
    bed: &Testbed,
    package: &Package,
    other: Option<&Package>,
    providers: &Path,
) -> Result<(), String> {
    run(Command::new("lintian")
        .args(["--allow-root", "--fail-on", "error,warning"])
        .args([&package.path, providers]))
    .map_err(|e| format!("lintian: {e}"))?;
    let chroot = Chroot::new(package)?;
    // It makes nginx's own directories.
    test_nginx_conf(&chroot, package)?;
    let before = chroot.files()?;
    match other {
        Some(other) => is_refused(&chroot, other)?,
        None => println!("    not tried: a package for another version of nginx"),
    }
    let said = chroot.apt("install", &[&chroot.bring(&package.path)?])?;
    // What loads the module: Debian's by itself, the other one as its package says.
    let load = if package.is_debian {
        "include /etc/nginx/modules-enabled/*.conf;"
    } else {
        let mut lines = said.lines().map(str::trim);
        let line = lines.find(|line| line.starts_with("load_module"));
        line.ok_or(format!("it does not say how to load the module:\n{said}"))?
    };
    has_user(&chroot)?;
    has_documents(&chroot, package)?;
    serves_with_nginx_conf(&chroot, package, load)?;
    takes_examples(&chroot, package)?;
    takes_providers(&chroot, package, load, providers)?;
    obtains(bed, &chroot, package, load)?;
    if package.is_debian {
        stays_disabled(&chroot, package)?;
    }
    leaves_nothing(&chroot, package, &before)?;
    // It may own files.
    has_user(&chroot)?;
    starts_without(&chroot, package)
}

/// apt does not install what is for another nginx, and names the reason.
fn is_refused(chroot: &Chroot, other: &Package) -> Result<(), String> {
    let needed = run(Command::new("dpkg-deb").arg("--field").arg(&other.path).arg("Depends"))?;
    let needed = needed.split(',').next().unwrap_or_default().trim();
    match chroot.apt("install", &[&chroot.bring(&other.path)?]) {
        Ok(said) => Err(format!("{} is not refused:\n{said}", other.path.display())),
        Err(said) if said.contains(&format!("Depends: {needed}")) => Ok(()),
        Err(said) => Err(format!("it is not for want of {needed} that apt fails:\n{said}")),
    }
}

/// The user of the service is there, and nobody can log in as it.
fn has_user(chroot: &Chroot) -> Result<(), String> {
    let entry = chroot.run("getent", &["passwd", USER])?;
    let fields: Vec<_> = entry.trim().split(':').collect();
    match fields.as_slice() {
        [USER, _, _, _, _, "/nonexistent", "/usr/sbin/nologin"] => Ok(()),
        _ => Err(format!("the user is not as it should be: {entry}")),
    }
}

/// Links of the documents lead to what is in the package, and the licences of all crates are in it.
fn has_documents(chroot: &Chroot, package: &Package) -> Result<(), String> {
    let doc = chroot.inside(&format!("/usr/share/doc/{}", package.name));
    let read = |path: &Path| {
        fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let docs = fs::read_dir(doc.join("docs")).map_err(|error| format!("docs: {error}"))?;
    let paths = docs.flatten().map(|entry| entry.path());
    let is_document = |path: &PathBuf| path.extension().is_some_and(|end| end == "md");
    let mut documents: Vec<_> = paths.filter(is_document).collect();
    documents.push(doc.join("README.md"));
    for document in documents {
        let text = read(&document)?;
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        for target in targets.filter(|target| !target.contains("://") && !target.is_empty()) {
            if !document.parent().is_some_and(|directory| directory.join(target).exists()) {
                return Err(format!("{} has a link to nothing: {target}", document.display()));
            }
        }
    }
    let unpacked = |name: &str| run(Command::new("gzip").args(["-dc"]).arg(doc.join(name)));
    for (name, expected) in [
        ("licenses.gz", "Permission is hereby granted, free of charge"),
        ("licenses.gz", "UNICODE LICENSE V3"),
        ("sbom.cdx.json.gz", "pkg:cargo/openssl@"),
    ] {
        if !unpacked(name)?.contains(expected) {
            return Err(format!("{name} does not hold \"{expected}\""));
        }
    }
    Ok(())
}

/// The examples can be copied over nginx.conf: only addresses and files of secrets are made for them.
fn takes_examples(chroot: &Chroot, package: &Package) -> Result<(), String> {
    let examples = format!("/usr/share/doc/{}/examples", package.name);
    let entries = fs::read_dir(chroot.inside(&examples)).map_err(|e| format!("{examples}: {e}"))?;
    let nginx_conf = "/etc/nginx/nginx.conf";
    let original = fs::read_to_string(chroot.inside(nginx_conf)).map_err(|e| e.to_string())?;
    // The stand-in writes to "logs", and has not made the directory that the nginx of nginx.org writes to.
    chroot.run("mkdir", &["-p", "/run/secrets", "/etc/nginx/logs", "/var/log/nginx"])?;
    for name in ["cloudflare_token", "public_token", "zerossl_mac_key"] {
        chroot.write(&format!("/run/secrets/{name}"), "a-token", 0o600)?;
    }
    let authority = Authority::create(&chroot.inside("/tmp"));
    for (name, file) in [
        ("internal-ca.pem", authority.ca_file()),
        ("bought.pem", authority.certificate_file()),
        ("bought.key", authority.key_file()),
    ] {
        let pem = fs::read_to_string(file).map_err(|error| error.to_string())?;
        chroot.write(&format!("/run/secrets/{name}"), &pem, 0o600)?;
    }
    chroot.run("cp", &[&format!("{examples}/domains.txt"), "/etc/nginx/"])?;
    let mut tried = 0;
    for entry in entries.flatten() {
        let text = fs::read_to_string(entry.path()).map_err(|e| e.to_string())?;
        if !text.contains("\nhttp {") {
            continue;
        }
        let text = text.replace("you@example.com", "you@example.dev");
        // The directory may be missing.
        let text = text.replace("/etc/ssl/", "/run/secrets/");
        chroot.write(nginx_conf, &text, 0o644)?;
        test_nginx_conf(chroot, package)
            .map_err(|error| format!("{}: {error}", entry.path().display()))?;
        tried += 1;
    }
    chroot.write(nginx_conf, &original, 0o644)?;
    for path in ["/run/secrets", "/etc/nginx/domains.txt", "/etc/nginx/logs"] {
        chroot.run("rm", &["-r", path])?;
    }
    if tried > 5 { Ok(()) } else { Err(format!("{tried} examples only")) }
}

/// The distribution's own nginx.conf loads the module and takes its directives.
fn serves_with_nginx_conf(chroot: &Chroot, package: &Package, load: &str) -> Result<(), String> {
    chroot.write(TOKEN, "a-token", 0o600)?;
    let site = format!(
        "acme_dns_state_path {STATE};\n\
         acme_dns_issuer letsencrypt-staging {{ contact you@example.com; accept_terms_of_service; }}\n\
         acme_dns_provider cloudflare {{ token_file {TOKEN}; }}\n\
         server {{ listen 443 ssl; server_name example.com *.example.com; acme_dns on; }}\n"
    );
    chroot.write(SITE, &site, 0o644)?;
    let nginx_conf = "/etc/nginx/nginx.conf";
    let original = fs::read_to_string(chroot.inside(nginx_conf)).map_err(|e| e.to_string())?;
    if !package.is_debian {
        test_nginx_conf(chroot, package)
            .err()
            .ok_or("the directives are known without the module")?;
        chroot.write(nginx_conf, &format!("{load}\n{original}"), 0o644)?;
    }
    test_nginx_conf(chroot, package)?;
    chroot.write(nginx_conf, &original, 0o644)?;
    if chroot.inside(STATE).exists() {
        return Err(format!("`nginx -t` has made {STATE}"));
    }
    fs::remove_file(chroot.inside(SITE))
        .and_then(|()| fs::remove_file(chroot.inside(TOKEN)))
        .map_err(|e| format!("cannot clean up: {e}"))
}

/// The module finds the program for providers once its package is there, and the package goes without a trace.
fn takes_providers(
    chroot: &Chroot,
    package: &Package,
    load: &str,
    providers: &Path,
) -> Result<(), String> {
    chroot.write(TOKEN, "a-token", 0o600)?;
    let site = format!(
        "acme_dns_issuer letsencrypt-staging {{ contact you@example.com; accept_terms_of_service; }}\n\
         acme_dns_provider hetzner {{ token_file {TOKEN}; }}\n\
         server {{ listen 443 ssl; server_name example.com; acme_dns on; }}\n"
    );
    chroot.write(SITE, &site, 0o644)?;
    let nginx_conf = "/etc/nginx/nginx.conf";
    let original = fs::read_to_string(chroot.inside(nginx_conf)).map_err(|e| e.to_string())?;
    if !package.is_debian {
        chroot.write(nginx_conf, &format!("{load}\n{original}"), 0o644)?;
    }
    let missing = format!("which is not at {PROVIDERS}; install the package");
    match test_nginx_conf(chroot, package) {
        Err(said) if said.contains(&missing) => {}
        said => return Err(format!("it does not say what is missing: {said:?}")),
    }
    chroot.apt("install", &[&chroot.bring(providers)?])?;
    test_nginx_conf(chroot, package)?;
    let said = chroot.run("sh", &["-c", &format!("{PROVIDERS} </dev/null")])?;
    if !said.starts_with("{\"protocol\":") {
        return Err(format!("{PROVIDERS} says: {said}"));
    }
    chroot.apt("purge", &["nginx-acme-dns-providers"])?;
    chroot.write(nginx_conf, &original, 0o644)?;
    fs::remove_file(chroot.inside(SITE))
        .and_then(|()| fs::remove_file(chroot.inside(TOKEN)))
        .map_err(|e| format!("cannot clean up: {e}"))
}

/// `nginx -t`.
fn test_nginx_conf(chroot: &Chroot, package: &Package) -> Result<(), String> {
    // The stand-in has its prefix elsewhere.
    let prefix: &[&str] =
        if package.is_debian { &[] } else { &["-p", "/etc/nginx/", "-c", "nginx.conf"] };
    let command = ["PRIVATE_TOKEN=a-token", "nginx", "-t", "-e", "stderr"];
    chroot.run("env", &[&command, prefix].concat()).map(|_| ())
}

/// The nginx that is installed, to be started from outside.
fn installed(chroot: &Chroot, package: &Package) -> NginxBuild {
    NginxBuild {
        version: package.build.version.clone(),
        binary: "/usr/sbin/nginx".into(),
        module: chroot.inside(MODULE),
        // Debian's are loaded as ours is, the stand-in has them built in.
        dynamic: Vec::new(),
        lua: Vec::new(),
        root: Some(chroot.path().to_owned()),
    }
}

/// Certificates for all kinds of servers; then a new file of the module, which is not in use before
/// a restart.
fn obtains(bed: &Testbed, chroot: &Chroot, package: &Package, load: &str) -> Result<(), String> {
    let build = installed(chroot, package);
    let mut example = Example::new(bed, &build);
    example.nginx.load_installed(load).service_user(None);
    example.add_stream_and_mail(&build);
    let (_, time) = example.obtain(|_| true)?;
    println!("    certificate after {time:.2?}");
    runs_as_user(chroot, &example.nginx)?;
    let log = example.nginx.log();
    if let Some(line) = log.lines().find(|line| line.contains("[warn]") || line.contains("[error]"))
    {
        return Err(format!("it warns: {line}"));
    }
    reinstall(chroot, package)?;
    example.nginx.try_reload()?;
    let has_old = |nginx: &Nginx| {
        let maps = fs::read_to_string(format!("/proc/{}/maps", nginx.master_pid()));
        maps.unwrap_or_default()
            .lines()
            .any(|l| l.contains("acme_dns_module") && l.ends_with("(deleted)"))
    };
    if !has_old(&example.nginx) {
        return Err("a reload has loaded the new file: docs/packages.md says otherwise".to_owned());
    }
    example.nginx.quit();
    example.obtain(|_| true).map_err(|e| format!("after the upgrade: {e}"))?;
    if has_old(&example.nginx) {
        return Err("a restart has not loaded the new file".to_owned());
    }
    Ok(())
}

/// The service has the user, without a directive.
fn runs_as_user(chroot: &Chroot, nginx: &Nginx) -> Result<(), String> {
    let user = chroot.run("id", &["--user", USER])?;
    let service = nginx.helper_pid().ok_or("there is no acme dns process")?;
    let status = fs::read_to_string(format!("/proc/{service}/status"));
    let status = status.map_err(|e| format!("the acme dns process has ended: {e}"))?;
    let line = status.lines().find(|line| line.starts_with("Uid:")).unwrap_or_default();
    if line.split_whitespace().skip(1).all(|number| number == user.trim()) {
        Ok(())
    } else {
        Err(format!("the acme dns process does not run as \"{USER}\", {}: {line}", user.trim()))
    }
}

/// As an upgrade does it; no newer version is at hand.
fn reinstall(chroot: &Chroot, package: &Package) -> Result<(), String> {
    let path = chroot.bring(&package.path)?;
    chroot.apt("install", &["--reinstall", &path]).map(|_| ())
}

/// Checks that the module stays disabled over upgrades once its link is removed.
fn stays_disabled(chroot: &Chroot, package: &Package) -> Result<(), String> {
    let link = chroot.inside(LINK);
    fs::remove_file(&link).map_err(|e| format!("{LINK}: {e}"))?;
    reinstall(chroot, package)?;
    if link.is_symlink() {
        return Err("an upgrade enables the module again".to_owned());
    }
    Ok(())
}

/// Nothing is left, and what was there is there.
fn leaves_nothing(
    chroot: &Chroot,
    package: &Package,
    before: &BTreeSet<String>,
) -> Result<(), String> {
    if package.is_debian {
        is_enabled_again(chroot, package)?;
        chroot.apt("remove", &[&package.name])?;
    }
    chroot.apt("purge", &[&package.name])?;
    let after = chroot.files()?;
    let changed: Vec<_> = after.symmetric_difference(before).collect();
    if changed.is_empty() { Ok(()) } else { Err(format!("left or gone: {changed:?}")) }
}

/// The link goes and comes with the module.
fn is_enabled_again(chroot: &Chroot, package: &Package) -> Result<(), String> {
    let link = chroot.inside(LINK);
    let install = || chroot.apt("install", &[&chroot.bring(&package.path)?]);
    // The choice of who has removed the link is forgotten.
    chroot.apt("purge", &[&package.name])?;
    install()?;
    chroot.apt("remove", &[&package.name])?;
    if link.is_symlink() {
        return Err(format!("{LINK} is left without its module"));
    }
    install()?;
    if !link.is_symlink() {
        return Err("it is not enabled after it was removed and installed again".to_owned());
    }
    Ok(())
}

fn starts_without(chroot: &Chroot, package: &Package) -> Result<(), String> {
    test_nginx_conf(chroot, package)?;
    let mut nginx = Nginx::new(&installed(chroot, package));
    nginx.load_installed("").service_user(None);
    nginx.try_start()
}
