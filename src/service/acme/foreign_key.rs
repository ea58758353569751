//! Keys of accounts that other clients have made, of another type than ours.
//!
//! certbot and dehydrated make RSA keys, others ECDSA keys on larger curves. Such a key finds its account,
//! and signs that a key of ours takes its place: see `hand_over`.

use super::jws::{AccountKey, SigningKey};
use crate::x509::{keys, reason};
use acme_dns_core::encoding::{base64url, from_base64};
use openssl::bn::{BigNum, BigNumContext, BigNumRef};
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::rsa::{Rsa, RsaPrivateKeyBuilder};
use openssl::sha::{sha256, sha384, sha512};
use openssl::sign::Signer;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt;
use zeroize::Zeroizing;

/// Fault of a key of any other type.
const UNKNOWN_TYPE: &str = "it is neither an ECDSA nor an RSA key that signs requests to a CA";

/// The shortest RSA key that a CA takes, in bits.
const SHORTEST_RSA: u32 = 2048;

/// The key of an account that is not of our type.
pub(super) struct ForeignKey {
    key: PKey<Private>,
    kind: Kind,
}

/// Algorithm of its signatures (RFC 7518 section 3.1).
#[derive(Clone, Copy)]
enum Kind {
    Rs256,
    Es384,
    Es512,
}

impl ForeignKey {
    fn from_key(key: PKey<Private>) -> Result<Self, String> {
        let curve = || key.ec_key().ok().and_then(|key| key.group().curve_name());
        let kind = match key.id() {
            Id::RSA if key.bits() >= SHORTEST_RSA => Kind::Rs256,
            Id::EC if curve() == Some(Nid::SECP384R1) => Kind::Es384,
            Id::EC if curve() == Some(Nid::SECP521R1) => Kind::Es512,
            _ => return Err(UNKNOWN_TYPE.to_owned()),
        };
        Ok(Self { key, kind })
    }

    /// Reads an RSA key as certbot keeps it (RFC 7518 section 6.3.2).
    fn from_jwk(json: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Jwk<'a> {
            n: &'a str,
            e: &'a str,
            d: &'a str,
            p: &'a str,
            q: &'a str,
            dp: &'a str,
            dq: &'a str,
            qi: &'a str,
        }
        let jwk: Jwk<'_> = serde_json::from_str(json).map_err(|_| UNKNOWN_TYPE)?;
        let number = |text: &str| {
            let bytes = from_base64(text).ok_or(UNKNOWN_TYPE)?;
            BigNum::from_slice(&bytes).map_err(|error| reason(&error))
        };
        let (n, e, d) = (number(jwk.n)?, number(jwk.e)?, number(jwk.d)?);
        let (p, q) = (number(jwk.p)?, number(jwk.q)?);
        let (dp, dq, qi) = (number(jwk.dp)?, number(jwk.dq)?, number(jwk.qi)?);
        let make = || -> Result<PKey<Private>, ErrorStack> {
            let builder = RsaPrivateKeyBuilder::new(n, e, d)?.set_factors(p, q)?;
            PKey::from_rsa(builder.set_crt_params(dp, dq, qi)?.build())
        };
        Self::from_key(make().map_err(|error| reason(&error))?)
    }

    /// Gives the hash of its public half (RFC 7638), by which it is known.
    pub(super) fn thumbprint(&self) -> Result<String, ErrorStack> {
        let jwk = self.jwk()?;
        let member = |name: &str| jwk[name].as_str().unwrap_or_default().to_owned();
        let canonical = match self.kind {
            Kind::Rs256 => {
                format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, member("e"), member("n"))
            }
            Kind::Es384 | Kind::Es512 => format!(
                r#"{{"crv":"{}","kty":"EC","x":"{}","y":"{}"}}"#,
                member("crv"),
                member("x"),
                member("y")
            ),
        };
        Ok(base64url(&sha256(canonical.as_bytes())))
    }

    fn rsa(&self) -> Result<Rsa<Private>, ErrorStack> {
        self.key.rsa()
    }

    fn ecdsa(&self, hash: &[u8], length: i32) -> Result<Vec<u8>, ErrorStack> {
        let signature = EcdsaSig::sign(hash, &*self.key.ec_key()?)?;
        let [r, s] = [signature.r(), signature.s()].map(|number| number.to_vec_padded(length));
        Ok([r?, s?].concat())
    }
}

impl SigningKey for ForeignKey {
    fn algorithm(&self) -> &'static str {
        match self.kind {
            Kind::Rs256 => "RS256",
            Kind::Es384 => "ES384",
            Kind::Es512 => "ES512",
        }
    }

    fn jwk(&self) -> Result<Value, ErrorStack> {
        let (curve, length) = match self.kind {
            Kind::Rs256 => {
                let key = self.rsa()?;
                let text = |number: &BigNumRef| base64url(&number.to_vec());
                return Ok(json!({"kty": "RSA", "n": text(key.n()), "e": text(key.e())}));
            }
            Kind::Es384 => ("P-384", ES384_COORDINATE),
            Kind::Es512 => ("P-521", ES512_COORDINATE),
        };
        let key = self.key.ec_key()?;
        let (mut x, mut y) = (BigNum::new()?, BigNum::new()?);
        let mut context = BigNumContext::new()?;
        key.public_key().affine_coordinates(key.group(), &mut x, &mut y, &mut context)?;
        let [x, y] = [x, y].map(|number| number.to_vec_padded(length));
        Ok(json!({"kty": "EC", "crv": curve, "x": base64url(&x?), "y": base64url(&y?)}))
    }

    fn signature(&self, input: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        match self.kind {
            Kind::Rs256 => {
                Signer::new(MessageDigest::sha256(), &self.key)?.sign_oneshot_to_vec(input)
            }
            Kind::Es384 => self.ecdsa(&sha384(input), ES384_COORDINATE),
            Kind::Es512 => self.ecdsa(&sha512(input), ES512_COORDINATE),
        }
    }
}

/// The lengths of coordinates, and of each half of a signature.
const ES384_COORDINATE: i32 = 48;
const ES512_COORDINATE: i32 = 66;

impl fmt::Debug for ForeignKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForeignKey").finish_non_exhaustive()
    }
}

/// The key of an account, as a person or another client gives it.
#[derive(Debug)]
pub(super) enum GivenKey {
    /// It signs everything.
    Ours(AccountKey),
    /// Its account is taken over with it.
    Foreign(ForeignKey),
}

impl GivenKey {
    /// Reads PEM (PKCS #8, PKCS #1 or SEC 1) or a JWK (RFC 7517).
    pub(super) fn from_text(text: &str) -> Result<Self, String> {
        if text.starts_with('{') {
            let ours = AccountKey::from_jwk(text).map(Self::Ours);
            return ours.or_else(|_| ForeignKey::from_jwk(text).map(Self::Foreign));
        }
        let key = keys::private_key(text.as_bytes());
        Self::from_key(key.map_err(|_| "it is no unencrypted private key in PEM")?)
    }

    /// Reads PKCS #8 in DER.
    pub(super) fn from_pkcs8(der: &[u8]) -> Result<Self, String> {
        let key = PKey::private_key_from_pkcs8(der);
        Self::from_key(key.map_err(|_| "it is no private key in PKCS #8")?)
    }

    fn from_key(key: PKey<Private>) -> Result<Self, String> {
        match AccountKey::from_key(&key) {
            Ok(ours) => Ok(Self::Ours(ours)),
            Err(_) => ForeignKey::from_key(key).map(Self::Foreign),
        }
    }

    /// Gives the key as PKCS #8 in DER.
    pub(super) fn pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, String> {
        match self {
            Self::Ours(key) => key.pkcs8(),
            Self::Foreign(ForeignKey { key, .. }) => {
                key.private_key_to_pkcs8().map(Zeroizing::new).map_err(|error| reason(&error))
            }
        }
    }
}

/// Reads the key of an account, in PEM or as a JWK (RFC 7517), and gives it as PKCS #8 in DER.
pub(crate) fn account_key(text: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    GivenKey::from_text(text)?.pkcs8()
}

#[cfg(test)]
mod tests {
    use super::{GivenKey, account_key};
    use crate::acme::jws::SigningKey;
    use acme_dns_core::encoding::base64url;
    use openssl::bn::BigNum;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::ecdsa::EcdsaSig;
    use openssl::hash::MessageDigest;
    use openssl::nid::Nid;
    use openssl::pkey::{PKey, Private};
    use openssl::rsa::Rsa;
    use openssl::sha::{sha384, sha512};
    use openssl::sign::Verifier;
    use serde_json::json;

    fn ec(curve: Nid) -> EcKey<Private> {
        EcKey::generate(&EcGroup::from_curve_name(curve).unwrap()).unwrap()
    }

    fn text(pem: Vec<u8>) -> String {
        String::from_utf8(pem).unwrap()
    }

    #[test]
    fn an_rsa_key_is_the_same_whatever_file_it_comes_from() {
        let rsa = Rsa::generate(2048).unwrap();
        let key = PKey::from_rsa(rsa.clone()).unwrap();
        let number = |number: &openssl::bn::BigNumRef| base64url(&number.to_vec());
        let jwk = json!({
            "kty": "RSA", "n": number(rsa.n()), "e": number(rsa.e()), "d": number(rsa.d()),
            "p": number(rsa.p().unwrap()), "q": number(rsa.q().unwrap()),
            "dp": number(rsa.dmp1().unwrap()), "dq": number(rsa.dmq1().unwrap()),
            "qi": number(rsa.iqmp().unwrap()),
        });
        let thumbprint = |given: &GivenKey| match given {
            GivenKey::Foreign(key) => key.thumbprint().unwrap(),
            GivenKey::Ours(_) => panic!("it is not"),
        };
        let expected =
            thumbprint(&GivenKey::from_pkcs8(&key.private_key_to_pkcs8().unwrap()).unwrap());
        for (form, text) in [
            ("PKCS #8", text(key.private_key_to_pem_pkcs8().unwrap())),
            ("PKCS #1", text(rsa.private_key_to_pem().unwrap())),
            ("JWK", jwk.to_string()),
        ] {
            let given = GivenKey::from_text(&text).unwrap_or_else(|why| panic!("{form}: {why}"));
            assert_eq!(thumbprint(&given), expected, "{form}");
            let kept = account_key(&text).unwrap();
            assert_eq!(thumbprint(&GivenKey::from_pkcs8(&kept).unwrap()), expected, "{form}");
        }
    }

    /// Checks the example of RFC 7638 section 3.1.
    #[test]
    fn a_key_is_known_by_the_thumbprint_of_the_rfc() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let canonical = format!(r#"{{"e":"AQAB","kty":"RSA","n":"{n}"}}"#);
        let thumbprint = base64url(&openssl::sha::sha256(canonical.as_bytes()));
        assert_eq!(thumbprint, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn signatures_of_each_type_verify() {
        let input = b"header.payload";
        let rsa = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let given = GivenKey::from_pkcs8(&rsa.private_key_to_pkcs8().unwrap()).unwrap();
        let GivenKey::Foreign(foreign) = given else { panic!("RSA") };
        let mut verifier = Verifier::new(MessageDigest::sha256(), &rsa).unwrap();
        assert!(verifier.verify_oneshot(&foreign.signature(input).unwrap(), input).unwrap());
        assert_eq!(foreign.algorithm(), "RS256");
        for (curve, algorithm, hash, length) in [
            (Nid::SECP384R1, "ES384", sha384(input).to_vec(), 48),
            (Nid::SECP521R1, "ES512", sha512(input).to_vec(), 66),
        ] {
            let key = ec(curve);
            let pem = text(key.private_key_to_pem().unwrap());
            let Ok(GivenKey::Foreign(foreign)) = GivenKey::from_text(&pem) else {
                panic!("{algorithm}")
            };
            assert_eq!(foreign.algorithm(), algorithm);
            let signature = foreign.signature(input).unwrap();
            assert_eq!(signature.len(), 2 * length);
            let half = |bytes: &[u8]| BigNum::from_slice(bytes).unwrap();
            let (r, s) = (half(&signature[..length]), half(&signature[length..]));
            let signature = EcdsaSig::from_private_components(r, s).unwrap();
            assert!(signature.verify(&hash, &key).unwrap(), "{algorithm}");
        }
    }

    #[test]
    fn our_own_type_is_ours_and_others_are_refused() {
        let p256 = text(ec(Nid::X9_62_PRIME256V1).private_key_to_pem().unwrap());
        assert!(matches!(GivenKey::from_text(&p256), Ok(GivenKey::Ours(_))));
        let short = PKey::from_rsa(Rsa::generate(1024).unwrap()).unwrap();
        let other = PKey::generate_ed25519().unwrap();
        for key in [short, other] {
            let pem = text(key.private_key_to_pem_pkcs8().unwrap());
            let why = GivenKey::from_text(&pem).unwrap_err();
            assert!(why.starts_with("it is neither an ECDSA nor an RSA key"), "{why}");
        }
        for text in ["", "{}", "{\"kty\":\"RSA\"}", "-----BEGIN PRIVATE KEY-----"] {
            assert!(GivenKey::from_text(text).is_err(), "{text}");
        }
    }
}
