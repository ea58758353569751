//! The ways in which programs are called: arguments and environment of each protocol.

use crate::dns::TxtRecord;
use crate::program::{Call, Input};
use acme_dns_core::challenge::base_of;
use acme_dns_core::config::{CommandLine, ExecProtocol, ExecSettings};
use secrecy::{ExposeSecret, SecretString};
use std::fmt;

/// The shell of acme.sh's scripts, and what it is to do.
const SHELL: &str = "/bin/sh";
const ADAPTOR: &str = include_str!("adaptor.sh");

/// In the place of the file that dehydrated has for http-01.
const NO_TOKEN: &str = "-";

/// Task of a program.
#[derive(Debug)]
pub(super) enum Task {
    Deploy,
    /// Removal, with what was printed when the first of the records was created.
    Clean {
        output: String,
    },
}

/// Task of a program, with its records.
#[derive(Debug)]
pub(super) struct Action<'a> {
    pub(super) task: Task,
    /// At least one, and not more than one unless calls are chained.
    pub(super) records: &'a [&'a TxtRecord],
    /// All records that are created or removed together.
    pub(super) all: &'a [&'a TxtRecord],
    /// So many of them are left after these.
    pub(super) remaining: usize,
}

impl fmt::Display for Action<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.is_deploy() { "create" } else { "remove" };
        let name = self.records.first().map_or("", |record| &record.name);
        write!(f, "{verb} TXT record \"{name}\"")?;
        match self.records.len() {
            0 | 1 => Ok(()),
            length => write!(f, " and {} more", length - 1),
        }
    }
}

impl Action<'_> {
    fn is_deploy(&self) -> bool {
        matches!(self.task, Task::Deploy)
    }

    /// Chooses a word by the task.
    fn word(&self, deploy: &'static str, clean: &'static str) -> String {
        if self.is_deploy() { deploy } else { clean }.to_owned()
    }
}

/// Makes the call of a program. `None`: a record has a name that the protocol cannot say.
pub(super) fn call(
    settings: &ExecSettings,
    secrets: &[(String, SecretString)],
    action: &Action<'_>,
) -> Option<Call> {
    let mut variables = settings.variables.clone();
    if let ExecProtocol::AcmeSh { home, hook } = &settings.protocol {
        let record = action.records.first()?;
        let verb = action.word("add", "rm");
        // The name of the process comes first.
        let words = ["-c", ADAPTOR, "acme.sh", home, hook, &verb, &record.name, &record.value];
        let arguments = words.map(str::to_owned).to_vec();
        let input = Input::Text(assignments(secrets));
        return Some(Call { path: SHELL.to_owned(), arguments, variables, input });
    }
    let exposed =
        |(name, secret): &(String, SecretString)| (name.clone(), secret.expose_secret().to_owned());
    variables.extend(secrets.iter().map(exposed));
    let (command, arguments) = match &settings.protocol {
        ExecProtocol::Dehydrated { command, .. } => (command, dehydrated(action)?),
        ExecProtocol::Lego { command } => (command, lego(action)?),
        ExecProtocol::Certbot { command, cleanup } => {
            variables.extend(certbot(action)?);
            (if action.is_deploy() { command } else { cleanup }, Vec::new())
        }
        ExecProtocol::AcmeSh { .. } => return None,
    };
    let CommandLine { program, arguments: mut words } = command.clone();
    words.extend(arguments);
    Some(Call { path: program, arguments: words, variables, input: Input::Nothing })
}

/// `deploy_challenge DOMAIN TOKEN VALUE`, with three more words for each further record.
fn dehydrated(action: &Action<'_>) -> Option<Vec<String>> {
    let mut words = vec![action.word("deploy_challenge", "clean_challenge")];
    for record in action.records {
        let domain = base_of(&record.name)?.to_owned();
        words.extend([domain, NO_TOKEN.to_owned(), record.value.clone()]);
    }
    Some(words)
}

/// `present FQDN. VALUE`
fn lego(action: &Action<'_>) -> Option<Vec<String>> {
    let record = action.records.first()?;
    let name = format!("{}.", record.name);
    Some(vec![action.word("present", "cleanup"), name, record.value.clone()])
}

/// The variables of certbot's manual hooks.
fn certbot(action: &Action<'_>) -> Option<Vec<(String, String)>> {
    let record = action.records.first()?;
    let domains = action.all.iter().map(|record| base_of(&record.name));
    let domains: Vec<&str> = domains.collect::<Option<_>>()?;
    let mut variables = vec![
        ("CERTBOT_DOMAIN", base_of(&record.name)?.to_owned()),
        ("CERTBOT_VALIDATION", record.value.clone()),
        ("CERTBOT_REMAINING_CHALLENGES", action.remaining.to_string()),
        ("CERTBOT_ALL_DOMAINS", domains.join(",")),
    ];
    if let Task::Clean { output } = &action.task {
        variables.push(("CERTBOT_AUTH_OUTPUT", output.trim().replace('\0', "")));
    }
    Some(variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Writes secrets as a shell reads them.
fn assignments(secrets: &[(String, SecretString)]) -> SecretString {
    let mut text = String::new();
    for (name, secret) in secrets {
        let quoted = secret.expose_secret().replace('\'', "'\\''");
        text.push_str(&format!("{name}='{quoted}'\n"));
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::assignments;
    use secrecy::{ExposeSecret, SecretString};

    #[test]
    fn secrets_are_quoted_for_a_shell() {
        let secret = |name: &str, text: &str| (name.to_owned(), SecretString::from(text));
        let text = assignments(&[secret("A", "it's $(x) `y`\n\"z\""), secret("B", "")]);
        assert_eq!(text.expose_secret(), "A='it'\\''s $(x) `y`\n\"z\"'\nB=''\n");
    }
}
