//! Programs that are told: how they are called.

use crate::program::{Call, Input, Program, Programs, Redactor};
use acme_dns_core::config::{CommandLine, Hook, HookProtocol};
use acme_dns_core::notice::Notice;
use secrecy::{ExposeSecret, SecretString};
use std::rc::Rc;
use std::time::Duration;

/// Advice on a program that hangs.
const ADVICE: &str = ", set \"timeout\" if it needs more";

/// Listener to what programs print.
pub(super) type Say = dyn Fn(String);

/// Runner of programs that are told.
#[derive(Clone)]
pub(super) struct Runner {
    pub(super) programs: Rc<Programs>,
    /// Hears each line that they print.
    pub(super) say: Rc<Say>,
}

/// Call of a program for a notice.
pub(super) struct Run<'a> {
    pub(super) command: &'a CommandLine,
    /// Arguments behind those of the configuration.
    pub(super) arguments: Vec<String>,
    pub(super) variables: Vec<(String, String)>,
    pub(super) input: Input,
    pub(super) redactor: &'a Redactor,
    pub(super) timeout: Duration,
}

impl Runner {
    /// Runs a program to its end.
    ///
    /// # Errors
    /// It has not ended with status 0.
    pub(super) async fn run(&self, run: Run<'_>) -> Result<(), String> {
        let Run { command, arguments, variables, input, redactor, timeout } = run;
        let CommandLine { program: path, arguments: mut words } = command.clone();
        words.extend(arguments);
        let files = [command.file()];
        let program = Program {
            call: Call { path, arguments: words, variables, input },
            files: &files,
            redactor,
            timeout,
            timeout_advice: ADVICE,
        };
        let done = self.programs.run(program, &*self.say).await;
        done.map(drop).map_err(|error| error.to_string())
    }
}

/// Teller of a hook.
pub(super) struct HookTeller {
    hook: Hook,
    secrets: Vec<(String, SecretString)>,
    redactor: Redactor,
    runner: Runner,
}

impl HookTeller {
    pub(super) fn new(hook: Hook, secrets: Vec<(String, SecretString)>, runner: Runner) -> Self {
        let redactor = Redactor::new(secrets.iter().map(|(_, secret)| secret.clone()));
        Self { hook, secrets, redactor, runner }
    }

    pub(super) async fn tell(&self, notice: &Notice) -> Result<(), String> {
        let (arguments, input) = match self.hook.protocol {
            HookProtocol::Json => (Vec::new(), Input::Text(format!("{}\n", notice.json()).into())),
            HookProtocol::Dehydrated => (deploy_cert(notice), Input::Nothing),
        };
        let exposed = |(name, secret): &(String, SecretString)| {
            (name.clone(), secret.expose_secret().to_owned())
        };
        let mut variables = variables(notice);
        variables.extend(self.hook.variables.iter().cloned());
        variables.extend(self.secrets.iter().map(exposed));
        let run = Run {
            command: &self.hook.command,
            arguments,
            variables,
            input,
            redactor: &self.redactor,
            timeout: self.hook.timeout,
        };
        self.runner.run(run).await
    }
}

/// Gives the most important members of a notice, for scripts without a reader of JSON.
pub(super) fn variables(notice: &Notice) -> Vec<(String, String)> {
    let subject = &notice.subject;
    let members = [
        ("ACME_DNS_EVENT", Some(notice.kind.word())),
        ("ACME_DNS_CERTIFICATE", subject.certificate.as_deref()),
        ("ACME_DNS_PATH", subject.path.as_deref()),
        ("ACME_DNS_MESSAGE", Some(notice.message.as_str())),
    ];
    let set = members.into_iter().filter_map(|(name, value)| Some((name, value?)));
    set.map(|(name, value)| (name.to_owned(), value.replace('\0', ""))).collect()
}

/// Gives the arguments of dehydrated 0.7.1: `deploy_cert DOMAIN KEYFILE CERTFILE FULLCHAINFILE CHAINFILE TIMESTAMP`.
fn deploy_cert(notice: &Notice) -> Vec<String> {
    let subject = &notice.subject;
    let path = subject.path.as_deref().unwrap_or_default();
    let file = |name: &str| format!("{path}/{name}");
    vec![
        "deploy_cert".to_owned(),
        subject.sans.first().cloned().unwrap_or_default(),
        file("privkey.pem"),
        file("cert.pem"),
        file("fullchain.pem"),
        file("chain.pem"),
        notice.time.0.to_string(),
    ]
}
