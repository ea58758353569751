//! Cases of Redis alone: Sentinels, and a failover.

use crate::bed::{Bed, KEY, LONG, Line, Server, Watcher, done, eventually, host, path, run};
use acme_dns_service::share::{Engine, Expected};
use servers::redis::Redis;

const PLAIN: Line<'static> = &["plaintext", "on"];
const KEYS: Line<'static> = &["encryption_key_file", KEY];

fn server(bed: &mut Bed) -> &mut Redis {
    match &mut bed.server {
        Server::Redis(redis) => redis,
        Server::Etcd(_) => panic!("it is Redis"),
    }
}

#[test]
fn a_failover_is_followed_and_begins_another_history() {
    let mut bed = Bed::redis("");
    let dir = bed.dir().to_owned();
    let replica = server(&mut bed).replica(&dir.join("replica"));
    let sentinel = server(&mut bed).sentinel(&dir.join("sentinel"));
    let endpoint = sentinel.endpoint();
    let master: Line<'_> = &["sentinel_master", "main"];
    let lines: &[Line<'_>] = &[&["endpoint", &endpoint], master, PLAIN, KEYS];
    let (writer, reader) = (host("redis", lines), host("redis", lines));
    run(async {
        let lease = writer.lease("order-a", LONG).await.unwrap().unwrap();
        let from = reader.load().await.unwrap().revision;
        let mut watcher = Watcher::new(reader, from);
        done(writer.put(&path("a"), b"1", Expected::Absent, Some(&lease)).await);
        watcher.until_put("a", "1").await;
        // The replica has it all.
        let replicated = || replica.control(&["HEXISTS", "acme_dns/records", "a"]);
        eventually(async || (replicated().trim() == "1").then_some(())).await;
        server(&mut bed).stop();
        let put = async || writer.put(&path("b"), b"2", Expected::Absent, Some(&lease)).await.ok();
        eventually(put).await;
        watcher.until_loaded().await;
        watcher.until_put("b", "2").await;
        assert_eq!(writer.renew(&lease).await, Ok(true));
    });
}

#[test]
fn a_replica_is_no_place_to_write_and_a_sentinel_has_to_know_the_master() {
    let mut bed = Bed::redis("");
    let dir = bed.dir().to_owned();
    let replica = server(&mut bed).replica(&dir.join("replica"));
    let sentinel = server(&mut bed).sentinel(&dir.join("sentinel"));
    let (replica, sentinel) = (replica.endpoint(), sentinel.endpoint());
    for (lines, expected) in [
        (&[&["endpoint", &replica][..], KEYS][..], "it is a replica"),
        (
            &[&["endpoint", &sentinel][..], &["sentinel_master", "other"], PLAIN, KEYS],
            "knows no master \"other\"; check \"sentinel_master\"",
        ),
        (&[&["endpoint", &sentinel][..], KEYS], "set \"sentinel_master\" if it is a Sentinel"),
    ] {
        let host = host("redis", lines);
        let error = run(async { host.load().await.expect_err("it is refused") }).to_string();
        assert!(error.contains(expected), "{error}");
    }
}
