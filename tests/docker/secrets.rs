//! A token in a file is where it has to be, and nowhere else.

use servers::process::wait_until;
use testbed::measurements::proc::{count_in_memory, family, services, title};
use testbed::nginx::docker::Volume;

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
        let service = *services(container.pid()).first()?;
        let mut others = family(container.pid());
        others.retain(|&pid| {
            let title = title(pid);
            title.contains("worker process") || title.contains("cache manager")
        });
        (others.len() > 1).then_some((others, service))
    });
    let (others, service) = processes.unwrap_or_else(|| panic!("{}", container.logs()));
    assert!(count_in_memory(service, token.as_bytes()) > 0, "the scan finds nothing");
    for pid in others {
        assert_eq!(count_in_memory(pid, token.as_bytes()), 0, "{}", title(pid));
    }
}
