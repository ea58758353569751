//! Answers that say no, and what a person can do about each.

use super::super::{About, ProviderError, Refusal, RefusalReason};
use super::exchange::Answer;
use super::tsig::Signature;
use acme_dns_core::config::Rfc2136Settings as Settings;
use hickory_proto::op::{Metadata, OpCode, ResponseCode};

/// The errors of TSIG (RFC 8945 section 9.3).
const BADSIG: u16 = 16;
const BADKEY: u16 = 17;
const BADTIME: u16 = 18;
const BADTRUNC: u16 = 22;

/// Question or update that a server was sent.
pub(super) struct Asked<'a> {
    /// The action, with provider, zone and record.
    pub(super) action: &'a str,
    pub(super) zone: &'a str,
    pub(super) settings: &'a Settings,
    /// The time of the signature, in seconds since 1970.
    pub(super) signed_at: u64,
}

impl Asked<'_> {
    /// Tells whether the server has done what it was asked for.
    pub(super) fn check(&self, answer: &Answer) -> Result<(), ProviderError> {
        let Metadata { response_code: code, op_code, .. } = answer.message.metadata;
        // A name that is not there is an answer to a question.
        let is_done = code == ResponseCode::NoError
            || (code, op_code) == (ResponseCode::NXDomain, OpCode::Query);
        match answer.signature {
            Signature::Valid { error: 0, .. } if is_done => Ok(()),
            Signature::Valid { error, time } if error != 0 => Err(self.of_signature(error, time)),
            Signature::Unsigned(error) => Err(self.of_signature(error, None)),
            Signature::Missing if is_done => Err(ProviderError::unexpected(
                self.action,
                "it is not signed, check that \"server\" is the primary server itself",
            )),
            Signature::Missing if code == ResponseCode::Refused => Err(self.refused_unsigned()),
            _ => Err(self.of_code(code)),
        }
    }

    /// Makes an error of one that the signature of the request has met.
    fn of_signature(&self, error: u16, time: Option<u64>) -> ProviderError {
        let Settings { server, key_name, algorithm, .. } = self.settings;
        let (zone, algorithm) = (self.zone, algorithm.name());
        match error {
            // Knot says so of a key that may not update this zone, too.
            BADKEY => self.unauthorized(
                "BADKEY",
                format!(
                    "server \"{server}\" has no key \"{key_name}\" with {algorithm} that may update zone \
                     \"{zone}\": define and allow it there, or check \"key_name\" and \"algorithm\""
                ),
                self.about_zone(),
            ),
            BADSIG => self.unauthorized(
                "BADSIG",
                format!(
                    "server \"{server}\" has another secret for key \"{key_name}\": take it from there \
                     into \"key_file\" or \"key\""
                ),
                About::Credentials,
            ),
            BADTIME => self.unauthorized("BADTIME", self.clocks(time), About::Provider),
            BADTRUNC => self.refused(
                "BADTRUNC",
                format!("have server \"{server}\" take signatures that are not truncated"),
                About::Provider,
            ),
            other => ProviderError::unexpected(self.action, &format!("TSIG error {other}")),
        }
    }

    /// Says which clock is ahead, and by how much.
    fn clocks(&self, time: Option<u64>) -> String {
        let (server, now) = (&self.settings.server, self.signed_at);
        let difference = match time {
            Some(time) if time > now => format!("is {} s behind", time - now),
            Some(time) => format!("is {} s ahead of", now - time),
            None => "differs by minutes from".to_owned(),
        };
        format!("this host's clock {difference} that of server \"{server}\": set both by NTP")
    }

    /// Makes an error of the refusal of a server that does not say what is wrong with a signature, as
    /// PowerDNS.
    fn refused_unsigned(&self) -> ProviderError {
        let Settings { server, key_name, .. } = self.settings;
        let advice = format!(
            "allow key \"{key_name}\" at server \"{server}\" to update zone \"{zone}\"; if it is allowed, \
             check its secret, \"algorithm\" and this host's clock",
            zone = self.zone
        );
        self.unauthorized("REFUSED", advice, self.about_zone())
    }

    /// Makes an error of the code of an answer (RFC 2136 section 2.2).
    fn of_code(&self, code: ResponseCode) -> ProviderError {
        let Settings { server, key_name, .. } = self.settings;
        let zone = self.zone;
        match code {
            ResponseCode::Refused => self.unauthorized(
                "REFUSED",
                format!(
                    "allow key \"{key_name}\" at server \"{server}\" to update TXT records of zone \"{zone}\""
                ),
                self.about_zone(),
            ),
            ResponseCode::NotAuth => self.refused(
                "NOTAUTH",
                format!(
                    "server \"{server}\" takes no updates of zone \"{zone}\" with key \"{key_name}\": name \
                     the zone's primary server in \"server\", or allow the key there"
                ),
                self.about_zone(),
            ),
            ResponseCode::NotZone => self.refused(
                "NOTZONE",
                format!("zone \"{zone}\" of server \"{server}\" does not hold the name"),
                About::Name,
            ),
            ResponseCode::NotImp => self.refused(
                "NOTIMP",
                format!("turn dynamic updates on at server \"{server}\""),
                About::Provider,
            ),
            ResponseCode::FormErr => self.refused("FORMERR", String::new(), About::Name),
            ResponseCode::ServFail => ProviderError::Unavailable {
                action: self.action.to_owned(),
                refusal: refusal("SERVFAIL"),
            },
            other => {
                ProviderError::unexpected(self.action, &format!("RCODE {}", u16::from(other)))
            }
        }
    }

    fn about_zone(&self) -> About {
        About::Zone(self.zone.into())
    }

    fn unauthorized(&self, code: &str, advice: String, about: About) -> ProviderError {
        let (action, refusal) = (self.action.to_owned(), refusal(code));
        ProviderError::Unauthorized { action, refusal, advice, about }
    }

    fn refused(&self, code: &str, advice: String, about: About) -> ProviderError {
        let (action, refusal) = (self.action.to_owned(), refusal(code));
        ProviderError::Refused { action, refusal, advice, about }
    }
}

fn refusal(code: &str) -> Refusal {
    Refusal { status: 0, reasons: vec![RefusalReason { code: 0, text: code.to_owned() }] }
}
