//! The one place that says which events of the log are told to hooks and webhooks, and as what.

use crate::event::{
    ActionEvent, CertificateEvent, CertificatesEvent, Event, FilesEvent, OriginEvent, PersistEvent,
    StapleEvent, Subject, VisibilityEvent,
};
use acme_dns_core::level::Level;
use acme_dns_core::notice::NoticeKind;
use acme_dns_core::time::UnixTime;

/// Something that somebody may want to know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Told {
    /// There may be new files of the certificate with this name.
    Files(String),
    /// Anything else.
    Brief(Brief),
}

/// A notice, as far as an event says it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Brief {
    pub(super) kind: NoticeKind,
    /// Name of the certificate; `None`: several, or none.
    pub(super) certificate: Option<String>,
    pub(super) needs_person: bool,
    pub(super) message: String,
    pub(super) attempts: Option<u32>,
    pub(super) next_attempt: Option<UnixTime>,
    pub(super) error: Option<String>,
}

impl Brief {
    pub(super) fn new(kind: NoticeKind, certificate: Option<&str>, message: String) -> Self {
        Self {
            kind,
            certificate: certificate.map(str::to_owned),
            needs_person: kind == NoticeKind::Attention,
            message,
            attempts: None,
            next_attempt: None,
            error: None,
        }
    }
}

/// Reads an event; `None`: it is for the log only. What becomes of notices is told to nobody again.
pub(super) fn read(event: &Event) -> Option<Told> {
    let brief = |kind, name: Option<&str>| Brief::new(kind, name, event.to_string());
    let told = match event {
        Event::Listener(..) => return None,
        Event::Certificate(name, CertificateEvent::Issued { .. })
        | Event::Origin(name, OriginEvent::Adopted { .. })
        | Event::Files(name, FilesEvent::Saved | FilesEvent::WrittenBack) => {
            return Some(Told::Files(name.clone()));
        }
        Event::Certificate(_, CertificateEvent::WaitsAsWell { .. }) => return None,
        Event::Certificate(name, CertificateEvent::Failed { attempts, next, why, level, .. }) => {
            failed(brief(NoticeKind::Failed, Some(name)), *attempts, next.at, why, *level)
        }
        Event::Certificates(CertificatesEvent::Failed { attempts, next, why, level, .. }) => {
            failed(brief(NoticeKind::Failed, None), *attempts, next.at, why, *level)
        }
        Event::Certificates(CertificatesEvent::Untold { .. }) => return None,
        Event::Staple(_, StapleEvent::Revoked { is_known: true, .. }) => return None,
        Event::Staple(name, StapleEvent::Revoked { .. }) => brief(NoticeKind::Revoked, Some(name)),
        Event::Action(file, ActionEvent::Done) => {
            let name = file.strip_prefix("revoke-")?;
            let message = format!("certificate \"{name}\" was revoked, as {event}");
            Brief::new(NoticeKind::Revoked, Some(name), message)
        }
        Event::Visibility(Subject::Certificate(name), VisibilityEvent::StillWaiting { .. }) => {
            brief(NoticeKind::Waiting, Some(name))
        }
        Event::Persist(Subject::Certificate(name), PersistEvent::Needed { is_due: true, .. }) => {
            Brief { needs_person: true, ..brief(NoticeKind::Waiting, Some(name)) }
        }
        event if event.level() == Level::Error => brief(NoticeKind::Attention, subject(event)),
        _ => return None,
    };
    Some(Told::Brief(told))
}

fn failed(brief: Brief, attempts: u32, next: UnixTime, why: &str, level: Level) -> Brief {
    Brief {
        needs_person: level == Level::Error,
        attempts: Some(attempts),
        next_attempt: Some(next),
        error: Some(why.to_owned()),
        ..brief
    }
}

/// Finds the certificate that an event is about.
fn subject(event: &Event) -> Option<&str> {
    match event {
        Event::Certificate(name, _)
        | Event::Files(name, _)
        | Event::Origin(name, _)
        | Event::Staple(name, _)
        | Event::Order(Subject::Certificate(name), _)
        | Event::Account(Subject::Certificate(name), _)
        | Event::Records(Subject::Certificate(name), _)
        | Event::Persist(Subject::Certificate(name), _)
        | Event::Visibility(Subject::Certificate(name), _) => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Told, read};
    use crate::event::{
        ActionEvent, CertificateEvent, CertificatesEvent, Culprit, Event, FilesEvent,
        ListenerEvent, NextAttempt, PersistEvent, ProcessEvent, Sooner, StapleEvent, StateEvent,
        Subject, VisibilityEvent,
    };
    use acme_dns_core::level::Level;
    use acme_dns_core::notice::NoticeKind;
    use acme_dns_core::time::UnixTime;
    use std::time::Duration;

    fn next() -> NextAttempt {
        NextAttempt { at: UnixTime(9), with: None, sooner: Sooner::Reload }
    }

    fn failed(level: Level) -> CertificateEvent {
        let why = "a reason".to_owned();
        CertificateEvent::Failed { from: None, attempts: 3, next: next(), why, level }
    }

    #[test]
    fn events_become_notices() {
        let a = || "a".to_owned();
        let why = a;
        let issued = CertificateEvent::Issued {
            issuer: a(),
            took: Duration::ZERO,
            until: UnixTime(2),
            renewal: UnixTime(1),
            serial: a(),
            names: vec![a()],
        };
        let culprit = Culprit::Provider(a());
        let shared = CertificatesEvent::Failed {
            culprit,
            waiting: 2,
            attempts: 1,
            next: next(),
            why: why(),
            level: Level::Warn,
        };
        let revoked =
            |is_known| StapleEvent::Revoked { host: a(), why: why(), next: UnixTime(1), is_known };
        let waiting =
            VisibilityEvent::StillWaiting { zone: a(), timeout: Duration::ZERO, lacks: a() };
        let files = |event| Event::Files(a(), event);
        let persist = |event| Event::Persist(Subject::Certificate(a()), event);
        let needed = |is_due| PersistEvent::Needed { line: a(), why: None, is_due };
        use NoticeKind::{Attention, Failed, Revoked, Waiting};
        for (event, expected) in [
            (Event::Certificate(a(), failed(Level::Warn)), Some((Failed, Some("a"), false))),
            (Event::Certificate(a(), failed(Level::Error)), Some((Failed, Some("a"), true))),
            (Event::Certificates(shared), Some((Failed, None, false))),
            (
                Event::Certificate(
                    a(),
                    CertificateEvent::WaitsAsWell { why: why(), level: Level::Error },
                ),
                None,
            ),
            (Event::Staple(a(), revoked(false)), Some((Revoked, Some("a"), false))),
            (Event::Staple(a(), revoked(true)), None),
            (
                Event::Action("revoke-a".to_owned(), ActionEvent::Done),
                Some((Revoked, Some("a"), false)),
            ),
            (Event::Action("renew-a".to_owned(), ActionEvent::Done), None),
            (
                Event::Visibility(Subject::Certificate(a()), waiting),
                Some((Waiting, Some("a"), false)),
            ),
            (files(FilesEvent::Unreadable { why: why() }), Some((Attention, Some("a"), true))),
            (Event::Process(ProcessEvent::Unfit { why: why() }), Some((Attention, None, true))),
            (Event::State(StateEvent::Failed { why: why(), level: Level::Warn }), None),
            (persist(needed(true)), Some((Waiting, Some("a"), true))),
            (persist(needed(false)), None),
            (
                persist(PersistEvent::EndsSoon { until: UnixTime(1), line: a() }),
                Some((Attention, Some("a"), true)),
            ),
            // A hook that fails is not told that it does.
            (Event::Listener(a(), ListenerEvent::GivenUp { about: a(), why: why() }), None),
        ] {
            let told = read(&event).map(|told| match told {
                Told::Brief(brief) => (brief.kind, brief.certificate, brief.needs_person),
                Told::Files(name) => panic!("{name}"),
            });
            let expected = expected.map(|(kind, name, person): (_, Option<&str>, _)| {
                (kind, name.map(str::to_owned), person)
            });
            assert_eq!(told, expected, "{event:?}");
        }
        for event in [Event::Certificate(a(), issued), files(FilesEvent::Saved)] {
            assert_eq!(read(&event), Some(Told::Files(a())), "{event:?}");
        }
    }
}
