//! A hook: the block `acme_dns_hook PROGRAM [ARGUMENT ...] { ... }`.

use super::super::provider::fields::{Choice, Field, Kind, command};
use super::super::provider::{CommandLine, ProgramFile};
use super::super::{Resources, SecretId};
use super::block::{Block, set_events};
use crate::notice::NoticeKind;
use std::time::Duration;

const DIRECTIVE: &str = "acme_dns_hook";

/// Time for a program where none is set: to reload other software takes seconds.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

const FIELDS: &[Field] = &[
    Field::optional("protocol", Kind::Choice(&[Choice::new("json"), Choice::new("dehydrated")])),
    Field::optional(
        "timeout",
        Kind::Time { least: Duration::from_secs(1), most: Duration::from_secs(3600) },
    ),
    Field::optional("env", Kind::Variable),
    Field::optional("secret", Kind::SecretVariable),
];

/// A program that is run when something happens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hook {
    /// The program.
    pub command: CommandLine,
    /// The kinds of notices that it is for.
    pub events: Vec<NoticeKind>,
    /// The way in which it is called.
    pub protocol: HookProtocol,
    /// The time that it may take.
    pub timeout: Duration,
    /// Variables of its environment.
    pub variables: Vec<(String, String)>,
    /// Variables whose values are secret.
    pub secrets: Vec<(String, SecretId)>,
}

/// Way in which a hook is called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HookProtocol {
    /// The notice as JSON on standard input, and its most important members in the environment.
    Json,
    /// The arguments of dehydrated's `deploy_cert`.
    Dehydrated,
}

impl Hook {
    /// Gives the file that is carried out.
    #[must_use]
    pub fn file(&self) -> ProgramFile {
        self.command.file()
    }
}

/// Reader of the block, one directive after the other.
#[derive(Debug)]
pub struct HookReader {
    command: CommandLine,
    events: Vec<NoticeKind>,
    block: Block,
}

impl HookReader {
    /// Begins a block with the arguments of its directive: the program and its arguments.
    ///
    /// # Errors
    /// The program is no absolute path.
    pub fn new(args: &[&str]) -> Result<Self, String> {
        let command = command(DIRECTIVE, args)?;
        Ok(Self { command, events: Vec::new(), block: Block::new(FIELDS) })
    }

    /// Reads one directive of the block.
    ///
    /// # Errors
    /// The directive is unknown, a duplicate, or has a bad value.
    pub fn set(
        &mut self,
        directive: &str,
        args: &[&str],
        resources: &mut dyn Resources,
    ) -> Result<(), String> {
        match directive {
            "events" => set_events(&mut self.events, args),
            _ => self.block.set(directive, args, resources),
        }
    }

    /// Ends the block.
    ///
    /// # Errors
    /// The protocol has no word for an event.
    pub fn finish(self) -> Result<Hook, String> {
        let Self { command, mut events, block: Block { mut values, .. } } = self;
        let protocol = match values.choice("protocol") {
            Some("dehydrated") => HookProtocol::Dehydrated,
            _ => HookProtocol::Json,
        };
        let can_say = |kind: &NoticeKind| protocol == HookProtocol::Json || kind.is_deployment();
        if events.is_empty() {
            events = NoticeKind::ALL.into_iter().filter(can_say).collect();
        }
        if let Some(kind) = events.iter().find(|kind| !can_say(kind)) {
            return Err(format!(
                "event \"{kind}\" makes no sense with \"protocol dehydrated\", which is for \"issued\" and \
                 \"renewed\""
            ));
        }
        Ok(Hook {
            command,
            events,
            protocol,
            timeout: values.time("timeout").unwrap_or(DEFAULT_TIMEOUT),
            variables: values.variables(),
            secrets: values.secret_variables(),
        })
    }
}
