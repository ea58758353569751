//! dns-persist-01 without any credential: the record is told, somebody adds it, and that is all.

use crate::site::{LIMIT, Site};

const RECORD: &str = "_validation-persist.example.test";

#[test]
fn a_record_that_is_pasted_from_the_log_brings_apex_and_wildcard_by_itself() {
    let mut site = Site::new();
    site.provider = Some(String::new());
    site.issuer = "challenge dns-persist-01;".to_owned();
    site.set_servers(&["example.test *.example.test"]);
    site.start_nginx();
    let line = site.nginx.wait_for_log("add it: ", LIMIT);
    assert!(line.contains("[error]"), "{line}");
    let (_, record) = line.split_once("add it: ").expect("the record");
    let value = record.strip_prefix(&format!("{RECORD}. IN TXT ")).expect("its name");
    assert!(value.ends_with("; policy=wildcard\""), "{value}");
    assert!(site.serves_fallback("example.test"));
    site.bed.dns.set_rrset(RECORD, "TXT", &[value]);
    let chain = site.wait_for_certificate("example.test");
    assert_eq!(chain.leaf.sans.len(), 2);
    site.nginx.wait_for_log("is there, the wait is over", LIMIT);
    assert_eq!(site.bed.dns.txt_records(RECORD), [value.trim_matches('"')]);
    assert_eq!(site.bed.cloudflare.traffic.requests(&servers::traffic::Match::any()).len(), 0);
}
