//! The exact words of all rows, and how they are shown.

use super::rows::*;
use super::{Finding, Report, Row, document};
use std::collections::BTreeSet;

/// Values of the places of all rows.
const VALUES: &[(&str, &str)] = &[
    ("account", "https://ca.example/acct/2"),
    ("allowed", "digicert.com only"),
    ("count", "14"),
    ("delegated", "ada.ns.example, bob.ns.example"),
    ("direction", "ahead"),
    ("domain", "example.com"),
    ("endpoint", "https://etcd1:2379"),
    ("identity", "letsencrypt.org"),
    ("issuer", "letsencrypt"),
    ("key", "0123456789abcdef"),
    ("method", "dns-01"),
    ("name", "_acme-challenge.example.com"),
    ("offered", "classic, shortlived"),
    ("profile", "tiny"),
    ("provider", "dns"),
    ("record", "the record"),
    ("remedy", "add a record"),
    ("seconds", "421"),
    ("server", "ns1.example.com (192.0.2.1:53)"),
    ("servers", "cat.ns.example, dan.ns.example"),
    ("tag", "issue"),
    ("target", "x.example.net"),
    ("total", "20"),
    ("transport", "TCP"),
    ("user", "nobody"),
    ("words", "WORDS"),
    ("zone", "example.com"),
];

/// Each row with its exact words.
const WORDS: &[(Row, &str, &str)] = &[
    (
        C01,
        "provider \"dns\" refuses the credentials: WORDS",
        "make new ones at the provider, put them into block \"dns\" or its file, and reload",
    ),
    (
        C02,
        "the credentials of provider \"dns\" may not change records of zone \"example.com\": WORDS",
        "give them the right to edit DNS records of that zone; at Cloudflare it is called Zone, DNS, Edit",
    ),
    (
        C03,
        "the credentials of provider \"dns\" see no zone for \"_acme-challenge.example.com\", which DNS says is \"example.com\"",
        "give them access to zone \"example.com\", or use those of the account that has it",
    ),
    (
        C03_BOUND,
        "\"_acme-challenge.example.com\" is in zone \"example.com\", and all providers are bound to other zones",
        "add it to \"zones\" of the provider that serves it",
    ),
    (
        C04,
        "zone \"example.com\" of provider \"dns\" is not the one that is delegated: the internet asks ada.ns.example, bob.ns.example, the account's is at cat.ns.example, dan.ns.example",
        "use the account whose name servers are ada.ns.example, bob.ns.example, or name the others at the registrar",
    ),
    (
        C05,
        "zone \"example.com\" is served by ada.ns.example, bob.ns.example, not by provider \"dns\" at cat.ns.example, dan.ns.example",
        "name the provider that serves it, in a block with \"zones example.com;\"",
    ),
    (
        C06,
        "provider \"dns\" cannot be reached: WORDS",
        "let this host connect there, or pass a proxy on with \"env HTTPS_PROXY;\" in nginx.conf",
    ),
    (
        C07,
        "the certificate of provider \"dns\" is not trusted: WORDS",
        "set \"trusted_certificate\" in block \"dns\" to the certificate of its CA",
    ),
    (
        C08,
        "provider \"dns\" does not take requests from this host's address: WORDS",
        "allow the address at the provider",
    ),
    (
        C09,
        "provider \"dns\" refuses the time to live: WORDS",
        "set \"ttl\" in block \"dns\" to what the provider allows",
    ),
    (
        C10,
        "provider \"dns\" has had too many requests: WORDS",
        "look for other software that uses the same account, and check again later",
    ),
    (
        R01,
        "the server of provider \"dns\" knows the TSIG key, and its secret is another: WORDS",
        "copy the secret from the server into \"key_file\" of block \"dns\"",
    ),
    (
        R02,
        "the server of provider \"dns\" has no such TSIG key: WORDS",
        "check \"key_name\" and \"algorithm\" of block \"dns\", and define the key at the server",
    ),
    (R03, "this host's clock is 421 s ahead", "have it set by NTP"),
    (
        R03_FAR,
        "this host's clock is 421 s ahead, too far for signatures and certificates",
        "have it set by NTP",
    ),
    (
        R03_TSIG,
        "the server of provider \"dns\" refuses the time of signatures: WORDS",
        "have both clocks set by NTP",
    ),
    (
        R04,
        "the server of provider \"dns\" takes no updates of zone \"example.com\": WORDS",
        "name the primary server, and allow the key there; BIND: update-policy { grant KEY zonesub TXT; }; Knot: an acl with action: update; PowerDNS: dnsupdate=yes and the metadata TSIG-ALLOW-DNSUPDATE",
    ),
    (
        D01,
        "zone \"example.com\" is not in DNS: WORDS",
        "register or renew the domain, and name its servers at the registrar",
    ),
    (
        D02,
        "ns1.example.com (192.0.2.1:53) does not know zone \"example.com\": WORDS",
        "take it out of the delegation at the registrar, or load the zone there",
    ),
    (
        D02_ALL,
        "no name server of zone \"example.com\" knows it: WORDS",
        "load the zone at these servers, or name those that have it at the registrar",
    ),
    (
        D03,
        "the name servers of zone \"example.com\" have different versions of it: WORDS",
        "fix the transfer between them; a CA may ask the one that lags",
    ),
    (
        D03_RECORD,
        "the test record in zone \"example.com\" is not seen at all name servers: WORDS",
        "fix the transfer between them; a CA may ask the one that lags",
    ),
    (
        D04,
        "ns1.example.com (192.0.2.1:53) does not answer over TCP: WORDS",
        "open its port 53 for UDP and TCP: CAs ask over both, and over IPv6 where it has such an address",
    ),
    (
        D04_ALL,
        "no name server of zone \"example.com\" answers this host: WORDS",
        "let this host reach them by UDP and TCP, or use \"acme_dns_propagation off\"",
    ),
    (
        D05,
        "the TXT records of \"_acme-challenge.example.com\" do not fit into UDP, and ns1.example.com (192.0.2.1:53) does not answer over TCP",
        "remove leftovers among these records, or open port 53 for TCP",
    ),
    (D06, "WORDS", "let the first of these aliases be one of a name that exists, or remove it"),
    (
        D07,
        "\"_acme-challenge.example.com\" is an alias of \"x.example.net\", whose zone \"example.com\" no provider may write",
        "give a provider block \"zones example.com;\", or remove the alias",
    ),
    (
        D08,
        "\"_acme-challenge.example.com\" is an alias of \"x.example.net\", which is not in any zone",
        "make a zone for that name, or remove the alias",
    ),
    (D09, "\"*.example.com\" is an alias of \"x.example.net\"; the record is put beside it", ""),
    (
        D10,
        "\"_acme-challenge.example.com\" is a zone of its own, records for it go to WORDS",
        "name the provider of that zone in a block with \"zones _acme-challenge.example.com;\"",
    ),
    (
        D11,
        "this host sees another zone \"example.com\" than the internet: WORDS",
        "set \"resolvers\" in \"acme_dns_propagation\" to resolvers that see what a CA sees",
    ),
    (
        D12,
        "the resolvers of this host answer for names that do not exist: WORDS",
        "set \"resolvers\" in \"acme_dns_propagation\" to resolvers that do not",
    ),
    (
        D12_DOWN,
        "the resolvers of this host cannot say: WORDS",
        "repair them, or set \"resolvers\" in \"acme_dns_propagation\" to others",
    ),
    (
        D13,
        "ns1.example.com (192.0.2.1:53) has a CNAME beside TXT records at \"_acme-challenge.example.com\"",
        "remove one of them: a CA follows the CNAME",
    ),
    (
        D14,
        "the test record was stored as \"_acme-challenge.example.com\"",
        "report it: the provider puts the zone's name behind a name that has it",
    ),
    (
        D15,
        "zone \"example.com\" fails DNSSEC: WORDS",
        "correct the DS records at the registrar or sign the zone anew; until then a CA gets SERVFAIL",
    ),
    (
        D16,
        "ns1.example.com (192.0.2.1:53) does not keep the case of names in questions",
        "update it, or what stands in front of it: Let's Encrypt randomises the case",
    ),
    (
        D17,
        "the name servers of zone \"example.com\" do not answer questions for CAA: WORDS",
        "update them, or what stands in front of them: every CA refuses then",
    ),
    (
        D18,
        "resolvers may remember for 421 s that a name of zone \"example.com\" was not there",
        "lower the last number of its SOA record to 900 or less",
    ),
    (
        D19,
        "\"_acme-challenge.example.com\" has 14 TXT records",
        "remove those that nobody waits for",
    ),
    (
        D20,
        "zone \"example.com\" is at servers for parked domains: WORDS",
        "name the servers that have its records at the registrar",
    ),
    (
        A01,
        "CAA of \"example.com\" allows digicert.com only",
        "add the record: example.com. CAA 0 issue \"letsencrypt.org\"",
    ),
    (
        A02,
        "CAA of \"example.com\" allows digicert.com only for wildcards",
        "add the record: example.com. CAA 0 issuewild \"letsencrypt.org\"",
    ),
    (
        A03,
        "CAA of \"example.com\" allows account digicert.com only, ours is https://ca.example/acct/2",
        "add the record: example.com. CAA 0 issue \"letsencrypt.org; accounturi=https://ca.example/acct/2\"",
    ),
    (
        A04,
        "CAA of \"example.com\" allows the methods digicert.com only, not dns-01",
        "add the record: example.com. CAA 0 issue \"letsencrypt.org; validationmethods=dns-01\"",
    ),
    (
        A05,
        "CAA of \"example.com\" has the critical property \"digicert.com only\", which a CA does not know: it must refuse",
        "remove that record",
    ),
    (
        A06,
        "\"_acme-challenge.example.com\" is an alias of \"x.example.net\", whose CAA counts: WORDS",
        "add a record, or remove the alias",
    ),
    (
        I01,
        "the directory cannot be read: WORDS",
        "check \"directory\" and \"trusted_certificate\" of the issuer, and that this host can connect there",
    ),
    (
        I01_PROFILE,
        "profile \"tiny\" is not offered, only classic, shortlived; certificates are ordered without it",
        "choose one of these as \"profile\" of the issuer",
    ),
    (
        I01_REQUIRED,
        "profile \"tiny\" is required and not offered, only classic, shortlived",
        "choose one of these as \"profile\" of the issuer",
    ),
    (
        I01_EXTERNAL,
        "the CA requires an external account",
        "set \"external_account\" of the issuer to the key that the CA gives its customers",
    ),
    (
        I01_ACCOUNT,
        "account https://ca.example/acct/2 is refused: WORDS",
        "it is replaced at the next order; one of \"account_key\" has to be replaced there",
    ),
    (
        I01_TERMS,
        "the CA waits for agreement to its terms of service: WORDS",
        "agree at the address that the CA names",
    ),
    (
        P01,
        "the record at \"_acme-challenge.example.com\" does not let account https://ca.example/acct/2 issue: WORDS",
        "set it to: the record",
    ),
    (
        P03,
        "the account key of issuer \"letsencrypt\" can be read by user \"nobody\", and with dns-persist-01 it is all that is needed",
        "give the service a user of its own with \"acme_dns_user\"",
    ),
    (
        E01,
        "the engine is away: WORDS",
        "start it, or check \"endpoint\" of \"acme_dns_share\"; without it each host orders for itself after a while",
    ),
    (E02, "https://etcd1:2379 refuses access: WORDS", "add a record"),
    (
        E03,
        "the certificate of https://etcd1:2379 is not trusted, or it does not trust ours: WORDS",
        "set \"trusted_certificate\" of \"acme_dns_share\" to the certificate of its CA, and check \"certificate\"",
    ),
    (
        E03_OWN,
        "the engine cannot be asked: WORDS",
        "check \"certificate\", \"certificate_key\" and \"trusted_certificate\" of \"acme_dns_share\"",
    ),
    (E04, "https://etcd1:2379 gave an answer that makes no sense: WORDS", "add a record"),
    (E05, "https://etcd1:2379 is full: WORDS", "add a record"),
    (
        E05_LOST,
        "the engine does not do what it says: WORDS",
        "ask its servers themselves: a proxy, or a replica that answers for its master, cannot be used",
    ),
    (
        E06,
        "14 of 20 records were encrypted with key 0123456789abcdef, which this host does not have",
        "give all hosts the same \"encryption_key_file\": the first of its keys encrypts, all decrypt",
    ),
    (
        E07,
        "14 of 20 records were changed, moved, or written by somebody without the key",
        "find out who else writes to the engine; hosts replace such records",
    ),
    (
        E08,
        "14 of 20 records are of a newer version of the module, and left alone",
        "update this host",
    ),
    (
        X01,
        "the program of provider \"dns\" fails: WORDS",
        "run it by hand as the service's user; it has to be executable, and its interpreter installed",
    ),
    (
        T01,
        "the check was given up after 421 s and does not know WORDS",
        "look at the other findings for what does not answer, and check again",
    ),
];

#[test]
fn all_rows_have_exact_words() {
    assert_eq!(
        WORDS.iter().map(|(row, ..)| *row).collect::<Vec<_>>(),
        ROWS,
        "the table is complete"
    );
    for (row, observed, remedy) in WORDS {
        let finding = row.finding(VALUES).about("example.com");
        assert_eq!((&*finding.observed, &*finding.remedy), (*observed, *remedy), "{}", row.id);
        assert_eq!((finding.id, finding.severity), (row.id, row.severity));
    }
    let ids: BTreeSet<&str> = ROWS.iter().map(|row| row.id).collect();
    assert_eq!(ids.len(), 53);
}

#[test]
fn a_value_brings_no_places_and_no_lines_and_ends_somewhere() {
    let finding = D06.finding(&[("words", "{words} {zone}\n\u{202e}x")]);
    assert_eq!(finding.observed, "{words} {zone}  x");
    let long = "a".repeat(1000);
    assert_eq!(D06.finding(&[("words", &long)]).observed.len(), 403);
    assert_eq!(D06.finding(&[]).observed, "{words}");
}

fn report() -> Report {
    let alias = [
        ("name", "_acme-challenge.shop.example.com"),
        ("target", "x.acme.example.net"),
        ("zone", "example.net"),
    ];
    let domain = [("domain", "b.example.com"), ("target", "lb.example.net")];
    Report {
        heading: "acme_dns check of 2 certificates, 1 issuer, 2 providers (as user \"nobody\")"
            .into(),
        findings: vec![
            Finding::good("issuer letsencrypt", "directory answered in 0.21 s"),
            D07.finding(&alias).about("shop.example.com"),
            C10.finding(&[("provider", "cf"), ("words", "wait 3 s")]).about("b.example.com"),
            D09.finding(&domain).about("b.example.com"),
        ],
    }
}

#[test]
fn the_table_has_columns_and_a_summary() {
    assert_eq!(
        report().table(),
        "\
acme_dns check of 2 certificates, 1 issuer, 2 providers (as user \"nobody\")
ok    issuer letsencrypt   directory answered in 0.21 s
FAIL  shop.example.com     D07 \"_acme-challenge.shop.example.com\" is an alias of \"x.acme.example.net\", whose zone \"example.net\" no provider may write
                           give a provider block \"zones example.net;\", or remove the alias
warn  b.example.com        C10 provider \"cf\" has had too many requests: wait 3 s
                           look for other software that uses the same account, and check again later
ok    b.example.com        D09 \"*.b.example.com\" is an alias of \"lb.example.net\"; the record is put beside it
1 problem, 1 warning
"
    );
    assert!(!report().is_good());
    let none = Report { heading: "nothing".into(), findings: Vec::new() };
    assert_eq!(none.table(), "nothing\nno problems, no warnings\n");
    assert!(none.is_good());
}

#[test]
fn json_has_the_same() {
    let json: serde_json::Value = serde_json::from_str(&report().json()).unwrap();
    assert_eq!((&json["problems"], &json["warnings"]), (&1.into(), &1.into()));
    let second = &json["findings"][1];
    assert_eq!((&second["id"], &second["level"]), (&"D07".into(), &"fail".into()));
    assert_eq!(second["subject"], "shop.example.com");
    assert_eq!(
        second["remedy"],
        "give a provider block \"zones example.net;\", or remove the alias"
    );
}

#[test]
fn the_document_is_that_of_the_table() {
    let written = include_str!("../../../docs/doctor.md");
    assert!(document() == written, "`make doctor-doc` writes it:\n{}", document());
}
