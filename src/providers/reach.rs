//! Reasons why a host cannot be reached. The library's text has the URL, perhaps with a secret in it, and no reason.

use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use std::error::Error;
use std::time::Duration;

/// Longest time for looking.
const LIMIT: Duration = Duration::from_secs(5);

/// Tells in other words why the request that a text is about had no answer: its host is asked once more, for
/// nothing.
pub(crate) async fn explain(text: &str) -> String {
    let Some(origin) = origin_in(text) else { return "the provider does not answer".to_owned() };
    let client = Client::builder().redirect(Policy::none()).timeout(LIMIT).build();
    let answer = match client {
        Ok(client) => client.get(&origin).send().await.map(|_| ()),
        Err(error) => Err(error),
    };
    match answer {
        Err(error) => format!("cannot reach {origin}: {}", causes(&error.without_url())),
        Ok(()) => format!("a request to {origin} had no answer, or not all of it"),
    }
}

/// Finds the first URL in a text, and gives its scheme, host and port.
fn origin_in(text: &str) -> Option<String> {
    let at = text.find("https://").or_else(|| text.find("http://"))?;
    let is_end = |c: char| c.is_whitespace() || matches!(c, ')' | '"' | '\'');
    let url = text.get(at..)?.split(is_end).next()?;
    let url = Url::parse(url.trim_end_matches(':')).ok()?;
    Some(url.origin().ascii_serialization())
}

/// Lists what has led to an error, the last cause behind all others.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.ends_with(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::origin_in;

    #[test]
    fn the_host_of_a_request_is_found_without_its_secrets() {
        for (text, expected) in [
            ("Failed to send request to https://a.test/x?key=k: error", Some("https://a.test")),
            (
                "error sending request for url (https://u:p@a.test:8443/)",
                Some("https://a.test:8443"),
            ),
            ("to http://127.0.0.1:5000/2013/: x", Some("http://127.0.0.1:5000")),
            ("to https://a.test: x", Some("https://a.test")),
            ("lightsail request: x", None),
        ] {
            assert_eq!(origin_in(text).as_deref(), expected, "{text}");
        }
    }
}
