//! The status of the engine, and of the hosts that have to do with each certificate, as it is shown.

use crate::engine::clock::now;
use crate::engine::site::Site;
use crate::share::ShareError;
use acme_dns_core::id::VariantId;
use acme_dns_core::status::{EngineRecord, Figure, ShareFailure, ShareState, SharedVariant};
use acme_dns_core::text::excerpt;
use acme_dns_core::time::UnixTime;
use std::cell::RefCell;
use std::rc::Rc;

/// The longest error that is shown, in characters.
const MAX_ERROR: usize = 400;

/// The longest name of a host that is shown.
const MAX_HOST: usize = 64;

/// The state of the engine as it is shown.
pub(super) struct Health {
    site: Rc<Site>,
    shown: RefCell<EngineRecord>,
}

impl Health {
    pub(super) fn new(site: Rc<Site>, host: &str) -> Self {
        let shown = EngineRecord {
            state: ShareState::Joining,
            since: now(),
            last_contact: None,
            records: 0,
            hosts: 1,
            host: host.to_owned(),
            last_error: None,
        };
        site.host.show_engine(&shown);
        Self { site, shown: RefCell::new(shown) }
    }

    /// Notes that the engine has told all that is shared.
    pub(super) fn loaded(&self, records: usize) {
        self.change(|shown| {
            shown.records = records.try_into().unwrap_or(u64::MAX);
            shown.last_contact = Some(now());
            enter(shown, ShareState::Reached, None);
        });
    }

    /// Notes a word of the engine.
    pub(super) fn heard(&self) {
        self.change(|shown| shown.last_contact = Some(now()));
    }

    /// Notes how many other hosts are alive.
    pub(super) fn counted(&self, others: usize) {
        let hosts = others.saturating_add(1).try_into().unwrap_or(u16::MAX);
        if self.shown.borrow().hosts != hosts {
            self.change(|shown| shown.hosts = hosts);
        }
    }

    /// Notes that the engine takes changes again.
    pub(super) fn taken(&self) {
        self.change(|shown| enter(shown, ShareState::Reached, None));
    }

    /// Notes that the engine is away, or refuses.
    pub(super) fn failed(&self, error: &ShareError) {
        let text = excerpt(&error.to_string(), MAX_ERROR);
        let state = if error.is_permanent() { ShareState::Refused } else { ShareState::Away };
        self.change(|shown| enter(shown, state, Some(ShareFailure { text, at: now() })));
    }

    /// Shows which host a certificate is from that is shared.
    pub(super) fn show_origin(&self, variant: VariantId, host: &str, issued: UnixTime) {
        let host = Some(excerpt(host, MAX_HOST));
        self.change_variant(variant, |shown| {
            // What came from another host stays so, until there is a newer one.
            let is_known = shown.issued == Some(issued) && shown.obtained_by == host;
            shown.taken_over = shown.taken_over.filter(|_| is_known);
            (shown.obtained_by, shown.issued) = (host, Some(issued));
        });
    }

    /// Shows that a certificate of another host is served from now on. If it was issued while this host followed the
    /// engine, the time since then is its lag.
    pub(super) fn show_takeover(&self, variant: VariantId) {
        let now = now();
        self.change_variant(variant, |shown| shown.taken_over = Some(now));
        let issued = self.site.host.shown_shared(variant).and_then(|shown| shown.issued);
        if let Some(issued) = issued.filter(|issued| self.followed_at(*issued)) {
            let lag = now.since(issued);
            self.site.host.add(Figure::lag(lag), 1);
            self.site.host.add(Figure::LagSum, lag.as_millis().try_into().unwrap_or(u64::MAX));
        }
    }

    /// Shows which host orders a certificate now.
    pub(super) fn show_leader(&self, variant: VariantId, host: Option<&str>) {
        let host = host.map(|host| excerpt(host, MAX_HOST));
        self.change_variant(variant, |shown| shown.leader = host);
    }

    /// Tells whether the engine has been followed since then.
    fn followed_at(&self, time: UnixTime) -> bool {
        let shown = self.shown.borrow();
        shown.state == ShareState::Reached && shown.since < time
    }

    fn change(&self, change: impl FnOnce(&mut EngineRecord)) {
        let shown = &mut *self.shown.borrow_mut();
        change(shown);
        self.site.host.show_engine(shown);
    }

    fn change_variant(&self, variant: VariantId, change: impl FnOnce(&mut SharedVariant)) {
        let before = self.site.host.shown_shared(variant).unwrap_or_default();
        let mut shown = before.clone();
        change(&mut shown);
        if shown != before {
            self.site.host.show_shared(variant, &shown);
        }
    }
}

/// Enters a state, or stays in it.
fn enter(shown: &mut EngineRecord, state: ShareState, error: Option<ShareFailure>) {
    if shown.state != state {
        (shown.state, shown.since) = (state, now());
    }
    shown.last_error = error;
}
