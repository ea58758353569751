//! The tasks beside the loop: attempts, questions to the CA and its responder, removal of TXT records.
//!
//! Each reports to the loop, also when it panics. What becomes of a report is not here.

use super::clock::{LONGEST_SLEEP, now};
use super::fleet::news::Wait;
use super::fleet::{Entry, Fleet, HostTurn, Known};
use super::outcome::{Issuance, IssuanceOrigin, Outcome, RenewalTiming, Report};
use super::saving::{Saved, save_issued};
use super::site::Site;
use crate::acme::{KeyChoice, Leftovers, ObtainError, Obtainer, certificate_id};
use crate::event::{Ca, CertificateEvent};
use crate::http::HttpError;
use crate::mark::Mark;
use crate::ocsp::{OcspError, Question};
use crate::store::Store;
use acme_dns_core::id::{IssuerId, VariantId};
use acme_dns_core::level::Level;
use acme_dns_core::schedule::{self, Environment, RenewalInfo};
use openssl::x509::X509;
use reqwest::Client;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

/// The pauses between two attempts to remove TXT records that were left behind: doubling.
const CLEANING_PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(120));

/// The pause before records are looked for again that may still appear.
const LOOKING_PAUSE: Duration = Duration::from_secs(5);

/// Task that makes one attempt to obtain a certificate. Disks may be slow: files are written on other threads, so
/// that the orders do not wait for each other.
pub(super) struct Obtaining {
    pub(super) site: Rc<Site>,
    pub(super) due: schedule::Attempt,
    pub(super) mark: Mark,
    pub(super) key: KeyChoice,
    pub(super) obtainer: Rc<Obtainer>,
    /// Set if the process has worked for so long that it is not one that is started again and again.
    pub(super) is_settled: bool,
    /// The hosts that the certificate is shared with.
    pub(super) sharing: Option<Sharing>,
}

/// Grounds of the decision whose turn it is, where several hosts share a certificate.
pub(super) struct Sharing {
    pub(super) fleet: Rc<Fleet>,
    pub(super) known: Known,
}

impl Obtaining {
    pub(super) fn spawn(self, report: Report) {
        let schedule::Attempt { variant, issuer, environment, .. } = self.due;
        let mark = self.mark.clone();
        // From now on: the removal of earlier records begins beside the first attempts.
        let under_way = self.obtainer.begin(self.site.name(variant));
        tokio::task::spawn_local(async move {
            // In a task of its own, so that a panic is an outcome like any other.
            let outcome = tokio::task::spawn_local(mark.clone().on(self.run())).await;
            drop(under_way);
            let outcome = outcome.unwrap_or_else(|_| Outcome::Failed {
                variant,
                issuer,
                environment,
                failure: ObtainError::Bug.failure(),
                error: ObtainError::Bug,
            });
            // The receiver lives as long as the tasks.
            let _ended = report.send(Outcome::Marked(mark, Box::new(outcome)));
        });
    }

    /// Makes the attempt when it is this host's turn.
    async fn run(mut self) -> Outcome {
        let variant = self.due.variant;
        let Some(Sharing { fleet, known }) = self.sharing.take() else {
            return self.attempt(None).await;
        };
        match fleet.enter(&self.due, known, &self.obtainer).await {
            Entry::Wait(wait) => Outcome::Postponed { variant, wait },
            Entry::Begin(None) => self.attempt(None).await,
            Entry::Begin(Some(turn)) => tokio::select! {
                outcome = self.attempt(Some(&turn)) => outcome,
                () = turn.lost() => {
                    fleet.hand_over(variant).await;
                    Outcome::Postponed { variant, wait: Wait::until(now()) }
                }
            },
        }
    }

    fn tell_begun(&self) {
        if !self.site.host.listens(Level::Debug) {
            return;
        }
        let issuer = self.site.issuer(self.due.issuer).name.clone();
        let ca = match self.due.environment {
            Environment::Production => Ca::Production(issuer),
            Environment::Staging => Ca::Staging(issuer),
        };
        self.site.tell_life(self.due.variant, CertificateEvent::Begun { ca });
    }

    async fn attempt(self, turn: Option<&HostTurn>) -> Outcome {
        let started = Instant::now();
        self.tell_begun();
        let Self { site, due, key, obtainer, is_settled, .. } = self;
        let (store, name) = (&site.store, site.name(due.variant).to_owned());
        let schedule::Attempt { variant, issuer, environment, progress } = due;
        // Kept before the work begins: if the process dies, the next one pauses. Without that, a container that
        // is started again and again would order each time. In a process that lasts, a full disk must not
        // keep a certificate from being renewed.
        let of = name.clone();
        let begin = move |store: &Store| store.save_progress(&of, &progress);
        let begun = store.on_thread(begin).await;
        if let Err(error) = begun
            && !is_settled
        {
            let error = ObtainError::Unrecorded(error);
            let failure = obtainer.failure(variant, &error);
            return Outcome::Failed { variant, issuer, environment, failure, error };
        }
        let result = match environment {
            Environment::Production => obtainer.obtain(variant, issuer, key).await.map(Some),
            Environment::Staging => obtainer.probe(variant, issuer).await.map(|()| None),
        };
        match result {
            Ok(Some(issued)) => {
                if let Some(turn) = turn {
                    turn.note_obtained();
                }
                let pem = issued.pem.clone();
                let save = move |store: &Store| Ok(save_issued(store, &name, &pem));
                let saved = store.on_thread(save).await.unwrap_or_else(Saved::Refused);
                let took = started.elapsed();
                Outcome::Issued(Box::new(Issuance {
                    variant,
                    issuer,
                    issued,
                    took,
                    saved,
                    origin: IssuanceOrigin::Ca,
                }))
            }
            Ok(None) => Outcome::Probed { variant },
            Err(error) => {
                let failure = obtainer.failure(variant, &error);
                Outcome::Failed { variant, issuer, environment, failure, error }
            }
        }
    }
}

/// Asks the CA when to renew; `of` is the certificate in DER and its issuer, where both are known.
pub(super) fn ask_renewal_info(
    variant: VariantId,
    of: Option<(Vec<u8>, IssuerId)>,
    obtainer: Rc<Obtainer>,
    report: &Report,
) {
    let report = report.clone();
    let leaf = of.as_ref().map(|(leaf, _)| leaf.clone());
    tokio::task::spawn_local(async move {
        let answer = tokio::task::spawn_local(async move { ask(of, &obtainer).await }).await;
        let answer = answer.unwrap_or_else(|_| RenewalTiming {
            info: schedule::RenewalInfoOutcome::Failed { retry_after: None },
            explanation: None,
            error: Some(ObtainError::Bug.to_string()),
        });
        let _ended = report.send(Outcome::RenewalInfo { variant, leaf, answer });
    });
}

async fn ask(of: Option<(Vec<u8>, IssuerId)>, obtainer: &Obtainer) -> RenewalTiming {
    let unsupported = RenewalTiming {
        info: schedule::RenewalInfoOutcome::Unsupported,
        explanation: None,
        error: None,
    };
    let Some((leaf, issuer)) = of else { return unsupported };
    let failed = |retry_after, error: String| RenewalTiming {
        info: schedule::RenewalInfoOutcome::Failed { retry_after },
        explanation: None,
        error: Some(error),
    };
    let identifier = X509::from_der(&leaf).ok().and_then(|leaf| certificate_id(&leaf));
    let Some(identifier) = identifier else { return unsupported };
    match obtainer.renewal_info(issuer, &identifier).await {
        Ok(None) => unsupported,
        Ok(Some(answer)) => match RenewalInfo::parse(&answer.body, answer.retry_after) {
            Ok(info) => RenewalTiming {
                explanation: info.explanation_url.clone(),
                info: schedule::RenewalInfoOutcome::Answered(info),
                error: None,
            },
            Err(error) => failed(answer.retry_after, error.to_string()),
        },
        Err(error) => failed(error.retry_after(), error.to_string()),
    }
}

/// Asks the responder of the certificate with this leaf (DER).
pub(super) fn ask_responder(
    variant: VariantId,
    leaf: Vec<u8>,
    question: Question,
    client: Result<Client, HttpError>,
    report: &Report,
) {
    let (report, host) = (report.clone(), question.host());
    tokio::task::spawn_local(async move {
        let ask = async move { question.ask(&client?, now).await };
        let answer = tokio::task::spawn_local(ask).await.unwrap_or(Err(OcspError::Bug));
        let _ended = report.send(Outcome::Stapling { variant, leaf, host, answer });
    });
}

/// Gives up orders that nobody wants any more, and removes TXT records that were left behind: at
/// once, and after each order that ended.
pub(super) async fn clean(obtainer: Rc<Obtainer>, order_ended: Rc<Notify>) {
    tokio::task::spawn_local({
        let obtainer = Rc::clone(&obtainer);
        async move { obtainer.give_up_orders().await }
    });
    let (shortest, longest) = CLEANING_PAUSES;
    let mut pause = shortest;
    loop {
        let (wait, next) = match obtainer.clean_journal().await {
            Leftovers { failed: 0, waiting: 0 } => (LONGEST_SLEEP, shortest),
            Leftovers { failed: 0, .. } => (LOOKING_PAUSE, shortest),
            Leftovers { .. } => (pause, (pause * 2).min(longest)),
        };
        pause = next;
        tokio::select! {
            () = order_ended.notified() => {}
            () = sleep(wait) => {}
        }
    }
}
