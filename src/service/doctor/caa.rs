//! CAA records of names (RFC 8659 section 3): the nearest ones count, at the name or above it.

use crate::resolver::Resolver;
use crate::resolver::probe::{ask_resolver, dns_name, is_answer};
use crate::resolver::query::{mnemonic, without_dot};
use acme_dns_core::caa::{CaaQuestion, CaaRecord, CaaVerdict, decide};
use acme_dns_core::findings::{Finding, rows};
use acme_dns_core::name::Name as DomainName;
use futures_util::stream::{self, StreamExt};
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RData, RecordType};
use std::collections::HashMap;

/// So many names are asked for at a time.
const AT_ONCE: usize = 16;

/// Labels of the shortest name that is asked for: top-level domains have no such records.
const LEAST_LABELS: u8 = 2;

/// Records that are read of one name; no CA reads more.
const MAX_RECORDS: usize = 100;

/// The CA and the account that are to issue.
pub(super) struct Question<'a> {
    /// Names by which the CA is known in CAA records.
    pub(super) identities: &'a [String],
    /// The account, if it is known.
    pub(super) account: Option<&'a str>,
    pub(super) method: &'static str,
}

/// Answer to the question for the CAA records of a name.
#[derive(Clone, Debug)]
enum Answer {
    Records {
        records: Vec<CaaRecord>,
        /// The name that has them, where the name itself is an alias.
        target: Option<String>,
    },
    /// Nobody can say.
    Failed(String),
}

/// A name about which nobody can say what its records are.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// The name that is to be in the certificate.
    pub(super) base: String,
    /// The name whose records were asked for.
    pub(super) name: Name,
    pub(super) words: String,
}

/// The CAA records that count for the names of a certificate.
pub(super) struct Caa {
    answers: HashMap<Name, Answer>,
    failure: Option<Failure>,
}

impl Caa {
    /// Asks for the records of names and of all names above them.
    pub(super) async fn ask(resolver: &Resolver, names: &[DomainName]) -> Self {
        let mut wanted: Vec<Name> = names.iter().flat_map(|name| climb(name.base())).collect();
        wanted.sort();
        wanted.dedup();
        let answers = stream::iter(wanted)
            .map(async |name| {
                let answer = ask(resolver, &name).await;
                (name, answer)
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let mut caa = Self { answers, failure: None };
        caa.failure = names.iter().find_map(|name| caa.failure_of(name.base()));
        caa
    }

    /// Gives the first name whose records nobody can say.
    pub(super) fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    fn failure_of(&self, base: &str) -> Option<Failure> {
        match self.deciding(base)? {
            (name, Answer::Failed(words)) => {
                Some(Failure { base: base.to_owned(), name, words: words.clone() })
            }
            _ => None,
        }
    }

    /// Gives the nearest records of a name, or the failure that hides them.
    fn deciding(&self, base: &str) -> Option<(Name, &Answer)> {
        climb(base).find_map(|name| match self.answers.get(&name)? {
            Answer::Records { records, .. } if records.is_empty() => None,
            answer => Some((name, answer)),
        })
    }

    /// Gives what forbids the CA to issue for names. A CA that does not say by which names it is known cannot
    /// be judged.
    pub(super) fn findings(&self, question: &Question<'_>, names: &[DomainName]) -> Vec<Finding> {
        let Some(identity) = question.identities.first() else { return Vec::new() };
        let mut findings = Vec::new();
        for name in names {
            let Some((at, Answer::Records { records, target })) = self.deciding(name.base()) else {
                continue;
            };
            let asked = CaaQuestion {
                identities: question.identities,
                is_wildcard: name.is_wildcard(),
                account: question.account,
                method: question.method,
            };
            let zone = without_dot(&at);
            let Some(finding) = finding(&decide(records, &asked), &zone, identity, &asked) else {
                continue;
            };
            let finding = match target {
                Some(target) => of_alias(&zone, target, &finding),
                None => finding,
            };
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
        findings
    }
}

/// Gives a name and those above it, up to the domain.
fn climb(base: &str) -> impl Iterator<Item = Name> + use<> {
    let mut next = dns_name(base).map(|name| name.to_lowercase());
    std::iter::from_fn(move || {
        let name = next.take().filter(|name| name.num_labels() >= LEAST_LABELS)?;
        next = Some(name.base_name());
        Some(name)
    })
}

/// Asks one resolver after the other.
async fn ask(resolver: &Resolver, name: &Name) -> Answer {
    let mut errors = Vec::new();
    for server in resolver.servers() {
        let words = match ask_resolver(server, name, RecordType::CAA, false).await {
            Ok(answer) if is_answer(answer.metadata.response_code) => return read(&answer, name),
            Ok(answer) => mnemonic(answer.metadata.response_code),
            Err(error) => error.to_string(),
        };
        errors.push(format!("resolver {server}: CAA of \"{}\": {words}", without_dot(name)));
    }
    Answer::Failed(errors.join(", "))
}

fn read(answer: &Message, name: &Name) -> Answer {
    let record = |data: &RData| match data {
        RData::CAA(caa) => Some(CaaRecord {
            flags: caa.flags(),
            tag: caa.tag.clone(),
            value: String::from_utf8_lossy(&caa.value).into_owned(),
        }),
        _ => None,
    };
    let found = answer.answers.iter().filter_map(|found| Some((found, record(&found.data)?)));
    let (owners, records): (Vec<_>, Vec<_>) = found.take(MAX_RECORDS).unzip();
    let other = owners.first().map(|found| &found.name).filter(|owner| *owner != name);
    Answer::Records { records, target: other.map(without_dot) }
}

fn finding(
    verdict: &CaaVerdict,
    zone: &str,
    identity: &str,
    question: &CaaQuestion<'_>,
) -> Option<Finding> {
    let only = |allowed: &[String]| match allowed {
        [] => "no CA".to_owned(),
        names => format!("{} only", names.join(", ")),
    };
    let account = question.account.unwrap_or_default();
    let (row, allowed, tag) = match verdict {
        CaaVerdict::Allowed => return None,
        CaaVerdict::Critical(tag) => (rows::A05, tag.clone(), ""),
        CaaVerdict::OtherCa { allowed, of_wildcards: false } => (rows::A01, only(allowed), ""),
        CaaVerdict::OtherCa { allowed, of_wildcards: true } => (rows::A02, only(allowed), ""),
        CaaVerdict::OtherAccount { allowed, tag } => (rows::A03, allowed.join(", "), *tag),
        CaaVerdict::OtherMethod { allowed, tag } => (rows::A04, allowed.join(", "), *tag),
    };
    Some(row.finding(&[
        ("zone", zone),
        ("allowed", &allowed),
        ("identity", identity),
        ("account", account),
        ("method", question.method),
        ("tag", tag),
    ]))
}

/// Says that the records of a finding are those of an alias's target.
fn of_alias(name: &str, target: &str, finding: &Finding) -> Finding {
    rows::A06.finding(&[
        ("name", name),
        ("target", target),
        ("words", &finding.observed),
        ("remedy", &finding.remedy),
    ])
}
