//! A container with an nginx.conf of one's own: it has the module, and nothing is generated.

use std::fs;

use servers::ZONE;
use testbed::nginx::docker::{Container, Image, Volume};

use crate::stage::{STATE, Stage};

#[test]
fn an_own_configuration_is_left_alone() {
    let stage = Stage::new();
    let state = Volume::create();
    let files = stage.mounts();
    let [(_, ca), (_, token), _] = &files;
    let dns = stage.bed.dns.addr();
    let conf = format!(
        "load_module modules/ngx_http_acme_dns_module.so;\n\
         events {{ }}\n\
         http {{\n    acme_dns_state_path {STATE};\n    \
         acme_dns_issuer pebble {{ directory {}; accept_terms_of_service; trusted_certificate {ca}; }}\n    \
         acme_dns_provider cloudflare {{ api {}; token_file {token}; }}\n    \
         acme_dns_propagation timeout=30s interval=200ms resolvers={dns} port={};\n    \
         server {{ listen 443 ssl; server_name {ZONE}; acme_dns on; return 200; }}\n}}\n",
        stage.proxy.directory_url(),
        stage.bed.cloudflare.api_url(),
        dns.port(),
    );
    let path = stage.bed.dir().join("nginx.conf");
    fs::write(&path, conf).expect("it is written");
    let mut mounts = vec![
        format!("{}:/etc/nginx/nginx.conf:ro", path.display()),
        format!("{}:{STATE}", state.name),
    ];
    mounts.extend(files.iter().map(|(host, inside)| format!("{host}:{inside}:ro")));
    let arguments: Vec<&str> = mounts.iter().flat_map(|mount| ["--volume", mount]).collect();
    let container = Container::start(Image::Root.get(), &arguments);
    let leaf = stage.wait_for_certificate(&container, 443);
    assert_eq!(leaf.sans, [ZONE]);
    assert_eq!(container.exec(&["ls", "/etc/nginx/conf.d"]), "default.conf");
    assert!(container.logs().contains("nothing is generated"), "{}", container.logs());
}
