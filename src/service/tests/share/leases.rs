//! Leases: one holder at a time, and a number that holds off those who were too late.

use crate::bed::{Bed, LONG, SHORT, Watcher, done, eventually, path, run};
use acme_dns_service::share::{Change, Engine, Expected, Written};

#[test]
fn a_lease_has_one_holder() {
    for bed in Bed::all() {
        let (one, other, name) = (bed.host(), bed.host(), bed.name());
        run(async {
            let lease = one.lease("order-a", LONG).await.unwrap().expect(name);
            assert_eq!(other.lease("order-a", LONG).await, Ok(None), "{name}");
            assert_eq!(one.lease("order-a", LONG).await, Ok(None), "{name}");
            assert!(other.lease("order-b", LONG).await.unwrap().is_some(), "{name}");
            assert_eq!(one.renew(&lease).await, Ok(true), "{name}");
            one.release(&lease).await.unwrap();
            one.release(&lease).await.unwrap();
            assert_eq!(one.renew(&lease).await, Ok(false), "{name}");
            let next = other.lease("order-a", LONG).await.unwrap().expect(name);
            assert!(next.fence > lease.fence, "{name}");
        });
    }
}

#[test]
fn of_many_hosts_one_takes_a_lease() {
    for bed in Bed::all() {
        let hosts: Vec<_> = (0..8).map(|_| bed.host()).collect();
        run(async {
            let takes = hosts.iter().map(|host| host.lease("order-a", LONG));
            let taken = futures_util::future::join_all(takes).await;
            let taken = taken.into_iter().filter(|lease| lease.as_ref().unwrap().is_some()).count();
            assert_eq!(taken, 1, "{}", bed.name());
        });
    }
}

#[test]
fn who_was_paused_for_longer_than_its_lease_changes_nothing() {
    for bed in Bed::all() {
        let (paused, other, name) = (bed.host(), bed.host(), bed.name());
        run(async {
            let path = path("certificates/a");
            let lease = paused.lease("order-a", SHORT).await.unwrap().expect(name);
            let first = done(paused.put(&path, b"1", Expected::Absent, Some(&lease)).await);
            let next = eventually(async || other.lease("order-a", LONG).await.unwrap()).await;
            assert!(next.fence > lease.fence, "{name}");
            let late = paused.put(&path, b"late", Expected::At(first), Some(&lease)).await;
            assert_eq!(late, Ok(Written::Fenced), "{name}");
            let late = paused.remove(&path, first, Some(&lease)).await;
            assert_eq!(late, Ok(Written::Fenced), "{name}");
            assert_eq!(paused.renew(&lease).await, Ok(false), "{name}");
            paused.release(&lease).await.unwrap();
            assert_eq!(other.renew(&next).await, Ok(true), "{name}");
            let lost = other.put(&path, b"x", Expected::Absent, Some(&next)).await;
            assert_eq!(lost, Ok(Written::Lost), "{name}");
            let second = done(other.put(&path, b"2", Expected::At(first), Some(&next)).await);
            done(other.remove(&path, second, Some(&next)).await);
        });
    }
}

#[test]
fn a_lease_that_is_renewed_outlives_its_time() {
    for bed in Bed::all() {
        let (one, other) = (bed.host(), bed.host());
        run(async {
            let lease = one.lease("order-a", SHORT).await.unwrap().unwrap();
            let held = async {
                loop {
                    assert_eq!(one.renew(&lease).await, Ok(true), "{}", bed.name());
                    tokio::time::sleep(lease.ttl / 8).await;
                }
            };
            // Another tries for as long as the lease would last three times.
            let waiting = tokio::time::sleep(lease.ttl * 3);
            tokio::select! { () = held => {}, () = waiting => {} }
            assert_eq!(other.lease("order-a", LONG).await, Ok(None), "{}", bed.name());
        });
    }
}

#[test]
fn a_lease_outlives_a_restart_of_the_server() {
    for mut bed in Bed::all() {
        let (one, other) = (bed.host(), bed.host());
        let lease = run(async { one.lease("order-a", LONG).await.unwrap().unwrap() });
        bed.stop();
        bed.start_again();
        let (one, other_again) = (bed.host(), other);
        run(async {
            assert_eq!(other_again.lease("order-a", LONG).await.unwrap_or_default(), None);
            assert_eq!(one.renew(&lease).await, Ok(true), "{}", bed.name());
        });
    }
}

#[test]
fn leases_of_one_host_end_one_by_one() {
    for bed in Bed::all() {
        let (host, name) = (bed.host(), bed.name());
        run(async {
            let first = host.lease("order-a", LONG).await.unwrap().expect(name);
            let second = host.lease("order-b", LONG).await.unwrap().expect(name);
            host.release(&first).await.unwrap();
            assert_eq!(host.renew(&first).await, Ok(false), "{name}");
            assert_eq!(host.renew(&second).await, Ok(true), "{name}");
            let late = host.put(&path("a"), b"1", Expected::Absent, Some(&first)).await;
            assert_eq!(late, Ok(Written::Fenced), "{name}");
            done(host.put(&path("a"), b"1", Expected::Absent, Some(&second)).await);
        });
    }
}

#[test]
fn a_host_whose_leases_have_ended_takes_new_ones() {
    for bed in Bed::all() {
        let (one, other, name) = (bed.host(), bed.host(), bed.name());
        run(async {
            let lease = one.lease("order-a", SHORT).await.unwrap().expect(name);
            eventually(async || other.lease("order-a", LONG).await.unwrap()).await;
            let next = one.lease("order-b", SHORT).await.unwrap().expect(name);
            assert_eq!(one.renew(&lease).await, Ok(false), "{name}");
            assert_eq!(one.renew(&next).await, Ok(true), "{name}");
        });
    }
}

#[test]
fn the_end_of_a_lease_is_told() {
    for bed in Bed::all() {
        let (one, other, name) = (bed.host(), bed.host(), bed.name());
        run(async {
            let from = other.load().await.unwrap().revision;
            let mut watcher = Watcher::new(other.clone(), from);
            let ended = |lease: &'static str| {
                move |changes: &[Change]| {
                    changes.iter().any(|change| change.ended_lease() == Some(lease))
                }
            };
            let lease = one.lease("order-a", LONG).await.unwrap().expect(name);
            one.release(&lease).await.unwrap();
            watcher.until(ended("order-a")).await;
            // Redis tells nothing of a time that is over.
            if name == "etcd" {
                one.lease("order-b", SHORT).await.unwrap().expect(name);
                watcher.until(ended("order-b")).await;
            }
        });
    }
}
