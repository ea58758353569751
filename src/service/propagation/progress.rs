//! The state of the servers of a zone, and what follows from it. No I/O, no clock.
//!
//! The rule: the records count as visible when at least one server has all of them and every
//! server that answers has all of them. A server that has not answered at all is ignored after
//! [`FAILURES`] failures in a row (no answer, unreachable, an error code, not authoritative), or
//! after one if this machine has no route to its address. A server that has once answered is
//! always waited for: it will be asked by the CA, too.

use crate::resolver::query::{QueryError, TxtAnswer};
use std::fmt;
use std::net::SocketAddr;

/// So many failures in a row mean that a server that never answered is down.
const FAILURES: u32 = 3;

/// The longest list of servers in a message: a line of nginx's log holds 2048 octets.
const LISTED: usize = 4;

/// The port of DNS, which messages need not name.
const DNS_PORT: u16 = 53;

/// One address of an authoritative server.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct NameServer {
    /// The name in the NS record, without the final dot.
    pub name: String,
    /// Its address.
    pub address: SocketAddr,
}

impl fmt::Display for NameServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address.port() {
            DNS_PORT => write!(f, "{} ({})", self.name, self.address.ip()),
            _ => write!(f, "{} ({})", self.name, self.address),
        }
    }
}

/// The values that a name has to have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct WantedValues {
    /// The name without the final dot.
    pub name: String,
    /// All of its values that are waited for.
    pub values: Vec<String>,
}

impl WantedValues {
    fn is_in(&self, answer: &TxtAnswer) -> bool {
        match answer {
            TxtAnswer::Values(found) => self.values.iter().all(|value| found.contains(value)),
            TxtAnswer::NoName | TxtAnswer::Alias(_) => false,
        }
    }

    /// Describes an answer without the values.
    fn describe(&self, answer: Option<&TxtAnswer>) -> String {
        let name = &self.name;
        match answer {
            None => format!("has not answered for \"{name}\" yet"),
            Some(TxtAnswer::NoName) => format!("has no name \"{name}\""),
            Some(TxtAnswer::Alias(to)) => format!("has an alias to \"{to}\" at \"{name}\""),
            Some(TxtAnswer::Values(found)) if found.is_empty() => {
                format!("has no TXT record at \"{name}\"")
            }
            Some(TxtAnswer::Values(found)) => {
                let lacking = self.values.iter().filter(|value| !found.contains(value));
                let quoted: Vec<String> = lacking.map(|value| format!("\"{value}\"")).collect();
                let (count, records) =
                    (found.len(), if found.len() == 1 { "record" } else { "records" });
                format!("has {count} TXT {records} at \"{name}\", none with {}", quoted.join(", "))
            }
        }
    }
}

/// State of one server.
#[derive(Debug)]
struct ServerStanding {
    server: NameServer,
    /// The names whose values it did not have, with the last answer.
    missing: Vec<(usize, Option<TxtAnswer>)>,
    answered: bool,
    failures: u32,
    failure: Option<QueryError>,
}

impl ServerStanding {
    fn has_all(&self) -> bool {
        self.missing.is_empty()
    }

    fn may_be_ignored(&self) -> bool {
        !self.answered && self.failures >= FAILURES
    }
}

/// The standing of all servers of a zone.
#[derive(Debug)]
pub(super) struct Standings {
    wanted: Vec<WantedValues>,
    servers: Vec<ServerStanding>,
}

impl Standings {
    /// Begins with no answers. A server that is `silent` has lately been found to be down, and
    /// is ignored unless it answers.
    pub(super) fn new(
        wanted: Vec<WantedValues>,
        servers: impl IntoIterator<Item = NameServer>,
        silent: impl Fn(&NameServer) -> bool,
    ) -> Self {
        let missing: Vec<_> = (0..wanted.len()).map(|name| (name, None)).collect();
        let standing = |server| ServerStanding {
            failures: if silent(&server) { FAILURES } else { 0 },
            missing: missing.clone(),
            answered: false,
            failure: None,
            server,
        };
        let servers = servers.into_iter().map(standing).collect();
        Self { wanted, servers }
    }

    /// Counts the servers.
    pub(super) fn len(&self) -> usize {
        self.servers.len()
    }

    /// Gives one of the servers, and the names that it has still to be asked for.
    pub(super) fn open(&self, server: usize) -> (&NameServer, Vec<usize>) {
        let standing = &self.servers[server];
        (&standing.server, standing.missing.iter().map(|(name, _)| *name).collect())
    }

    /// Tells whether a server has everything.
    pub(super) fn has_all(&self, server: usize) -> bool {
        self.servers[server].has_all()
    }

    /// Notes the answer of a server for one name.
    pub(super) fn handle_answer(&mut self, server: usize, name: usize, answer: TxtAnswer) {
        let standing = &mut self.servers[server];
        (standing.answered, standing.failures, standing.failure) = (true, 0, None);
        if self.wanted[name].is_in(&answer) {
            standing.missing.retain(|(missing, _)| *missing != name);
        } else if let Some(entry) = standing.missing.iter_mut().find(|(other, _)| *other == name) {
            entry.1 = Some(answer);
        }
    }

    /// Notes that a server could not be asked.
    pub(super) fn handle_failure(&mut self, server: usize, failure: QueryError) {
        let standing = &mut self.servers[server];
        standing.failures = match failure {
            QueryError::NoRoute(_) => FAILURES,
            _ => standing.failures.saturating_add(1),
        };
        standing.failure = Some(failure);
    }

    /// Tells whether the records are visible.
    pub(super) fn is_done(&self) -> bool {
        self.servers.iter().any(ServerStanding::has_all)
            && self.servers.iter().all(|s| s.has_all() || s.may_be_ignored())
    }

    /// Gives the servers that are down.
    pub(super) fn ignored(&self) -> impl Iterator<Item = (&NameServer, Option<&QueryError>)> {
        self.servers
            .iter()
            .filter(|standing| !standing.has_all() && standing.may_be_ignored())
            .map(|standing| (&standing.server, standing.failure.as_ref()))
    }

    /// Tells whether no server has answered at all.
    pub(super) fn is_silent(&self) -> bool {
        self.servers.iter().all(|standing| !standing.answered)
    }

    /// Tells whether somebody else answers in the place of all servers, such as a router that has all
    /// questions answered by its resolver: each has failed [`FAILURES`] times, and whatever answers
    /// does not speak for the zone.
    pub(super) fn is_intercepted(&self) -> bool {
        let answers = |standing: &ServerStanding| {
            matches!(standing.failure, Some(QueryError::NotAuthoritative))
        };
        let is_other = |standing: &ServerStanding| {
            matches!(
                standing.failure,
                None | Some(
                    QueryError::NotAuthoritative | QueryError::NoRoute(_) | QueryError::Silent
                )
            )
        };
        self.servers.iter().any(answers)
            && self.servers.iter().all(|s| s.may_be_ignored() && is_other(s))
    }

    /// Describes what one server lacks; nothing if it has everything.
    pub(super) fn describe_server(&self, server: usize) -> Option<String> {
        let standing = &self.servers[server];
        (!standing.has_all()).then(|| self.describe_one(standing))
    }

    /// Describes what each server lacks.
    pub(super) fn describe(&self) -> String {
        let lacking = || self.servers.iter().filter(|standing| !standing.has_all());
        let mut listed: Vec<String> =
            lacking().take(LISTED).map(|standing| self.describe_one(standing)).collect();
        let more = lacking().count().saturating_sub(LISTED);
        if more > 0 {
            listed.push(format!("{more} more servers"));
        }
        listed.join(", ")
    }

    fn describe_one(&self, standing: &ServerStanding) -> String {
        let server = &standing.server;
        if let Some(failure) = &standing.failure {
            return format!("{server}: {failure}");
        }
        // What it said about one name says more than silence about another.
        let said = standing.missing.iter().find(|(_, answer)| answer.is_some());
        let Some((name, answer)) = said.or(standing.missing.first()) else {
            return server.to_string();
        };
        let lacks = self.wanted[*name].describe(answer.as_ref());
        match standing.missing.len() {
            0 | 1 => format!("{server} {lacks}"),
            more => format!("{server} {lacks} (and {} more missing)", more - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::ResponseCode;
    use std::io;

    /// Act of one of the servers.
    #[derive(Clone, Copy)]
    enum ServerAct {
        /// It has these values of the name 0.
        Has(&'static [&'static str]),
        /// It has no name 0.
        NoName,
        /// It gives no answer.
        Silent,
        /// It cannot be reached from here.
        NoRoute,
    }
    use ServerAct::{Has, NoName, NoRoute, Silent};

    fn server(number: usize) -> NameServer {
        let address = SocketAddr::from(([192, 0, 2, number as u8], DNS_PORT));
        NameServer { name: format!("ns{number}.test"), address }
    }

    fn wanted(names: &[(&str, &[&str])]) -> Vec<WantedValues> {
        let strings = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        names
            .iter()
            .map(|(n, v)| WantedValues { name: (*n).to_owned(), values: strings(v) })
            .collect()
    }

    fn values(list: &[&str]) -> TxtAnswer {
        TxtAnswer::Values(list.iter().map(|&text| text.to_owned()).collect())
    }

    fn handle(progress: &mut Standings, server: usize, event: ServerAct) {
        let no_route = || QueryError::NoRoute(io::ErrorKind::NetworkUnreachable.into());
        match event {
            Has(list) => progress.handle_answer(server, 0, values(list)),
            NoName => progress.handle_answer(server, 0, TxtAnswer::NoName),
            Silent => progress.handle_failure(server, QueryError::Silent),
            NoRoute => progress.handle_failure(server, no_route()),
        }
    }

    #[test]
    fn decides_when_the_records_are_visible() {
        const ALL: ServerAct = Has(&["a", "b"]);
        const REST: ServerAct = Has(&["a", "old"]);
        // Two servers, "a" and "b" are waited for at one name.
        type Row = (&'static str, &'static [(usize, ServerAct)], bool);
        let rows: &[Row] = &[
            ("nothing known", &[], false),
            ("both have all", &[(0, ALL), (1, ALL)], true),
            ("others do not matter", &[(0, Has(&["old", "b", "a"])), (1, ALL)], true),
            ("one has not been heard of", &[(0, ALL)], false),
            ("one lacks a value", &[(0, ALL), (1, REST)], false),
            ("one lacks the name", &[(0, ALL), (1, NoName)], false),
            ("it gets them", &[(0, ALL), (1, NoName), (1, REST), (1, ALL)], true),
            ("one fails twice", &[(0, ALL), (1, Silent), (1, Silent)], false),
            ("one is down", &[(0, ALL), (1, Silent), (1, Silent), (1, Silent)], true),
            ("no route to one", &[(0, ALL), (1, NoRoute)], true),
            ("all are down", &[(0, Silent), (0, Silent), (0, Silent), (1, NoRoute)], false),
            ("no route to any", &[(0, NoRoute), (1, NoRoute)], false),
            ("one is down, one lacks", &[(0, NoName), (1, NoRoute)], false),
            (
                "it had answered before it went down",
                &[(0, ALL), (1, NoName), (1, Silent), (1, Silent), (1, Silent), (1, NoRoute)],
                false,
            ),
            (
                "it comes back without them",
                &[(0, NoName), (1, Silent), (1, Silent), (1, Silent), (1, NoName), (0, ALL)],
                false,
            ),
        ];
        for (row, events, expected) in rows {
            let names = wanted(&[("x.test", &["a", "b"])]);
            let mut progress = Standings::new(names, [server(1), server(2)], |_| false);
            for (server, event) in *events {
                handle(&mut progress, *server, *event);
            }
            assert_eq!(progress.is_done(), *expected, "{row}");
        }
    }

    #[test]
    fn finds_out_that_port_53_is_intercepted() {
        use QueryError::{Code, NotAuthoritative, Silent};
        type Row = (&'static str, fn() -> QueryError, fn() -> QueryError, u32, bool);
        let no_route = || QueryError::NoRoute(io::ErrorKind::NetworkUnreachable.into());
        let rows: [Row; 6] = [
            ("all answer as a resolver does", || NotAuthoritative, || NotAuthoritative, 3, true),
            ("not for long", || NotAuthoritative, || NotAuthoritative, 2, false),
            ("no route to one", || NotAuthoritative, no_route, 3, true),
            ("one is silent", || NotAuthoritative, || Silent, 3, true),
            ("one refuses", || NotAuthoritative, || Code(ResponseCode::Refused), 3, false),
            ("all are silent", || Silent, || Silent, 3, false),
        ];
        for (row, first, second, rounds, expected) in rows {
            let names = wanted(&[("x.test", &["a"])]);
            let mut progress = Standings::new(names, [server(1), server(2)], |_| false);
            for _ in 0..rounds {
                progress.handle_failure(0, first());
                progress.handle_failure(1, second());
            }
            assert_eq!(progress.is_intercepted(), expected, "{row}");
        }
        let names = wanted(&[("x.test", &["a"])]);
        let mut progress = Standings::new(names, [server(1), server(2)], |_| false);
        handle(&mut progress, 0, NoName);
        (0..9).for_each(|_| progress.handle_failure(1, NotAuthoritative));
        assert!(!progress.is_intercepted(), "one has answered");
    }

    #[test]
    fn leaves_out_a_server_that_was_down_before_unless_it_answers() {
        let names = wanted(&[("x.test", &["a"])]);
        let mut progress = Standings::new(names, [server(1), server(2)], |s| *s == server(2));
        assert!(!progress.is_done(), "no server has the record");
        handle(&mut progress, 0, Has(&["a"]));
        assert!(progress.is_done());
        let ignored: Vec<_> = progress.ignored().map(|(server, _)| server.clone()).collect();
        assert_eq!(ignored, [server(2)]);
        handle(&mut progress, 1, NoName);
        assert!(!progress.is_done(), "it is up again and lacks the record");
        assert_eq!(progress.ignored().count(), 0);
    }

    #[test]
    fn asks_only_for_what_a_server_has_not_shown_yet() {
        let names = wanted(&[("x.test", &["a"]), ("y.test", &["b"])]);
        let mut progress = Standings::new(names, [server(1)], |_| false);
        assert_eq!(progress.open(0), (&server(1), vec![0, 1]));
        progress.handle_answer(0, 0, values(&["a"]));
        assert_eq!(progress.open(0), (&server(1), vec![1]));
        assert!(!progress.has_all(0));
        progress.handle_answer(0, 1, values(&["b", "c"]));
        assert!(progress.has_all(0));
        assert!(progress.is_done());
        assert_eq!(progress.describe_server(0), None);
    }

    #[test]
    fn describes_what_a_server_answered() {
        let rows: Vec<(Option<TxtAnswer>, &str)> = vec![
            (None, "ns1.test (192.0.2.1) has not answered for \"x.test\" yet"),
            (Some(TxtAnswer::NoName), "ns1.test (192.0.2.1) has no name \"x.test\""),
            (
                Some(TxtAnswer::Alias("z.test".to_owned())),
                "ns1.test (192.0.2.1) has an alias to \"z.test\" at \"x.test\"",
            ),
            (Some(values(&[])), "ns1.test (192.0.2.1) has no TXT record at \"x.test\""),
            (
                Some(values(&["old", "b"])),
                "ns1.test (192.0.2.1) has 2 TXT records at \"x.test\", none with \"a\", \"c\"",
            ),
            (
                Some(values(&["old"])),
                "ns1.test (192.0.2.1) has 1 TXT record at \"x.test\", none with \"a\", \"b\", \"c\"",
            ),
        ];
        for (answer, expected) in rows {
            let names = wanted(&[("x.test", &["a", "b", "c"])]);
            let mut progress = Standings::new(names, [server(1)], |_| false);
            if let Some(answer) = answer {
                progress.handle_answer(0, 0, answer);
            }
            assert_eq!(progress.describe(), expected);
        }
    }

    #[test]
    fn describes_failures_and_cuts_long_lists() {
        let names = wanted(&[("x.test", &["a"]), ("y.test", &["a"])]);
        let mut progress = Standings::new(names, (1..=7).map(server), |_| false);
        for name in [0, 1] {
            progress.handle_answer(0, name, values(&["a"]));
        }
        handle(&mut progress, 1, Silent);
        progress.handle_answer(2, 1, TxtAnswer::NoName);
        assert_eq!(
            progress.describe(),
            "ns2.test (192.0.2.2): no answer, \
             ns3.test (192.0.2.3) has no name \"y.test\" (and 1 more missing), \
             ns4.test (192.0.2.4) has not answered for \"x.test\" yet (and 1 more missing), \
             ns5.test (192.0.2.5) has not answered for \"x.test\" yet (and 1 more missing), \
             2 more servers"
        );
        assert!(!progress.is_silent());
    }

    #[test]
    fn names_a_port_other_than_that_of_dns() {
        let name = "ns.test".to_owned();
        let other = NameServer { name, address: SocketAddr::from(([127, 0, 0, 1], 5353)) };
        assert_eq!(other.to_string(), "ns.test (127.0.0.1:5353)");
        assert_eq!(server(1).to_string(), "ns1.test (192.0.2.1)");
    }
}
