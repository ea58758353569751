//! A service that is started again and again, as in a container that is replaced when it is not healthy.

use super::accounts::problem;
use super::support::{Bed, ISSUER, Log};
use acme_dns_core::config::{ExternalAccount, SecretId};
use acme_dns_core::level::Level;
use acme_dns_core::schedule::Loading;
use acme_dns_service::engine::{Service, Settings};
use acme_dns_service::event::{Event, OrderEvent};
use secrecy::SecretString;
use servers::acme_proxy::AcmeStep;
use servers::process::wait_until;
use servers::traffic::{Action, Fault};
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// So often it is started.
const STARTS: u64 = 9;

/// Starts for the `number`th time with the same configuration.
fn start(bed: &Bed, token: &str, number: u64) -> (Service, Arc<Log>) {
    let mut secrets = vec![SecretString::from(token.to_owned())];
    secrets.extend(bed.secrets.iter().cloned());
    let settings = Settings { secrets, loading: Loading(number + 1), ..bed.settings() };
    let log = Arc::<Log>::default();
    (Service::start(settings, log.clone()).unwrap(), log)
}

/// Starts, and stops when one of these texts is logged.
fn start_until(bed: &Bed, token: &str, number: u64, texts: &[&str]) -> Arc<Log> {
    let (service, log) = start(bed, token, number);
    let said = || {
        let lines = log.all();
        lines.iter().any(|line| texts.iter().any(|text| line.contains(text))).then_some(())
    };
    assert!(wait_until(LIMIT, said).is_some(), "start {number}: {:#?}", log.all());
    service.stop();
    log
}

/// Lines that end a start: an attempt has failed, or none is made.
const ENDS: &[&str] = &["was not obtained, attempt", "too many attempts have failed"];

fn count(bed: &Bed, step: AcmeStep) -> usize {
    bed.proxy.traffic.count(&step.requests())
}

#[test]
fn a_wrong_token_costs_no_account_and_no_order_however_often_it_is_started() {
    let wrong = "wrong-token-0123456789-0123456789-01234567";
    for (has_volume, is_bound) in [(true, false), (false, false), (false, true)] {
        let mut bed = Bed::start();
        if is_bound {
            bed.secrets = vec![SecretString::from("c2VjcmV0".to_owned())];
            let external = ExternalAccount { key_id: "kid-1".into(), mac_key: SecretId(1) };
            bed.config.issuers[ISSUER].external_account = Some(external);
        }
        for number in 0..STARTS {
            if !has_volume {
                let _ = fs::remove_dir_all(bed.state());
            }
            start_until(&bed, wrong, number, ENDS);
        }
        let counts = (count(&bed, AcmeStep::NewAccount), count(&bed, AcmeStep::NewOrder));
        assert_eq!(counts, (0, 0), "volume: {has_volume}, external account: {is_bound}");
        // When the token is right, one start is enough.
        if !is_bound {
            start_until(&bed, bed.testbed.token(), STARTS, &["\" issued by"]);
        }
    }
}

#[test]
fn a_ca_that_refuses_is_tried_by_three_restarts_in_an_hour() {
    let bed = Bed::start();
    let refused = problem(403, "rejectedIdentifier", "not today");
    bed.proxy.traffic.inject(Fault::new(AcmeStep::NewOrder.requests(), refused).always());
    let logs: Vec<_> =
        (0..STARTS).map(|number| start_until(&bed, bed.testbed.token(), number, ENDS)).collect();
    assert_eq!(count(&bed, AcmeStep::NewOrder), 4, "the first start, and three more");
    let waits = logs[8].events(Level::Warn);
    assert!(
        waits
            .iter()
            .any(|event| event.to_string().contains("\"actions/renew-NAME\" tries at once"))
    );
}

/// A copy of the state path as it is now, which is what a kill leaves.
fn snapshot(bed: &Bed, command: &str) {
    let (state, copy) = (bed.state(), bed.state().with_extension("copy"));
    let (from, to) =
        if command == "save" { (state, copy.as_path()) } else { (copy.as_path(), state) };
    let _ = fs::remove_dir_all(to);
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

#[test]
fn a_service_that_is_killed_while_it_orders_is_tried_by_three_restarts_in_an_hour() {
    let bed = Bed::start();
    let mut orders = 0;
    for number in 0..STARTS {
        let gate = bed.proxy.traffic.hold(AcmeStep::NewOrder.requests());
        let (service, log) = start(&bed, bed.testbed.token(), number);
        let ended = || {
            let waits = log.all().iter().any(|line| line.contains("too many attempts have failed"));
            (waits || gate.arrived() > 0).then_some(waits)
        };
        let waits = wait_until(LIMIT, ended).unwrap_or_else(|| panic!("{:#?}", log.all()));
        orders += usize::from(!waits);
        snapshot(&bed, "save");
        service.stop();
        snapshot(&bed, "restore");
    }
    assert_eq!(orders, 4, "the first start, and three more");
}

#[test]
fn nothing_is_ordered_while_attempts_cannot_be_noted() {
    let bed = Bed::start();
    drop(bed.store());
    fs::create_dir(bed.state().join("orders/example.test.json")).unwrap();
    for number in 0..STARTS {
        let log = start_until(&bed, bed.testbed.token(), number, ENDS);
        let text = "nothing is ordered while attempts cannot be noted on disk: rename() \"";
        assert!(log.all().iter().any(|line| line.contains(text)), "{:#?}", log.all());
    }
    let counts = (count(&bed, AcmeStep::NewAccount), count(&bed, AcmeStep::NewOrder));
    assert_eq!(counts, (0, 0));
    fs::remove_dir(bed.state().join("orders/example.test.json")).unwrap();
    start_until(&bed, bed.testbed.token(), STARTS, &["\" issued by"]);
}

#[test]
fn a_ca_without_a_way_to_it_is_told_at_the_first_request() {
    let bed = Bed::start();
    let away = Fault::new(AcmeStep::Directory.requests(), Action::Drop);
    bed.proxy.traffic.inject(away.times(2));
    let log = start_until(&bed, bed.testbed.token(), 0, &["\" issued by"]);
    let notices = log.events(Level::Notice);
    let unreachable = notices.iter().filter_map(|event| match event {
        Event::Order(_, OrderEvent::Retrying { why, is_unreachable: true, .. }) => Some(why),
        _ => None,
    });
    let unreachable: Vec<_> = unreachable.collect();
    assert!(
        unreachable.len() == 1 && unreachable[0].contains("reading the directory"),
        "{notices:#?}"
    );
    let plan = "certificate \"example.test\" is ordered now from \"pebble\" (https://127.0.0.1:";
    let lines = log.all();
    let told = lines.iter().find(|line| line.contains(plan)).unwrap();
    assert!(
        told.ends_with(") by provider \"cloudflare\", for example.test, *.example.test"),
        "{told}"
    );
}
