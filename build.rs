//! Tells the code what the nginx that it is built for has.

/// The features of nginx that change what its headers declare, and the cfg that stands for each.
const FEATURES: [(&str, &str); 2] = [("http_v3", "ngx_http_v3"), ("pcre", "ngx_pcre")];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let available = std::env::var("DEP_NGINX_FEATURES").unwrap_or_default();
    for (feature, cfg) in FEATURES {
        println!("cargo::rustc-check-cfg=cfg({cfg})");
        if available.split(',').any(|available| available == feature) {
            println!("cargo::rustc-cfg={cfg}");
        }
    }
    // A thread and an exit handler of this object outlive the configuration that loaded it.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
