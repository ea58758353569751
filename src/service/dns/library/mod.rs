//! Providers of the crate `dns-update`, through the program `acme-dns-providers` ([`exchange`]).
//!
//! Many of them replace what a name has, or a whole zone, by what they have just read there, and the last writer
//! wins. So one task at a time writes to such a zone ([`writers`]), whatever block it is of. And what was written is
//! read again: what another client has overwritten in between is written again.

mod exchange;
mod failure;
mod writers;

pub use writers::Writers;

use super::request::retrying;
use super::spacing::read_back;
use super::{
    DnsProvider, PlacedRecord, ProviderError, REMOVAL_LIMIT, Redactor, Rule, SparedRecord,
    TxtRecord, Zone, by_rule, names_of, txt_records,
};
use crate::event::ProviderEvent;
use crate::program::Programs;
use acme_dns_core::config::{
    LibrarySettings as Settings, ProgramFile, SecretId, SettingValue, Writes,
};
use acme_dns_core::providers_protocol::{Action, NameValues};
use async_trait::async_trait;
use futures_util::future::join_all;
use secrecy::SecretString;
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use url::Url;

/// Variables of the service's environment that the program has too: how hosts are reached and trusted.
const PASSED_ON: [&str; 10] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// Time that a request for one name may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A further name adds one of so many parts of it.
const LIMIT_PARTS: u32 = 6;

/// So often records are written until they stay.
const MAX_WRITES: usize = 4;

/// The least pause before records are read again ([`read_back`]).
const READ_BACK: Duration = Duration::from_millis(500);

/// The provider of one `acme_dns_provider` block.
pub struct Library {
    name: String,
    settings: Settings,
    secrets: Vec<(&'static str, SecretString)>,
    file: ProgramFile,
    environment: Vec<(String, String)>,
    redactor: Redactor,
    programs: Rc<Programs>,
    writers: Rc<Writers>,
    limit: Duration,
    tell: Rc<dyn Fn(ProviderEvent)>,
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Library").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Library {
    /// Makes a provider; `name` is the one of the block. All that may write to the same zones share `writers`.
    pub fn new(
        name: &str,
        settings: &Settings,
        secret: impl Fn(SecretId) -> SecretString,
        programs: Rc<Programs>,
        writers: Rc<Writers>,
        tell: Rc<dyn Fn(ProviderEvent)>,
    ) -> Self {
        let secrets = settings.values.iter().filter_map(|(name, value)| match value {
            SettingValue::Secret(id) => Some((*name, secret(*id))),
            _ => None,
        });
        let path = programs.providers_program().to_owned();
        let library = Self {
            name: name.to_owned(),
            settings: settings.clone(),
            secrets: secrets.collect(),
            file: ProgramFile { path, is_script: false },
            environment: Vec::new(),
            redactor: Redactor::new([]),
            programs,
            writers,
            limit: LIMIT,
            tell,
        };
        let set =
            PASSED_ON.iter().filter_map(|name| Some(((*name).to_owned(), env::var(name).ok()?)));
        library.with_environment(set.collect())
    }

    /// Changes what the program has of this process's environment.
    #[must_use]
    pub fn with_environment(mut self, environment: Vec<(String, String)>) -> Self {
        let secrets = self.secrets.iter().map(|(_, secret)| secret.clone());
        let proxies = environment.iter().filter_map(|(_, value)| password_in(value));
        self.redactor = Redactor::new(secrets.chain(proxies));
        self.environment = environment;
        self
    }

    /// Changes the time that a request for one name may take.
    #[must_use]
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Gives the time that a request may take: names are done one after the other.
    fn limit(&self, names: usize) -> Duration {
        let more = u32::try_from(names.saturating_sub(1)).unwrap_or(u32::MAX);
        self.limit.saturating_add((self.limit / LIMIT_PARTS).saturating_mul(more))
    }

    fn action(&self, what: impl fmt::Display) -> String {
        format!("provider \"{}\" cannot {what}", self.name)
    }

    /// Tells whether a change of the type's is lost when another one is made at the same time.
    fn loses_updates(&self) -> bool {
        self.settings.kind.writes != Writes::Record
    }

    /// Adds records, or removes them; again, as long as that fails for a while only.
    async fn change(
        &self,
        action: Action,
        zone: &str,
        records: &[NameValues],
        failed: &str,
    ) -> Result<(), ProviderError> {
        let change = async || {
            let _turn = match self.loses_updates() {
                true => Some(self.writers.turn(self.settings.kind.name, zone).await),
                false => None,
            };
            self.ask(action, zone, records, failed).await.map(|_| ())
        };
        retrying(change).await
    }

    /// Gives those of the records that are not there, or those that are.
    async fn look(
        &self,
        zone: &str,
        records: &[NameValues],
        are_there: bool,
        failed: &str,
    ) -> Result<Vec<NameValues>, ProviderError> {
        let found = retrying(async || self.ask(Action::List, zone, records, failed).await).await?;
        let has = |name: &str, value: &String| {
            found.iter().any(|of| of.name == name && of.values.contains(value))
        };
        let selected = records.iter().map(|NameValues { name, values }| {
            let values = values.iter().filter(|value| has(name, value) == are_there);
            NameValues { name: name.clone(), values: values.cloned().collect() }
        });
        Ok(selected.filter(|of| !of.values.is_empty()).collect())
    }

    /// Writes records until they stay.
    async fn settle(
        &self,
        zone: &str,
        mut records: Vec<NameValues>,
        failed: &str,
    ) -> Result<(), ProviderError> {
        for written in 0..MAX_WRITES {
            let begun = Instant::now();
            let added = self.change(Action::Add, zone, &records, failed).await;
            added.map_err(|error| error.after(written))?;
            if !self.loses_updates() {
                return Ok(());
            }
            sleep(read_back(READ_BACK, begun.elapsed())).await;
            let missing = self.look(zone, &records, false, failed).await;
            records = missing.map_err(|error| error.after(1))?;
            if records.is_empty() {
                return Ok(());
            }
            self.tell_overwritten(&records);
        }
        Err(overwritten_again(failed))
    }

    fn tell_overwritten(&self, records: &[NameValues]) {
        for NameValues { name, .. } in records {
            let (provider, name) = (self.name.clone(), name.clone());
            (self.tell)(ProviderEvent::Overwritten { provider, name });
        }
    }

    /// Removes records until they stay away.
    async fn clear(
        &self,
        zone: &str,
        mut records: Vec<NameValues>,
        failed: &str,
    ) -> Result<(), ProviderError> {
        for _ in 0..MAX_WRITES {
            let begun = Instant::now();
            self.change(Action::Remove, zone, &records, failed).await?;
            if !self.loses_updates() {
                return Ok(());
            }
            sleep(read_back(READ_BACK, begun.elapsed())).await;
            records = self.look(zone, &records, true, failed).await?;
            if records.is_empty() {
                return Ok(());
            }
            self.tell_overwritten(&records);
        }
        Err(overwritten_again(failed))
    }

    /// Removes records of one zone, and gives those that are there and may not be removed.
    async fn remove_from(
        &self,
        zone: &str,
        placed: &[&PlacedRecord],
        rule: &Rule<'_>,
    ) -> Result<Vec<SparedRecord>, ProviderError> {
        let names = names_of(placed.iter().map(|placed| &placed.record));
        let what = txt_records(&names);
        let failed = self.action(format_args!("remove {what} from zone \"{zone}\""));
        let (removable, mut refused) = by_rule(placed.iter().copied(), rule);
        let removable = by_name(removable.iter().map(|placed| &placed.record));
        if !removable.is_empty() {
            self.clear(zone, removable, &failed).await?;
        }
        if !refused.is_empty() {
            let kept = by_name(refused.iter().map(|spared| &spared.record));
            let there = self.look(zone, &kept, true, &failed).await?;
            refused.retain(|SparedRecord { record, .. }| {
                there.iter().any(|of| of.name == record.name && of.values.contains(&record.value))
            });
        }
        Ok(refused)
    }
}

#[async_trait(?Send)]
impl DnsProvider for Library {
    async fn create(
        &self,
        zone: &Zone,
        records: &[TxtRecord],
    ) -> Result<Vec<String>, ProviderError> {
        let what = txt_records(&names_of(records));
        let failed = self.action(format_args!("create {what} in zone \"{}\"", zone.name));
        self.settle(&zone.name, by_name(records), &failed).await?;
        // Its value is all that tells a record from others.
        Ok(records.iter().map(|record| record.value.clone()).collect())
    }

    async fn restore(&self, zone: &Zone, records: &[TxtRecord]) -> Result<(), ProviderError> {
        if !self.loses_updates() {
            return Ok(());
        }
        let what = txt_records(&names_of(records));
        let failed = self.action(format_args!("restore {what} in zone \"{}\"", zone.name));
        let missing = self.look(&zone.name, &by_name(records), false, &failed).await?;
        if missing.is_empty() {
            return Ok(());
        }
        self.tell_overwritten(&missing);
        self.settle(&zone.name, missing, &failed).await
    }

    fn removal_limit(&self, records: usize) -> Duration {
        REMOVAL_LIMIT.saturating_add(self.limit(records))
    }

    async fn remove(
        &self,
        placed: &[PlacedRecord],
        rule: &Rule<'_>,
    ) -> Result<Vec<SparedRecord>, ProviderError> {
        let mut by_zone: BTreeMap<&str, Vec<&PlacedRecord>> = BTreeMap::new();
        for one in placed {
            by_zone.entry(&one.zone.name).or_default().push(one);
        }
        let removals = by_zone.iter().map(|(zone, placed)| self.remove_from(zone, placed, rule));
        // What can be removed is, whatever happens to the rest.
        let removed = join_all(removals).await;
        Ok(removed.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }
}

/// Puts the values of each name together.
fn by_name<'a>(records: impl IntoIterator<Item = &'a TxtRecord>) -> Vec<NameValues> {
    let mut names: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for TxtRecord { name, value } in records {
        names.entry(name).or_default().insert(value);
    }
    let of_name = |(name, values): (&str, BTreeSet<&str>)| NameValues {
        name: name.to_owned(),
        values: values.into_iter().map(str::to_owned).collect(),
    };
    names.into_iter().map(of_name).collect()
}

/// Makes the error of records that do not stay as they were written.
fn overwritten_again(failed: &str) -> ProviderError {
    ProviderError::unexpected(failed, "other clients overwrite the records again and again")
}

/// Finds the password in the URL of a proxy.
fn password_in(value: &str) -> Option<SecretString> {
    Url::parse(value).ok()?.password().map(SecretString::from)
}
