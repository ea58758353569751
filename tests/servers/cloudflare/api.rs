//! From a request to an answer: credentials, routes, zones, the envelope.

use std::time::Instant;

use http::Method;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::auth::{Access, Listing, header_error};
use super::records;
use super::store::{ACCOUNT, ACCOUNT_NAME, State, Zone, ascii};
use crate::traffic::{Reply, Request};

pub(super) const BASE: &str = "/client/v4";

/// The most zones on a page.
const MAX_ZONES: usize = 50;

/// An answer that is an error.
#[derive(Clone, Debug)]
pub(super) struct ApiError {
    status: u16,
    errors: Vec<Value>,
    retry_after: Option<u64>,
}

impl ApiError {
    pub(super) fn new(status: u16, code: i64, message: impl Into<String>) -> Self {
        let error = json!({"code": code, "message": message.into()});
        Self { status, errors: vec![error], retry_after: None }
    }

    /// Adds an entry to the chain of causes.
    pub(super) fn because(mut self, code: i64, message: &str) -> Self {
        if let Some(error) = self.errors.first_mut() {
            error["error_chain"] = json!([{"code": code, "message": message}]);
        }
        self
    }

    fn and(mut self, code: i64, message: &str) -> Self {
        self.errors.push(json!({"code": code, "message": message}));
        self
    }

    fn reply(self) -> Reply {
        let Self { status, errors, retry_after } = self;
        let body = json!({"success": false, "errors": errors, "messages": [], "result": null});
        reply(status, &body).retry_after(retry_after)
    }
}

/// Content of a successful answer besides `success`.
#[derive(Debug, Default)]
pub(super) struct Success {
    pub(super) result: Value,
    pub(super) info: Option<Value>,
    message: Option<Value>,
}

impl Success {
    pub(super) fn new(result: Value) -> Self {
        Self { result, ..Self::default() }
    }

    fn reply(self) -> Reply {
        let messages: Vec<Value> = self.message.into_iter().collect();
        let mut body = json!({"success": true, "errors": [], "messages": messages,
                              "result": self.result});
        if let Some(info) = self.info {
            body["result_info"] = info;
        }
        reply(200, &body)
    }
}

/// An answer as Cloudflare writes it: `id` is the first member of an object, and `result` that of the
/// whole, which clients made of shell scripts rely on.
fn reply(status: u16, body: &Value) -> Reply {
    let mut text = String::new();
    write(body, &mut text);
    Reply::new(status, "application/json", text)
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => {
            let is_first = |name: &str| name == "id" || name == "result";
            let (first, rest): (Vec<_>, Vec<_>) =
                members.iter().partition(|(name, _)| is_first(name));
            for (index, (name, value)) in first.into_iter().chain(rest).enumerate() {
                text.push(if index == 0 { '{' } else { ',' });
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write(value, text);
            }
            text.push_str(if members.is_empty() { "{}" } else { "}" });
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                text.push(if index == 0 { '[' } else { ',' });
                write(item, text);
            }
            text.push_str(if items.is_empty() { "[]" } else { "]" });
        }
        other => text.push_str(&other.to_string()),
    }
}

/// The parameters of a query.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    fn parse(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        Some(self.0.iter().find(|(key, _)| key == name)?.1.as_str())
    }

    /// Returns whether one filter that fits is enough (`match=any`). Each is `None` where it is not there.
    pub(super) fn matches(&self, filters: &[Option<bool>]) -> bool {
        let mut filters = filters.iter().flatten();
        match self.get("match") {
            Some("any") => filters.clone().next().is_none() || filters.any(|fits| *fits),
            _ => filters.all(|fits| *fits),
        }
    }

    /// One page of what was found, with `result_info`.
    pub(super) fn page(&self, found: Vec<Value>, default: usize, max: usize) -> Success {
        let number = |name: &str| self.get(name).and_then(|text| text.parse::<usize>().ok());
        let per_page = number("per_page").unwrap_or(default).clamp(1, max);
        let page = number("page").unwrap_or(1).max(1);
        let total = found.len();
        let first = (page - 1).saturating_mul(per_page);
        let result: Vec<Value> = found.into_iter().skip(first).take(per_page).collect();
        let info = json!({
            "page": page,
            "per_page": per_page,
            "count": result.len(),
            "total_count": total,
            "total_pages": total.div_ceil(per_page),
        });
        Success { result: result.into(), info: Some(info), message: None }
    }
}

pub(super) async fn handle(state: &State, request: &Request) -> Reply {
    match route(state, request).await {
        Ok(success) => success.reply(),
        Err(error) => error.reply(),
    }
}

async fn route(state: &State, request: &Request) -> Result<Success, ApiError> {
    limit(state)?;
    check_content_type(request)?;
    let path = request.path.strip_prefix(BASE).ok_or_else(|| no_route(&request.path))?;
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let query = Query::parse(&request.query);
    let login = |unknown| state.accounts().access(&request.headers, unknown);
    match (&request.method, parts.as_slice()) {
        (&Method::GET, ["user", "tokens", "verify"]) => {
            verify(login(ApiError::new(401, 1000, "Invalid API Token"))?)
        }
        (&Method::GET, ["zones"]) => list_zones(state, &active(login(bad_token())?)?, &query),
        (&Method::GET, ["zones", id]) => {
            let access = active(login(bad_token())?)?;
            let zone = known_zone(state, id).ok_or_else(|| no_such_object(&request.path, id))?;
            if access.list != Listing::All || !access.sees(&zone.name) {
                return Err(unauthorized());
            }
            Ok(Success::new(zone.to_json()))
        }
        (_, ["zones", id, "dns_records", rest @ ..]) => {
            let access = active(login(authentication())?)?;
            let zone = match known_zone(state, id) {
                Some(zone) if access.sees(&zone.name) => zone,
                // A restricted token is not told whether the zone is there.
                Some(_) => return Err(authentication()),
                None => return Err(no_such_object(&request.path, id)),
            };
            if request.method != Method::GET && !access.edit {
                return Err(authentication());
            }
            records::handle(state, &zone, rest, request, &query).await
        }
        (_, ["user", "tokens", "verify"] | ["zones"] | ["zones", _]) => Err(bad_method()),
        _ => Err(no_route(path)),
    }
}

fn limit(state: &State) -> Result<(), ApiError> {
    let exceeded = state.settings().limit.as_mut().and_then(|limit| limit.count(Instant::now()));
    match exceeded {
        None => Ok(()),
        Some(seconds) => {
            let text = "Please wait and consider throttling your request speed";
            Err(ApiError { retry_after: Some(seconds), ..ApiError::new(429, 971, text) })
        }
    }
}

/// A body needs its type. A request without one may name a type: that of a GET is not looked at, as
/// acme.sh and lexicon send it, and Cloudflare's own Python library does with a DELETE.
fn check_content_type(request: &Request) -> Result<(), ApiError> {
    let invalid = || {
        let text = "Invalid Content-Type header, valid values are \
                    application/json,multipart/form-data";
        Err(header_error(6105, text))
    };
    let kind = request.headers.get(CONTENT_TYPE).map(|v| v.to_str().unwrap_or_default());
    match kind {
        _ if request.method == Method::GET => Ok(()),
        Some(kind) if !kind.starts_with("application/json") => invalid(),
        None if !request.body.is_empty() => invalid(),
        _ => Ok(()),
    }
}

fn verify(access: Access) -> Result<Success, ApiError> {
    // The legacy pair has no token to verify.
    let (id, status) = access.token.ok_or_else(|| ApiError::new(400, 1001, "Invalid API Token"))?;
    let text = if status == "active" {
        "This API Token is valid and active".to_owned()
    } else {
        format!("This API Token is {status}")
    };
    let message = Some(json!({"code": 10000, "message": text, "type": null}));
    Ok(Success { result: json!({"id": id, "status": status}), info: None, message })
}

fn active(access: Access) -> Result<Access, ApiError> {
    match access.token {
        Some((_, status)) if status != "active" => Err(bad_token()),
        _ => Ok(access),
    }
}

fn list_zones(state: &State, access: &Access, query: &Query) -> Result<Success, ApiError> {
    let name = query.get("name");
    let may = match access.list {
        Listing::All => true,
        Listing::OwnByName => name.is_some_and(|name| {
            state.zones().iter().any(|z| z.name == ascii(name) && access.sees(&z.name))
        }),
        Listing::Nothing => false,
    };
    if !may {
        let actor = access.token.as_ref().map(|(id, _)| id.as_str()).unwrap_or_default();
        let text = format!(
            "Actor 'com.cloudflare.api.token.{actor}' requires permission \
             'com.cloudflare.api.account.zone.list' to list zones"
        );
        return Err(ApiError::new(403, 0, text));
    }
    let fits = |zone: &&Zone| {
        access.sees(&zone.name)
            && query.matches(&[
                name.map(|filter| has_name(&zone.name, filter)),
                query.get("status").map(|status| status == "active"),
                query.get("account.id").map(|id| id == ACCOUNT),
                query.get("account.name").map(|name| name == ACCOUNT_NAME),
            ])
    };
    let mut zones = state.zones();
    zones.sort_by(|a, b| a.name.cmp(&b.name));
    let found = zones.iter().filter(fits).map(Zone::to_json).collect();
    Ok(query.page(found, 20, MAX_ZONES))
}

/// Returns whether a zone's name fits a filter, which may begin with an operator.
fn has_name(name: &str, filter: &str) -> bool {
    let (operator, text) = filter.split_once(':').unwrap_or(("equal", filter));
    let text = ascii(text);
    match operator.trim_end_matches("_case_sensitive") {
        "not_equal" => name != text,
        "starts_with" => name.starts_with(&text),
        "ends_with" => name.ends_with(&text),
        "contains" => name.contains(&text),
        _ => name == text,
    }
}

fn known_zone(state: &State, id: &str) -> Option<Zone> {
    state.zones().into_iter().find(|zone| zone.id == id)
}

/// The answer for an identifier in the path that is none, or of nothing.
pub(super) fn no_such_object(path: &str, id: &str) -> ApiError {
    let path = path.strip_prefix(BASE).unwrap_or(path);
    let text =
        format!("Could not route to {BASE}{path}, perhaps your object identifier is invalid?");
    let identifier = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
    let status = if identifier { 404 } else { 400 };
    ApiError::new(status, 7003, text).and(7000, "No route for that URI")
}

pub(super) fn no_route(path: &str) -> ApiError {
    ApiError::new(404, 7000, format!("No route for that URI: {path}"))
}

pub(super) fn bad_method() -> ApiError {
    ApiError::new(405, 10405, "Method not allowed for this authentication scheme")
}

fn bad_token() -> ApiError {
    ApiError::new(403, 9109, "Invalid access token")
}

fn unauthorized() -> ApiError {
    ApiError::new(403, 9109, "Unauthorized to access requested resource")
}

fn authentication() -> ApiError {
    ApiError::new(403, 10000, "Authentication error")
}
