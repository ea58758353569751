//! The responder of a CA (OCSP, RFC 6960): OpenSSL's, and answers that it would not give.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use openssl::asn1::{Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::ocsp::{OcspCertId, OcspRequest};
use openssl::pkey::{Id, PKey, Private};
use openssl::sign::Signer as Signature;
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage};
use openssl::x509::{X509, X509Extension, X509Name, X509Ref};

use crate::http_server::{Flavor, Handler, HttpServer};
use crate::pebble::Pebble;
use crate::ports::Port;
use crate::process::{Process, START};
use crate::rt;
use crate::traffic::{Reply, Traffic};

const SIGNED: &str = "the testbed cannot sign an OCSP response";

/// A signer of responses.
#[derive(Clone, Debug)]
pub struct Signer {
    /// The certificate.
    pub certificate: X509,
    /// Its key.
    pub key: PKey<Private>,
}

impl Signer {
    /// The intermediate certificate number 0 of Pebble: the issuer of its certificates.
    ///
    /// # Panics
    /// If Pebble does not hand it out.
    #[must_use]
    pub fn issuer(pebble: &Pebble) -> Self {
        let certificate = X509::from_pem(pebble.intermediate_pem(0).as_bytes());
        let key = PKey::private_key_from_pem(pebble.intermediate_key_pem(0).as_bytes());
        match (certificate, key) {
            (Ok(certificate), Ok(key)) => Self { certificate, key },
            other => panic!("Pebble's intermediate certificate is unreadable: {other:?}"),
        }
    }

    /// An authority made for one test, which nobody trusts.
    ///
    /// # Panics
    /// If OpenSSL refuses.
    #[must_use]
    pub fn authority() -> Self {
        let usage = BasicConstraints::new().critical().ca().build();
        usage.and_then(|usage| certified(None, [usage], (-1, 1))).expect(SIGNED)
    }

    /// A certificate of this authority that may sign responses for it (`id-kp-OCSPSigning`), valid
    /// from and to these days from now.
    ///
    /// # Panics
    /// If OpenSSL refuses.
    #[must_use]
    pub fn delegate(&self, from: i64, to: i64) -> Self {
        let usage = ExtendedKeyUsage::new().other("OCSPSigning").build();
        usage.and_then(|usage| certified(Some(self), [usage], (from, to))).expect(SIGNED)
    }

    /// A certificate of this authority for a server, which names these responders.
    ///
    /// # Panics
    /// If OpenSSL refuses.
    #[must_use]
    pub fn customer(&self, responders: &[&str]) -> Self {
        let make = || {
            let usage = ExtendedKeyUsage::new().server_auth().build()?;
            let access = authority_information_access(responders)?;
            certified(Some(self), std::iter::once(usage).chain(access), (-1, 1))
        };
        make().expect(SIGNED)
    }

    fn write(&self, dir: &Path) -> Result<(PathBuf, PathBuf), ErrorStack> {
        let certificate = write(dir, "signer.pem", &self.certificate.to_pem()?);
        let key = write(dir, "signer.key", &self.key.private_key_to_pem_pkcs8()?);
        Ok((certificate, key))
    }
}

fn certified(
    issuer: Option<&Signer>,
    extensions: impl IntoIterator<Item = X509Extension>,
    (from, to): (i64, i64),
) -> Result<Signer, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::ONE, false)?;
    let mut subject = X509Name::builder()?;
    subject.append_entry_by_nid(Nid::COMMONNAME, &format!("testbed {}", serial.to_hex_str()?))?;
    let (subject, serial) = (subject.build(), serial.to_asn1_integer()?);
    let day = |days: i64| Asn1Time::from_unix(now() + days * 86_400);
    let (from, to) = (day(from)?, day(to)?);
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_serial_number(&serial)?;
    builder.set_subject_name(&subject)?;
    builder
        .set_issuer_name(issuer.map_or(&*subject, |issuer| issuer.certificate.subject_name()))?;
    builder.set_not_before(&from)?;
    builder.set_not_after(&to)?;
    builder.set_pubkey(&key)?;
    for extension in extensions {
        builder.append_extension(extension)?;
    }
    builder.sign(issuer.map_or(&key, |issuer| &issuer.key), MessageDigest::sha256())?;
    Ok(Signer { certificate: builder.build(), key })
}

/// The extension that names responders (RFC 5280 section 4.2.2.1); none for none.
fn authority_information_access(responders: &[&str]) -> Result<Option<X509Extension>, ErrorStack> {
    if responders.is_empty() {
        return Ok(None);
    }
    // id-ad-ocsp
    let method = [0x06, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 1];
    let descriptions: Vec<u8> = responders
        .iter()
        .flat_map(|url| der(SEQUENCE, &[&method, &der(0x86, &[url.as_bytes()])]))
        .collect();
    let content = Asn1OctetString::new_from_bytes(&der(SEQUENCE, &[&descriptions]))?;
    let oid = Asn1Object::from_str("1.3.6.1.5.5.7.1.1")?;
    X509Extension::new_from_der(&oid, false, &content).map(Some)
}

fn now() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// OpenSSL's responder, behind a server that logs the questions and can answer otherwise. Before
/// [`start`](Self::start), and while it is stopped, connections are refused.
#[derive(Debug)]
pub struct Responder {
    dir: PathBuf,
    upstream: Port,
    /// The command that has started it last.
    command: Option<Command>,
    process: Option<Process>,
    server: HttpServer,
    /// The log of the questions, and what is to go wrong with them.
    pub traffic: Traffic,
}

impl Responder {
    /// Reserves the address, which certificates can name already, and keeps files in `dir`.
    ///
    /// # Panics
    /// If the directory cannot be created.
    #[must_use]
    pub fn reserve(dir: &Path) -> Self {
        fs::create_dir_all(dir).unwrap_or_else(|e| panic!("cannot create {}: {e}", dir.display()));
        let upstream = Port::reserve();
        let url = format!("http://{}/", upstream.addr());
        let client = rt::http_client(Duration::from_secs(10), None);
        let handler: Handler = Arc::new(move |request| {
            let question = client.post(&url).headers(request.headers).body(request.body);
            Box::pin(async move {
                let answer = async {
                    let answer = question.send().await?;
                    let status = answer.status().as_u16();
                    let headers = answer.headers().clone();
                    Ok::<_, reqwest::Error>(Reply { status, headers, body: answer.bytes().await? })
                };
                answer.await.unwrap_or_else(|e| Reply::new(502, "text/plain", e.to_string()))
            })
        });
        let mut server = HttpServer::start(Flavor::Acme, None, handler);
        server.stop();
        let traffic = server.traffic();
        Self { dir: dir.to_owned(), upstream, command: None, process: None, server, traffic }
    }

    /// Returns the URL that certificates name.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/ocsp", self.server.addr())
    }

    /// Answers about certificates of `issuer`, signed by `signer`, for so many minutes each; for
    /// none: without `nextUpdate`.
    ///
    /// # Panics
    /// If OpenSSL does not start.
    pub fn start(&mut self, issuer: &X509Ref, signer: &Signer, minutes: Option<u32>) {
        let index = self.dir.join("index.txt");
        if !index.exists() {
            write(&self.dir, "index.txt", b"");
        }
        let issuer = write(&self.dir, "issuer.pem", &issuer.to_pem().expect(SIGNED));
        let (certificate, key) = signer.write(&self.dir).expect(SIGNED);
        let mut command = Command::new("openssl");
        command.arg("ocsp").arg("-port").arg(self.upstream.number().to_string());
        command.arg("-index").arg(index).arg("-CA").arg(issuer);
        command.arg("-rsigner").arg(certificate).arg("-rkey").arg(key);
        if let Some(minutes) = minutes {
            command.arg("-nmin").arg(minutes.to_string());
        }
        self.command = Some(command);
        self.launch();
        self.server.listen();
    }

    fn launch(&mut self) {
        // The one before has to leave its port.
        self.process = None;
        let Some(command) = &self.command else { return };
        let log = self.dir.join("responder.log");
        let _ = fs::remove_file(&log);
        let mut process = Process::start(command, &log);
        // A connection without a question would hang OpenSSL 3.0 up for good.
        process.wait_for_log("waiting for OCSP client connections", START);
        self.process = Some(process);
    }

    /// Ends it: connections are refused.
    pub fn stop(&mut self) {
        self.server.stop();
        self.process = None;
        self.command = None;
    }

    /// Sets which certificates it knows: those that are good, or are revoked for `true`. It answers
    /// "unknown" about all others. If it runs, it is started anew: not to be called while it is
    /// asked.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn know(&mut self, certificates: &[(&X509Ref, bool)]) {
        let lines: String =
            certificates.iter().map(|(leaf, revoked)| line(leaf, *revoked)).collect();
        write(&self.dir, "index.txt", lines.as_bytes());
        // It would look at the file again after the next question only.
        if self.process.is_some() {
            self.launch();
        }
    }
}

/// A line of OpenSSL's database of certificates.
fn line(leaf: &X509Ref, revoked: bool) -> String {
    let serial = leaf.serial_number().to_bn().and_then(|number| number.to_hex_str()).expect(SIGNED);
    let (status, since) = if revoked { ("R", "250102030405Z") } else { ("V", "") };
    format!("{status}\t491231235959Z\t{since}\t{}\tunknown\t/CN=testbed\n", &*serial)
}

fn write(dir: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, content).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
    path
}

/// Returns what OpenSSL's program says of a response: whose certificate is what, and whether a root has
/// signed for it.
///
/// # Panics
/// If a file cannot be written.
#[must_use]
pub fn verify(dir: &Path, response: &[u8], chain: &[X509], root_pem: &str) -> String {
    let [leaf, issuer, ..] = chain else { panic!("the chain has no issuer") };
    let response = write(dir, "stapled.der", response);
    let leaf = write(dir, "leaf.pem", &leaf.to_pem().expect(SIGNED));
    let issuer = write(dir, "issuer.pem", &issuer.to_pem().expect(SIGNED));
    let root = write(dir, "root.pem", root_pem.as_bytes());
    let mut command = Command::new("openssl");
    command.args(["ocsp", "-no_nonce", "-respin"]).arg(response).arg("-issuer").arg(issuer);
    command.arg("-cert").arg(leaf).arg("-CAfile").arg(root);
    let output = command.output().unwrap_or_else(|e| panic!("cannot run openssl: {e}"));
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// Status of a certificate in a response.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// Good.
    Good,
    /// Revoked.
    Revoked,
    /// Unknown.
    Unknown,
}

/// A response that is made by hand, with any times.
#[derive(Clone, Copy, Debug)]
pub struct Statement<'a> {
    /// The certificate that it is about, and its issuer.
    pub about: (&'a X509, &'a X509),
    /// The status that it gives.
    pub status: Status,
    /// `thisUpdate` and `nextUpdate`, in seconds since the Unix epoch.
    pub times: (i64, Option<i64>),
}

impl Statement<'_> {
    /// The `OCSPResponse` in DER (RFC 6960 section 4.2.1), with the signer's certificate.
    ///
    /// # Panics
    /// If OpenSSL refuses.
    #[must_use]
    pub fn sign(&self, signer: &Signer) -> Vec<u8> {
        self.encode(signer).expect(SIGNED)
    }

    fn encode(&self, signer: &Signer) -> Result<Vec<u8>, ErrorStack> {
        let (this_update, next_update) = self.times;
        let this_update = time(this_update)?;
        let status = match self.status {
            Status::Good => der(0x80, &[]),
            Status::Revoked => der(0xa1, &[&time(0)?]),
            Status::Unknown => der(0x82, &[]),
        };
        let next_update = match next_update {
            Some(next_update) => der(0xa0, &[&time(next_update)?]),
            None => Vec::new(),
        };
        let single = der(SEQUENCE, &[&self.id()?, &status, &this_update, &next_update]);
        let responder = der(0xa1, &[&signer.certificate.subject_name().to_der()?]);
        let data = der(SEQUENCE, &[&responder, &this_update, &der(SEQUENCE, &[&single])]);
        // ecdsa-with-SHA256, or sha256WithRSAEncryption
        let algorithm: &[u8] = match signer.key.id() {
            Id::EC => &[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2],
            _ => &[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11, 0x05, 0],
        };
        let mut signature = Signature::new(MessageDigest::sha256(), &signer.key)?;
        let signature = signature.sign_oneshot_to_vec(&data)?;
        let signature = der(0x03, &[&[0], &signature]);
        let certificates = der(0xa0, &[&der(SEQUENCE, &[&signer.certificate.to_der()?])]);
        let basic =
            der(SEQUENCE, &[&data, &der(SEQUENCE, &[algorithm]), &signature, &certificates]);
        // id-pkix-ocsp-basic
        let kind = [0x06, 9, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
        let bytes = der(SEQUENCE, &[&kind, &der(0x04, &[&basic])]);
        Ok(der(SEQUENCE, &[&der(0x0a, &[&[0]]), &der(0xa0, &[&bytes])]))
    }

    /// The `CertID`, which OpenSSL encodes only as the innermost part of a request.
    fn id(&self) -> Result<Vec<u8>, ErrorStack> {
        let (leaf, issuer) = self.about;
        let mut request = OcspRequest::new()?;
        request.add_id(OcspCertId::from_cert(MessageDigest::sha1(), leaf, issuer)?)?;
        let mut der = request.to_der()?;
        for _ in 0..4 {
            let header = if der[1] < 0x80 { 2 } else { 2 + usize::from(der[1] & 0x7f) };
            der.drain(..header);
        }
        Ok(der)
    }
}

const SEQUENCE: u8 = 0x30;

/// An element of DER with this content.
#[must_use]
pub fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len().to_be_bytes();
    let digits = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut out = vec![tag];
    match content.len() {
        0..0x80 => out.push(content.len() as u8),
        _ => {
            out.push(0x80 | digits.len() as u8);
            out.extend_from_slice(digits);
        }
    }
    out.extend_from_slice(&content);
    out
}

/// A `GeneralizedTime`.
fn time(seconds: i64) -> Result<Vec<u8>, ErrorStack> {
    // Shown as `Nov 23 20:45:00 2026 GMT`.
    let text = Asn1Time::from_unix(seconds)?.to_string();
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let [month, day, time, year, _] = words.as_slice() else { panic!("{text}") };
    let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let month = months.find(month).unwrap_or_default() / 3 + 1;
    let text = format!("{year}{month:02}{day:0>2}{}Z", time.replace(':', ""));
    Ok(der(0x18, &[text.as_bytes()]))
}
