//! The servers of a zone, one address after the other: whether each knows the zone, in which version, and how it
//! answers.

use crate::propagation::NameServer;
use crate::resolver::probe::{Probe, Way, dns_name, is_answer};
use crate::resolver::query::{QueryError, mnemonic, without_dot};
use acme_dns_core::findings::{Finding, rows};
use futures_util::future::{join_all, join4};
use futures_util::stream::{self, StreamExt};
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RData, RecordType};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::sleep;

/// So many addresses are asked at a time.
const AT_ONCE: usize = 16;

/// Time after which all servers should have the same version of a zone.
const TRANSFER: Duration = Duration::from_secs(2);

/// A zone whose absent names are remembered for longer than so many seconds is worth a warning.
const LONG_NEGATIVE: u32 = 900;

/// More TXT records than an order ever needs.
const MANY_RECORDS: usize = 10;

/// Answer of a server to the question for the SOA record of a zone.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Reply {
    /// It is one of the zone's.
    Knows { serial: u32, negative: u32 },
    /// It is none, in its own words.
    Lame(String),
    /// Somebody else has answered in its place.
    Intercepted,
    /// It does not answer.
    Silent(String),
    /// This host has no way to the address.
    NoRoute,
}

impl Reply {
    fn read(answer: &Message, zone: &Name) -> Self {
        let code = answer.metadata.response_code;
        if !answer.metadata.authoritative && answer.metadata.recursion_available {
            return Self::Intercepted;
        }
        if !is_answer(code) {
            return Self::Lame(mnemonic(code));
        }
        if !answer.metadata.authoritative {
            return Self::Lame("not authoritative".to_owned());
        }
        let soa = answer.answers.iter().filter(|record| record.name == *zone).find_map(|record| {
            let RData::SOA(soa) = &record.data else { return None };
            Some((soa.serial, record.ttl.min(soa.minimum)))
        });
        match soa {
            Some((serial, negative)) => Self::Knows { serial, negative },
            None => Self::Lame("it has no SOA record of it".to_owned()),
        }
    }

    fn of(answer: Result<Message, QueryError>, zone: &Name) -> Self {
        match answer {
            Ok(answer) => Self::read(&answer, zone),
            Err(QueryError::NoRoute(_)) => Self::NoRoute,
            Err(error) => Self::Silent(error.to_string()),
        }
    }

    fn is_answer(&self) -> bool {
        matches!(self, Self::Knows { .. } | Self::Lame(_) | Self::Intercepted)
    }
}

/// All that was asked of one address.
struct Exam<'a> {
    server: &'a NameServer,
    udp: Reply,
    tcp: Reply,
    edns: Reply,
    /// Set if the case of the name was not kept.
    changes_case: bool,
}

impl Exam<'_> {
    /// Gives what the server says of the zone, over whatever it answers.
    fn reply(&self) -> &Reply {
        if self.udp.is_answer() { &self.udp } else { &self.tcp }
    }

    fn findings(&self, zone: &Name) -> Vec<Finding> {
        let server = self.server.to_string();
        let silent = |transport: &str, words: &str| {
            let values = [("server", &*server), ("transport", transport), ("words", words)];
            rows::D04.finding(&values)
        };
        let mut findings = match (&self.udp, &self.tcp) {
            (Reply::Silent(words), tcp) if tcp.is_answer() => vec![silent("UDP", words)],
            (udp, Reply::Silent(words)) if udp.is_answer() => vec![silent("TCP", words)],
            (Reply::Silent(words), _) => vec![silent("UDP and TCP", words)],
            _ => Vec::new(),
        };
        if let (true, Reply::Silent(words)) = (self.udp.is_answer(), &self.edns) {
            findings.push(silent("UDP with EDNS", words));
        }
        if let Reply::Lame(words) = self.reply() {
            let zone = without_dot(zone);
            let values = [("server", &*server), ("zone", &zone), ("words", words)];
            findings.push(rows::D02.finding(&values));
        }
        if self.changes_case {
            findings.push(rows::D16.finding(&[("server", &server)]));
        }
        findings
    }
}

/// Looks at all servers of a zone; gives those that can be asked for records, too.
pub(super) async fn examine(
    servers: &[NameServer],
    zone: &Name,
) -> (Vec<NameServer>, Vec<Finding>) {
    let exams: Vec<Exam<'_>> =
        stream::iter(servers).map(|server| exam(server, zone)).buffered(AT_ONCE).collect().await;
    let mut findings = of_all(&exams, zone);
    if !findings.is_empty() {
        return (Vec::new(), findings);
    }
    findings.extend(exams.iter().flat_map(|exam| exam.findings(zone)));
    findings.extend(versions(&exams, zone).await);
    findings.extend(negative(&exams, zone));
    let able = exams.iter().filter(|exam| exam.udp.is_answer());
    (able.map(|exam| exam.server.clone()).collect(), findings)
}

/// Looks at what servers have at the names of challenges' records.
pub(super) async fn examine_records(
    servers: &[NameServer],
    names: &BTreeSet<Name>,
) -> Vec<Finding> {
    let of_records = stream::iter(names)
        .map(async |name| join_all(servers.iter().map(|server| leftovers(server, name))).await)
        .buffered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    let mut findings: Vec<Finding> = Vec::new();
    for finding in of_records.into_iter().flatten().flatten() {
        // One server is enough to say it.
        if !findings.iter().any(|f| f.id == finding.id && f.remedy == finding.remedy) {
            findings.push(finding);
        }
    }
    findings
}

/// Finds out whether no server of a zone knows it, with one question to each.
pub(super) async fn lame(servers: &[NameServer], zone: &Name) -> Option<Finding> {
    let ask = async |server| {
        let answer = Probe::new(zone, RecordType::SOA, Way::Udp).ask(server).await;
        Reply::of(answer, zone)
    };
    let replies = stream::iter(servers).map(|server| ask(server.address)).buffered(AT_ONCE);
    let replies: Vec<Reply> = replies.collect().await;
    lame_by(servers.iter().zip(&replies), zone)
}

fn lame_by<'a>(
    replies: impl Iterator<Item = (&'a NameServer, &'a Reply)>,
    zone: &Name,
) -> Option<Finding> {
    let mut words = Vec::new();
    for (server, reply) in replies {
        match reply {
            Reply::Lame(reason) => words.push(format!("{server}: {reason}")),
            Reply::NoRoute => {}
            // It may know it.
            Reply::Knows { .. } | Reply::Intercepted | Reply::Silent(_) => return None,
        }
    }
    let values = [("zone", without_dot(zone)), ("words", words.join(", "))];
    let values = values.each_ref().map(|(name, value)| (*name, value.as_str()));
    (!words.is_empty()).then(|| rows::D02_ALL.finding(&values))
}

/// Gives what is wrong with all servers together, and hides what each of them has.
fn of_all(exams: &[Exam<'_>], zone: &Name) -> Vec<Finding> {
    let zone_name = without_dot(zone);
    let lame = lame_by(exams.iter().map(|exam| (exam.server, exam.reply())), zone);
    if let Some(finding) = lame {
        return vec![finding];
    }
    let listed = |what: &dyn Fn(&Exam<'_>) -> Option<String>| {
        let list: Vec<String> = exams.iter().filter_map(what).collect();
        list.join(", ")
    };
    if exams.iter().any(|exam| *exam.reply() == Reply::Intercepted) {
        let words = listed(&|exam| {
            let is_other = *exam.reply() == Reply::Intercepted;
            is_other.then(|| format!("somebody else answers in the place of {}", exam.server))
        });
        return vec![rows::D11.finding(&[("zone", &zone_name), ("words", &words)])];
    }
    let is_silent = |exam: &Exam<'_>| !exam.udp.is_answer() && !exam.tcp.is_answer();
    if exams.iter().all(is_silent) {
        let words = listed(&|exam| match exam.reply() {
            Reply::Silent(words) => Some(format!("{}: {words}", exam.server)),
            _ => Some(format!("{}: no route", exam.server)),
        });
        return vec![rows::D04_ALL.finding(&[("zone", &zone_name), ("words", &words)])];
    }
    Vec::new()
}

async fn exam<'a>(server: &'a NameServer, zone: &Name) -> Exam<'a> {
    let odd = odd_case(zone);
    let ask = |name, way| Probe { way, ..Probe::new(name, RecordType::SOA, Way::Udp) };
    let (udp, tcp, edns, cased) = (
        ask(zone, Way::Udp),
        ask(zone, Way::Tcp),
        ask(zone, Way::UdpWithEdns),
        ask(&odd, Way::Udp),
    );
    let address = server.address;
    let (udp, tcp, edns, cased) =
        join4(udp.ask(address), tcp.ask(address), edns.ask(address), cased.ask(address)).await;
    let keeps_case = |answer: &Message| {
        let asked = answer.queries.first().map(|query| query.name());
        is_answer(answer.metadata.response_code) && asked.is_some_and(|name| name.eq_case(&odd))
    };
    let udp = Reply::of(udp, zone);
    // A server that fails as a whole does not fail by the case.
    let changes_case =
        matches!(udp, Reply::Knows { .. }) && cased.is_ok_and(|answer| !keeps_case(&answer));
    Exam { server, udp, tcp: Reply::of(tcp, zone), edns: Reply::of(edns, zone), changes_case }
}

/// Writes every other letter of a name in upper case.
fn odd_case(name: &Name) -> Name {
    let mut is_upper = false;
    let mixed: String = name
        .to_ascii()
        .chars()
        .map(|c| {
            is_upper ^= c.is_ascii_alphabetic();
            if is_upper { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }
        })
        .collect();
    Name::from_ascii(mixed).unwrap_or_else(|_| name.clone())
}

/// Compares the versions that servers have of a zone, again a little later if they differ.
async fn versions(exams: &[Exam<'_>], zone: &Name) -> Option<Finding> {
    let known = |reply: &Reply| match reply {
        Reply::Knows { serial, .. } => Some(*serial),
        _ => None,
    };
    let differ = |serials: &[(&NameServer, u32)]| {
        serials.iter().map(|(_, serial)| serial).collect::<BTreeSet<_>>().len() > 1
    };
    let first = exams.iter().filter_map(|exam| Some((exam.server, known(exam.reply())?)));
    if !differ(&first.collect::<Vec<_>>()) {
        return None;
    }
    sleep(TRANSFER).await;
    let again = exams.iter().map(async |exam| {
        let answer = Probe::new(zone, RecordType::SOA, Way::Udp).ask(exam.server.address).await;
        Some((exam.server, known(&Reply::of(answer, zone))?))
    });
    let serials: Vec<_> = join_all(again).await.into_iter().flatten().collect();
    let words: Vec<String> =
        serials.iter().map(|(server, serial)| format!("{server} has {serial}")).collect();
    let values = [("zone", &*without_dot(zone)), ("words", &*words.join(", "))];
    differ(&serials).then(|| rows::D03.finding(&values))
}

/// Says for how long an absent name is remembered (RFC 2308 section 5).
fn negative(exams: &[Exam<'_>], zone: &Name) -> Option<Finding> {
    let longest = exams.iter().filter_map(|exam| match exam.reply() {
        Reply::Knows { negative, .. } => Some(*negative),
        _ => None,
    });
    let seconds = longest.max().filter(|seconds| *seconds > LONG_NEGATIVE)?.to_string();
    Some(rows::D18.finding(&[("seconds", &seconds), ("zone", &without_dot(zone))]))
}

/// Looks at what a server has at the name of a challenge's record.
async fn leftovers(server: &NameServer, name: &Name) -> Option<Finding> {
    let ask = |way| Probe::new(name, RecordType::TXT, way);
    let udp = ask(Way::Udp);
    let mut answer = udp.ask(server.address).await.ok()?;
    let (server_name, name_text) = (server.to_string(), without_dot(name));
    let values = [("server", &*server_name), ("name", &*name_text)];
    if answer.metadata.truncation {
        match ask(Way::Tcp).ask(server.address).await {
            Ok(whole) => answer = whole,
            Err(_) => return Some(rows::D05.finding(&values)),
        }
    }
    let of_kind = |kind| {
        let own = answer.answers.iter().filter(|record| record.name == *name);
        own.filter(|record| record.record_type() == kind).count()
    };
    match (of_kind(RecordType::TXT), of_kind(RecordType::CNAME)) {
        (1.., 1..) => Some(rows::D13.finding(&values)),
        (count, _) if count > MANY_RECORDS => {
            Some(rows::D19.finding(&[("name", &name_text), ("count", &count.to_string())]))
        }
        _ => None,
    }
}

/// Finds out whether no server that knows a zone answers for CAA.
pub(super) async fn refuses_caa(
    servers: &[NameServer],
    zone: &str,
    name: &Name,
) -> Option<Finding> {
    let apex = dns_name(zone)?;
    let ask = async |server: &NameServer| {
        let soa = Probe::new(&apex, RecordType::SOA, Way::Udp).ask(server.address).await;
        if !matches!(Reply::of(soa, &apex), Reply::Knows { .. }) {
            return None;
        }
        let words = match Probe::new(name, RecordType::CAA, Way::Udp).ask(server.address).await {
            Ok(answer) if is_answer(answer.metadata.response_code) => return Some(None),
            Ok(answer) => mnemonic(answer.metadata.response_code),
            Err(error) => error.to_string(),
        };
        Some(Some(format!("{server}: {words}")))
    };
    let answers = stream::iter(servers).map(ask).buffered(AT_ONCE).collect::<Vec<_>>().await;
    // Servers that do not know the zone have no say; one that answers is enough.
    let failures: Option<Vec<String>> = answers.into_iter().flatten().collect();
    let words = failures.filter(|failures| !failures.is_empty())?.join(", ");
    Some(rows::D17.finding(&[("zone", zone), ("words", &words)]))
}

#[cfg(test)]
mod tests {
    use super::odd_case;
    use hickory_proto::rr::Name;

    #[test]
    fn every_other_letter_is_upper_case() {
        let name = Name::from_ascii("example.com.").unwrap();
        assert_eq!(odd_case(&name).to_ascii(), "ExAmPlE.cOm.");
    }
}
