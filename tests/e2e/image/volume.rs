//! A state path that does not outlive the container.

use super::{Image, with};

/// The name that an engine gives to a volume without one.
const ANONYMOUS: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Returns what is said with a mount at the state path.
fn said(volume: &str) -> String {
    let image = Image::new();
    let dir = image.nginx.dir().display().to_string();
    let mount = match volume {
        "tmpfs" => "mount -t tmpfs tmpfs \"$DIR/state\"".to_owned(),
        _ => format!("mkdir -p \"$DIR/{volume}\" && mount --bind \"$DIR/{volume}\" \"$DIR/state\""),
    };
    let script = format!("DIR={dir}; mkdir $DIR/state && {mount} && exec sh \"$@\"");
    let state_path = format!("{dir}/state");
    let shell = ["unshare", "--mount", "sh", "-c", &script, "sh"];
    let variables = with(&[("ACME_DNS_STATE_PATH", state_path.as_str())]);
    let output = image.command(&shell, "entrypoint/25-acme-dns.sh", &variables).output();
    let output = output.expect("unshare runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).replace(&dir, "DIR")
}

#[test]
fn a_state_path_that_is_lost_with_the_container_is_warned_of() {
    for (volume, expected) in [
        (format!("volumes/{ANONYMOUS}/_data"), "DIR/state is an anonymous volume: "),
        ("volumes/acme_dns/_data".to_owned(), ""),
        (format!("{}/volumes/cafe/_data", "long/".repeat(20)), ""),
        ("host/path".to_owned(), ""),
        ("pods/x/volumes/kubernetes.io~empty-dir/state".to_owned(), "lives as long as its pod: "),
        ("pods/x/volumes/kubernetes.io~csi/pvc/mount".to_owned(), ""),
        ("tmpfs".to_owned(), "DIR/state is in memory: "),
    ] {
        let said = said(&volume);
        assert!(said.contains(expected), "{volume}: {said}");
        assert_eq!(said.is_empty(), expected.is_empty(), "{volume}: {said}");
        if !said.is_empty() {
            assert!(said.contains("-v acme_dns:DIR/state") && said.lines().count() == 1, "{said}");
        }
    }
}
