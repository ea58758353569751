//! Tells the code what the nginx that it is built for has.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(ngx_http_v3)");
    let features = std::env::var("DEP_NGINX_FEATURES").unwrap_or_default();
    if features.split(',').any(|feature| feature == "http_v3") {
        println!("cargo::rustc-cfg=ngx_http_v3");
    }
    // A thread and an exit handler of this object outlive the configuration that loaded it.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
