//! The requests that instant-acme does not make, signed as RFC 8555 section 6.2 wants it.
//!
//! It makes the keys of new accounts and of key changes by itself and hands them out after the CA
//! has answered, so that a lost answer loses the account; and it reads no resource but its own.

use super::directory::Directory;
use super::error::AcmeError;
use super::step::Step;
use super::teller::Teller;
use super::transport::Transport;
use crate::x509::keys::p256;
use crate::x509::{key_type, reason};
use acme_dns_core::encoding::{base64url, from_base64};
use acme_dns_core::key::KeyType;
use bytes::Bytes;
use http::HeaderMap;
use http::header::LOCATION;
use instant_acme::Error;
use openssl::bn::{BigNum, BigNumContext, BigNumRef};
use openssl::ec::{EcKey, EcPoint};
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::sha::sha256;
use openssl::sign::Signer;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt;
use zeroize::Zeroizing;

/// The length of a coordinate and of each half of a signature on P-256.
const COORDINATE: i32 = 32;

/// The key of an account: ECDSA on P-256, which every CA takes.
pub(super) struct AccountKey(EcKey<Private>);

impl AccountKey {
    pub(super) fn generate() -> Result<Self, String> {
        let make = || {
            let group = p256()?;
            Ok(Self(EcKey::generate(&group)?))
        };
        make().map_err(|error: ErrorStack| reason(&error))
    }

    /// Reads a JWK (RFC 7518 section 6.2.2).
    pub(super) fn from_jwk(json: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Jwk<'a> {
            crv: &'a str,
            d: &'a str,
        }
        let jwk: Option<Jwk<'_>> = serde_json::from_str(json).ok();
        let number = jwk.filter(|jwk| jwk.crv == "P-256").and_then(|jwk| from_base64(jwk.d));
        let number = number.ok_or("it is not an ECDSA key on P-256")?;
        BigNum::from_slice(&number).and_then(|n| Self::from_number(&n)).map_err(|e| reason(&e))
    }

    /// Reads PKCS #8 in DER.
    pub(super) fn from_pkcs8(der: &[u8]) -> Result<Self, String> {
        let key = PKey::private_key_from_pkcs8(der);
        Self::from_key(&key.map_err(|_| "it is no private key in PKCS #8")?)
    }

    pub(super) fn from_key(key: &PKey<Private>) -> Result<Self, String> {
        if key_type(key) != Some(KeyType::EcdsaP256) {
            return Err("it is not an ECDSA key on P-256".to_owned());
        }
        let number = |key: EcKey<Private>| Self::from_number(key.private_key());
        key.ec_key().and_then(number).map_err(|error| reason(&error))
    }

    /// Makes a key, with the point computed anew: a file may lack it, and then OpenSSL lacks it too when it
    /// writes the key, which instant-acme would not read.
    fn from_number(number: &BigNumRef) -> Result<Self, ErrorStack> {
        let (group, mut context) = (p256()?, BigNumContext::new()?);
        let mut point = EcPoint::new(&group)?;
        point.mul_generator2(&group, number, &mut context)?;
        let key = EcKey::from_private_components(&group, number, &point)?;
        key.check_key()?;
        Ok(Self(key))
    }

    /// Gives the key as PKCS #8 in DER.
    pub(super) fn pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, String> {
        let write = || PKey::from_ec_key(self.0.clone())?.private_key_to_pkcs8();
        write().map(Zeroizing::new).map_err(|error| reason(&error))
    }
}

impl AccountKey {
    /// Gives the hash of its public half (RFC 7638), by which the CA knows it.
    pub(super) fn thumbprint(&self) -> Result<String, ErrorStack> {
        let jwk = self.jwk()?;
        let member = |name: &str| jwk[name].as_str().unwrap_or_default().to_owned();
        let (x, y) = (member("x"), member("y"));
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        Ok(base64url(&sha256(canonical.as_bytes())))
    }
}

/// A key that signs requests (RFC 8555 section 6.2).
pub(super) trait SigningKey {
    /// Gives the name of its algorithm (RFC 7518 section 3.1).
    fn algorithm(&self) -> &'static str;

    /// Gives the public half (RFC 7517).
    fn jwk(&self) -> Result<Value, ErrorStack>;

    fn signature(&self, input: &[u8]) -> Result<Vec<u8>, ErrorStack>;
}

impl SigningKey for AccountKey {
    fn algorithm(&self) -> &'static str {
        "ES256"
    }

    fn jwk(&self) -> Result<Value, ErrorStack> {
        let (mut x, mut y) = (BigNum::new()?, BigNum::new()?);
        let mut context = BigNumContext::new()?;
        self.0.public_key().affine_coordinates(self.0.group(), &mut x, &mut y, &mut context)?;
        let text =
            |number: BigNum| Ok::<_, ErrorStack>(base64url(&number.to_vec_padded(COORDINATE)?));
        Ok(json!({"kty": "EC", "crv": "P-256", "x": text(x)?, "y": text(y)?}))
    }

    fn signature(&self, input: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        let signature = EcdsaSig::sign(&sha256(input), &self.0)?;
        let [r, s] = [signature.r(), signature.s()].map(|n| n.to_vec_padded(COORDINATE));
        Ok([r?, s?].concat())
    }
}

/// Makes a JWS in the flattened form (RFC 7515 section 7.2.2). The account's URL says whose key it is; without
/// it, the key itself is in the header.
fn sign(
    key: &dyn SigningKey,
    account: Option<&str>,
    nonce: Option<&str>,
    url: &str,
    payload: &[u8],
) -> Result<Value, Error> {
    let sign = || {
        let mut header = json!({"alg": key.algorithm(), "url": url});
        match account {
            Some(account) => header["kid"] = account.into(),
            None => header["jwk"] = key.jwk()?,
        }
        if let Some(nonce) = nonce {
            header["nonce"] = nonce.into();
        }
        jws(&header, payload, |input| key.signature(input))
    };
    sign().map_err(|_: ErrorStack| Error::Crypto)
}

impl PartialEq for AccountKey {
    fn eq(&self, other: &Self) -> bool {
        self.jwk().ok().zip(other.jwk().ok()).is_some_and(|(one, other)| one == other)
    }
}

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountKey").finish_non_exhaustive()
    }
}

/// Binding of a new account to a customer of the CA (RFC 8555 section 7.3.4).
pub(super) struct ExternalAccountBinding {
    key_id: String,
    mac_key: Zeroizing<Vec<u8>>,
}

impl ExternalAccountBinding {
    /// Makes a binding. `mac_key` is in base64url, as CAs hand it out; `None`: it is not.
    pub(super) fn new(key_id: &str, mac_key: &str) -> Option<Self> {
        Some(Self { key_id: key_id.to_owned(), mac_key: from_base64(mac_key)? })
    }

    fn sign(&self, url: &str, key: &dyn SigningKey) -> Result<Value, Error> {
        let sign = || {
            let header = json!({"alg": "HS256", "kid": self.key_id, "url": url});
            jws(&header, key.jwk()?.to_string().as_bytes(), |input| {
                let mac_key = PKey::hmac(&self.mac_key)?;
                Signer::new(MessageDigest::sha256(), &mac_key)?.sign_oneshot_to_vec(input)
            })
        };
        sign().map_err(|_: ErrorStack| Error::Crypto)
    }
}

impl fmt::Debug for ExternalAccountBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalAccountBinding")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

fn jws(
    header: &Value,
    payload: &[u8],
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, ErrorStack>,
) -> Result<Value, ErrorStack> {
    let (header, payload) = (base64url(header.to_string().as_bytes()), base64url(payload));
    let signature = sign(format!("{header}.{payload}").as_bytes())?;
    Ok(json!({"protected": header, "payload": payload, "signature": base64url(&signature)}))
}

/// Answer of the CA about a key.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum AccountLookup {
    /// It has an account, with this URL.
    Valid(String),
    /// It has an account that is of no use any more.
    Deactivated,
    /// It has none.
    Unknown,
}

#[derive(Default, Deserialize)]
struct AccountJson {
    #[serde(default)]
    status: String,
}

/// Signs requests with an account's key and sends them.
pub(super) struct Requests<'a> {
    pub(super) transport: &'a Transport,
    pub(super) directory: &'a Directory,
    pub(super) key: &'a dyn SigningKey,
    pub(super) teller: &'a Teller,
}

impl Requests<'_> {
    /// Reads a resource (RFC 8555 section 6.3).
    pub(super) async fn post_as_get(
        &self,
        step: Step,
        account: &str,
        url: &str,
    ) -> Result<(HeaderMap, Bytes), AcmeError> {
        self.post(step, Some(account), url, &[], |headers, body| Ok((headers, body))).await
    }

    /// Asks for the account of the key (RFC 8555 section 7.3.1).
    pub(super) async fn find_account(&self) -> Result<AccountLookup, AcmeError> {
        let payload = json!({"onlyReturnExisting": true, "termsOfServiceAgreed": true});
        match self.new_account(Step::FindAccount, &payload).await {
            Ok((url, account)) => match account.status.as_str() {
                "deactivated" | "revoked" => Ok(AccountLookup::Deactivated),
                // Not every CA shows the account.
                _ => Ok(AccountLookup::Valid(url)),
            },
            Err(error) if error.is("accountDoesNotExist") => Ok(AccountLookup::Unknown),
            Err(error) if is_deactivated(&error) => Ok(AccountLookup::Deactivated),
            Err(error) => Err(error),
        }
    }

    /// Creates the account of the key (RFC 8555 section 7.3) and gives its URL. The configuration
    /// does not load without `accept_terms_of_service`.
    pub(super) async fn create_account(
        &self,
        contacts: &[String],
        binding: Option<&ExternalAccountBinding>,
    ) -> Result<String, AcmeError> {
        let mut payload = json!({"contact": contacts, "termsOfServiceAgreed": true});
        if let Some(binding) = binding {
            let bound = binding.sign(self.directory.new_account(), self.key);
            let failed = |error| self.transport.failed(Step::NewAccount, error);
            payload["externalAccountBinding"] = bound.map_err(failed)?;
        }
        let (url, _) = self.new_account(Step::NewAccount, &payload).await?;
        Ok(url)
    }

    async fn new_account(
        &self,
        step: Step,
        payload: &Value,
    ) -> Result<(String, AccountJson), AcmeError> {
        let payload = payload.to_string();
        let url = self.directory.new_account();
        self.post(step, None, url, payload.as_bytes(), |headers, body| {
            let location = headers.get(LOCATION).and_then(|url| url.to_str().ok());
            let location = location.ok_or(Error::Str("no URL of the account"))?;
            Ok((location.to_owned(), serde_json::from_slice(&body).unwrap_or_default()))
        })
        .await
    }

    /// Changes the contacts of an account (RFC 8555 section 7.3.2). What the CA shows of it does not matter.
    pub(super) async fn update_contacts(
        &self,
        account: &str,
        contacts: &[String],
    ) -> Result<(), AcmeError> {
        let payload = json!({"contact": contacts}).to_string();
        let step = Step::UpdateAccount;
        self.post(step, Some(account), account, payload.as_bytes(), |_, _| Ok(())).await
    }

    /// Replaces the account's key (RFC 8555 section 7.3.5).
    pub(super) async fn change_key(
        &self,
        url: &str,
        account: &str,
        new: &AccountKey,
    ) -> Result<(), AcmeError> {
        let inner = || {
            let old = self.key.jwk().map_err(|_| Error::Crypto)?;
            let payload = json!({"account": account, "oldKey": old}).to_string();
            sign(new, None, None, url, payload.as_bytes())
        };
        let inner = inner().map_err(|error| self.transport.failed(Step::KeyChange, error))?;
        let inner = inner.to_string();
        self.post(Step::KeyChange, Some(account), url, inner.as_bytes(), |_, _| Ok(())).await
    }

    /// Revokes a certificate (RFC 8555 section 7.6); `reason` is one of RFC 5280 section 5.3.1.
    pub(super) async fn revoke(
        &self,
        url: &str,
        account: &str,
        certificate: &[u8],
        reason: Option<u8>,
    ) -> Result<(), AcmeError> {
        let mut payload = json!({"certificate": base64url(certificate)});
        if let Some(reason) = reason {
            payload["reason"] = reason.into();
        }
        let payload = payload.to_string();
        match self.post(Step::Revoke, Some(account), url, payload.as_bytes(), |_, _| Ok(())).await {
            Err(error) if !error.is("alreadyRevoked") => Err(error),
            _ => Ok(()),
        }
    }

    /// Sends a request and reads its answer; one that cannot be read is asked for again.
    async fn post<T>(
        &self,
        step: Step,
        account: Option<&str>,
        url: &str,
        payload: &[u8],
        read: impl Fn(HeaderMap, Bytes) -> Result<T, Error>,
    ) -> Result<T, AcmeError> {
        // The one of a refusal is good for the next attempt.
        let mut next_nonce = None;
        let attempt = async || {
            let nonce = match next_nonce.take() {
                Some(nonce) => nonce,
                None => self.transport.new_nonce(self.directory.new_nonce()).await?,
            };
            let jws = sign(self.key, account, Some(&nonce), url, payload)?;
            let (parts, body) = self.transport.post(url, jws.to_string()).await?;
            next_nonce = Transport::nonce(&parts.headers);
            if parts.status.is_success() {
                return read(parts.headers, body);
            }
            Err(Error::Api(serde_json::from_slice(&body)?))
        };
        self.transport.call(step, self.teller, attempt).await
    }
}

/// Tells whether a search for the account says that it is there and deactivated. RFC 8555 names no answer
/// for that; Let's Encrypt says `unauthorized`, and only its text tells this from a blocked account.
fn is_deactivated(error: &AcmeError) -> bool {
    let AcmeError::Refused { problem, .. } = error else { return false };
    problem.is("unauthorized") && problem.detail.contains("deactivated")
}

#[cfg(test)]
mod tests {
    use super::{AccountKey, ExternalAccountBinding, sign};
    use crate::acme::foreign_key::{GivenKey, account_key};
    use acme_dns_core::encoding::{base64url, from_base64};
    use openssl::bn::BigNum;
    use openssl::ecdsa::EcdsaSig;
    use openssl::pkey::PKey;
    use openssl::sha::sha256;
    use rustls_pki_types::PrivatePkcs8KeyDer;
    use serde_json::json;

    fn text(pem: Vec<u8>) -> String {
        String::from_utf8(pem).unwrap()
    }

    #[test]
    fn a_key_is_the_same_whatever_file_it_comes_from() {
        let key = AccountKey::generate().unwrap();
        let pem = PKey::from_ec_key(key.0.clone()).unwrap().private_key_to_pem_pkcs8().unwrap();
        let sec1 = key.0.private_key_to_pem().unwrap();
        // ECPrivateKey (RFC 5915) without the optional public key.
        let mut bare = vec![0x30, 0x31, 2, 1, 1, 4, 32];
        bare.extend(key.0.private_key().to_vec_padded(32).unwrap());
        bare.extend([0xa0, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]);
        let bare = openssl::base64::encode_block(&bare);
        let bare =
            format!("-----BEGIN EC PRIVATE KEY-----\n{bare}\n-----END EC PRIVATE KEY-----\n");
        let number = base64url(&key.0.private_key().to_vec_padded(32).unwrap());
        let jwk = json!({"kty": "EC", "crv": "P-256", "d": number}).to_string();
        assert_eq!(account_key(&jwk).unwrap(), key.pkcs8().unwrap());
        for (form, pem) in [("PKCS #8", pem), ("SEC 1", sec1), ("no point", bare.into_bytes())] {
            let Ok(GivenKey::Ours(read)) = GivenKey::from_text(&text(pem)) else {
                panic!("{form}")
            };
            assert_eq!(read, key, "{form}");
            let der = read.pkcs8().unwrap();
            assert_eq!(der, key.pkcs8().unwrap(), "{form}");
            let der = PrivatePkcs8KeyDer::from(der.as_slice());
            assert!(instant_acme::Key::from_pkcs8_der(der).is_ok(), "{form}");
        }
        assert_ne!(AccountKey::generate().unwrap(), key);
    }

    #[test]
    fn other_keys_are_refused_without_showing_them() {
        for (pem, expected) in [
            (
                b"-----BEGIN PRIVATE KEY-----\nAAAA\n".to_vec(),
                "it is no unencrypted private key in PEM",
            ),
            (Vec::new(), "it is no unencrypted private key in PEM"),
        ] {
            assert_eq!(GivenKey::from_text(&text(pem)).unwrap_err(), expected);
        }
        for jwk in ["{", r#"{"kty":"RSA","n":"AQAB"}"#, r#"{"crv":"P-384","d":"AQAB"}"#] {
            let why = account_key(jwk).unwrap_err();
            assert!(why.starts_with("it is neither an ECDSA nor an RSA key"), "{jwk}: {why}");
        }
        let key = AccountKey::generate().unwrap();
        assert_eq!(format!("{key:?}"), "AccountKey { .. }");
        let binding = ExternalAccountBinding::new("kid", "c2VjcmV0").unwrap();
        assert_eq!(format!("{binding:?}"), "ExternalAccountBinding { key_id: \"kid\", .. }");
    }

    #[test]
    fn signatures_verify_whatever_their_leading_zeros() {
        let key = AccountKey::generate().unwrap();
        // One in 128 has a half that begins with a zero byte.
        for round in 0..600 {
            let jws = sign(&key, None, Some("n"), "https://ca.example/x", b"{}").unwrap();
            let part = |name: &str| jws[name].as_str().unwrap().to_owned();
            let signature = from_base64(&part("signature")).unwrap();
            assert_eq!(signature.len(), 64, "round {round}");
            let (r, s) = signature.split_at(32);
            let half = |bytes| BigNum::from_slice(bytes).unwrap();
            let signature = EcdsaSig::from_private_components(half(r), half(s)).unwrap();
            let input = format!("{}.{}", part("protected"), part("payload"));
            assert!(signature.verify(&sha256(input.as_bytes()), &key.0).unwrap(), "round {round}");
        }
    }
}
