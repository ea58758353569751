//! The forms in which the status is shown.

use super::assemble::Order;
use super::control::Answer;
use super::page::Page;
use super::{html, json, prometheus};
use std::time::Duration;

/// Form of the status.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// For people.
    Html,
    /// For programs.
    Json,
    /// For Prometheus.
    Prometheus,
}

/// Media types that stand for a form, where a client says which it accepts.
const ACCEPTED: [(&str, Form); 6] = [
    ("text/html", Form::Html),
    ("application/xhtml+xml", Form::Html),
    ("application/json", Form::Json),
    ("text/plain", Form::Prometheus),
    ("application/openmetrics-text", Form::Prometheus),
    ("*/*", Form::Json),
];

impl Form {
    /// Reads the argument of `acme_dns_status`.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "html" => Some(Self::Html),
            "json" => Some(Self::Json),
            "prometheus" => Some(Self::Prometheus),
            _ => None,
        }
    }

    /// Chooses by the header `Accept` (RFC 9110 section 12.5.1): what is preferred, and of equals what is named first. A
    /// client that accepts nothing that there is gets JSON, which says more than an error.
    pub fn accepted(accept: Option<&str>) -> Self {
        let mut best = (0.0, Self::Json);
        for range in accept.unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
            let weight = weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0));
            let form = ACCEPTED.iter().find(|(name, _)| name.eq_ignore_ascii_case(kind));
            if let Some((_, form)) = form
                && weight > best.0
            {
                best = (weight, *form);
            }
        }
        best.1
    }

    /// Gives the media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Json => "application/json",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Gives the number of certificates of a page, unless another is asked for.
    pub fn size(self) -> usize {
        match self {
            Self::Html | Self::Json => 100,
            Self::Prometheus => super::query::MOST,
        }
    }

    /// Gives the order of certificates.
    pub fn order(self) -> Order {
        match self {
            Self::Html | Self::Json => Order::Urgency,
            Self::Prometheus => Order::Configuration,
        }
    }

    /// Writes a page.
    pub fn render(self, page: &Page) -> String {
        match self {
            Self::Html => html::render(page),
            Self::Json => json::render(page),
            Self::Prometheus => prometheus::render(page),
        }
    }

    /// Gives the time after which a client asks again by itself.
    pub fn refresh(self, page: &Page) -> Option<Duration> {
        (self == Self::Html).then(|| html::refresh(page)).flatten()
    }

    /// Writes an answer to a request for a renewal.
    pub fn render_answer(self, answer: &Answer) -> String {
        match self {
            Self::Html => html::answer(answer),
            Self::Json => json::answer(answer),
            Self::Prometheus => format!("{answer}\n"),
        }
    }

    /// Writes a page of one certificate that was asked for by its name.
    pub fn render_one(self, page: &Page) -> String {
        match self {
            Self::Html => html::render(page),
            Self::Json => json::render_one(page),
            Self::Prometheus => prometheus::render_certificates(page),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Form;

    #[test]
    fn a_client_gets_what_it_prefers() {
        let scrape = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (accept, expected) in [
            (None, Form::Json),
            (Some(""), Form::Json),
            (Some("*/*"), Form::Json),
            (Some("application/json"), Form::Json),
            (Some("text/plain"), Form::Prometheus),
            (Some("TEXT/PLAIN ; q=0.5, application/json;q=0.4"), Form::Prometheus),
            (Some("text/plain;q=0.4,application/json; q=0.5"), Form::Json),
            (Some("text/plain;q=0, image/png"), Form::Json),
            (Some("text/plain;q=x"), Form::Json),
            (Some(scrape), Form::Prometheus),
            (Some(browser), Form::Html),
        ] {
            assert_eq!(Form::accepted(accept), expected, "{accept:?}");
        }
        for form in [Form::Html, Form::Json, Form::Prometheus] {
            assert!(form.size() > 0 && form.content_type().contains('/'));
        }
        assert_eq!(Form::parse("json"), Some(Form::Json));
        assert_eq!(Form::parse("prometheus"), Some(Form::Prometheus));
        assert_eq!(Form::parse("html"), Some(Form::Html));
        assert_eq!(Form::parse("xml"), None);
    }
}
