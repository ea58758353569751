//! The engine that hosts share certificates on, of both types: away, refusing, foreign, and with records of others.

use crate::bed::Bed;
use acme_dns_core::config::share::ShareReader;
use acme_dns_core::config::{Resources, SecretCheck, SecretId, SecretSource};
use acme_dns_service::share::{Engine, Expected, Patience, SharePath, Written, open};
use secrecy::SecretString;
use servers::authority::Authority;
use servers::etcd::{Etcd, EtcdOptions, USER};
use servers::ports::Port;
use servers::redis::Redis;
use tokio::task::LocalSet;

/// Keys of records, as `openssl rand -hex 32` makes them.
const KEY: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const OTHER_KEY: &str = "2222222222222222222222222222222222222222222222222222222222222222";

const NO_WRITE: &str = "all,nowrite";

/// Secrets of a block: what is to be the name of a file is its content here.
struct Secrets<'a>(&'a mut Vec<SecretString>);

impl Resources for Secrets<'_> {
    fn warn(&mut self, _: &str) {}

    fn secret(&mut self, source: &SecretSource, check: SecretCheck) -> Result<SecretId, String> {
        let (SecretSource::File(text) | SecretSource::Environment(text)) = source;
        check(text.as_bytes())?;
        self.0.push(SecretString::from(text.as_str()));
        Ok(SecretId(self.0.len() - 1))
    }

    fn mac_key(&mut self, source: &SecretSource) -> Result<SecretId, String> {
        Err(format!("{source:?}"))
    }

    fn private_key(&mut self, path: &str) -> Result<SecretId, String> {
        Err(path.to_owned())
    }

    fn certificates(&mut self, path: &str) -> Result<Vec<u8>, String> {
        Ok(path.into())
    }
}

impl Bed {
    /// Has certificates shared on an engine, with these directives besides the endpoint.
    fn share(&mut self, kind: &str, endpoint: &str, lines: &[[&str; 2]]) {
        let mut reader = ShareReader::new(kind).unwrap();
        for [directive, value] in [["endpoint", endpoint]].iter().chain(lines) {
            reader.set(directive, &[*value], &mut Secrets(&mut self.secrets)).unwrap();
        }
        self.config.share = Some(reader.finish().unwrap());
    }

    /// Puts a record to the engine, as another host does.
    fn put(&self, path: &str) {
        let share = self.config.share.as_ref().unwrap();
        let secret = |id: SecretId| self.secrets[id.0].clone();
        let engine = open(share, secret, Patience::default()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let path = SharePath::new(path);
        let put = engine.put(&path, b"a record", Expected::Absent, None);
        let put = LocalSet::new().block_on(&runtime, put).unwrap();
        assert!(matches!(put, Written::Done(_)), "{put:?}");
    }

    /// Gives what is said of the engine.
    fn of_share(&self, request: &str) -> String {
        let table = self.report(request).unwrap().table();
        let lines = table.lines().skip_while(|line| !line.contains(" share "));
        let lines: Vec<&str> = lines.take_while(|line| !line.contains("example.test")).collect();
        lines.join("\n")
    }
}

#[test]
fn a_good_engine_has_no_problem_and_keeps_no_trace() {
    let mut bed = Bed::start();
    let dir = bed.testbed.dir().join("engines");
    let mut etcd = Etcd::start(&dir.join("etcd"), EtcdOptions::default());
    let redis = Redis::start(&dir.join("redis"), "");
    for (kind, endpoint) in [("etcd", etcd.endpoints().remove(0)), ("redis", redis.endpoint())] {
        bed.share(kind, &endpoint, &[["encryption_key_file", KEY]]);
        bed.put("certificates/a");
        let said = bed.of_share("all");
        let good = "; 1 records can be read; one was written, read and removed under a lease";
        assert!(said.starts_with("ok    share ") && said.contains(good), "{kind}: {said}");
        assert!(!said.contains(" E0"), "{said}");
        assert!(bed.of_share(NO_WRITE).ends_with("1 records can be read"), "{kind}");
        // The other one cannot open what this one has put.
        bed.share(kind, &endpoint, &[["encryption_key_file", OTHER_KEY]]);
        bed.expect(kind, NO_WRITE, "E06", "1 of 1 records were encrypted with key ");
    }
    let left = etcd.control(&["get", "acme_dns", "--prefix", "--keys-only"]);
    assert_eq!(left.trim(), "acme_dns/records/certificates/a");
    let left = redis.control(&["HKEYS", "acme_dns/records"]);
    assert_eq!(left.trim(), "certificates/a");
    assert_eq!(redis.control(&["KEYS", "acme_dns/leases/*"]).trim(), "");
    // What somebody has put there who has no key.
    etcd.control(&["put", "acme_dns/records/certificates/b", "\u{1}forged"]);
    etcd.control(&["put", "acme_dns/records/certificates/c", "\u{2}of the future"]);
    bed.share("etcd", &etcd.endpoints()[0], &[["encryption_key_file", KEY]]);
    bed.expect("forged", NO_WRITE, "E07", "1 of 3 records were changed, moved, or written by");
    bed.expect("newer", NO_WRITE, "E08", "1 of 3 records are of a newer version of the module");
}

#[test]
fn what_is_wrong_with_an_engine_is_said() {
    let mut bed = Bed::start();
    let dir = bed.testbed.dir().join("engines");
    let key = ["encryption_key_file", KEY];
    let port = Port::reserve();
    for kind in ["etcd", "redis"] {
        let scheme = if kind == "etcd" { "http" } else { kind };
        bed.share(kind, &format!("{scheme}://{}", port.addr()), &[key]);
        bed.expect(kind, NO_WRITE, "E01", "cannot be reached: ");
    }
    let (name, password) = USER;
    let mut etcd = Etcd::start(&dir.join("etcd"), EtcdOptions::default());
    etcd.enable_authentication("acme_dns/");
    let endpoint = etcd.endpoints().remove(0);
    let wrong = "no password of anybody";
    bed.share("etcd", &endpoint, &[key, ["username", name], ["password_file", wrong]]);
    bed.expect("password", NO_WRITE, "E02", "refuses access: ");
    assert!(bed.of_share(NO_WRITE).contains("check \"username\" and \"password_file\""));
    assert!(!bed.report(NO_WRITE).unwrap().table().contains(wrong));
    bed.share("etcd", &endpoint, &[key, ["username", name], ["password_file", password]]);
    assert!(bed.of_share("all").contains("one was written, read and removed"));

    // It may read, and not take a lease.
    let may = "+ping +eval +exists +get +hget +hmget +hscan +xadd +xread +xinfo +info +select";
    let acl = format!("user default on nopass ~acme_dns/* {may}\n");
    let redis = Redis::start(&dir.join("redis"), &acl);
    bed.share("redis", &redis.endpoint(), &[key]);
    assert_eq!(bed.findings(NO_WRITE), []);
    bed.expect("rights", "all", "E02", "refuses access: ");

    let authority = Authority::create(&dir.join("authority"));
    let options = EtcdOptions { authority: Some(&authority), ..EtcdOptions::default() };
    let etcd = Etcd::start(&dir.join("secure"), options);
    bed.share("etcd", &etcd.endpoints()[0], &[key]);
    bed.expect("certificate", NO_WRITE, "E03", "is not trusted, or it does not trust ours: ");
    let plain = etcd.endpoints()[0].replace("https", "http");
    bed.share("etcd", &plain, &[key]);
    assert!(bed.findings(NO_WRITE).iter().any(|f| ["E01", "E04"].contains(&f.id)));
}
