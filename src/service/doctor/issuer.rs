//! The CA: its directory, what it offers, and our account there.

use super::{Doctor, clock};
use crate::acme::{Inspection, inspect};
use crate::store::{Account, Store};
use acme_dns_core::config::Issuer;
use acme_dns_core::findings::{Finding, rows};
use acme_dns_core::id::IssuerId;
use acme_dns_core::time::UnixTime;
use std::time::{Duration, SystemTime};
use tokio::time::timeout;

/// Longest look at a CA.
const LIMIT: Duration = Duration::from_secs(20);

impl Doctor {
    /// Looks at an issuer; gives what was found, and what the other checks need to know of it.
    pub(super) async fn inspect(&self, id: IssuerId) -> (Vec<Finding>, Option<Inspection>) {
        let Some(issuer) = self.config.issuers.get(id) else { return (Vec::new(), None) };
        let account = self.account(issuer);
        let looking = inspect(issuer, &self.clients, account, &self.host);
        let inspection = match timeout(LIMIT, looking).await {
            Ok(inspection) => inspection.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {} s", LIMIT.as_secs())),
        };
        let (mut findings, inspection) = match inspection {
            Ok(inspection) => (judge(issuer, &inspection), Some(inspection)),
            Err(words) => (vec![rows::I01.finding(&[("words", &words)])], None),
        };
        findings.extend(self.check_standing_key(issuer));
        let subject = format!("issuer {}", issuer.name);
        (findings.into_iter().map(|finding| finding.about(&subject)).collect(), inspection)
    }

    /// Reads the account from the state path, as far as this user can read it.
    fn account(&self, issuer: &Issuer) -> Option<Account> {
        let store = Store::look(&self.config.state_path).ok()?;
        let account = store.load_account(&issuer.name).ok()??;
        (account.directory == issuer.directory).then_some(account)
    }
}

fn judge(issuer: &Issuer, inspection: &Inspection) -> Vec<Finding> {
    let now = UnixTime::from(SystemTime::now());
    let mut good = vec![format!("directory answered in {:.2} s", inspection.took.as_secs_f64())];
    let mut findings = Vec::new();
    if let Some(profile) = &issuer.profile {
        let offered = match inspection.profiles.as_slice() {
            [] => "none".to_owned(),
            names => names.join(", "),
        };
        let values = [("profile", profile.name.as_str()), ("offered", &offered)];
        match inspection.profiles.contains(&profile.name) {
            true => good.push(format!("profile \"{}\" is offered", profile.name)),
            false if profile.required => findings.push(rows::I01_REQUIRED.finding(&values)),
            false => findings.push(rows::I01_PROFILE.finding(&values)),
        }
    }
    if inspection.requires_external_account && issuer.external_account.is_none() {
        findings.push(rows::I01_EXTERNAL.finding(&[]));
    }
    match &inspection.account {
        None => good.push("no account yet, or none that this user can read".to_owned()),
        Some(account) => match &account.refusal {
            None => good.push(format!("account {} is valid", account.url)),
            Some(words) if account.waits_for_person => {
                findings.push(rows::I01_TERMS.finding(&[("words", words)]));
            }
            Some(words) => {
                let values = [("account", account.url.as_str()), ("words", words)];
                findings.push(rows::I01_ACCOUNT.finding(&values));
            }
        },
    }
    if let Some(date) = inspection.date {
        match clock::compare(now, date) {
            None => good.push("clock agrees".to_owned()),
            Some(finding) => findings.push(finding),
        }
    }
    findings.insert(0, Finding::good("", &good.join("; ")));
    findings
}
