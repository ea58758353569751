//! A token in a file is where it has to be, and nowhere else.

use testbed::docker::Volume;
use testbed::proc::{children, count_in_memory, title};
use testbed::process::wait_until;

use crate::stage::{LIMIT, Stage};

#[test]
fn a_token_in_a_file_is_neither_shown_nor_in_a_worker() {
    let stage = Stage::new();
    let state = Volume::create();
    let container = stage.start(&state);
    stage.wait_for_certificate(&container, 443);
    let token = stage.bed.token();
    assert!(!container.inspect("{{json .}}").contains(token), "docker inspect");
    assert!(!container.logs().contains(token), "docker logs");
    assert!(!container.exec(&["nginx", "-T"]).contains(token), "nginx -T");
    let processes = wait_until(LIMIT, || {
        let found = children(container.pid());
        let (workers, others): (Vec<u32>, Vec<u32>) =
            found.into_iter().partition(|&pid| title(pid).contains("worker process"));
        let helper = others.into_iter().find(|&pid| title(pid).contains("acme dns"))?;
        (!workers.is_empty()).then_some((workers, helper))
    });
    let (workers, helper) = processes.unwrap_or_else(|| panic!("{}", container.logs()));
    assert!(count_in_memory(helper, token.as_bytes()) > 0, "the scan finds nothing");
    for worker in workers {
        assert_eq!(count_in_memory(worker, token.as_bytes()), 0);
    }
}
