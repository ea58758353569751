//! The records of a zone: single calls and batches.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::Method;
use serde_json::{Map, Value, json};

use super::api::{ApiError, Query, Success, bad_method, no_route, no_such_object};
use super::store::{Record, State, Zone, ascii, new_id};
use crate::powerdns::unquote;
use crate::traffic::Request;

/// The most operations in a batch on the free plan.
const MAX_BATCH: usize = 200;
/// The most characters of a comment on the free plan.
const MAX_COMMENT: usize = 100;
const MAX_TXT: usize = 2048;
const PER_PAGE: usize = 100;
const MAX_PER_PAGE: usize = 5_000_000;

pub(super) async fn handle(
    state: &State,
    zone: &Zone,
    rest: &[&str],
    request: &Request,
    query: &Query,
) -> Result<Success, ApiError> {
    let (quota, batch) = {
        let settings = state.settings();
        (settings.quota, settings.batch)
    };
    match (&request.method, rest) {
        (&Method::GET, []) => Ok(list(state, zone, query)),
        (&Method::POST, []) => {
            let body = object(request)?;
            let make = |records: &mut Vec<Record>| create(records, zone, &body, quota);
            Ok(Success::new(state.change(zone, make).await?.to_json()))
        }
        (&Method::POST, ["batch"]) if batch => {
            let body = object(request)?;
            let all = |records: &mut Vec<Record>| run_batch(records, zone, &body, quota);
            Ok(Success::new(state.change(zone, all).await?))
        }
        (_, ["batch"]) => Err(no_route(&request.path)),
        (method, [id]) => {
            if id.len() != 32 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(no_such_object(&request.path, id));
            }
            match *method {
                Method::GET => {
                    let found = state.records().into_iter().find(is(zone, id));
                    Ok(Success::new(found.ok_or_else(not_there)?.to_json()))
                }
                Method::DELETE => {
                    let gone = state.change(zone, |records| remove(records, zone, id)).await?;
                    Ok(Success::new(json!({"id": gone.id})))
                }
                Method::PATCH | Method::PUT => {
                    let body = object(request)?;
                    let whole = *method == Method::PUT;
                    let edit = |records: &mut Vec<Record>| update(records, zone, id, &body, whole);
                    Ok(Success::new(state.change(zone, edit).await?.to_json()))
                }
                _ => Err(bad_method()),
            }
        }
        (_, []) => Err(bad_method()),
        _ => Err(no_route(&request.path)),
    }
}

fn is<'a>(zone: &'a Zone, id: &'a str) -> impl Fn(&Record) -> bool + 'a {
    move |record| record.zone_id == zone.id && record.id == id
}

fn list(state: &State, zone: &Zone, query: &Query) -> Success {
    // `name` and `content` without a suffix are what older clients send.
    let exact = |name: &str| query.get(name).or_else(|| query.get(&format!("{name}.exact")));
    let fits = |record: &&Record| {
        let comment = record.comment.as_deref().unwrap_or_default();
        let mut filters = vec![
            query.get("type").map(|kind| kind.eq_ignore_ascii_case(&record.kind)),
            exact("name").map(|name| ascii(name) == record.name),
            exact("content").map(|content| unquote(content) == record.value()),
            exact("comment").map(|text| text == comment),
        ];
        for (name, text) in
            [("name", record.name.as_str()), ("content", &record.content), ("comment", comment)]
        {
            let part = |kind: &str| query.get(&format!("{name}.{kind}"));
            filters.extend([
                part("contains").map(|part| text.contains(part)),
                part("startswith").map(|part| text.starts_with(part)),
                part("endswith").map(|part| text.ends_with(part)),
            ]);
        }
        record.zone_id == zone.id && query.matches(&filters)
    };
    let found = state.records().iter().filter(fits).map(Record::to_json).collect();
    query.page(found, PER_PAGE, MAX_PER_PAGE)
}

fn object(request: &Request) -> Result<Map<String, Value>, ApiError> {
    match serde_json::from_slice(&request.body) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(ApiError::new(400, 6007, "Malformed JSON in request body")),
    }
}

fn not_there() -> ApiError {
    ApiError::new(404, 81044, "Record does not exist.")
}

fn create(
    records: &mut Vec<Record>,
    zone: &Zone,
    body: &Map<String, Value>,
    quota: usize,
) -> Result<Record, ApiError> {
    let record = checked(zone, body, None)?;
    conflicts(records, &record)?;
    if records.iter().filter(|r| r.zone_id == zone.id).count() >= quota {
        return Err(ApiError::new(400, 81045, "Record quota exceeded."));
    }
    records.push(record.clone());
    Ok(record)
}

fn remove(records: &mut Vec<Record>, zone: &Zone, id: &str) -> Result<Record, ApiError> {
    let place = records.iter().position(is(zone, id)).ok_or_else(not_there)?;
    Ok(records.remove(place))
}

/// PUT replaces the whole record, PATCH what is named.
fn update(
    records: &mut Vec<Record>,
    zone: &Zone,
    id: &str,
    body: &Map<String, Value>,
    whole: bool,
) -> Result<Record, ApiError> {
    let place = records.iter().position(is(zone, id)).ok_or_else(not_there)?;
    let old = records.remove(place);
    let base = if whole { None } else { Some(&old) };
    let new = Record { id: old.id.clone(), ..checked(zone, body, base)? };
    conflicts(records, &new)?;
    records.insert(place, new.clone());
    Ok(new)
}

/// Deletes, patches, puts and posts in this order, as Cloudflare documents it, whatever the order
/// in the body. The first error cancels all.
fn run_batch(
    records: &mut Vec<Record>,
    zone: &Zone,
    body: &Map<String, Value>,
    quota: usize,
) -> Result<Value, ApiError> {
    let operations = |name: &str| match body.get(name) {
        Some(Value::Array(operations)) => operations.clone(),
        _ => Vec::new(),
    };
    let kinds = ["deletes", "patches", "puts", "posts"];
    let count: usize = kinds.iter().map(|kind| operations(kind).len()).sum();
    // What code Cloudflare gives here was not to be found.
    if count == 0 || count > MAX_BATCH {
        let text = format!("a batch has 1 to {MAX_BATCH} operations, not {count}");
        return Err(ApiError::new(400, 1004, "DNS Validation Error").because(9999, &text));
    }
    let mut result = Map::new();
    for kind in kinds {
        let mut done = Vec::new();
        for operation in operations(kind) {
            let Value::Object(operation) = operation else {
                return Err(ApiError::new(400, 6007, "Malformed JSON in request body"));
            };
            let id = operation.get("id").and_then(Value::as_str).unwrap_or_default();
            let record = match kind {
                "deletes" => remove(records, zone, id)?,
                "patches" => update(records, zone, id, &operation, false)?,
                "puts" => update(records, zone, id, &operation, true)?,
                _ => create(records, zone, &operation, quota)?,
            };
            done.push(record.to_json());
        }
        // What was not asked for is null rather than empty.
        let done = if done.is_empty() { Value::Null } else { done.into() };
        result.insert(kind.to_owned(), done);
    }
    Ok(result.into())
}

/// The record that a body describes, on top of `base` if there is one.
fn checked(
    zone: &Zone,
    body: &Map<String, Value>,
    base: Option<&Record>,
) -> Result<Record, ApiError> {
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let invalid = |code: i64, message: &str| {
        ApiError::new(400, 1004, "DNS Validation Error").because(code, message)
    };
    let kind = match text("type").or(base.map(|b| b.kind.as_str())) {
        Some(kind @ ("A" | "AAAA" | "CAA" | "CNAME" | "MX" | "NS" | "TXT")) => kind.to_owned(),
        Some(kind) => return Err(invalid(9004, &format!("This API does not support {kind}."))),
        None => return Err(invalid(9004, "This DNS record type is invalid.")),
    };
    let name = match text("name").or(base.map(|b| b.name.as_str())) {
        Some(name) => full_name(zone, name).ok_or_else(|| invalid(9000, "DNS name is invalid."))?,
        None => return Err(invalid(9000, "DNS name is invalid.")),
    };
    let content = text("content").or(base.map(|b| b.content.as_str())).unwrap_or_default();
    let content = checked_content(&kind, content)?;
    let ttl = match body.get("ttl") {
        None => base.map_or(1, |b| b.ttl),
        Some(ttl) => match ttl.as_u64().and_then(|ttl| u32::try_from(ttl).ok()) {
            Some(ttl @ (1 | 60..=86_400)) => ttl,
            _ => {
                let text = "Invalid TTL. Must be between 60 and 86400 seconds, or 1 for Automatic.";
                return Err(ApiError::new(400, 9021, text));
            }
        },
    };
    let comment = match body.get("comment") {
        None => base.and_then(|b| b.comment.clone()),
        Some(comment) => comment.as_str().map(str::to_owned),
    };
    // The code is a guess.
    if comment.as_ref().is_some_and(|comment| comment.chars().count() > MAX_COMMENT) {
        let text = format!("DNS record comments must not exceed {MAX_COMMENT} characters.");
        return Err(invalid(9999, &text));
    }
    let (zone_id, zone) = (zone.id.clone(), zone.name.clone());
    Ok(Record { id: new_id(), zone_id, zone, name, kind, content, ttl, comment })
}

/// A name that does not end in the zone's is relative to it, as is `@`.
fn full_name(zone: &Zone, name: &str) -> Option<String> {
    let name = ascii(name);
    let inside = name == zone.name || name.ends_with(&format!(".{}", zone.name));
    let full = match name.as_str() {
        "@" => zone.name.clone(),
        _ if inside => name,
        _ => format!("{name}.{}", zone.name),
    };
    let label = |label: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'*');
        !label.is_empty() && label.len() <= 63 && label.bytes().all(allowed)
    };
    (full.len() <= 253 && full.split('.').all(label)).then_some(full)
}

fn checked_content(kind: &str, content: &str) -> Result<String, ApiError> {
    let bad = |code, text: &str| Err(ApiError::new(400, code, text));
    match kind {
        "TXT" => {
            let value = unquote(content);
            if value.is_empty() || value.len() > MAX_TXT {
                return bad(9007, "Content for TXT record is invalid.");
            }
            Ok(format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")))
        }
        "A" if content.parse::<Ipv4Addr>().is_err() => {
            bad(9005, "Content for A record is invalid. Must be a valid IPv4 address.")
        }
        "AAAA" if content.parse::<Ipv6Addr>().is_err() => {
            bad(9006, "Content for AAAA record is invalid. Must be a valid IPv6 address.")
        }
        _ if content.is_empty() => bad(9009, &format!("Content for {kind} record is invalid.")),
        _ => Ok(content.trim_end_matches('.').to_owned()),
    }
}

fn conflicts(records: &[Record], new: &Record) -> Result<(), ApiError> {
    for old in records.iter().filter(|r| r.zone_id == new.zone_id && r.name == new.name) {
        if old.kind == new.kind && old.content == new.content {
            return Err(ApiError::new(400, 81058, "An identical record already exists."));
        }
        if old.kind == "CNAME" {
            let text = "A CNAME record with that host already exists.";
            return Err(ApiError::new(400, 81054, text));
        }
        if new.kind == "CNAME" {
            let text = "An A, AAAA, or CNAME record with that host already exists.";
            return Err(ApiError::new(400, 81053, text));
        }
    }
    Ok(())
}
