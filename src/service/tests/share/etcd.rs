//! Cases of etcd alone: members, and tokens.

use crate::bed::{Bed, KEY, LONG, Server, Watcher, done, path, run};
use acme_dns_service::share::{Engine, Expected};
use servers::etcd::{Etcd, EtcdOptions, USER};

fn members(bed: &mut Bed) -> &mut Etcd {
    match &mut bed.server {
        Server::Etcd(etcd) => etcd,
        Server::Redis(_) => panic!("it is etcd"),
    }
}

#[test]
fn nothing_is_lost_with_a_member_whether_it_is_dead_or_silent() {
    let mut bed = Bed::etcd(EtcdOptions { members: 3, ..EtcdOptions::default() });
    let (writer, reader) = (bed.host(), bed.host());
    run(async {
        let lease = writer.lease("order-a", LONG).await.unwrap().unwrap();
        let from = reader.load().await.unwrap().revision;
        let mut watcher = Watcher::new(reader, from);
        done(writer.put(&path("a"), b"1", Expected::Absent, Some(&lease)).await);
        watcher.until_put("a", "1").await;
        // Both are asked first.
        members(&mut bed).pause(0);
        assert_eq!(writer.renew(&lease).await, Ok(true));
        done(writer.put(&path("b"), b"2", Expected::Absent, Some(&lease)).await);
        watcher.until_put("b", "2").await;
        members(&mut bed).resume(0);
        members(&mut bed).stop(1);
        assert_eq!(writer.renew(&lease).await, Ok(true));
        let put = async || writer.put(&path("c"), b"3", Expected::Absent, Some(&lease)).await.ok();
        crate::bed::eventually(put).await;
        watcher.until_put("c", "3").await;
    });
}

#[test]
fn a_token_that_has_ended_is_renewed() {
    let mut bed = Bed::etcd(EtcdOptions::default());
    members(&mut bed).enable_authentication("acme_dns/");
    let (name, password) = USER;
    let host = bed.host_with(&[
        &["encryption_key_file", KEY],
        &["username", name],
        &["password_file", password],
    ]);
    run(async {
        let from = host.load().await.unwrap().revision;
        let lease = host.lease("order-a", LONG).await.unwrap().unwrap();
        members(&mut bed).end_tokens();
        done(host.put(&path("a"), b"1", Expected::Absent, Some(&lease)).await);
        members(&mut bed).end_tokens();
        let mut watcher = Watcher::new(host.clone(), from);
        watcher.until_put("a", "1").await;
        members(&mut bed).end_tokens();
        assert_eq!(host.renew(&lease).await, Ok(true));
        // What is in the memory of etcd alone may be gone.
        bed.stop();
        bed.start_again();
        assert_eq!(host.renew(&lease).await, Ok(true));
    });
}

#[test]
fn half_of_a_cluster_is_no_cluster() {
    let mut bed = Bed::etcd(EtcdOptions { members: 3, ..EtcdOptions::default() });
    members(&mut bed).stop(0);
    members(&mut bed).stop(1);
    let host = bed.host();
    let error = run(async { host.load().await.expect_err("it has no leader") });
    assert!(!error.is_permanent(), "{error}");
}
