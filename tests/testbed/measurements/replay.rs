//! Puts the requests that a [`crate::measurements::recorder::Recorder`] has written down to an API, and compares
//! the answers.
//!
//! Status, codes, members and types have to be the same. Identifiers differ: what the recorded answers call a
//! thing is learned from the answers that stand for them.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;
use servers::rt;

/// Longer than an answer takes.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Identifiers of the recording, and what they are here.
type Names = HashMap<String, String>;

/// Puts all requests, one after the other; `tokens` are those that the recording names. Gives what differs.
///
/// # Panics
/// If the recording is none, or the API does not answer.
#[must_use]
pub fn replay(exchanges: &[Value], api: &str, tokens: &HashMap<&str, &str>) -> Vec<String> {
    let client = rt::http_client(TIMEOUT, None);
    let (mut names, mut differences) = (Names::new(), Vec::new());
    for (number, exchange) in exchanges.iter().enumerate() {
        let (status, answer) = rt::block_on(put(&client, api, exchange, tokens, &names));
        let what = format!("{number}: {} {}", exchange["method"], exchange["path"]);
        if exchange["status"] != status {
            differences.push(format!("{what}: status {status}, recorded {}", exchange["status"]));
        }
        compare(&what, &exchange["answer"], &answer, &mut names, &mut differences);
    }
    differences
}

async fn put(
    client: &reqwest::Client,
    api: &str,
    exchange: &Value,
    tokens: &HashMap<&str, &str>,
    names: &Names,
) -> (u16, Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let method = reqwest::Method::from_bytes(text(&exchange["method"]).as_bytes());
    let method = method.unwrap_or_else(|e| panic!("not a method: {e}"));
    let url = format!("{api}{}", renamed(&text(&exchange["path"]), names));
    let query = exchange["query"].as_array().into_iter().flatten();
    let query = query.map(|pair| (text(&pair[0]), renamed(&text(&pair[1]), names)));
    let query: String =
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    let query = if query.is_empty() { query } else { format!("?{query}") };
    let mut request = client.request(method, format!("{url}{query}"));
    if let Some(token) = exchange["token"].as_str() {
        let known = tokens.get(token);
        request = request.bearer_auth(known.unwrap_or_else(|| panic!("no token \"{token}\"")));
    }
    if !exchange["body"].is_null() {
        let body = renamed(&exchange["body"].to_string(), names);
        request = request.header("content-type", "application/json").body(body);
    }
    let answer = request.send().await.unwrap_or_else(|e| panic!("the API does not answer: {e}"));
    let status = answer.status().as_u16();
    let body = answer.bytes().await.unwrap_or_else(|e| panic!("the answer breaks off: {e}"));
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

fn renamed(text: &str, names: &Names) -> String {
    names.iter().fold(text.to_owned(), |text, (recorded, here)| text.replace(recorded, here))
}

/// Compares what is at the same place of two answers, and learns what is called otherwise.
fn compare(
    place: &str,
    recorded: &Value,
    here: &Value,
    names: &mut Names,
    differences: &mut Vec<String>,
) {
    match (recorded, here) {
        (Value::Object(recorded), Value::Object(members)) => {
            for (key, value) in recorded {
                let place = format!("{place}.{key}");
                match members.get(key) {
                    None => differences.push(format!("{place} is missing")),
                    Some(here) => compare(&place, value, here, names, differences),
                }
            }
        }
        (Value::Array(recorded), Value::Array(items)) => {
            if recorded.len() != items.len() {
                let (there, here) = (recorded.len(), items.len());
                differences.push(format!("{place} has {here} items, recorded {there}"));
            }
            for (value, here) in recorded.iter().zip(items) {
                compare(&format!("{place}[]"), value, here, names, differences);
            }
        }
        (Value::String(recorded), Value::String(here)) => {
            let is_identifier =
                recorded.len() == 32 && recorded.bytes().all(|b| b.is_ascii_hexdigit());
            if is_identifier {
                names.insert(recorded.clone(), here.clone());
            }
        }
        // What says how it went has to be the same, not only of the same type.
        (recorded, here)
            if recorded != here && (place.ends_with(".code") || place.ends_with(".success")) =>
        {
            differences.push(format!("{place} is {here}, recorded {recorded}"));
        }
        (recorded, here) if kind(recorded) != kind(here) => {
            differences.push(format!("{place} is {}, recorded {}", kind(here), kind(recorded)));
        }
        _ => {}
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
