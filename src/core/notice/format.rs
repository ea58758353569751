//! Bodies of webhooks: one function for each kind of receiver.

use super::{Notice, NoticeKind};
use crate::text::one_line;
use crate::time::UnixTime;
use serde_json::{Value, json};

/// Time for which Alertmanager shows an alert that is neither repeated nor resolved, in seconds: the notice of a
/// failure comes once an hour, that of an expiry once a day.
const ALERT: i64 = 26 * 3600;

/// Form of a webhook's body.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum NoticeFormat {
    /// The notice as JSON.
    #[default]
    Json,
    /// Slack's incoming webhooks; Mattermost and Rocket.Chat read the same.
    Slack,
    /// Matrix, by the generic webhooks of hookshot.
    Matrix,
    /// Discord.
    Discord,
    /// ntfy: a text, with its title and priority in headers.
    Ntfy,
    /// Gotify.
    Gotify,
    /// Alertmanager's API version 2.
    Alertmanager,
}

impl NoticeFormat {
    /// All formats, by their words.
    pub const ALL: [(&'static str, Self); 7] = [
        ("json", Self::Json),
        ("slack", Self::Slack),
        ("matrix", Self::Matrix),
        ("discord", Self::Discord),
        ("ntfy", Self::Ntfy),
        ("gotify", Self::Gotify),
        ("alertmanager", Self::Alertmanager),
    ];

    /// Returns its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, format)| *format == self).map_or("", |(word, _)| word)
    }
}

/// Body of a request, and the headers that belong to it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Payload {
    /// The body.
    pub body: String,
    /// Its media type.
    pub content_type: &'static str,
    /// Other headers, in ASCII.
    pub headers: Vec<(&'static str, String)>,
}

/// Writes a notice in a format.
#[must_use]
pub fn payload(notice: &Notice, format: NoticeFormat) -> Payload {
    let text = || json!({ "text": text(notice) });
    let body = match format {
        NoticeFormat::Ntfy => return ntfy(notice),
        NoticeFormat::Json => notice.json(),
        NoticeFormat::Slack => json!({ "text": escaped(&self::text(notice)) }).to_string(),
        NoticeFormat::Matrix => text().to_string(),
        NoticeFormat::Discord => discord(notice).to_string(),
        NoticeFormat::Gotify => gotify(notice).to_string(),
        NoticeFormat::Alertmanager => alertmanager(notice).to_string(),
    };
    Payload { body, content_type: "application/json", headers: Vec::new() }
}

fn text(notice: &Notice) -> String {
    format!("[{}] {}", notice.host, notice.message)
}

/// Slack's three control characters.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Discord refuses more than 2000 characters, and would notify whoever a text names.
fn discord(notice: &Notice) -> Value {
    let content: String = text(notice).chars().take(2000).collect();
    json!({ "content": content, "allowed_mentions": { "parse": [] } })
}

fn gotify(notice: &Notice) -> Value {
    let priority = if notice.kind.is_bad() { 8 } else { 4 };
    json!({ "title": notice.title(), "message": notice.message, "priority": priority })
}

fn ntfy(notice: &Notice) -> Payload {
    let priority = if notice.kind.is_bad() { "high" } else { "default" };
    let tag = if notice.kind.is_bad() { "warning" } else { "lock" };
    let title = one_line(&notice.title()).replace(|c: char| !c.is_ascii(), "?");
    let headers = vec![
        ("Title", title),
        ("Priority", priority.to_owned()),
        ("Tags", format!("{tag},{}", notice.kind)),
    ];
    Payload { body: text(notice), content_type: "text/plain; charset=utf-8", headers }
}

/// An alert; good news resolves the one before, which has the same labels.
fn alertmanager(notice: &Notice) -> Value {
    let (of, is_over) = match notice.kind {
        NoticeKind::Recovered => (NoticeKind::Failed, true),
        NoticeKind::Issued | NoticeKind::Renewed => (NoticeKind::Expiring, true),
        kind => (kind, false),
    };
    let severity = if notice.needs_person { "critical" } else { "warning" };
    let mut labels = json!({
        "alertname": "AcmeDnsCertificate", "event": of.word(), "instance": notice.host,
    });
    if let (Some(labels), Some(certificate)) = (labels.as_object_mut(), &notice.subject.certificate)
    {
        labels.insert("certificate".to_owned(), json!(certificate));
    }
    let annotations = json!({
        "summary": notice.title(), "description": notice.message, "severity": severity,
    });
    let UnixTime(time) = notice.time;
    let end = UnixTime(if is_over { time } else { time.saturating_add(ALERT) });
    let mut alert = json!({
        "labels": labels, "annotations": annotations, "endsAt": end.to_string(),
    });
    if let (Some(alert), false) = (alert.as_object_mut(), is_over) {
        alert.insert("startsAt".to_owned(), json!(notice.time.to_string()));
    }
    json!([alert])
}

#[cfg(test)]
mod tests {
    use super::{NoticeFormat, payload};
    use crate::notice::NoticeKind;
    use crate::notice::testing::notice;

    #[test]
    fn each_receiver_gets_what_it_reads() {
        use NoticeFormat::{Alertmanager, Discord, Gotify, Json, Matrix, Ntfy, Slack};
        for (format, kind, part) in [
            (Json, NoticeKind::Failed, "\"event\":\"failed\""),
            (
                Slack,
                NoticeKind::Failed,
                r#"{"text":"[web1] certificate \"a.example\" ü &lt;x&gt;"}"#,
            ),
            (Matrix, NoticeKind::Failed, r#"{"text":"[web1] certificate \"a.example\" ü <x>"}"#),
            (Discord, NoticeKind::Failed, r#""content":"[web1] certificate \"a.example\" ü <x>""#),
            (Gotify, NoticeKind::Failed, r#""priority":8,"title":"a.example: failed""#),
            (Gotify, NoticeKind::Renewed, r#""priority":4,"title":"a.example: renewed""#),
            (Ntfy, NoticeKind::Failed, "[web1] certificate \"a.example\" ü <x>"),
            (Alertmanager, NoticeKind::Failed, r#""startsAt":"2026-11-28T13:01:00Z""#),
            (Alertmanager, NoticeKind::Failed, r#""endsAt":"2026-11-29T15:01:00Z""#),
            (Alertmanager, NoticeKind::Failed, r#""certificate":"a.example","event":"failed""#),
            (Alertmanager, NoticeKind::Recovered, r#""certificate":"a.example","event":"failed""#),
            (Alertmanager, NoticeKind::Recovered, r#""endsAt":"2026-11-28T13:01:00Z""#),
            (Alertmanager, NoticeKind::Renewed, r#""event":"expiring""#),
        ] {
            let mut notice = notice(kind);
            notice.message.push_str(" <x>");
            let body = payload(&notice, format).body;
            assert!(body.contains(part), "{format:?} {kind}: {body}");
        }
    }

    #[test]
    fn headers_of_ntfy_are_ascii_and_one_line() {
        let mut notice = notice(NoticeKind::Expiring);
        notice.subject.certificate = Some("\u{fc}\r\nX: y".to_owned());
        let headers = payload(&notice, NoticeFormat::Ntfy).headers;
        assert!(headers.iter().all(|(_, value)| value.is_ascii() && !value.contains(['\r', '\n'])));
        assert_eq!(headers.len(), 3);
    }
}
