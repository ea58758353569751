//! Numbers that are counted or noted while the service works, and their keys in shared memory.
//!
//! There they are pairs of words, a key and a number, in a table of fixed size. A key holds everything that tells a
//! number from others: the kind, the issuer or provider by its identifier, an action, and a code.

use super::field::words;
use crate::id::{IssuerId, ProviderId};
use std::time::Duration;

words! {
    /// Part of an issuance whose duration is noted.
    pub enum Phase {
        /// TXT records are written.
        Dns = 1, "dns";
        /// The servers of the zones show them.
        Propagation = 2, "propagation";
        /// The CA validates.
        Validation = 3, "validation";
        /// The certificate is issued.
        Finalize = 4, "finalize";
    }
}

words! {
    /// Result that is counted.
    pub enum Counted {
        /// It succeeded.
        Ok = 1, "ok";
        /// It failed.
        Failed = 2, "failed";
    }
}

words! {
    /// Request to a CA, by the step that it is for (RFC 8555).
    pub enum CaAction {
        /// The directory.
        Directory = 1, "directory";
        /// A nonce.
        NewNonce = 2, "newNonce";
        /// Looking for, creating and changing the account, with its key.
        Account = 3, "account";
        /// Placing an order.
        NewOrder = 4, "newOrder";
        /// Reading an order.
        Order = 5, "order";
        /// Reading or giving up an authorization.
        Authorization = 6, "authorization";
        /// Answering a challenge.
        Challenge = 7, "challenge";
        /// The CSR.
        Finalize = 8, "finalize";
        /// The certificate, with other chains.
        Certificate = 9, "certificate";
        /// The time of a renewal (RFC 9773).
        RenewalInfo = 10, "renewalInfo";
        /// A revocation.
        Revoke = 11, "revokeCert";
    }
}

words! {
    /// Operation of a DNS provider.
    pub enum DnsAction {
        /// Finding the zone of a name.
        Zone = 1, "zone";
        /// Creating TXT records.
        Create = 2, "create";
        /// Removing them.
        Remove = 3, "remove";
    }
}

/// Result of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Code {
    /// An HTTP status.
    Status(u16),
    /// A success that has no status.
    Ok,
    /// No answer, or an error that has no status.
    Error,
}

impl Code {
    const OK: u16 = 1;
    const LEAST_STATUS: u16 = 100;

    fn number(self) -> u16 {
        match self {
            Self::Status(status) => status,
            Self::Ok => Self::OK,
            Self::Error => 0,
        }
    }

    fn of(number: u16) -> Self {
        match number {
            Self::OK => Self::Ok,
            Self::LEAST_STATUS.. => Self::Status(number),
            _ => Self::Error,
        }
    }

    /// Gives its word as a label.
    #[must_use]
    pub fn label(self) -> String {
        match self {
            Self::Status(status) => status.to_string(),
            Self::Ok => "ok".to_owned(),
            Self::Error => "error".to_owned(),
        }
    }
}

/// The upper bounds of durations, in seconds; those that took longer are in one more.
pub const BOUNDS: [u32; 8] = [1, 5, 15, 30, 60, 120, 300, 900];

/// Number that is counted, or noted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Figure {
    /// Requests to a CA.
    CaRequests(IssuerId, CaAction, Code),
    /// Operations of a DNS provider.
    ProviderRequests(ProviderId, DnsAction, Code),
    /// Attempts to obtain a certificate.
    Attempts(IssuerId, Counted),
    /// Reloads of nginx that were asked for.
    Reloads(Counted),
    /// Parts of issuances that took up to one of [`BOUNDS`], by its place, and longer than the one before.
    Durations(Phase, u8),
    /// Sum of these durations, in milliseconds.
    DurationSum(Phase),
    /// Time until which a CA wants to be left alone; 0 if it does not.
    RetryAfter(IssuerId),
    /// TXT records in the journal.
    TxtRecords(ProviderId),
    /// Certificates of other hosts that were taken over up to one of [`BOUNDS`] after their issue, as with [`Self::Durations`].
    Lags(u8),
    /// Sum of these times, in milliseconds.
    LagSum,
}

impl Figure {
    /// Gives the number of issuances whose part took so long.
    #[must_use]
    pub fn duration(phase: Phase, took: Duration) -> Self {
        Self::Durations(phase, place(took))
    }

    /// Gives the number of certificates that were taken over so long after their issue.
    #[must_use]
    pub fn lag(took: Duration) -> Self {
        Self::Lags(place(took))
    }

    /// Gives its key, which is not 0.
    #[must_use]
    pub fn key(self) -> u64 {
        let pack = |kind: u64, party: usize, action: u8, code: u16| {
            let party = u64::try_from(party).unwrap_or_default() & 0xff_ffff;
            (kind << 56) | (party << 32) | (u64::from(action) << 16) | u64::from(code)
        };
        match self {
            Self::CaRequests(issuer, action, code) => {
                pack(1, issuer.index(), action.number(), code.number())
            }
            Self::ProviderRequests(provider, action, code) => {
                pack(2, provider.index(), action.number(), code.number())
            }
            Self::Attempts(issuer, result) => pack(3, issuer.index(), result.number(), 0),
            Self::Reloads(result) => pack(4, 0, result.number(), 0),
            Self::Durations(phase, place) => pack(5, 0, phase.number(), place.into()),
            Self::DurationSum(phase) => pack(6, 0, phase.number(), 0),
            Self::RetryAfter(issuer) => pack(7, issuer.index(), 0, 0),
            Self::TxtRecords(provider) => pack(8, provider.index(), 0, 0),
            Self::Lags(place) => pack(9, 0, 0, place.into()),
            Self::LagSum => pack(10, 0, 0, 0),
        }
    }

    /// Finds what has a key; `None`: nothing that this version knows.
    #[must_use]
    pub fn of(key: u64) -> Option<Self> {
        let [code_low, code_high, action, _, a, b, c, kind] = key.to_le_bytes();
        let code = u16::from_le_bytes([code_low, code_high]);
        let party = usize::try_from(u32::from_le_bytes([a, b, c, 0])).ok()?;
        let (issuer, provider) = (IssuerId::new(party), ProviderId::new(party));
        Some(match kind {
            1 => Self::CaRequests(issuer, CaAction::of(action)?, Code::of(code)),
            2 => Self::ProviderRequests(provider, DnsAction::of(action)?, Code::of(code)),
            3 => Self::Attempts(issuer, Counted::of(action)?),
            4 => Self::Reloads(Counted::of(action)?),
            5 => Self::Durations(Phase::of(action)?, u8::try_from(code).ok()?),
            6 => Self::DurationSum(Phase::of(action)?),
            7 => Self::RetryAfter(issuer),
            8 => Self::TxtRecords(provider),
            9 => Self::Lags(u8::try_from(code).ok()?),
            10 => Self::LagSum,
            _ => return None,
        })
    }

    /// Gives the same number of another configuration, whose issuers and providers have other identifiers; `None`: its
    /// party is not there any more, or it is noted anew.
    #[must_use]
    pub fn moved(
        self,
        issuer: impl Fn(IssuerId) -> Option<IssuerId>,
        provider: impl Fn(ProviderId) -> Option<ProviderId>,
    ) -> Option<Self> {
        Some(match self {
            Self::CaRequests(id, action, code) => Self::CaRequests(issuer(id)?, action, code),
            Self::ProviderRequests(id, action, code) => {
                Self::ProviderRequests(provider(id)?, action, code)
            }
            Self::Attempts(id, result) => Self::Attempts(issuer(id)?, result),
            Self::RetryAfter(id) => Self::RetryAfter(issuer(id)?),
            Self::TxtRecords(id) => Self::TxtRecords(provider(id)?),
            Self::Reloads(_)
            | Self::Durations(..)
            | Self::DurationSum(_)
            | Self::Lags(_)
            | Self::LagSum => self,
        })
    }
}

/// Gives the place of a time among [`BOUNDS`].
fn place(took: Duration) -> u8 {
    let place = BOUNDS.iter().position(|bound| took <= Duration::from_secs((*bound).into()));
    u8::try_from(place.unwrap_or(BOUNDS.len())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{BOUNDS, CaAction, Code, Counted, DnsAction, Figure, Phase};
    use crate::id::{IssuerId, ProviderId};
    use std::collections::HashSet;
    use std::time::Duration;

    fn all() -> Vec<Figure> {
        let mut all = vec![Figure::Reloads(Counted::Ok), Figure::Reloads(Counted::Failed)];
        for party in [0, 1, 700] {
            let (issuer, provider) = (IssuerId::new(party), ProviderId::new(party));
            for code in [Code::Status(200), Code::Status(599), Code::Ok, Code::Error] {
                all.extend(CaAction::ALL.iter().map(|it| Figure::CaRequests(issuer, *it, code)));
                let of = |it: &DnsAction| Figure::ProviderRequests(provider, *it, code);
                all.extend(DnsAction::ALL.iter().map(of));
            }
            all.extend(Counted::ALL.iter().map(|it| Figure::Attempts(issuer, *it)));
            all.extend([Figure::RetryAfter(issuer), Figure::TxtRecords(provider)]);
        }
        all.push(Figure::LagSum);
        all.extend((0..9).map(Figure::Lags));
        for phase in Phase::ALL {
            all.push(Figure::DurationSum(*phase));
            all.extend((0..9).map(|place| Figure::Durations(*phase, place)));
        }
        all
    }

    #[test]
    fn each_figure_has_a_key_of_its_own() {
        let all = all();
        let keys: HashSet<u64> = all.iter().map(|figure| figure.key()).collect();
        assert_eq!(keys.len(), all.len());
        for figure in all {
            assert_ne!(figure.key(), 0);
            assert_eq!(Figure::of(figure.key()), Some(figure));
        }
        for key in [0, 1, 11 << 56, u64::MAX, 1 << 56, 3 << 56] {
            assert_eq!(Figure::of(key), None, "{key:x}");
        }
    }

    #[test]
    fn durations_are_counted_up_to_their_bound() {
        for (millis, place) in [(0, 0), (1000, 0), (1001, 1), (900_000, 7), (900_001, 8)] {
            let figure = Figure::duration(Phase::Dns, Duration::from_millis(millis));
            assert_eq!(figure, Figure::Durations(Phase::Dns, place), "{millis}");
        }
        assert_eq!(BOUNDS.len(), 8);
    }

    #[test]
    fn figures_follow_their_party() {
        let moved = |figure: Figure| {
            let issuer = |id: IssuerId| (id.index() == 1).then_some(IssuerId::new(0));
            figure.moved(issuer, |_| None)
        };
        let attempts = |id| Figure::Attempts(IssuerId::new(id), Counted::Ok);
        assert_eq!(moved(attempts(1)), Some(attempts(0)));
        assert_eq!(moved(attempts(0)), None);
        assert_eq!(moved(Figure::TxtRecords(ProviderId::new(1))), None);
        assert_eq!(moved(Figure::Reloads(Counted::Ok)), Some(Figure::Reloads(Counted::Ok)));
    }
}
