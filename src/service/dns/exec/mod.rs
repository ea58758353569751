//! Programs of the user's that change the DNS: hooks that were written for dehydrated, lego or certbot, and
//! scripts of acme.sh.
//!
//! A hook can create a value and remove it, and nothing else: it lists no records. So what is there is known
//! here ([`names`]) as far as this process has created it. The clients that hooks are written for run one at
//! a time, and so does this, for each block. [`mod@call`] has the ways in which they are called.

mod call;
mod names;

use super::{
    About, DnsProvider, PlacedRecord, ProviderError, REMOVAL_LIMIT, Rule, SparedRecord, TxtRecord,
    Zone, by_rule,
};
use crate::event::ProviderEvent;
use crate::program::{Program, Programs, Redactor};
use acme_dns_core::challenge::base_of;
use acme_dns_core::config::{ExecProtocol, ExecSettings as Settings, ProgramFile, SecretId};
use async_trait::async_trait;
use call::{Action, Task, call};
use names::Names;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Mutex;

/// The program of one `acme_dns_provider` block.
pub struct Exec {
    name: String,
    settings: Settings,
    files: Vec<ProgramFile>,
    secrets: Vec<(String, SecretString)>,
    redactor: Redactor,
    programs: Rc<Programs>,
    /// Whoever has them may run the program.
    names: Mutex<Names>,
    tell: Rc<dyn Fn(ProviderEvent)>,
}

impl fmt::Debug for Exec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exec").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Exec {
    /// Makes a provider; `name` is the one of the block.
    pub fn new(
        name: &str,
        settings: &Settings,
        secret: impl Fn(SecretId) -> SecretString,
        programs: Rc<Programs>,
        tell: Rc<dyn Fn(ProviderEvent)>,
    ) -> Self {
        let secrets = settings.secrets.iter().map(|(name, id)| (name.clone(), secret(*id)));
        let secrets: Vec<(String, SecretString)> = secrets.collect();
        Self {
            name: name.to_owned(),
            settings: settings.clone(),
            files: settings.files(),
            redactor: Redactor::new(secrets.iter().map(|(_, secret)| secret.clone())),
            secrets,
            programs,
            names: Mutex::default(),
            tell,
        }
    }

    /// Divides records into those that the program is given at once.
    fn shares<'a, T>(&self, records: &'a [T]) -> std::slice::Chunks<'a, T> {
        let is_chained = self.settings.protocol.is_chained();
        records.chunks(if is_chained { records.len().max(1) } else { 1 })
    }

    /// Runs the program once, for records of a zone; gives its standard output.
    async fn run(&self, action: &Action<'_>, zone: &str) -> Result<String, ProviderError> {
        let failed = || format!("provider \"{}\" cannot {action} in zone \"{zone}\"", self.name);
        let Some(call) = call(&self.settings, &self.secrets, action) else {
            return Err(ProviderError::NoZone {
                action: failed(),
                detail: "it is not the name of a challenge, and this protocol has no others"
                    .to_owned(),
                advice: "use \"protocol lego\" or \"protocol acme.sh\"".to_owned(),
                about: About::Name,
            });
        };
        let program = Program {
            call,
            files: &self.files,
            redactor: &self.redactor,
            timeout: self.settings.timeout,
            timeout_advice: "; set \"timeout\" higher if it needs longer",
        };
        let tell = |line| {
            let provider = self.name.clone();
            (self.tell)(ProviderEvent::Output { provider, line });
        };
        self.programs.run(program, &tell).await.map_err(|error| {
            let is_general = error.is_general();
            let about = if is_general { About::Provider } else { About::Zone(zone.into()) };
            ProviderError::Program { action: failed(), error: Box::new(error), about }
        })
    }

    /// Removes records one by one, or all of them at once.
    async fn remove_values(
        &self,
        names: &mut Names,
        placed: &[&PlacedRecord],
    ) -> Result<(), ProviderError> {
        let all: Vec<&TxtRecord> = placed.iter().map(|placed| &placed.record).collect();
        let mut first_error = None;
        let shares = self.shares(placed).zip(self.shares(&all)).enumerate();
        for (at, (placed, records)) in shares {
            let output = records.first().map(|record| names.output_of(record)).unwrap_or_default();
            let remaining = all.len().saturating_sub(at + records.len());
            let action = Action { task: Task::Clean { output }, records, all: &all, remaining };
            let zone = placed.first().map_or("", |placed| &placed.zone.name);
            match self.run(&action, zone).await {
                Ok(_) => records.iter().for_each(|record| names.note_absent(record)),
                Err(error) if *error.about() == About::Provider => return Err(error),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    /// Removes all values of the records' names, but for names that others still need: whoever needs one last
    /// removes them. Not before: the program would remove what others have created.
    async fn remove_names(
        &self,
        names: &mut Names,
        placed: &[&PlacedRecord],
    ) -> Result<(), ProviderError> {
        let mut zones = BTreeMap::new();
        for PlacedRecord { record, zone, .. } in placed {
            names.leave(record);
            zones.insert(&record.name, &zone.name);
        }
        for (name, zone) in zones {
            let Some(left) = names.all_left(name) else { continue };
            // One call may remove them all, and the next one then find nothing.
            let mut is_first = true;
            for record in &left {
                let (output, records) = (names.output_of(record), &[record][..]);
                let task = Task::Clean { output };
                let action = Action { task, records, all: records, remaining: 0 };
                let removed = self.run(&action, zone).await;
                if is_first {
                    removed?;
                }
                is_first = false;
            }
            left.iter().for_each(|record| names.note_absent(record));
        }
        Ok(())
    }
}

#[async_trait(?Send)]
impl DnsProvider for Exec {
    fn removal_limit(&self, records: usize) -> Duration {
        let records = u32::try_from(records).unwrap_or(u32::MAX);
        REMOVAL_LIMIT.saturating_add(self.settings.timeout.saturating_mul(records))
    }

    /// Hooks of dehydrated and certbot are told the domain, and make the name themselves.
    fn can_hold(&self, record: &TxtRecord) -> bool {
        use ExecProtocol::{AcmeSh, Certbot, Dehydrated, Lego};
        match self.settings.protocol {
            Dehydrated { .. } | Certbot { .. } => base_of(&record.name).is_some(),
            Lego { .. } | AcmeSh { .. } => true,
        }
    }

    async fn create(
        &self,
        zone: &Zone,
        records: &[TxtRecord],
    ) -> Result<Vec<String>, ProviderError> {
        let mut names = self.names.lock().await;
        let all: Vec<&TxtRecord> = records.iter().collect();
        let mut rest = all.as_slice();
        for share in self.shares(&all) {
            let is_first = rest.len() == all.len();
            rest = rest.get(share.len()..).unwrap_or_default();
            // From now on, whatever happens, they may be there.
            share.iter().for_each(|record| names.hold(record));
            let (task, remaining) = (Task::Deploy, rest.len());
            let action = Action { task, records: share, all: &all, remaining };
            let error = match self.run(&action, &zone.name).await {
                Ok(output) => {
                    share.iter().for_each(|record| names.note_output(record, &output));
                    continue;
                }
                Err(error) => error,
            };
            let untouched = if error.is_definite() { share } else { &[] };
            untouched.iter().chain(rest).for_each(|record| names.note_absent(record));
            return Err(match error {
                // Those before are there.
                error if error.is_definite() && !is_first => {
                    ProviderError::Unclear(Box::new(error))
                }
                error => error,
            });
        }
        // Its value is all that tells a record from others.
        Ok(records.iter().map(|record| record.value.clone()).collect())
    }

    async fn remove(
        &self,
        placed: &[PlacedRecord],
        rule: &Rule<'_>,
    ) -> Result<Vec<SparedRecord>, ProviderError> {
        let (mut allowed, spared) = by_rule(placed, rule);
        let mut names = self.names.lock().await;
        allowed.retain(|placed| !names.is_absent(&placed.record));
        match self.settings.removes_by_name {
            true => self.remove_names(&mut names, &allowed).await?,
            false => self.remove_values(&mut names, &allowed).await?,
        }
        Ok(spared)
    }
}
