//! The provider `acme-dns` against a stand-in, which acme.sh's script and the library pyacmedns take for acme-dns, too.

use acme_dns_core::config::{
    AcmeDnsCredentials as Credentials, AcmeDnsSettings as Settings, SecretId,
};
use acme_dns_service::dns::acme_dns::AcmeDns;
use acme_dns_service::dns::{About, DnsProvider, PlacedRecord, ProviderError, TxtRecord, Zone};
use acme_dns_service::http::Clients;
use secrecy::SecretString;
use serde_json::json;
use servers::acme_dns::{Account, AcmeDns as StandIn};
use servers::package::from_pypi;
use servers::powerdns::PowerDns;
use servers::traffic::{Action, Fault, Match, Reply};
use servers::{ZONE, acme_sh};
use std::process::Command;
use std::time::{Duration, Instant};

const NAME: &str = "_acme-challenge.example.test";

/// A stand-in with an account.
struct Bed {
    stand_in: StandIn,
    account: Account,
    dns: PowerDns,
    dir: tempfile::TempDir,
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let dns = PowerDns::start(&dir.path().join("dns"));
        let stand_in = StandIn::start(&dns);
        Self { account: stand_in.register(), stand_in, dns, dir }
    }

    fn with_account(&self, account: &Account) -> AcmeDns {
        let Account { username, subdomain, .. } = account.clone();
        let password = SecretId(0);
        self.make(Credentials::Account { username, password, subdomain }, &account.password)
    }

    fn make(&self, credentials: Credentials, secret: &str) -> AcmeDns {
        let api = self.stand_in.api_url();
        let settings = Settings { api, credentials, trusted_certificate: None };
        let secret = |_| SecretString::from(secret);
        AcmeDns::new("auth", &settings, secret, &Clients::default()).unwrap()
    }

    fn provider(&self) -> AcmeDns {
        self.with_account(&self.account)
    }

    fn values(&self) -> Vec<String> {
        let mut values = self.stand_in.values(&self.account);
        values.sort();
        values
    }

    /// Tries to create a record whose requests meet a fault, and gives the error.
    fn failure(&self, fault: Fault) -> ProviderError {
        self.stand_in.traffic.clear_faults();
        self.stand_in.traffic.inject(fault);
        let error = create(&self.provider(), &[txt('v')]).unwrap_err();
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(!text.contains(&self.account.password), "{text}");
        }
        error
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn create(provider: &AcmeDns, records: &[TxtRecord]) -> Result<Vec<String>, ProviderError> {
    run(provider.create(&zone(), records))
}

fn zone() -> Zone {
    Zone { id: ZONE.to_owned(), name: ZONE.to_owned() }
}

/// The server takes values of one length only.
fn value(letter: char) -> String {
    letter.to_string().repeat(43)
}

fn txt(letter: char) -> TxtRecord {
    TxtRecord { name: NAME.to_owned(), value: value(letter) }
}

#[test]
fn two_values_stand_together_and_stay() {
    let bed = Bed::new();
    let provider = bed.provider();
    create(&provider, &[txt('a'), txt('b')]).unwrap();
    assert_eq!(bed.values(), [value('a'), value('b')]);
    let first = bed.stand_in.traffic.log().swap_remove(0);
    assert_eq!(first.request.path, "/update");
    assert_eq!(first.request.headers["x-api-user"], *bed.account.username);
    assert_eq!(first.json(), json!({"subdomain": bed.account.subdomain, "txt": value('a')}));
    let placed = PlacedRecord { record: txt('a'), zone: zone(), id: None };
    assert_eq!(run(provider.remove(&[placed], &|_| Ok(()))).unwrap(), []);
    assert_eq!(bed.values(), [value('a'), value('b')]);
    // The values of the next order take their places, in the same second too.
    create(&provider, &[txt('c'), txt('d')]).unwrap();
    assert_eq!(bed.values(), [value('c'), value('d')]);
    let limit = provider.value_limit(NAME).unwrap();
    assert_eq!((limit.values, provider.value_limit("_acme-challenge.other").unwrap()), (2, limit));
}

#[test]
fn a_lost_answer_costs_no_value() {
    for (place, values) in [(0, &['a', 'b'][..]), (1, &['a', 'b']), (0, &['a'])] {
        let bed = Bed::new();
        let lost = Fault::new(Match::any(), Action::LostAnswer).after(place);
        bed.stand_in.traffic.inject(lost);
        let records: Vec<TxtRecord> = values.iter().copied().map(txt).collect();
        create(&bed.provider(), &records).unwrap();
        let expected: Vec<String> = values.iter().copied().map(value).collect();
        let mut found = bed.values();
        found.dedup();
        assert_eq!(found, expected, "lost: {place}");
    }
}

#[test]
fn each_domain_has_its_account_in_a_document() {
    let bed = Bed::new();
    let other = bed.stand_in.register();
    let entry = |account: &Account| {
        let Account { username, password, subdomain } = account;
        json!({"username": username, "password": password, "subdomain": subdomain})
    };
    let document = json!({"example.test": entry(&bed.account), "Other.test": entry(&other)});
    let provider = bed.make(Credentials::Document(SecretId(0)), &document.to_string());
    let of_other = TxtRecord { name: "_acme-challenge.other.test".to_owned(), value: value('o') };
    create(&provider, &[txt('a'), of_other, txt('b')]).unwrap();
    assert_eq!(bed.values(), [value('a'), value('b')]);
    assert!(bed.stand_in.values(&other).contains(&value('o')));
    // What an alias leads to.
    let target = format!("{}.{}", bed.account.subdomain, servers::acme_dns::ZONE);
    create(&provider, &[TxtRecord { name: target.clone(), value: value('t') }]).unwrap();
    assert!(bed.values().contains(&value('t')));
    assert_eq!(provider.value_limit(&target), provider.value_limit(NAME));
    let unknown = TxtRecord { name: "_acme-challenge.x.other.test".to_owned(), value: value('u') };
    for name in [&unknown.name, "x.auth.test"] {
        assert_eq!(provider.value_limit(name), None, "{name}");
        assert_eq!(bed.provider().value_limit(name).is_some(), name.starts_with("_acme-"));
    }
    bed.stand_in.traffic.clear_log();
    let error = create(&provider, &[txt('a'), unknown]).unwrap_err();
    assert!(error.is_definite() && *error.about() == About::Name, "{error}");
    for part in ["\"_acme-challenge.x.other.test\"", "an alias of the \"fulldomain\""] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!(bed.stand_in.traffic.log().is_empty());
}

#[test]
fn refusals_say_what_to_do() {
    let bed = Bed::new();
    let wrong = Account { password: "s3cr3t".to_owned(), ..bed.account.clone() };
    let error = create(&bed.with_account(&wrong), &[txt('v')]).unwrap_err();
    let text = error.to_string();
    assert!(error.is_definite() && *error.about() == About::Credentials, "{text}");
    assert!(text.contains("\"forbidden\", HTTP status 401; check that user name"), "{text}");
    assert!(!text.contains("s3cr3t"), "{text}");
    let odd = TxtRecord { value: "short".to_owned(), ..txt('v') };
    let error = create(&bed.provider(), &[odd]).unwrap_err();
    assert!(error.is_definite() && error.to_string().contains("\"bad_txt\""), "{error}");
    let again = format!("{{\"error\": \"{}\"}}", bed.account.password);
    let reply = Reply::new(403, "application/json", again);
    let error = bed.failure(Fault::new(Match::any(), Action::Reply(reply)));
    assert!(error.to_string().contains("\"***\""), "{error}");
}

#[test]
fn trouble_passes_or_is_an_error_that_does() {
    let bed = Bed::new();
    let status = |status, retry_after| Action::Status { status, retry_after };
    for action in [status(429, Some(1)), status(500, None), Action::Garbage, Action::Drop] {
        let begun = Instant::now();
        bed.stand_in.traffic.inject(Fault::new(Match::any(), action.clone()));
        create(&bed.provider(), &[txt('v')]).unwrap();
        assert!(begun.elapsed() >= Duration::from_secs(1), "{action:?}");
    }
    let long = bed.failure(Fault::new(Match::any(), status(429, Some(3600))));
    assert_eq!(long.retry_after(), Some(Duration::from_secs(3600)));
    let garbage = bed.failure(Fault::new(Match::any(), Action::Garbage).always());
    assert!(garbage.to_string().contains("check \"api\""), "{garbage}");
    for error in [long, garbage] {
        assert!(!error.is_permanent() && !error.is_definite(), "{error}");
    }
}

#[test]
fn acme_sh_is_content_with_the_same_stand_in() {
    let bed = Bed::new();
    let Account { username, password, subdomain } = &bed.account;
    let settings = [
        ("ACMEDNS_BASE_URL", bed.stand_in.api_url()),
        ("ACMEDNS_USERNAME", username.clone()),
        ("ACMEDNS_PASSWORD", password.clone()),
        ("ACMEDNS_SUBDOMAIN", subdomain.clone()),
    ];
    let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    let script = ("dns_acmedns", "add");
    acme_sh::call(bed.dir.path(), script, (NAME, &value('a')), &settings).unwrap();
    create(&bed.provider(), &[txt('a')]).unwrap();
    let log = bed.stand_in.traffic.log();
    let [theirs, ours] = &*log else { panic!("{log:?}") };
    assert_eq!((ours.json(), &ours.request.path), (theirs.json(), &theirs.request.path));
    for name in ["x-api-user", "x-api-key", "content-type"] {
        assert_eq!(ours.request.headers[name], theirs.request.headers[name], "{name}");
    }
}

#[test]
fn the_values_are_served_at_the_target_of_the_alias() {
    let bed = Bed::new();
    create(&bed.provider(), &[txt('a'), txt('b')]).unwrap();
    let name = format!("{}.{}", bed.account.subdomain, servers::acme_dns::ZONE);
    let mut served = bed.dns.txt_records(&name);
    served.sort();
    assert_eq!(served, [value('a'), value('b')]);
}

#[test]
fn the_library_of_the_makers_of_acme_dns_is_content_with_the_same_stand_in() {
    const SCRIPT: &str = "
import pyacmedns, sys
client = pyacmedns.Client(sys.argv[1])
account = client.register_account(None)
client.update_txt_record(account, sys.argv[2])
print(account['username'], account['password'], account['subdomain'])
";
    let bed = Bed::new();
    let python = from_pypi("pyacmedns", &["pyacmedns==0.4", "requests==2.32.5"]).join("bin/python");
    let mut command = Command::new(python);
    command.args(["-c", SCRIPT, &bed.stand_in.api_url(), &value('a')]);
    let printed = servers::process::run(&mut command).unwrap();
    let words: Vec<String> = printed.split_whitespace().map(str::to_owned).collect();
    let [username, password, subdomain] = words.try_into().expect("three words");
    let account = Account { username, password, subdomain };
    // The account that the library has registered is one for us.
    create(&bed.with_account(&account), &[txt('b')]).unwrap();
    assert_eq!(bed.stand_in.values(&account), [value('a'), value('b')]);
}
