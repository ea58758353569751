//! Several hosts with one set of certificates, on an engine.

mod bed;
mod figures;
mod membership;

use acme_dns_core::id::CertificateId;
use acme_dns_core::schedule::Progress;
use acme_dns_service::event::{Event, FleetEvent};
use acme_dns_service::share::{Change, Expected, Written};
use bed::{FleetBed, LIMIT, Member, Server, logs};
use servers::acme_proxy::AcmeStep;
use servers::etcd::{Etcd, EtcdOptions};
use servers::process::wait_until;
use servers::redis::Redis;
use servers::traffic::{Action, Fault};
use std::fs;
use std::thread::scope;

#[test]
fn hosts_share_by_redis_as_well() {
    let fleet = FleetBed::start_on(2, |dir| Server::Redis(Redis::start(dir, "")));
    let members = vec![fleet.join(0), fleet.join(1)];
    fleet.wait_until_all_serve(&members);
    assert_eq!(fleet.orders(), 2, "{}", logs(&members));
    fleet.wait_until_clean(&members);
}

#[test]
fn another_host_completes_the_order_of_one_that_dies_at_any_step() {
    let steps =
        [AcmeStep::Authorization, AcmeStep::Challenge, AcmeStep::Finalize, AcmeStep::Certificate];
    scope(|scope| {
        for step in steps {
            scope.spawn(move || die_at(step));
        }
    });
}

fn die_at(step: AcmeStep) {
    let fleet = FleetBed::start(1, 1);
    let hold = fleet.bed.proxy.traffic.hold(step.requests());
    let mut members = vec![fleet.join_linked(0), fleet.join_linked(1)];
    hold.wait(LIMIT);
    let leader = members.iter().position(Member::leads).expect("one has the order");
    let mut dead = members.remove(leader);
    dead.kill();
    hold.release();
    fleet.wait_until_all_serve(&members);
    assert_eq!(fleet.orders(), 1, "{step:?}: {}", logs(&members));
    fleet.wait_until_clean(&members);
}

#[test]
fn who_loses_its_lease_gives_the_order_up_and_it_is_completed_all_the_same() {
    let mut fleet = FleetBed::start(1, 1);
    let hold = fleet.bed.proxy.traffic.hold(AcmeStep::Challenge.requests());
    let members = vec![fleet.join(0), fleet.join(1)];
    hold.wait(LIMIT);
    fleet.server.etcd().pause(0);
    let is_lost = |event: &Event| matches!(event, Event::Fleet(FleetEvent::TurnLost { .. }));
    let is_told = || members.iter().any(|member| member.has(is_lost)).then_some(());
    assert!(wait_until(LIMIT, is_told).is_some(), "{}", logs(&members));
    fleet.server.etcd().resume(0);
    hold.release();
    fleet.wait_until_all_serve(&members);
    assert_eq!(fleet.orders(), 1, "{}", logs(&members));
    fleet.wait_until_clean(&members);
}

#[test]
fn a_certificate_that_the_engine_had_no_room_for_is_not_ordered_again() {
    let options = EtcdOptions { quota: Some(2_000_000), ..EtcdOptions::default() };
    let mut fleet = FleetBed::start_on(1, |dir| Server::Etcd(Etcd::start(dir, options)));
    let hold = fleet.bed.proxy.traffic.hold(AcmeStep::Certificate.requests());
    let first = fleet.join_linked(0);
    hold.wait(LIMIT);
    fleet.server.etcd().fill();
    hold.release();
    let leaf = wait_until(LIMIT, || first.leaf(CertificateId::new(0))).expect("it is obtained");
    let is_refused = |event: &Event| matches!(event, Event::Fleet(FleetEvent::Refused { .. }));
    let told = wait_until(LIMIT, || first.has(is_refused).then_some(()));
    assert!(told.is_some(), "{}", first.slots.log.all().join("\n"));
    // It is gone for good with the only disk that has it.
    drop(first);
    fleet.server.etcd().make_room();
    let others = [fleet.join_linked(1)];
    assert_eq!(fleet.wait_until_all_serve(&others), [leaf], "{}", logs(&others));
    fleet.wait_until_clean(&others);
    assert_eq!(fleet.orders(), 1, "{}", logs(&others));
}

#[test]
fn what_the_ca_refuses_to_one_host_is_not_tried_by_the_others() {
    let fleet = FleetBed::start(1, 1);
    let busy = Action::Problem {
        status: 429,
        kind: "rateLimited".into(),
        detail: "not so fast".into(),
        retry_after: Some(5000),
    };
    fleet.bed.proxy.traffic.inject(Fault::new(AcmeStep::NewOrder.requests(), busy).always());
    let members = vec![fleet.join(0), fleet.join(1)];
    let progress = |member: &Member| {
        let json = fs::read(member.state.join("orders/h0.example.test.json")).ok()?;
        let progress: Progress = serde_json::from_slice(&json).ok()?;
        (progress.failures == 1).then_some(progress)
    };
    let shared = || members.iter().map(progress).collect::<Option<Vec<_>>>();
    let shared = wait_until(LIMIT, shared).unwrap_or_else(|| panic!("{}", logs(&members)));
    assert_eq!(shared[0].holds, shared[1].holds);
    assert_eq!((shared[0].holds.len(), shared[0].next), (1, shared[1].next));
    assert_eq!(fleet.orders(), 1, "{}", logs(&members));
}

#[test]
fn an_engine_that_is_away_at_the_start_keeps_nobody_from_serving() {
    let mut fleet = FleetBed::start(1, 1);
    let members = vec![fleet.join(0)];
    let leaves = fleet.wait_until_all_serve(&members);
    fleet.wait_until_clean(&members);
    drop(members);
    fleet.server.etcd().stop(0);
    let orders = fleet.orders();
    // The state path of the first host, and an empty one.
    let (old, new) = (fleet.join(0), fleet.join(1));
    let is_away = |event: &Event| matches!(event, Event::Fleet(FleetEvent::Away { .. }));
    let told = wait_until(LIMIT, || (old.has(is_away) && new.has(is_away)).then_some(()));
    assert!(told.is_some(), "{}", logs(&[old, new]));
    assert_eq!(fleet.orders(), orders, "what is missing is waited for");
    let certificate = CertificateId::new(0);
    let on_disk = fs::read(old.state.join("certs/h0.example.test/fullchain.pem"));
    assert!(on_disk.is_ok(), "nothing was removed");
    assert_eq!(new.leaf(certificate), None);
    fleet.server.etcd().start_again(0);
    let members = vec![new];
    assert!(fleet.wait_until_all_serve(&members) == leaves, "{}", logs(&members));
    assert_eq!(fleet.orders(), orders);
}

#[test]
fn a_poisoned_record_is_refused_named_and_replaced() {
    let fleet = FleetBed::start(1, 2);
    let members = vec![fleet.join(0), fleet.join(1)];
    let leaves = fleet.wait_until_all_serve(&members);
    let before: Vec<Change> = fleet.block_on(async |client| {
        let records = client.load().await.unwrap().changes;
        let is_certificate = |change: &Change| change.path().as_str().starts_with("certificates/");
        records.into_iter().filter(is_certificate).collect()
    });
    let [Change::Put(first), Change::Put(second)] = &before[..] else { panic!("{before:?}") };
    let text = String::from_utf8(first.content.to_vec()).unwrap();
    let high = |text: &str| text.replace("\"hasty\":0", "\"hasty\":0,\"number\":99");
    let (of_other, foreign) = (String::from_utf8(second.content.to_vec()).unwrap(), "garbage");
    let rows = [
        ("another's certificate", high(&of_other)),
        ("something else", foreign.to_owned()),
        ("a broken chain", high(&text.replace("BEGIN CERTIFICATE", "BEGIN RUBBISH"))),
    ];
    for (row, poison) in rows {
        let was = fleet.block_on(async |client| {
            let now = client.get(&first.path).await.unwrap().unwrap().revision();
            let expected = Expected::At(now);
            let put = client.put(&first.path, poison.as_bytes(), expected, None).await.unwrap();
            let Written::Done(revision) = put else { panic!("{row}: {put:?}") };
            revision
        });
        let is_replaced = || {
            fleet.block_on(async |client| {
                let found = client.get(&first.path).await.unwrap().unwrap();
                let Change::Put(shared) = found else { return None };
                (shared.revision > was && shared.content.starts_with(b"{\"form\":1")).then_some(())
            })
        };
        assert!(wait_until(LIMIT, is_replaced).is_some(), "{row}: {}", logs(&members));
        let is_same = fleet.wait_until_all_serve(&members) == leaves;
        assert!(is_same, "{row}: {}", logs(&members));
    }
    let refused = |event: &Event| match event {
        Event::Fleet(FleetEvent::RecordRefused { path, is_replaced, .. }) => {
            *is_replaced && path == first.path.as_str()
        }
        _ => false,
    };
    assert!(members.iter().all(|member| member.has(refused)), "{}", logs(&members));
    assert_eq!(fleet.orders(), 2, "no certificate was ordered for it");
}
