//! The status while a certificate is obtained.

use super::support::{Bed, CERTIFICATE, ISSUER, VARIANT};
use acme_dns_core::config::Config;
use acme_dns_core::id::{CertificateId, ProviderId, VariantId};
use acme_dns_core::material::Material;
use acme_dns_core::schedule::Loading;
use acme_dns_core::status::{
    Activity, CaAction, Code, Counted, DnsAction, Figure, HelperState, Origin, Phase, Plan, Remedy,
    ServedRecord, Step, WhyNext,
};
use acme_dns_service::engine::{Service, Settings};
use acme_dns_service::event::Event;
use acme_dns_service::host::{Host, NoRoom};
use acme_dns_service::status::served_records;
use openssl::sha::sha256;
use secrecy::SecretString;
use servers::process::wait_until;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// Host that keeps all that is shown, in its order.
#[derive(Default)]
struct Board {
    plans: Mutex<Vec<Plan>>,
    figures: Mutex<HashMap<u64, u64>>,
    states: Mutex<Vec<HelperState>>,
    published: Mutex<Option<Material>>,
}

impl Host for Board {
    fn tell(&self, _: &Event) {}

    fn publish(&self, certificate: CertificateId, material: &Material) -> Result<(), NoRoom> {
        assert_eq!(certificate, CERTIFICATE);
        *self.published.lock().unwrap() = Some(material.clone());
        Ok(())
    }

    fn show_plan(&self, variant: VariantId, plan: &Plan) {
        assert_eq!(variant, VARIANT);
        self.plans.lock().unwrap().push(plan.clone());
    }

    fn shown_plan(&self, _: VariantId) -> Option<Plan> {
        self.plans.lock().unwrap().last().cloned()
    }

    fn add(&self, figure: Figure, number: u64) {
        *self.figures.lock().unwrap().entry(figure.key()).or_default() += number;
    }

    fn note(&self, figure: Figure, number: u64) {
        self.figures.lock().unwrap().insert(figure.key(), number);
    }

    fn show_life(&self, state: HelperState) {
        let mut states = self.states.lock().unwrap();
        if states.last() != Some(&state) {
            states.push(state);
        }
    }
}

impl Board {
    fn last(&self) -> Option<Plan> {
        self.shown_plan(VARIANT)
    }

    fn figure(&self, figure: Figure) -> u64 {
        self.figures.lock().unwrap().get(&figure.key()).copied().unwrap_or_default()
    }

    fn served(&self, config: &Config) -> Option<ServedRecord> {
        let material = self.published.lock().unwrap().clone();
        material.and_then(|it| served_records(config, CERTIFICATE, &it).pop()?.1)
    }
}

#[test]
fn an_issuance_is_shown_step_by_step() {
    let bed = Bed::start();
    let board = Arc::new(Board::default());
    let service = Service::start(bed.settings(), board.clone()).unwrap();
    let is_done = || board.last().filter(|plan| plan.last_success.is_some());
    assert!(wait_until(PATIENCE, is_done).is_some(), "{:?}", board.last());
    service.stop();
    let plans = board.plans.lock().unwrap().clone();
    let mut steps: Vec<Option<Step>> =
        plans.iter().map(|plan| plan.step.map(|step| step.name)).collect();
    steps.dedup();
    let all = [
        None,
        Some(Step::Ordering),
        Some(Step::Records),
        Some(Step::Propagation),
        Some(Step::Validation),
        Some(Step::Finalize),
        None,
    ];
    assert_eq!(steps, all);
    let first = &plans[0];
    assert_eq!(
        (first.activity, first.next.map(|next| next.reason)),
        (Activity::Idle, Some(WhyNext::Config))
    );
    for plan in &plans {
        assert_eq!(plan.activity == Activity::Issuing, plan.step.is_some(), "{plan:?}");
    }
    let last = plans.last().unwrap();
    assert_eq!((last.activity, last.failures, &last.last_error), (Activity::Idle, 0, &None));
    assert_eq!(last.renewal, last.next);
    let served = board.served(&bed.config).unwrap();
    let renewal = last.renewal.unwrap().at;
    assert!(served.validity.not_before < renewal && renewal < served.validity.not_after);
    let leaf = board.published.lock().unwrap().as_ref().unwrap().pairs[0].chain[0].clone();
    assert_eq!(served.fingerprint, sha256(&leaf));
    assert_eq!((served.origin, served.serial.is_empty()), (Origin::Issued, false));
    assert!(served.issuer_cn.contains("Pebble"), "{}", served.issuer_cn);
    let requests = |action, code| Figure::CaRequests(ISSUER, action, Code::Status(code));
    let dns = |action| Figure::ProviderRequests(ProviderId::default(), action, Code::Ok);
    for (figure, number) in [
        (Figure::Attempts(ISSUER, Counted::Ok), 1),
        (Figure::Attempts(ISSUER, Counted::Failed), 0),
        (requests(CaAction::Directory, 200), 1),
        (requests(CaAction::NewOrder, 201), 1),
        (requests(CaAction::Finalize, 200), 1),
        (requests(CaAction::Certificate, 200), 1),
        (dns(DnsAction::Create), 1),
        (Figure::TxtRecords(ProviderId::default()), 0),
    ] {
        assert_eq!(board.figure(figure), number, "{figure:?}");
    }
    assert!(board.figure(dns(DnsAction::Zone)) > 0);
    for phase in Phase::ALL {
        let counts = (0..9).map(|place| board.figure(Figure::Durations(*phase, place)));
        assert_eq!(counts.sum::<u64>(), 1, "{phase:?}");
    }
    assert_eq!(*board.states.lock().unwrap(), [HelperState::Starting, HelperState::Working]);
}

#[test]
fn a_failure_is_shown_until_it_is_settled() {
    let bed = Bed::start();
    let board = Arc::new(Board::default());
    let mut settings = bed.settings();
    settings.secrets[0] = SecretString::from("another-token-that-is-refused-by-the-api-x");
    let service = Service::start(settings, board.clone()).unwrap();
    let error = || board.last().and_then(|plan| plan.last_error);
    assert!(wait_until(PATIENCE, error).is_some(), "{:?}", board.last());
    service.stop();
    let plan = board.last().unwrap();
    let error = error().unwrap();
    assert_eq!((plan.activity, plan.failures, plan.step), (Activity::Failing, 1, None));
    assert!(error.text.contains("cloudflare"), "{}", error.text);
    assert!(!error.text.contains("another-token"), "{}", error.text);
    assert_eq!(error.remedy, Remedy::Reload);
    let next = plan.next.unwrap();
    assert!(next.at > error.at && next.reason == WhyNext::Retry, "{plan:?}");
    assert_eq!(board.figure(Figure::Attempts(ISSUER, Counted::Failed)), 1);
    // The next process has the right one, and what it shows before it tries is the error.
    let before = board.plans.lock().unwrap().len();
    let settings = Settings { loading: Loading(1), ..bed.settings() };
    let service = Service::start(settings, board.clone()).unwrap();
    let is_done = || board.last().filter(|plan| plan.last_success.is_some());
    assert!(wait_until(PATIENCE, is_done).is_some(), "{:?}", board.last());
    service.stop();
    let plans = board.plans.lock().unwrap().split_off(before);
    assert_eq!(plans[0].last_error, Some(error));
    assert_eq!(plans.last().unwrap().last_error, None);
}
