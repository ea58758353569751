//! Credentials of a request, and what they allow.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::api::ApiError;
use super::store::new_id;

/// An API token.
#[derive(Clone, Debug)]
pub struct Token {
    value: String,
    id: String,
    zones: Option<Vec<String>>,
    edit: bool,
    list: Listing,
    status: &'static str,
}

/// Which zones may be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listing {
    All,
    OwnByName,
    Nothing,
}

impl Token {
    /// A token with Zone/DNS/Edit and Zone/Zone/Read for all zones.
    #[must_use]
    pub fn new(value: &str) -> Self {
        let value = value.to_owned();
        Self { value, id: new_id(), zones: None, edit: true, list: Listing::All, status: "active" }
    }

    /// Only for these zones; the others do not exist for it.
    #[must_use]
    pub fn zones(mut self, zones: &[&str]) -> Self {
        self.zones = Some(zones.iter().map(|zone| zone.trim_end_matches('.').to_owned()).collect());
        self
    }

    /// Zone/DNS/Read instead of Zone/DNS/Edit.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.edit = false;
        self
    }

    /// Without Zone/Zone/Read: it cannot list zones.
    #[must_use]
    pub fn without_zone_read(mut self) -> Self {
        self.list = Listing::Nothing;
        self
    }

    /// Zone/DNS/Edit alone: it may list a zone of its own by the zone's name, and nothing else.
    #[must_use]
    pub fn dns_edit_only(mut self) -> Self {
        self.list = Listing::OwnByName;
        self
    }

    /// Disabled in the dashboard, or past its date: `disabled` or `expired`.
    #[must_use]
    pub fn status(mut self, status: &'static str) -> Self {
        self.status = status;
        self
    }
}

/// The credentials that are accepted.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    tokens: Vec<Token>,
    pub(super) legacy: Option<(String, String)>,
}

/// Rights that the credentials of a request give.
#[derive(Debug)]
pub(super) struct Access {
    zones: Option<Vec<String>>,
    pub(super) edit: bool,
    pub(super) list: Listing,
    /// Identifier and status of the token; the legacy pair has none.
    pub(super) token: Option<(String, &'static str)>,
}

impl Access {
    pub(super) fn sees(&self, zone: &str) -> bool {
        self.zones.as_ref().is_none_or(|zones| zones.iter().any(|known| known == zone))
    }
}

impl Accounts {
    pub(super) fn add_token(&mut self, token: Token) {
        self.revoke_token(&token.value);
        self.tokens.push(token);
    }

    pub(super) fn revoke_token(&mut self, value: &str) {
        self.tokens.retain(|token| token.value != value);
    }

    /// Checks the credentials of a request. `unknown` is the answer to a token that is not there,
    /// which differs between endpoints.
    pub(super) fn access(
        &self,
        headers: &HeaderMap,
        unknown: ApiError,
    ) -> Result<Access, ApiError> {
        let text = |name: &str| headers.get(name).map(|v| v.to_str().unwrap_or_default());
        if let Some(authorization) = headers.get(AUTHORIZATION) {
            return self.bearer(authorization.to_str().unwrap_or_default(), unknown);
        }
        let (email, key) = match (text("x-auth-email"), text("x-auth-key")) {
            (None, None) => {
                return Err(ApiError::new(
                    400,
                    9106,
                    "Missing X-Auth-Key, X-Auth-Email or Authorization headers",
                ));
            }
            (None, Some(_)) => return Err(ApiError::new(400, 9106, "Missing X-Auth-Email header")),
            (Some(_), None) => return Err(ApiError::new(400, 9107, "Missing X-Auth-Key header")),
            (Some(email), Some(key)) => (email, key),
        };
        if !email.contains('@') {
            return Err(header_error(6102, "Invalid format for X-Auth-Email header"));
        }
        if key.len() < 32 || !key.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(header_error(6103, "Invalid format for X-Auth-Key header"));
        }
        match &self.legacy {
            Some((known, secret)) if known == email && secret == key => {
                Ok(Access { zones: None, edit: true, list: Listing::All, token: None })
            }
            _ => Err(ApiError::new(403, 9103, "Unknown X-Auth-Key or X-Auth-Email")),
        }
    }

    fn bearer(&self, header: &str, unknown: ApiError) -> Result<Access, ApiError> {
        let malformed = || header_error(6111, "Invalid format for Authorization header");
        let value = header.strip_prefix("Bearer ").ok_or_else(malformed)?;
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if value.is_empty() || !value.bytes().all(allowed) {
            return Err(malformed());
        }
        let token = self.tokens.iter().find(|token| token.value == value).ok_or(unknown)?;
        Ok(Access {
            zones: token.zones.clone(),
            edit: token.edit,
            list: token.list,
            token: Some((token.id.clone(), token.status)),
        })
    }
}

/// 6003 with its cause.
pub(super) fn header_error(code: i64, message: &str) -> ApiError {
    ApiError::new(400, 6003, "Invalid request headers").because(code, message)
}
