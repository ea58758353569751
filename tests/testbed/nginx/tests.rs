//! The runner itself, without the module.

use servers::ports::Port;

use super::*;

/// A configuration without the module: this is about the runner.
fn plain(port: &Port) -> Nginx {
    let mut nginx = Nginx::new(NginxBuild::get());
    let listen = port.addr();
    nginx.load_module(false).workers(2);
    nginx.http(format!("server {{ listen {listen}; return 200 one; }}"));
    nginx
}

fn get(port: &Port) -> String {
    let url = format!("http://{}/", port.addr());
    servers::rt::block_on(async { reqwest::get(url).await?.text().await })
        .unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn starts_reloads_and_stops() {
    let port = Port::reserve();
    let mut nginx = plain(&port);
    nginx.start();
    assert_eq!(get(&port), "one");
    let old = nginx.worker_pids();
    assert_eq!(old.len(), 2);
    assert_eq!(nginx.helper_pid(), None);

    let listen = port.addr();
    nginx.http(format!("server {{ listen {listen}; return 200 two; }}")).workers(3);
    nginx.reload();
    assert_eq!(get(&port), "two");
    assert_eq!(nginx.worker_pids().len(), 3);

    nginx.http("nonsense;");
    let error = nginx.try_reload().expect_err("it is no configuration");
    assert!(error.contains("unknown directive \"nonsense\""), "{error}");
    let (good, said) = nginx.test();
    assert!(!good && said.contains("unknown directive \"nonsense\""), "{said}");

    let workers = nginx.worker_pids();
    nginx.quit();
    assert!(!workers.iter().any(|pid| proc::is_alive(*pid)));
}

#[test]
fn runs_as_daemon_and_as_single_process() {
    for (daemon, master_process) in [(true, true), (false, false), (true, false)] {
        let port = Port::reserve();
        let mut nginx = plain(&port);
        nginx.daemon(daemon).master_process(master_process);
        nginx.start();
        let pid = nginx.master_pid();
        assert_eq!(get(&port), "one", "daemon {daemon}, master_process {master_process}");
        drop(nginx);
        assert!(!proc::is_alive(pid), "daemon {daemon}, master_process {master_process}");
    }
}

#[test]
fn says_why_it_does_not_start() {
    let mut nginx = plain(&Port::reserve());
    nginx.config("events { } http { server { listen nonsense; } }");
    let error = nginx.try_start().expect_err("it is no configuration");
    assert!(error.contains("invalid port") || error.contains("host not found"), "{error}");
}
