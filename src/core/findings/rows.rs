//! The table of all findings but the good ones. An identifier with several rows is one thing that can be wrong
//! in several ways.

use super::Row;
use super::Severity::{Fail, Ok, Warn};

/// Defines the rows, and the list of them.
macro_rules! rows {
    ($($name:ident = $id:literal $severity:ident: $setup:literal, $observed:literal, $remedy:literal;)*) => {
        $(
            #[doc = concat!($id, ": ", $setup, ".")]
            pub const $name: Row = Row {
                id: $id,
                severity: $severity,
                setup: $setup,
                observed: $observed,
                remedy: $remedy,
            };
        )*

        /// All rows, in the order of the document.
        pub const ROWS: &[Row] = &[$($name),*];
    };
}

rows! {
    C01 = "C01" Fail: "wrong, revoked or expired credentials",
        "provider \"{provider}\" refuses the credentials: {words}",
        "make new ones at the provider, put them into block \"{provider}\" or its file, and reload";
    C02 = "C02" Fail: "credentials that may read and not write",
        "the credentials of provider \"{provider}\" may not change records of zone \"{zone}\": {words}",
        "give them the right to edit DNS records of that zone; at Cloudflare it is called Zone, DNS, Edit";
    C03 = "C03" Fail: "credentials that do not see the zone",
        "the credentials of provider \"{provider}\" see no zone for \"{name}\", which DNS says is \"{zone}\"",
        "give them access to zone \"{zone}\", or use those of the account that has it";
    C03_BOUND = "C03" Fail: "a zone that no block is for",
        "\"{name}\" is in zone \"{zone}\", and all providers are bound to other zones",
        "add it to \"zones\" of the provider that serves it";
    C04 = "C04" Fail: "another account of the right provider",
        "zone \"{zone}\" of provider \"{provider}\" is not the one that is delegated: the internet asks {delegated}, \
         the account's is at {servers}",
        "use the account whose name servers are {delegated}, or name the others at the registrar";
    C05 = "C05" Fail: "another provider than the one that serves the zone",
        "zone \"{zone}\" is served by {delegated}, not by provider \"{provider}\" at {servers}",
        "name the provider that serves it, in a block with \"zones {zone};\"";
    C06 = "C06" Fail: "an API that cannot be reached",
        "provider \"{provider}\" cannot be reached: {words}",
        "let this host connect there, or pass a proxy on with \"env HTTPS_PROXY;\" in nginx.conf";
    C07 = "C07" Fail: "an API with a certificate of a private CA",
        "the certificate of provider \"{provider}\" is not trusted: {words}",
        "set \"trusted_certificate\" in block \"{provider}\" to the certificate of its CA";
    C08 = "C08" Fail: "an API that does not know this host's address",
        "provider \"{provider}\" does not take requests from this host's address: {words}",
        "allow the address at the provider";
    C09 = "C09" Fail: "a time to live below the provider's minimum",
        "provider \"{provider}\" refuses the time to live: {words}",
        "set \"ttl\" in block \"{provider}\" to what the provider allows";
    C10 = "C10" Warn: "a provider that throttles",
        "provider \"{provider}\" has had too many requests: {words}",
        "look for other software that uses the same account, and check again later";
    R01 = "R01" Fail: "another secret of a TSIG key",
        "the server of provider \"{provider}\" knows the TSIG key, and its secret is another: {words}",
        "copy the secret from the server into \"key_file\" of block \"{provider}\"";
    R02 = "R02" Fail: "an unknown TSIG key",
        "the server of provider \"{provider}\" has no such TSIG key: {words}",
        "check \"key_name\" and \"algorithm\" of block \"{provider}\", and define the key at the server";
    R03 = "R03" Warn: "a clock that is a little wrong",
        "this host's clock is {seconds} s {direction}",
        "have it set by NTP";
    R03_FAR = "R03" Fail: "a clock that is wrong by minutes",
        "this host's clock is {seconds} s {direction}, too far for signatures and certificates",
        "have it set by NTP";
    R03_TSIG = "R03" Fail: "a clock with which TSIG fails",
        "the server of provider \"{provider}\" refuses the time of signatures: {words}",
        "have both clocks set by NTP";
    R04 = "R04" Fail: "a server that takes no updates",
        "the server of provider \"{provider}\" takes no updates of zone \"{zone}\": {words}",
        "name the primary server, and allow the key there; BIND: update-policy { grant KEY zonesub TXT; }; Knot: an \
         acl with action: update; PowerDNS: dnsupdate=yes and the metadata TSIG-ALLOW-DNSUPDATE";
    D01 = "D01" Fail: "a domain that is not registered, or has expired",
        "zone \"{zone}\" is not in DNS: {words}",
        "register or renew the domain, and name its servers at the registrar";
    D02 = "D02" Warn: "a lame name server",
        "{server} does not know zone \"{zone}\": {words}",
        "take it out of the delegation at the registrar, or load the zone there";
    D02_ALL = "D02" Fail: "a lame delegation",
        "no name server of zone \"{zone}\" knows it: {words}",
        "load the zone at these servers, or name those that have it at the registrar";
    D03 = "D03" Warn: "a name server that lags behind",
        "the name servers of zone \"{zone}\" have different versions of it: {words}",
        "fix the transfer between them; a CA may ask the one that lags";
    D03_RECORD = "D03" Fail: "a name server without the test record",
        "the test record in zone \"{zone}\" is not seen at all name servers: {words}",
        "fix the transfer between them; a CA may ask the one that lags";
    D04 = "D04" Warn: "a name server that does not answer",
        "{server} does not answer over {transport}: {words}",
        "open its port 53 for UDP and TCP: CAs ask over both, and over IPv6 where it has such an address";
    D04_ALL = "D04" Fail: "no name server answers",
        "no name server of zone \"{zone}\" answers this host: {words}",
        "let this host reach them by UDP and TCP, or use \"acme_dns_propagation off\"";
    D05 = "D05" Fail: "answers that are too long for UDP where TCP is closed",
        "the TXT records of \"{name}\" do not fit into UDP, and {server} does not answer over TCP",
        "remove leftovers among these records, or open port 53 for TCP";
    D06 = "D06" Fail: "aliases that lead nowhere",
        "{words}",
        "let the first of these aliases be one of a name that exists, or remove it";
    D07 = "D07" Fail: "an alias into a zone without provider",
        "\"{name}\" is an alias of \"{target}\", whose zone \"{zone}\" no provider may write",
        "give a provider block \"zones {zone};\", or remove the alias";
    D08 = "D08" Fail: "an alias of a name in no zone",
        "\"{name}\" is an alias of \"{target}\", which is not in any zone",
        "make a zone for that name, or remove the alias";
    D09 = "D09" Ok: "a wildcard alias",
        "\"*.{domain}\" is an alias of \"{target}\"; the record is put beside it",
        "";
    D10 = "D10" Fail: "a challenge name that is a zone of its own",
        "\"{name}\" is a zone of its own, records for it go to {words}",
        "name the provider of that zone in a block with \"zones {name};\"";
    D11 = "D11" Warn: "split horizon",
        "this host sees another zone \"{zone}\" than the internet: {words}",
        "set \"resolvers\" in \"acme_dns_propagation\" to resolvers that see what a CA sees";
    D12 = "D12" Warn: "a resolver that invents answers",
        "the resolvers of this host answer for names that do not exist: {words}",
        "set \"resolvers\" in \"acme_dns_propagation\" to resolvers that do not";
    D12_DOWN = "D12" Warn: "a resolver that does not answer",
        "the resolvers of this host cannot say: {words}",
        "repair them, or set \"resolvers\" in \"acme_dns_propagation\" to others";
    D13 = "D13" Warn: "a CNAME beside TXT records",
        "{server} has a CNAME beside TXT records at \"{name}\"",
        "remove one of them: a CA follows the CNAME";
    D14 = "D14" Fail: "a record with the zone's name twice",
        "the test record was stored as \"{name}\"",
        "report it: the provider puts the zone's name behind a name that has it";
    D15 = "D15" Fail: "broken DNSSEC",
        "zone \"{zone}\" fails DNSSEC: {words}",
        "correct the DS records at the registrar or sign the zone anew; until then a CA gets SERVFAIL";
    D16 = "D16" Warn: "a name server that changes the case of names",
        "{server} does not keep the case of names in questions",
        "update it, or what stands in front of it: Let's Encrypt randomises the case";
    D17 = "D17" Fail: "name servers that cannot answer for CAA",
        "the name servers of zone \"{zone}\" do not answer questions for CAA: {words}",
        "update them, or what stands in front of them: every CA refuses then";
    D18 = "D18" Warn: "a long negative time to live",
        "resolvers may remember for {seconds} s that a name of zone \"{zone}\" was not there",
        "lower the last number of its SOA record to 900 or less";
    D19 = "D19" Warn: "leftover records",
        "\"{name}\" has {count} TXT records",
        "remove those that nobody waits for";
    D20 = "D20" Warn: "a parked domain",
        "zone \"{zone}\" is at servers for parked domains: {words}",
        "name the servers that have its records at the registrar";
    A01 = "A01" Fail: "CAA for another CA",
        "CAA of \"{zone}\" allows {allowed}",
        "add the record: {zone}. CAA 0 issue \"{identity}\"";
    A02 = "A02" Fail: "CAA without wildcards",
        "CAA of \"{zone}\" allows {allowed} for wildcards",
        "add the record: {zone}. CAA 0 issuewild \"{identity}\"";
    A03 = "A03" Fail: "CAA for another account",
        "CAA of \"{zone}\" allows account {allowed}, ours is {account}",
        "add the record: {zone}. CAA 0 {tag} \"{identity}; accounturi={account}\"";
    A04 = "A04" Fail: "CAA for other methods",
        "CAA of \"{zone}\" allows the methods {allowed}, not {method}",
        "add the record: {zone}. CAA 0 {tag} \"{identity}; validationmethods={method}\"";
    A05 = "A05" Fail: "an unknown critical property of CAA",
        "CAA of \"{zone}\" has the critical property \"{allowed}\", which a CA does not know: it must refuse",
        "remove that record";
    A06 = "A06" Fail: "CAA at the target of an alias",
        "\"{name}\" is an alias of \"{target}\", whose CAA counts: {words}",
        "{remedy}, or remove the alias";
    I01 = "I01" Fail: "a directory that cannot be read",
        "the directory cannot be read: {words}",
        "check \"directory\" and \"trusted_certificate\" of the issuer, and that this host can connect there";
    I01_PROFILE = "I01" Warn: "a profile that is not offered",
        "profile \"{profile}\" is not offered, only {offered}; certificates are ordered without it",
        "choose one of these as \"profile\" of the issuer";
    I01_REQUIRED = "I01" Fail: "a required profile that is not offered",
        "profile \"{profile}\" is required and not offered, only {offered}",
        "choose one of these as \"profile\" of the issuer";
    I01_EXTERNAL = "I01" Fail: "a CA that wants to know its customer",
        "the CA requires an external account",
        "set \"external_account\" of the issuer to the key that the CA gives its customers";
    I01_ACCOUNT = "I01" Warn: "an account that is not valid any more",
        "account {account} is refused: {words}",
        "it is replaced at the next order; one of \"account_key\" has to be replaced there";
    I01_TERMS = "I01" Fail: "new terms of service",
        "the CA waits for agreement to its terms of service: {words}",
        "agree at the address that the CA names";
    P01 = "P01" Fail: "a record of dns-persist-01 that cannot be used",
        "the record at \"{name}\" does not let account {account} issue: {words}",
        "set it to: {record}";
    P03 = "P03" Warn: "a standing credential that workers can read",
        "the account key of issuer \"{issuer}\" can be read by user \"{user}\", and with dns-persist-01 it is all that is needed",
        "give the service a user of its own with \"acme_dns_user\"";
    E01 = "E01" Warn: "an engine of several hosts that cannot be reached",
        "the engine is away: {words}",
        "start it, or check \"endpoint\" of \"acme_dns_share\"; without it each host orders for itself after a while";
    E02 = "E02" Fail: "an engine that refuses this host",
        "{endpoint} refuses access: {words}",
        "{remedy}";
    E03 = "E03" Fail: "an engine with a certificate of a private CA",
        "the certificate of {endpoint} is not trusted, or it does not trust ours: {words}",
        "set \"trusted_certificate\" of \"acme_dns_share\" to the certificate of its CA, and check \"certificate\"";
    E03_OWN = "E03" Fail: "a certificate for the engine that cannot be used",
        "the engine cannot be asked: {words}",
        "check \"certificate\", \"certificate_key\" and \"trusted_certificate\" of \"acme_dns_share\"";
    E04 = "E04" Fail: "another server than the engine, or another version",
        "{endpoint} gave an answer that makes no sense: {words}",
        "{remedy}";
    E05 = "E05" Fail: "an engine that is full",
        "{endpoint} is full: {words}",
        "{remedy}";
    E05_LOST = "E05" Fail: "an engine that does not keep what it takes",
        "the engine does not do what it says: {words}",
        "ask its servers themselves: a proxy, or a replica that answers for its master, cannot be used";
    E06 = "E06" Fail: "records that were encrypted with another key",
        "{count} of {total} records were encrypted with key {key}, which this host does not have",
        "give all hosts the same \"encryption_key_file\": the first of its keys encrypts, all decrypt";
    E07 = "E07" Warn: "records of somebody without the key",
        "{count} of {total} records were changed, moved, or written by somebody without the key",
        "find out who else writes to the engine; hosts replace such records";
    E08 = "E08" Warn: "records of a newer version",
        "{count} of {total} records are of a newer version of the module, and left alone",
        "update this host";
    X01 = "X01" Fail: "a program that fails",
        "the program of provider \"{provider}\" fails: {words}",
        "run it by hand as the service's user; it has to be executable, and its interpreter installed";
    T01 = "T01" Fail: "a check that takes too long",
        "the check was given up after {seconds} s and does not know {words}",
        "look at the other findings for what does not answer, and check again";
}
