//! Errors of DNS providers as findings: the one place that knows which row each of them is.

use crate::dns::{About, ProviderError, Refusal};
use acme_dns_core::config::{Provider, ProviderKind};
use acme_dns_core::findings::{Finding, Row, rows};

/// Words by which APIs refuse an address, in lower case.
const OF_ADDRESS: [&str; 4] =
    ["ip address", "from location", "client ip", "not allowed to access from"];

/// Explains an error of a provider; `zone` is that of the record, or the record's name where the zone is not
/// known.
pub(super) fn explain(error: &ProviderError, config: &Provider, zone: &str) -> Finding {
    let text = words(error);
    let values = [("provider", config.name.as_str()), ("zone", zone), ("words", &text)];
    row(error, config).finding(&values)
}

fn row(error: &ProviderError, config: &Provider) -> Row {
    match error {
        ProviderError::Unreachable { detail, .. } if detail.contains("certificate verify") => {
            rows::C07
        }
        ProviderError::Unreachable { .. }
        | ProviderError::Unavailable { .. }
        | ProviderError::Unexpected { .. } => rows::C06,
        ProviderError::Throttled { .. } => rows::C10,
        ProviderError::Unauthorized { refusal, about, .. } => of_refusal(refusal, config)
            .unwrap_or(match about {
                About::Credentials | About::Provider => rows::C01,
                About::Zone(_) | About::Quota { .. } | About::Name => rows::C02,
            }),
        ProviderError::Refused { refusal, .. } => of_refusal(refusal, config).unwrap_or(rows::C02),
        ProviderError::Unclear(error) => row(error, config),
        ProviderError::Unresolved { .. } => rows::D12_DOWN,
        ProviderError::Program { .. } => rows::X01,
        ProviderError::NoZone { .. } => rows::C03,
    }
}

/// Reads the words of a refusal.
fn of_refusal(refusal: &Refusal, config: &Provider) -> Option<Row> {
    let texts: Vec<String> =
        refusal.reasons.iter().map(|reason| reason.text.to_ascii_lowercase()).collect();
    let has = |word: &str| texts.iter().any(|text| text.contains(word));
    let has_word = |word: &str| {
        let is_word = |text: &String| {
            text.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| part == word)
        };
        texts.iter().any(is_word)
    };
    if matches!(config.kind, ProviderKind::Rfc2136(_)) {
        return Some(match () {
            () if has("badsig") => rows::R01,
            () if has("badkey") => rows::R02,
            () if has("badtime") => rows::R03_TSIG,
            () => rows::R04,
        });
    }
    if OF_ADDRESS.iter().any(|words| has(words)) {
        return Some(rows::C08);
    }
    has_word("ttl").then_some(rows::C09)
}

/// Gives an error without the action that has failed.
fn words(error: &ProviderError) -> String {
    let with_advice = |refusal: &Refusal, advice: &str| match advice {
        "" => refusal.to_string(),
        advice => format!("{refusal}; {advice}"),
    };
    match error {
        ProviderError::Unreachable { detail, .. }
        | ProviderError::Unexpected { detail, .. }
        | ProviderError::Unresolved { detail, .. }
        | ProviderError::NoZone { detail, .. } => detail.clone(),
        ProviderError::Unavailable { refusal, .. } => refusal.to_string(),
        ProviderError::Throttled { retry_after, .. } => match retry_after {
            Some(pause) => format!("the next in {} s", pause.as_secs()),
            None => "it does not say for how long".to_owned(),
        },
        ProviderError::Unauthorized { refusal, advice, .. }
        | ProviderError::Refused { refusal, advice, .. } => with_advice(refusal, advice),
        ProviderError::Program { error, .. } => error.to_string(),
        ProviderError::Unclear(error) => words(error),
    }
}

#[cfg(test)]
mod tests {
    use super::explain;
    use crate::dns::{About, ProviderError, Refusal, RefusalReason};
    use acme_dns_core::config::{
        DnsServer, PowerDnsSettings, Provider, ProviderKind, Rfc2136Settings, SecretId,
        TsigAlgorithm,
    };
    use std::time::Duration;

    fn provider(kind: ProviderKind) -> Provider {
        let name = "dns".to_owned();
        Provider { name, zones: Vec::new(), zone: None, kind, secrets: Vec::new() }
    }

    fn api() -> Provider {
        provider(ProviderKind::PowerDns(PowerDnsSettings {
            api: "http://127.0.0.1".to_owned(),
            api_key: SecretId(0),
            server_id: "localhost".to_owned(),
            ttl: 60,
            trusted_certificate: None,
        }))
    }

    fn updates() -> Provider {
        provider(ProviderKind::Rfc2136(Rfc2136Settings {
            server: DnsServer::parse("127.0.0.1").unwrap(),
            key_name: "key".to_owned(),
            key: SecretId(0),
            algorithm: TsigAlgorithm::Sha256,
            tcp: false,
            ttl: 60,
        }))
    }

    fn refusal(text: &str) -> Refusal {
        Refusal { status: 403, reasons: vec![RefusalReason { code: 0, text: text.to_owned() }] }
    }

    fn unauthorized(text: &str, about: About) -> ProviderError {
        let (action, advice) = ("asking".to_owned(), "look".to_owned());
        ProviderError::Unauthorized { action, refusal: refusal(text), advice, about }
    }

    fn refused(text: &str) -> ProviderError {
        let (action, advice) = ("asking".to_owned(), String::new());
        ProviderError::Refused { action, refusal: refusal(text), advice, about: About::Name }
    }

    fn unreachable(detail: &str) -> ProviderError {
        ProviderError::Unreachable { action: "asking".to_owned(), detail: detail.to_owned() }
    }

    #[test]
    fn each_error_is_a_row() {
        let (api, updates) = (api(), updates());
        let zone = || About::Zone("example.com".into());
        let throttled = ProviderError::Throttled {
            action: "asking".to_owned(),
            retry_after: Some(Duration::from_secs(3)),
        };
        for (error, config, expected) in [
            (unauthorized("Invalid access token", About::Credentials), &api, "C01"),
            (unauthorized("no", zone()), &api, "C02"),
            (refused("no"), &api, "C02"),
            (unreachable("cannot connect (h): refused"), &api, "C06"),
            (unreachable("cannot connect (h): certificate verify failed"), &api, "C07"),
            (
                unauthorized(
                    "Cannot use the access token from location: 192.0.2.1",
                    About::Credentials,
                ),
                &api,
                "C08",
            ),
            (refused("TTL must be at least 300"), &api, "C09"),
            (refused("the throttle"), &api, "C02"),
            (throttled, &api, "C10"),
            (unauthorized("BADSIG", About::Credentials), &updates, "R01"),
            (unauthorized("BADKEY", zone()), &updates, "R02"),
            (unauthorized("BADTIME", About::Provider), &updates, "R03"),
            (unauthorized("REFUSED", zone()), &updates, "R04"),
            (ProviderError::Unclear(Box::new(refused("NOTAUTH"))), &updates, "R04"),
        ] {
            let finding = explain(&error, config, "example.com");
            assert_eq!(finding.id, expected, "{error}");
            assert!(!finding.observed.contains("asking"), "{}", finding.observed);
        }
    }
}
