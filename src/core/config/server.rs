//! The names of a server that has `acme_dns on`, and what is said of those that cannot be certified.
//!
//! A server that asks for its certificate itself is held to its names: one that cannot be certified is
//! a mistake. An `acme_dns on` of the level above concerns servers that were not written for it: what can
//! be certified is, and the rest is named in a warning.

use super::Location;
use super::binding::{Wanted, expand};
use crate::name::{Name, NameError};
use std::fmt::Write;

/// The most names that a line shows: nginx cuts lines, and the end says what to do.
const SHOWN: usize = 3;

/// The names of a server, sorted by whether a certificate can hold them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ServerNames {
    /// Names for the certificate, in order and without repetition.
    pub certified: Vec<Name>,
    /// Names that no certificate can hold, as they are written, with the reason.
    pub left_out: Vec<(String, NameError)>,
}

/// Answer to clients of a server for which there is no certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StandIn {
    /// The certificate of the default server of the address, which is here.
    DefaultServer(Location),
    /// The certificate of this name.
    Certificate(String),
    /// A self-signed certificate.
    SelfSigned,
    /// An alert: the handshake is rejected.
    Rejection,
    /// Answer of the server to an empty variable.
    EmptyVariable,
}

impl StandIn {
    /// Certificates that clients of a server get.
    fn consequence(&self) -> String {
        match self {
            Self::DefaultServer(default) => {
                format!("its clients get the certificate of the default server in {default}")
            }
            Self::Certificate(name) => format!("its clients get the certificate \"{name}\""),
            Self::SelfSigned => "its clients get a self-signed certificate".to_owned(),
            Self::Rejection => "its handshakes are rejected".to_owned(),
            Self::EmptyVariable => "\"$acme_dns_certificate\" is empty in it".to_owned(),
        }
    }
}

impl ServerNames {
    /// Sorts the names of `server_name`, where the directive has none of its own.
    pub fn of<'a>(wanted: &Wanted, names: impl IntoIterator<Item = &'a str>) -> Self {
        if !wanted.names.is_empty() {
            return Self { certified: wanted.names.clone(), left_out: Vec::new() };
        }
        let mut sorted = Self::default();
        for text in names {
            match expand(text) {
                Ok(names) => {
                    names.into_iter().for_each(|name| push_new(&mut sorted.certified, name))
                }
                Err(why) => push_new(&mut sorted.left_out, (text.to_owned(), why)),
            }
        }
        sorted
    }

    /// The first name that is a mistake in a server that asks for its certificate itself. A regular
    /// expression is none: it stands beside names.
    pub fn mistake(&self) -> Option<String> {
        let is_mistake = |(_, why): &&(String, NameError)| *why != NameError::RegularExpression;
        let (name, why) = self.left_out.iter().find(is_mistake)?;
        Some(format!("\"{name}\" cannot be certified: {why}"))
    }

    /// Warnings of what is left out, one for each of the first names.
    pub fn warnings(&self, place: &Location) -> Vec<String> {
        let shown = self.left_out.iter().take(SHOWN);
        let line = |(name, why): &(String, NameError)| {
            format!("\"{name}\" is not in the certificate: {why} in {place}")
        };
        let mut lines: Vec<String> = shown.map(line).collect();
        match self.left_out.len().saturating_sub(SHOWN) {
            0 => {}
            1 => lines.push(format!("1 more name is not in the certificate in {place}")),
            more => lines.push(format!("{more} more names are not in the certificate in {place}")),
        }
        lines
    }

    /// The warning that a server has nothing to certify, as inherited from the `acme_dns` at `directive`.
    pub fn nothing_to_certify(
        &self,
        stand_in: &StandIn,
        place: &Location,
        directive: &Location,
    ) -> String {
        let mut text = match self.left_out.is_empty() {
            true => "this server has no name to certify".to_owned(),
            false => format!("this server has no name that can be certified ({})", self.reasons()),
        };
        let consequence = stand_in.consequence();
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            ": {consequence}; write names to certify into an \"acme_dns\" of its own, or \"acme_dns off\" if \
             that is meant: \"acme_dns\" in {directive} is inherited in {place}"
        );
        text
    }

    /// Warnings of names of a server that chooses certificates by name which are in none, one for each of the first.
    /// A wildcard may be there for certificates of names below it.
    pub fn uncovered(
        &self,
        is_covered: impl Fn(&Name) -> bool,
        stand_in: &StandIn,
        place: &Location,
    ) -> Vec<String> {
        let names = self.certified.iter().filter(|name| !name.is_wildcard() && !is_covered(name));
        let line = |name: &Name| {
            let consequence = stand_in.consequence();
            format!("no certificate holds \"{name}\": {consequence} in {place}")
        };
        names.take(SHOWN).map(line).collect()
    }

    /// The first names with their reasons, and how many there are more.
    fn reasons(&self) -> String {
        let shown = self.left_out.iter().take(SHOWN);
        let mut reasons: Vec<String> =
            shown.map(|(name, why)| format!("\"{name}\": {why}")).collect();
        if let more @ 1.. = self.left_out.len().saturating_sub(SHOWN) {
            reasons.push(format!("and {more} more"));
        }
        reasons.join(", ")
    }
}

fn push_new<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

#[cfg(test)]
mod tests {
    use super::{ServerNames, StandIn};
    use crate::config::Location;
    use crate::config::binding::Wanted;
    use crate::name::NameError;

    fn sorted(names: &[&str]) -> ServerNames {
        ServerNames::of(&Wanted::default(), names.iter().copied())
    }

    fn place(line: usize) -> Location {
        Location { file: "nginx.conf".to_owned(), line }
    }

    #[test]
    fn names_are_expanded_and_sorted_by_whether_they_can_be_certified() {
        use NameError::{
            Address, Empty, Label, NotADomain, RegularExpression, SingleLabel, Wildcard,
        };
        for (names, certified, left_out) in [
            (&[][..], &[][..], &[][..]),
            (
                &["example.com", ".example.com", "EXAMPLE.com"],
                &["example.com", "*.example.com"],
                &[],
            ),
            (&["*.bücher.example"], &["*.xn--bcher-kva.example"], &[]),
            (&["~^(www\\.)?x$"], &[], &[("~^(www\\.)?x$", RegularExpression)]),
            (&["x.example", "_"], &["x.example"], &[("_", NotADomain)]),
            (&["_", "_"], &[], &[("_", NotADomain)]),
            (&["192.168.1.2", "x.example"], &["x.example"], &[("192.168.1.2", Address)]),
            (&["[2001:db8::1]", "x.example"], &["x.example"], &[("[2001:db8::1]", Address)]),
            (&["plex_1.example", "x.example"], &["x.example"], &[("plex_1.example", Label)]),
            (&["plex.*", "*.x.example"], &["*.x.example"], &[("plex.*", Wildcard)]),
            (&[".a_b.example", "x.example"], &["x.example"], &[(".a_b.example", Label)]),
            (
                &["nas", "*.lan", ".lan"],
                &[],
                &[("nas", SingleLabel), ("*.lan", SingleLabel), (".lan", SingleLabel)],
            ),
            (&["x.example", "x.example:443"], &["x.example"], &[("x.example:443", Label)]),
            (&["a..example", "x.example."], &["x.example"], &[("a..example", Label)]),
            (&[".", "x.example"], &["x.example"], &[(".", Empty)]),
        ] {
            let found = sorted(names);
            let is = found.certified.iter().map(|name| name.as_str());
            assert!(is.eq(certified.iter().copied()), "{names:?}: {found:?}");
            let is = found.left_out.iter().map(|(name, why)| (name.as_str(), *why));
            assert!(is.eq(left_out.iter().copied()), "{names:?}: {found:?}");
        }
    }

    #[test]
    fn a_regular_expression_beside_names_is_no_mistake() {
        assert_eq!(sorted(&["example.com", "~^x"]).mistake(), None);
        assert_eq!(
            sorted(&["~^x", "_"]).mistake().as_deref(),
            Some("\"_\" cannot be certified: it is not a domain name")
        );
    }

    #[test]
    fn what_is_left_out_is_named_up_to_a_limit() {
        let names = sorted(&["x.example", "_", "nas", "a_b.example", "plex.*", "10.0.0.1"]);
        assert_eq!(
            names.warnings(&place(7)),
            [
                "\"_\" is not in the certificate: it is not a domain name in nginx.conf:7",
                "\"nas\" is not in the certificate: it has only one label in nginx.conf:7",
                "\"a_b.example\" is not in the certificate: it has a label that is empty, longer \
                 than 63 characters or not made of letters, digits and inner hyphens in nginx.conf:7",
                "2 more names are not in the certificate in nginx.conf:7",
            ]
        );
        assert!(sorted(&["x.example"]).warnings(&place(7)).is_empty());
    }

    #[test]
    fn a_server_without_a_certificate_is_told_of_with_what_its_clients_get() {
        let says = |names: &[&str], stand_in| {
            sorted(names).nothing_to_certify(&stand_in, &place(9), &place(2))
        };
        let advice = "write names to certify into an \"acme_dns\" of its own, or \"acme_dns off\" if that \
                      is meant: \"acme_dns\" in nginx.conf:2 is inherited in nginx.conf:9";
        assert_eq!(
            says(&["plex.*"], StandIn::DefaultServer(place(4))),
            format!(
                "this server has no name that can be certified (\"plex.*\": a wildcard must be the whole \
                 first label): its clients get the certificate of the default server in nginx.conf:4; {advice}"
            )
        );
        assert_eq!(
            says(&[], StandIn::SelfSigned),
            format!(
                "this server has no name to certify: its clients get a self-signed certificate; {advice}"
            )
        );
        let many = says(&["a", "b", "c", "d", "e"], StandIn::Rejection);
        assert!(
            many.contains(
                "\"c\": it has only one label, and 2 more): its handshakes are rejected;"
            )
        );
    }
}
