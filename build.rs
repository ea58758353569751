//! Tells the code what the nginx that it is built for has, and makes bindings to its mail module.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};

/// The features of nginx that change what its headers declare, and the cfg that stands for each.
const FEATURES: [(&str, &str); 3] =
    [("http_v3", "ngx_http_v3"), ("pcre", "ngx_pcre"), ("stream_ssl", "ngx_stream")];

/// The versions from which on structures have what the code uses, and the cfg that stands for it.
const VERSIONS: [(u64, &str); 2] =
    [(1_025_005, "ngx_stream_server_name"), (1_027_002, "ngx_stream_stapling")];

/// What is used of the mail module.
const MAIL: &str = "ngx_mail_(conf_ctx|core_srv_conf|module|ssl_conf)_t|\
    NGX_MAIL_(MAIN_CONF|MODULE|SRV_CONF)";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let available = env::var("DEP_NGINX_FEATURES").unwrap_or_default();
    for (feature, cfg) in FEATURES {
        set(cfg, available.split(',').any(|available| available == feature));
    }
    let version: u64 = env::var("DEP_NGINX_VERSION_NUMBER")?.parse()?;
    for (since, cfg) in VERSIONS {
        set(cfg, version >= since);
    }
    let include: Vec<PathBuf> =
        env::split_paths(&env::var_os("DEP_NGINX_INCLUDE").unwrap_or_default()).collect();
    let has_mail = include.iter().any(|path| path.join("ngx_mail_ssl_module.h").is_file());
    set("ngx_mail", has_mail);
    if has_mail {
        bind_mail(&include)?;
    }
    // A thread and an exit handler of this object outlive the configuration that loaded it.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    Ok(())
}

fn set(cfg: &str, is_set: bool) {
    println!("cargo::rustc-check-cfg=cfg({cfg})");
    if is_set {
        println!("cargo::rustc-cfg={cfg}");
    }
}

/// Writes `mail.rs`: the types of the mail module, which refer to those that `nginx-sys` has.
fn bind_mail(include: &[PathBuf]) -> Result<(), Box<dyn Error>> {
    let flags = env::var("DEP_NGINX_CFLAGS").unwrap_or_default();
    let bindings = bindgen::Builder::default()
        .header_contents("mail.h", "#include <ngx_config.h>\n#include <ngx_core.h>\n#include <ngx_mail.h>\n#include <ngx_mail_ssl_module.h>\n")
        .clang_args(include.iter().map(|path| format!("-I{}", path.display())))
        .clang_args(flags.split_whitespace())
        .allowlist_item(MAIL)
        .allowlist_recursively(false)
        .raw_line("pub enum ngx_mail_protocol_t {}")
        .layout_tests(false)
        .generate()?;
    bindings.write_to_file(Path::new(&env::var("OUT_DIR")?).join("mail.rs"))?;
    Ok(())
}
