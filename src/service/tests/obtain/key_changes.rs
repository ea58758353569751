//! Changes of account keys: done, interrupted, refused.

use super::accounts::{of_pebble, p256, pkcs8, problem};
use super::support::{Bed, ISSUER, VARIANT};
use acme_dns_service::acme::{AcmeError, KeyChoice, Obtainer};
use acme_dns_service::event::AccountEvent;
use futures_util::future::join;
use servers::acme_proxy::AcmeStep;
use servers::traffic::{Action, Fault};
use std::fmt::Debug;
use std::fs;
use std::time::Duration;

impl Bed {
    fn change_key(&self) -> Result<(), AcmeError> {
        self.run(async |obtainer| obtainer.change_key(ISSUER).await)
    }
}

/// The moment at which a process dies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Death {
    /// Its request was not done and never will be.
    BeforeItIsDone,
    /// Its request was done, and no answer came.
    AfterItWasDone,
}

/// Lets a service work until a request has arrived, and drops it.
pub(crate) fn die_at<T: Debug>(
    bed: &Bed,
    step: &AcmeStep,
    death: Death,
    work: impl AsyncFnOnce(&Obtainer) -> T,
) {
    let traffic = &bed.proxy.traffic;
    let gate = traffic.hold_answer(step.requests());
    if death == Death::BeforeItIsDone {
        traffic.inject(Fault::new(step.requests(), Action::Hang));
    }
    let has_arrived = || match death {
        Death::BeforeItIsDone => traffic.count(&step.requests()) > 0,
        Death::AfterItWasDone => gate.arrived() > 0,
    };
    bed.run(async |obtainer| {
        let arrived = async {
            while !has_arrived() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            result = work(obtainer) => panic!("{result:?}"),
            () = arrived => {}
        }
    });
}

#[test]
fn a_changed_key_is_the_accounts_from_then_on() {
    let bed = Bed::start();
    let url = bed.account().unwrap();
    let old = bed.kept_key();
    bed.run(async |obtainer| {
        obtainer.change_key(ISSUER).await.unwrap();
        obtainer.obtain(VARIANT, ISSUER, KeyChoice::Configured).await.unwrap();
    });
    assert_ne!(bed.kept_key(), old);
    assert!(!bed.has_new_key());
    bed.obtain().unwrap();
    assert_eq!(bed.account().unwrap(), url);
    assert_eq!(bed.creations(), 1);
    assert_eq!(bed.notices()[1], of_pebble(AccountEvent::KeyChanged));
    bed.assert_hidden(&[]);
}

#[test]
fn a_key_change_waits_for_the_orders_under_way() {
    let bed = Bed::start();
    bed.run(async |obtainer| {
        let change = async {
            let placed = || bed.proxy.traffic.count(&AcmeStep::NewOrder.requests()) > 0;
            while !placed() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            obtainer.change_key(ISSUER).await
        };
        let (obtained, changed) =
            join(obtainer.obtain(VARIANT, ISSUER, KeyChoice::Configured), change).await;
        obtained.unwrap();
        changed.unwrap();
    });
    let log = bed.proxy.traffic.log();
    let place = |step: AcmeStep| log.iter().position(|l| step.requests().fits(&l.request));
    assert!(place(AcmeStep::KeyChange) > place(AcmeStep::Certificate));
}

#[test]
fn a_key_change_whose_answer_was_lost_is_found_out() {
    let bed = Bed::start();
    let url = bed.account().unwrap();
    let old = bed.kept_key();
    bed.proxy.traffic.inject(Fault::new(AcmeStep::KeyChange.requests(), Action::LostAnswer));
    bed.change_key().unwrap();
    assert_eq!(bed.proxy.traffic.count(&AcmeStep::KeyChange.requests()), 1);
    assert_ne!(bed.kept_key(), old);
    bed.obtain().unwrap();
    assert_eq!(bed.account().unwrap(), url);
    assert!(!bed.has_new_key());
}

/// The CA has changed the key, or has not, and the process dies before it knows.
#[test]
fn a_process_that_dies_in_a_key_change_finds_out_at_its_next_start() {
    for death in [Death::BeforeItIsDone, Death::AfterItWasDone] {
        let bed = Bed::start();
        let url = bed.account().unwrap();
        let old = bed.kept_key();
        die_at(&bed, &AcmeStep::KeyChange, death, async |o: &Obtainer| o.change_key(ISSUER).await);
        assert!(bed.has_new_key(), "{death:?}");
        assert_eq!(bed.kept_key(), old, "{death:?}");
        bed.obtain().unwrap();
        assert_eq!(bed.account().unwrap(), url, "{death:?}");
        assert!(!bed.has_new_key(), "{death:?}");
        let is_old = death == Death::BeforeItIsDone;
        assert_eq!(bed.kept_key() == old, is_old, "{death:?}");
        let told = if is_old { AccountEvent::KeyUnchanged } else { AccountEvent::KeyChanged };
        assert_eq!(bed.notices().pop(), Some(of_pebble(told)), "{death:?}");
        bed.assert_hidden(&[]);
    }
}

#[test]
fn a_key_change_that_is_refused_leaves_the_old_key() {
    let bed = Bed::start();
    let url = bed.account().unwrap();
    let old = bed.kept_key();
    let refusal = problem(403, "unauthorized", "no");
    bed.proxy.traffic.inject(Fault::new(AcmeStep::KeyChange.requests(), refusal));
    let error = bed.change_key().unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("changing the account key was refused by \"https://127.0.0.1:"),
        "{text}"
    );
    assert_eq!((bed.kept_key() == old, bed.has_new_key()), (true, false));
    assert_eq!(bed.account().unwrap(), url);
    bed.assert_hidden(&[&error, &text]);
}

#[test]
fn a_key_change_without_an_answer_is_tried_again_and_then_given_up() {
    let bed = Bed::start();
    let url = bed.account().unwrap();
    let old = bed.kept_key();
    let step = AcmeStep::KeyChange.requests();
    let fault = Fault::new(step.clone(), Action::Status { status: 503, retry_after: None });
    bed.proxy.traffic.inject(fault.clone().times(1));
    bed.change_key().unwrap();
    assert_ne!(bed.kept_key(), old);
    let changed = bed.kept_key();
    bed.proxy.traffic.inject(fault.always());
    let error = bed.change_key().unwrap_err();
    assert!(!error.is_permanent(), "{error}");
    assert_eq!((bed.kept_key() == changed, bed.has_new_key()), (true, true));
    bed.proxy.traffic.clear_faults();
    assert_eq!(bed.account().unwrap(), url);
    assert_eq!((bed.kept_key() == changed, bed.has_new_key()), (true, false));
}

#[test]
fn a_success_that_is_none_does_not_cost_the_account() {
    let bed = Bed::start();
    let url = bed.account().unwrap();
    let fault = Fault::new(AcmeStep::KeyChange.requests(), Action::Garbage);
    bed.proxy.traffic.inject(fault.always());
    let error = bed.change_key().unwrap_err().to_string();
    assert!(error.ends_with("failed: the account has its old key still"), "{error}");
    assert_eq!(bed.account().unwrap(), url);
}

#[test]
fn a_new_key_that_is_garbage_is_dropped() {
    let bed = Bed::start();
    let url = bed.account().unwrap();
    fs::write(bed.key_file("account_key.new.pem"), "garbage").unwrap();
    assert_eq!(bed.account().unwrap(), url);
    assert!(!bed.has_new_key());
}

#[test]
fn a_key_from_a_file_is_not_changed() {
    let mut bed = Bed::start();
    bed.set_account_key(&pkcs8(&p256()));
    let error = bed.change_key().unwrap_err();
    let expected = "the account key of issuer \"pebble\" comes from \"account_key\"";
    assert!(error.to_string().starts_with(expected), "{error}");
    assert!(error.is_permanent());
    assert_eq!(bed.proxy.traffic.log().len(), 0);
}
