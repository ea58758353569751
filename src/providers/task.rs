//! One request, from its settings to its answer.

use crate::failure::sort;
use crate::reach::explain;
use crate::settings::Settings;
use crate::types::TYPES;
use acme_dns_core::providers_protocol::{
    Action, Answer, Failure, FailureKind, NameValues, Request,
};
use acme_dns_core::redact::Redactor;
use dns_update::{DnsRecord, DnsRecordType, DnsUpdater, Error};
use secrecy::SecretString;
use std::any::Any;
use std::panic;
use std::time::Duration;
use tokio::runtime;
use tokio::time::timeout;

/// Longest time for one of the HTTP requests of which a task consists.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// Error of a task, behind so many names that are done.
struct Broken {
    done: usize,
    error: Error,
}

/// Does a request. Its failures are without secrets.
pub(crate) fn run(request: Request) -> Answer {
    let redactor =
        Redactor::new(request.secrets.values().map(|it| SecretString::from(it.as_str())));
    let limit = Duration::from_secs(request.timeout);
    // A panic is an answer, and what it prints might be a secret.
    panic::set_hook(Box::new(|_| {}));
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(FailureKind::Other, error.to_string(), 0),
    };
    let answer = runtime.block_on(async {
        let task = tokio::spawn(perform(request));
        match timeout(limit, task).await {
            Ok(Ok(Ok(found))) => Answer::Ok(found),
            Ok(Ok(Err(Broken { done, error }))) => {
                let (kind, text) = explained(&error).await;
                failed(kind, redactor.hide(&text), done)
            }
            Ok(Err(error)) => {
                let text = format!("the library has failed: {}", words_of(error.try_into_panic()));
                failed(FailureKind::Other, redactor.hide(&text), 0)
            }
            Err(_) => {
                let text = format!("not done in {} s", limit.as_secs());
                failed(FailureKind::Unreachable, text, 0)
            }
        }
    });
    // A name that is still being looked up does not end by itself.
    runtime.shutdown_background();
    answer
}

fn failed(kind: FailureKind, text: String, done: usize) -> Answer {
    Answer::Error(Failure { kind, text, done })
}

/// Sorts an error, and gives a text that says what to look for.
async fn explained(error: &Error) -> (FailureKind, String) {
    match sort(error) {
        (FailureKind::Unreachable, text) => (FailureKind::Unreachable, explain(&text).await),
        other => other,
    }
}

async fn perform(request: Request) -> Result<Vec<NameValues>, Broken> {
    let updater = updater(&request).map_err(|error| Broken { done: 0, error })?;
    let mut found = Vec::new();
    for (done, records) in request.records.iter().enumerate() {
        let step = change(&updater, &request, records).await;
        found.extend(step.map_err(|error| Broken { done, error })?);
    }
    Ok(found)
}

/// Makes the library's client of a provider.
fn updater(request: &Request) -> Result<DnsUpdater, Error> {
    let kind = TYPES.iter().find(|kind| kind.name == request.kind);
    let unknown = || Error::Unsupported(format!("type \"{}\" is not known", request.kind));
    let limit = REQUEST_LIMIT.min(Duration::from_secs(request.timeout));
    (kind.ok_or_else(unknown)?.make)(&Settings::new(request), Some(limit))
}

/// Does what is asked for, at one name. [`Action::List`] gives those of its values that are there.
async fn change(
    updater: &DnsUpdater,
    request: &Request,
    NameValues { name, values }: &NameValues,
) -> Result<Option<NameValues>, Error> {
    let (zone, txt) = (request.zone.as_str(), DnsRecordType::TXT);
    let records = || values.iter().cloned().map(DnsRecord::TXT).collect();
    match request.action {
        Action::Add => updater.add_to_rrset(name, txt, request.ttl, records(), zone).await?,
        Action::Remove => updater.remove_from_rrset(name, txt, records(), zone).await?,
        Action::List => {
            let there = updater.list_rrset(name, txt, zone).await?;
            let is_there = |value: &&String| {
                there.iter().any(|record| matches!(record, DnsRecord::TXT(text) if text == *value))
            };
            let values = values.iter().filter(is_there).cloned().collect();
            return Ok(Some(NameValues { name: name.clone(), values }));
        }
    }
    Ok(None)
}

/// Gives the words of a panic.
fn words_of<E>(panic: Result<Box<dyn Any + Send>, E>) -> String {
    let Ok(payload) = panic else { return "it was interrupted".to_owned() };
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(words), _) => (*words).to_owned(),
        (_, Some(words)) => words.clone(),
        _ => "a panic without words".to_owned(),
    }
}
