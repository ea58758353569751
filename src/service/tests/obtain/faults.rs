//! Faults on the way to a certificate.

use super::support::{self, Bed, CERTIFICATE, ISSUER, VARIANT};
use acme_dns_core::level::Level;
use acme_dns_core::schedule::{FailureKind, Scope};
use acme_dns_service::acme::{KeyChoice, Leftovers};
use acme_dns_service::dns::{PlacedRecord, TxtRecord, Zone};
use acme_dns_service::event::{Event, OrderEvent, RecordsEvent};
use acme_dns_service::store::{JournalEntry, PendingOrder};
use servers::acme_proxy::AcmeStep;
use servers::traffic::{Action, Fault, Match};
use std::fs;
use std::time::Duration;

/// A value as a challenge has it.
const VALUE: &str = "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0";

/// Each request of a first issuance fails once, and the certificate is obtained all the same.
fn survives(action: &Action) {
    let bed = Bed::start();
    for step in AcmeStep::ISSUANCE {
        let _ = fs::remove_dir_all(bed.state());
        bed.proxy.traffic.clear_faults();
        bed.proxy.traffic.clear_log();
        bed.proxy.traffic.inject(Fault::new(step.requests(), action.clone()));
        if let Err(error) = bed.obtain() {
            panic!("{action:?} at {step:?}: {error}\n{}", bed.proxy.traffic.summary());
        }
        bed.assert_clean();
        assert!(bed.proxy.traffic.count(&step.requests()) > 0, "{step:?} was not there");
    }
}

#[test]
fn a_failure_of_the_server_is_survived_at_each_step() {
    survives(&Action::Status { status: 503, retry_after: None });
}

#[test]
fn a_lost_connection_is_survived_at_each_step() {
    survives(&Action::Drop);
}

#[test]
fn a_lost_answer_is_survived_at_each_step() {
    survives(&Action::LostAnswer);
}

#[test]
fn garbage_is_survived_at_each_step() {
    survives(&Action::Garbage);
}

#[test]
fn half_an_answer_is_survived_at_each_step() {
    survives(&Action::rewrite(|reply| reply.body = reply.body.slice(..reply.body.len() / 2)));
}

#[test]
fn a_rate_limit_at_each_step_is_told_and_the_next_attempt_succeeds() {
    let bed = Bed::start();
    for step in AcmeStep::ISSUANCE {
        let _ = fs::remove_dir_all(bed.state());
        bed.proxy.traffic.clear_faults();
        let action = Action::Problem {
            status: 429,
            kind: "rateLimited".into(),
            detail: "slowly".into(),
            retry_after: Some(3600),
        };
        bed.proxy.traffic.inject(Fault::new(step.requests(), action));
        let error = bed.obtain_error();
        // An answer to HEAD has no body.
        let said = if step == AcmeStep::NewNonce { "429" } else { "rateLimited: slowly" };
        assert!(error.to_string().contains(said), "{step:?}: {error}");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)), "{step:?}");
        assert_eq!(error.failure().kind, FailureKind::Temporary, "{step:?}");
        // What is not about one order concerns all that the CA is asked for.
        let is_common =
            matches!(step, AcmeStep::Directory | AcmeStep::NewNonce | AcmeStep::NewAccount);
        assert_eq!(error.failure().scope == Scope::Issuer, is_common, "{step:?}");
        bed.obtain().unwrap();
        bed.assert_clean();
    }
}

#[test]
fn a_ca_that_stays_away_fails_the_order_with_step_and_host() {
    let bed = Bed::start();
    for (step, expected) in [
        (AcmeStep::Directory, "reading the directory"),
        (AcmeStep::NewOrder, "placing the order"),
        (AcmeStep::Authorization, "reading an authorization"),
        (AcmeStep::Challenge, "answering a challenge"),
        (AcmeStep::Finalize, "finalizing the order"),
        (AcmeStep::Certificate, "downloading the certificate"),
    ] {
        bed.proxy.traffic.clear_faults();
        let action = Action::Status { status: 502, retry_after: None };
        bed.proxy.traffic.inject(Fault::new(step.requests(), action).always());
        let error = bed.obtain_error();
        let text = error.to_string();
        let start = format!("{expected} at \"https://127.0.0.1:");
        assert!(text.starts_with(&start) && text.contains("502"), "{step:?}: {text}");
        assert!(!error.is_permanent(), "{text}");
        bed.assert_clean();
    }
}

#[test]
fn a_rate_limit_is_not_tried_again_and_its_pause_is_passed_on() {
    let bed = Bed::start();
    let action = Action::Problem {
        status: 429,
        kind: "rateLimited".into(),
        detail: "too many new orders".into(),
        retry_after: Some(3600),
    };
    bed.proxy.traffic.inject(Fault::new(AcmeStep::NewOrder.requests(), action));
    let error = bed.obtain_error();
    assert!(error.to_string().contains("rateLimited: too many new orders"), "{error}");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)));
    assert_eq!(bed.proxy.traffic.count(&AcmeStep::NewOrder.requests()), 1);
}

#[test]
fn a_server_that_wants_a_long_pause_is_left_alone() {
    let bed = Bed::start();
    let action = Action::Status { status: 503, retry_after: Some(600) };
    bed.proxy.traffic.inject(Fault::new(AcmeStep::NewOrder.requests(), action));
    assert_eq!(bed.obtain_error().retry_after(), Some(Duration::from_secs(600)));
    assert_eq!(bed.proxy.traffic.count(&AcmeStep::NewOrder.requests()), 1);
}

#[test]
fn authorizations_of_a_failed_order_are_given_up() {
    let bed = Bed::start();
    // A refusal of the name: no later attempt can use the order.
    let refused = Action::Error { status: 400, code: 81_053, message: "a CNAME".into() };
    let writes = Match::any().method(http::Method::POST);
    bed.testbed.cloudflare.traffic.inject(Fault::new(writes, refused).always());
    let error = bed.obtain_error();
    assert!(error.is_permanent(), "{error}");
    let requests = bed.proxy.traffic.requests(&AcmeStep::Authorization.requests());
    let given_up = requests.iter().filter(|r| r.jws_payload()["status"] == "deactivated");
    assert_eq!(given_up.count(), 2);
}

/// Each refusal of the provider, and what the schedule is told of it.
#[test]
fn what_the_provider_refuses_first_costs_no_order() {
    let bed = Bed::start();
    let refuse = |status, code| Action::Error { status, code, message: "no".into() };
    let reads = || Match::any().method(http::Method::GET);
    for (action, scope) in [
        (refuse(403, 10_000), Scope::Provider),
        (refuse(401, 10_000), Scope::Provider),
        (refuse(400, 6_003), Scope::Provider),
        (Action::Status { status: 404, retry_after: None }, Scope::Provider),
    ] {
        bed.testbed.cloudflare.traffic.inject(Fault::new(reads(), action.clone()).always());
        let error = bed.obtain_error();
        let failure = error.failure();
        assert_eq!((failure.kind, failure.scope), (FailureKind::Permanent, scope), "{error}");
        bed.testbed.cloudflare.traffic.clear_faults();
    }
    assert_eq!(bed.proxy.traffic.count(&AcmeStep::NewOrder.requests()), 0);
    bed.obtain().unwrap();
}

#[test]
fn an_order_outlives_what_the_provider_refuses_for_other_reasons_than_the_names() {
    let bed = Bed::start();
    let refuse = |status, code| Action::Error { status, code, message: "no".into() };
    let writes = || Match::any().method(http::Method::POST);
    for action in [refuse(403, 10_000), refuse(400, 81_045)] {
        bed.testbed.cloudflare.traffic.inject(Fault::new(writes(), action).always());
        for ordered in [true, false] {
            let failure = bed.run(async |obtainer| {
                let error =
                    obtainer.obtain(VARIANT, ISSUER, KeyChoice::Configured).await.unwrap_err();
                obtainer.failure(VARIANT, &error)
            });
            assert_eq!((failure.ordered, failure.is_lost), (ordered, false), "{failure:?}");
        }
        bed.testbed.cloudflare.traffic.clear_faults();
        bed.obtain().unwrap();
    }
    assert_eq!(bed.proxy.traffic.count(&AcmeStep::NewOrder.requests()), 2, "each is resumed");
}

#[test]
fn an_order_under_way_is_gone_on_with() {
    // Where the attempt ends, and whether the CA has the CSR by then.
    for step in [AcmeStep::Authorization, AcmeStep::Challenge, AcmeStep::Certificate] {
        let bed = Bed::start();
        let action = Action::Status { status: 502, retry_after: None };
        bed.proxy.traffic.inject(Fault::new(step.requests(), action).always());
        bed.obtain_error();
        assert_eq!(bed.entries("orders"), ["example.test.order"], "{step:?}");
        bed.proxy.traffic.clear_faults();
        bed.obtain().unwrap_or_else(|error| panic!("{step:?}: {error}"));
        assert_eq!(bed.proxy.traffic.count(&AcmeStep::NewOrder.requests()), 1, "{step:?}");
        assert_eq!(bed.entries("orders"), [""; 0], "{step:?}");
        bed.assert_clean();
    }
}

#[test]
fn an_order_of_other_names_is_given_up_and_so_is_one_that_nobody_wants() {
    let mut bed = Bed::start();
    let action = || Action::Status { status: 502, retry_after: None };
    let fail = |bed: &Bed| {
        bed.proxy.traffic.inject(Fault::new(AcmeStep::Challenge.requests(), action()).always());
        bed.obtain_error();
        bed.proxy.traffic.clear_faults();
        bed.proxy.traffic.clear_log();
    };
    let given_up = |bed: &Bed| {
        let requests = bed.proxy.traffic.requests(&AcmeStep::Authorization.requests());
        requests.iter().filter(|r| r.jws_payload()["status"] == "deactivated").count()
    };
    fail(&bed);
    bed.config.certificates[CERTIFICATE].names = support::names(&["www.example.test"]);
    bed.obtain().unwrap();
    assert_eq!(given_up(&bed), 2);
    assert_eq!(bed.proxy.traffic.count(&AcmeStep::NewOrder.requests()), 1);
    // A name that the authority has not validated yet, or it may have nothing to ask.
    bed.config.certificates[CERTIFICATE].names = support::names(&["mail.example.test"]);
    fail(&bed);
    bed.config.variants[VARIANT].name = "other".into();
    bed.run(async |obtainer| obtainer.give_up_orders().await);
    assert_eq!((given_up(&bed), bed.entries("orders")), (1, vec![]));
}

#[test]
fn an_order_that_has_ended_with_the_certificate_is_not_taken_for_its_renewal() {
    let bed = Bed::start();
    let first = bed.obtain().unwrap();
    // As if the process had died before it could forget the order.
    let orders = bed.proxy.traffic.requests(&AcmeStep::NewOrder.requests());
    let url = orders[0].reply.as_ref().unwrap().headers["location"].to_str().unwrap().to_owned();
    let account = bed.store().load_account("pebble").unwrap().unwrap();
    let order = PendingOrder {
        url,
        account: account.url.clone(),
        directory: account.directory.clone(),
        names: vec!["example.test".into(), "*.example.test".into()],
        profile: None,
        key: Some(first.pem.key.clone()),
    };
    bed.store().save_order("example.test", &order).unwrap();
    let second = bed.obtain().unwrap();
    assert_ne!(second.serial, first.serial);
    assert_eq!(bed.entries("orders"), [""; 0]);
}

#[test]
fn a_record_that_cannot_be_removed_stays_in_the_journal_until_it_can() {
    let bed = Bed::start();
    let deletions =
        || [Match::any().method(http::Method::DELETE), Match::any().body("\"deletes\":[{")];
    for matcher in deletions() {
        let action = Action::Error { status: 403, code: 10_000, message: "no".into() };
        bed.testbed.cloudflare.traffic.inject(Fault::new(matcher, action).always());
    }
    bed.obtain().unwrap();
    assert_eq!(bed.journal(), ["example.test.json"]);
    let warnings = bed.log.events(Level::Warn);
    let [Event::Records(_, RecordsEvent::NotRemoved { names, is_earlier, .. })] = &warnings[..]
    else {
        panic!("{warnings:?}");
    };
    assert_eq!((names.as_str(), *is_earlier), ("_acme-challenge.example.test", false));
    // The next order of the same certificate does not forget it.
    bed.obtain().unwrap();
    assert_eq!(bed.journal(), ["example.test.json", "example.test~2.json"]);
    assert_eq!(bed.run(async |obtainer| obtainer.clean_journal().await.failed), 2);
    bed.testbed.cloudflare.traffic.clear_faults();
    assert_eq!(bed.run(async |obtainer| obtainer.clean_journal().await), Leftovers::default());
    bed.assert_clean();
}

#[test]
fn a_process_that_dies_while_records_are_up_cleans_up_at_its_next_start() {
    let bed = Bed::start();
    bed.testbed.cloudflare.pause_propagation();
    bed.run(async |obtainer| {
        let working = obtainer.obtain(VARIANT, ISSUER, KeyChoice::Configured);
        // Cloudflare's answer is in the journal by then.
        let is_wait =
            |event: &Event| matches!(event, Event::Order(_, OrderEvent::WaitingForServers));
        let is_up = || bed.log.has(is_wait);
        let up = async {
            while !is_up() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            result = working => panic!("{result:?}"),
            () = up => {}
        }
    });
    assert_eq!(bed.journal(), ["example.test.json"]);
    assert_eq!(bed.run(async |obtainer| obtainer.clean_journal().await), Leftovers::default());
    bed.assert_clean();
}

#[test]
fn records_of_orders_under_way_are_left_alone() {
    let bed = Bed::start();
    bed.testbed.cloudflare.pause_propagation();
    bed.run(async |obtainer| {
        let meddling = async {
            while bed.testbed.cloudflare.txt_records().len() < 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let left = Leftovers { failed: 0, waiting: 1 };
            assert_eq!(obtainer.clean_journal().await, left, "it is to be looked at again");
            assert_eq!(bed.testbed.cloudflare.txt_records().len(), 2);
            bed.testbed.cloudflare.resume_propagation();
        };
        let (result, ()) = futures_util::future::join(
            obtainer.obtain(VARIANT, ISSUER, KeyChoice::Configured),
            meddling,
        )
        .await;
        result.unwrap();
    });
    bed.assert_clean();
}

#[test]
fn records_of_a_provider_that_is_gone_are_named_once_and_kept() {
    let bed = Bed::start();
    let record = TxtRecord { name: "_acme-challenge.old.example".into(), value: VALUE.into() };
    let zone = Zone { id: "z".into(), name: "old.example".into() };
    let entry = JournalEntry::of("gone", vec![PlacedRecord { record, zone, id: None }]);
    bed.store().journal_write("old.example", &entry).unwrap();
    fs::write(bed.state().join("journal/broken.json"), "{").unwrap();
    bed.run(async |obtainer| {
        assert_eq!(obtainer.clean_journal().await, Leftovers::default());
        assert_eq!(obtainer.clean_journal().await, Leftovers::default());
    });
    let warnings = bed.log.events(Level::Warn);
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
    let (names, provider) = ("_acme-challenge.old.example".into(), "gone".into());
    let gone = RecordsEvent::ProviderGone { names, provider };
    assert!(bed.log.has(|event| matches!(event, Event::Records(_, told) if *told == gone)));
    assert!(bed.log.has(|event| match event {
        Event::Records(_, RecordsEvent::EntrySetAside { aside: Ok(path), .. }) => {
            path.ends_with("journal/broken.invalid")
        }
        _ => false,
    }));
    assert_eq!(bed.journal(), ["broken.invalid", "old.example.json"]);
}
