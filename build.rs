//! Build script: says by cfgs what the nginx that the module is built for has, and makes bindings to its stream and
//! mail modules. nginx itself is built, or found, by `nginx-sys`.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};

/// Features of nginx that change what its headers declare, and the cfg that stands for each.
const FEATURES: [(&str, &str); 2] = [("http_v3", "ngx_http_v3"), ("pcre", "ngx_pcre")];

/// Versions from which on structures have what the code uses, and the cfg that stands for it.
const VERSIONS: [(u64, &str); 3] = [
    (1_025_005, "ngx_stream_server_name"),
    (1_027_002, "ngx_stream_stapling"),
    (1_029_001, "ngx_certificate_compression"),
];

/// Versions from which on they no longer have it.
const REMOVED: [(u64, &str); 1] = [(1_025_001, "ngx_ssl_directive")];

/// Modules that an nginx may have in shared objects or not at all. The object is built for all cases:
/// it looks for them when it runs.
const OPTIONAL: [Optional; 2] = [
    Optional {
        name: "stream",
        headers: "#include <ngx_stream.h>\n#include <ngx_stream_ssl_module.h>\n",
        types: "ngx_stream_.*",
        constants: "NGX_STREAM_(MAIN_CONF|MODULE|SRV_CONF)",
        flag: "-DNGX_STREAM_SSL=1",
    },
    Optional {
        name: "mail",
        headers: "#include <ngx_mail.h>\n#include <ngx_mail_ssl_module.h>\n",
        types: "ngx_(mail|pop3|imap|smtp)_.*",
        constants: "NGX_MAIL_(MAIN_CONF|MODULE|SRV_CONF)",
        flag: "-DNGX_MAIL_SSL=1",
    },
];

struct Optional {
    /// Name of its directory among the sources, of the bindings' file, and of the cfg.
    name: &'static str,
    headers: &'static str,
    types: &'static str,
    constants: &'static str,
    /// Flag that nginx is configured with where it has the module: not always the nginx we are built for.
    flag: &'static str,
}

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
    for (since, cfg) in REMOVED {
        set(cfg, version < since);
    }
    for module in &OPTIONAL {
        let include = module.include();
        set(&format!("ngx_{}", module.name), include.is_some());
        if let Some(include) = include {
            module.bind(&include)?;
        }
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

impl Optional {
    /// Finds the headers; `None` if the sources lack them.
    fn include(&self) -> Option<Vec<PathBuf>> {
        let all = env::var_os("DEP_NGINX_INCLUDE")?;
        let mut include: Vec<PathBuf> = env::split_paths(&all).collect();
        // It is not among them where the module is built apart from nginx.
        let core = include.iter().find(|path| path.ends_with("src/core"))?;
        let own = core.parent()?.join(self.name);
        let has_headers = own.join(format!("ngx_{}_ssl_module.h", self.name)).is_file();
        include.push(own);
        has_headers.then_some(include)
    }

    /// Writes the module's types, which refer to those that `nginx-sys` has.
    fn bind(&self, include: &[PathBuf]) -> Result<(), Box<dyn Error>> {
        let flags = env::var("DEP_NGINX_CFLAGS").unwrap_or_default();
        let headers = format!("#include <ngx_config.h>\n#include <ngx_core.h>\n{}", self.headers);
        let bindings = bindgen::Builder::default()
            .header_contents("wrapper.h", &headers)
            .clang_args(include.iter().map(|path| format!("-I{}", path.display())))
            .clang_args(flags.split_whitespace())
            .clang_arg(self.flag)
            .allowlist_type(self.types)
            .allowlist_var(self.constants)
            .allowlist_recursively(false)
            .layout_tests(false)
            .generate()?;
        let path = Path::new(&env::var("OUT_DIR")?).join(format!("{}.rs", self.name));
        bindings.write_to_file(path)?;
        Ok(())
    }
}
