//! Hosts that join, leave and come back, and a new encryption key: nothing is ordered for it.

use super::bed::{FleetBed, LIMIT, Leaf, Member, logs};
use acme_dns_core::id::CertificateId;
use acme_dns_service::event::{Event, FleetEvent};
use acme_dns_service::share::Change;
use servers::process::wait_until;
use std::fs;

const CERTIFICATE: CertificateId = CertificateId::new(0);

/// Waits until a host has loaded what is shared, and has refused none of it.
fn wait_until_joined(member: &Member) {
    let has_reached = |event: &Event| matches!(event, Event::Fleet(FleetEvent::Reached { .. }));
    let joined = wait_until(LIMIT, || member.has(has_reached).then_some(()));
    let is_refused =
        |event: &Event| matches!(event, Event::Fleet(FleetEvent::RecordRefused { .. }));
    let is_good = joined.is_some() && !member.has(is_refused);
    assert!(is_good, "{}", member.slots.log.all().join("\n"));
}

/// Has a host renew the certificate at its next start, and waits until all serve the new one.
fn renew(fleet: &FleetBed, members: &mut [Member], old: &[Leaf]) -> Vec<Leaf> {
    members[0].stop();
    fs::write(members[0].state.join("actions/renew-h0.example.test"), "").unwrap();
    members[0] = fleet.join(0);
    let is_new = || members[0].leaf(CERTIFICATE).filter(|leaf| *leaf != old[0]);
    assert!(wait_until(LIMIT, is_new).is_some(), "{}", logs(members));
    fleet.wait_until_all_serve(members)
}

#[test]
fn a_key_is_replaced_host_by_host() {
    let mut fleet = FleetBed::start(1, 2);
    let mut members = vec![fleet.join(0), fleet.join(1)];
    let leaves = fleet.wait_until_all_serve(&members);
    fleet.wait_until_clean(&members);
    let rounds: [&[&str]; 3] = [&["key", "next_key"], &["next_key", "key"], &["next_key"]];
    for keys in rounds {
        fleet.keys = keys;
        for (number, member) in members.iter_mut().enumerate() {
            member.stop();
            *member = fleet.join(number);
            wait_until_joined(member);
        }
    }
    // All is encrypted with the new one: a host with an empty disk reads it.
    let newcomer = fleet.join(2);
    wait_until_joined(&newcomer);
    assert!(fleet.wait_until_all_serve(&[newcomer]) == leaves, "{}", logs(&members));
    assert_eq!(fleet.orders(), 2, "{}", logs(&members));
}

#[test]
fn a_host_that_was_away_adopts_what_is_newer() {
    let fleet = FleetBed::start(1, 1);
    let mut members = vec![fleet.join(0), fleet.join(1)];
    let old = fleet.wait_until_all_serve(&members);
    fleet.wait_until_clean(&members);
    let mut away = members.remove(1);
    away.stop();
    let new = renew(&fleet, &mut members, &old);
    // What the other one has on its disk is nothing to offer.
    members.push(fleet.join(1));
    assert!(fleet.wait_until_all_serve(&members) == new, "{}", logs(&members));
    assert_eq!(fleet.orders(), 2, "{}", logs(&members));
}

#[test]
fn a_single_host_becomes_a_fleet_and_goes_back() {
    let mut fleet = FleetBed::start(1, 1);
    let keys = std::mem::take(&mut fleet.keys);
    let mut members = vec![fleet.join(0)];
    let leaves = fleet.wait_until_all_serve(&members);
    members[0].stop();
    // Its certificate and its account are those of the fleet.
    fleet.keys = keys;
    members = vec![fleet.join(0)];
    assert!(wait_until(LIMIT, || has_certificate(&fleet)).is_some(), "{}", logs(&members));
    members.push(fleet.join(1));
    assert!(fleet.wait_until_all_serve(&members[1..]) == leaves, "{}", logs(&members));
    renew(&fleet, &mut members, &leaves);
    members.iter_mut().for_each(Member::stop);
    let files = members.iter().map(on_disk).collect::<Vec<_>>();
    // Each by itself again, with what the fleet had.
    fleet.keys = &[];
    let alone = [fleet.join(0), fleet.join(1)];
    let has_planned = |member: &Member| member.slots.log.all().join("\n").contains("renewal at ");
    let planned = wait_until(LIMIT, || alone.iter().all(has_planned).then_some(()));
    assert!(planned.is_some(), "{}", logs(&alone));
    assert_eq!((alone.iter().map(on_disk).collect::<Vec<_>>() == files, fleet.orders()), (true, 2));
}

fn has_certificate(fleet: &FleetBed) -> Option<()> {
    let shared = fleet.block_on(async |client| client.load().await.unwrap().changes);
    let is_certificate = |change: &Change| change.path().as_str().starts_with("certificates/");
    shared.iter().any(is_certificate).then_some(())
}

/// Reads the certificate on a host's disk.
fn on_disk(member: &Member) -> Vec<u8> {
    fs::read(member.state.join("certs/h0.example.test/fullchain.pem")).unwrap()
}
