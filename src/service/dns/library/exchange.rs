//! One request to the program: its call, its greeting and its answer.

use super::Library;
use super::failure::error_of;
use crate::dns::{About, ProviderError};
use crate::event::ProviderEvent;
use crate::program::{Call, Input, Program, ProgramError};
use acme_dns_core::config::SettingValue;
use acme_dns_core::providers_protocol::{
    Action, Answer, Hello, NameValues, PROGRAM, Request, VERSION,
};
use acme_dns_core::text::excerpt;
use secrecy::{ExposeSecret, SecretString};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// So much of a line that makes no sense is shown, in characters.
const MAX_SHOWN: usize = 80;

impl Library {
    /// Has the program do something with records of a zone; gives those that it has found. `failed` is the
    /// beginning of the message if it cannot.
    pub(super) async fn ask(
        &self,
        action: Action,
        zone: &str,
        records: &[NameValues],
        failed: &str,
    ) -> Result<Vec<NameValues>, ProviderError> {
        let broken = |error| ProviderError::Program {
            action: failed.to_owned(),
            error: Box::new(error),
            about: About::Provider,
        };
        let unexpected = |detail: &str| ProviderError::unexpected(failed, detail);
        let request = self.request(action, zone, records);
        let request = request.ok_or_else(|| unexpected("the request is not JSON"))?;
        let mistake = Rc::new(RefCell::new(None));
        let limit = self.limit(records.len());
        let output = self.run(request, limit, Rc::clone(&mistake)).await;
        if let Some(mistake) = mistake.take() {
            let path = self.file.path.clone();
            // Why it has failed is more than that its greeting is none.
            output.map_err(broken)?;
            return Err(broken(ProgramError::Unsuitable { path, mistake }));
        }
        let output = output.map_err(broken)?;
        let line = output.lines().nth(1).unwrap_or_default();
        match serde_json::from_str::<Answer>(line) {
            Ok(Answer::Ok(found)) => Ok(found),
            Ok(Answer::Error(failure)) => {
                let text = self.redactor.clean(&failure.text);
                Err(error_of(failed, zone, failure.kind, text).after(failure.done))
            }
            Err(_) => {
                let shown = excerpt(&self.redactor.hide(line), MAX_SHOWN);
                Err(unexpected(&format!("\"{}\" says \"{shown}\"", self.file.path)))
            }
        }
    }

    /// Runs the program and gives what it prints. `mistake` is what is wrong with its greeting: then it was sent
    /// nothing.
    async fn run(
        &self,
        request: SecretString,
        limit: Duration,
        mistake: Rc<RefCell<Option<String>>>,
    ) -> Result<String, ProgramError> {
        let kind = self.settings.kind.name;
        let reply = move |line: &str| match check(line, kind) {
            Ok(()) => Some(request.clone()),
            Err(text) => {
                mistake.replace(Some(text));
                None
            }
        };
        let call = Call {
            path: self.file.path.clone(),
            arguments: Vec::new(),
            variables: self.environment.clone(),
            input: Input::Reply(Box::new(reply)),
        };
        let program = Program {
            call,
            files: std::slice::from_ref(&self.file),
            redactor: &self.redactor,
            // It ends by itself before, with an answer.
            timeout: limit.saturating_add(limit / 4),
            timeout_advice: "",
        };
        let tell = |line| {
            let provider = self.name.clone();
            (self.tell)(ProviderEvent::Output { provider, line });
        };
        self.programs.run(program, &tell).await
    }

    /// Writes a request as the program reads it; `None` if it is no JSON.
    fn request(&self, action: Action, zone: &str, records: &[NameValues]) -> Option<SecretString> {
        let settings = self.settings.values.iter().filter_map(|(name, value)| match value {
            SettingValue::Text(text) => Some(((*name).to_owned(), text.clone())),
            SettingValue::Flag(is_on) => {
                Some(((*name).to_owned(), if *is_on { "on" } else { "off" }.to_owned()))
            }
            SettingValue::Secret(_) => None,
        });
        let exposed = |(name, secret): &(&str, SecretString)| {
            ((*name).to_owned(), secret.expose_secret().to_owned())
        };
        let request = Request {
            action,
            kind: self.settings.kind.name.to_owned(),
            settings: settings.collect(),
            secrets: self.secrets.iter().map(exposed).collect::<BTreeMap<_, _>>(),
            zone: zone.to_owned(),
            records: records.to_vec(),
            ttl: self.settings.ttl,
            timeout: self.limit(records.len()).as_secs(),
        };
        let mut line = serde_json::to_string(&request).ok()?;
        line.push('\n');
        Some(line.into())
    }
}

/// Checks that the program which greets is the one that is meant.
fn check(line: &str, kind: &str) -> Result<(), String> {
    let install = "install the package of this module's version";
    let Ok(Hello { protocol, version, types }) = serde_json::from_str(line) else {
        let shown = excerpt(line, MAX_SHOWN);
        return Err(format!("is not {PROGRAM}: it says \"{shown}\", {install}"));
    };
    if protocol != VERSION {
        return Err(format!(
            "is of version {version} and speaks version {protocol} of the protocol, this module of version {} speaks \
             version {VERSION}: {install}",
            env!("CARGO_PKG_VERSION")
        ));
    }
    match types.iter().any(|known| known == kind) {
        true => Ok(()),
        false => {
            Err(format!("is of version {version} and does not know type \"{kind}\": {install}"))
        }
    }
}
