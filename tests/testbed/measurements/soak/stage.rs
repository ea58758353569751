//! The servers of a soak, and the nginx in front of them.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use servers::acme_proxy::AcmeProxy;
use servers::bed::{Testbed, ZONE, issuer};
use servers::paths::FAKETIME;
use servers::ports::Port;
use servers::process::wait_until;

use crate::clients::tls::TlsClient;
use crate::measurements::proc;
use crate::nginx::Nginx;
use crate::nginx::build::NginxBuild;

use super::Plan;
use super::random::Random;
use super::report;

/// Longer than the first certificates take together on a busy machine.
const FIRST: Duration = Duration::from_secs(120);

/// Every so many servers has a wildcard besides its name.
const WILDCARD_EVERY: usize = 5;

/// Number of servers that an edit changes.
const EDITED: usize = 4;

/// A way to write a server with the same certificate, or with one more name.
#[derive(Clone, Copy, Debug, Default)]
enum Style {
    #[default]
    Plain,
    /// The names in the other order.
    Reversed,
    /// A name more, in front.
    Longer,
    /// The certificate has a name of its own.
    Named,
}

const STYLES: [Style; 4] = [Style::Plain, Style::Reversed, Style::Longer, Style::Named];

/// The fields are dropped in their order.
pub(super) struct Stage {
    pub(super) nginx: Nginx,
    pub(super) proxy: AcmeProxy,
    pub(super) bed: Testbed,
    pub(super) workers: usize,
    port: Port,
    /// The style of each server, in the order of the configuration.
    servers: Vec<(usize, Style)>,
    /// The file that libfaketime reads: the seconds that the clock of nginx is ahead.
    clock: PathBuf,
}

/// Remains of orders.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Left {
    pub(super) journal: Vec<String>,
    pub(super) orders: Vec<String>,
    pub(super) records: usize,
}

impl Stage {
    pub(super) fn start(plan: &Plan) -> Self {
        let bed = Testbed::start_with(|options| options.shortlived(plan.validity));
        let nginx = Nginx::new(NginxBuild::get());
        let mut stage = Self {
            clock: nginx.dir().join("clock"),
            nginx,
            proxy: bed.acme_proxy(),
            workers: plan.workers,
            port: Port::reserve(),
            servers: (0..plan.certificates).map(|number| (number, Style::Plain)).collect(),
            bed,
        };
        // At `info` nginx logs each connection that brings no request.
        stage.nginx.workers(plan.workers).log_level("notice");
        stage.set_clock(0);
        let clock = stage.clock.display().to_string();
        for (name, value) in [
            ("LD_PRELOAD", FAKETIME),
            ("FAKETIME_TIMESTAMP_FILE", &clock),
            ("FAKETIME_CACHE_DURATION", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ] {
            stage.nginx.env(name, value);
        }
        let http = stage.configuration();
        stage.nginx.http(http).start();
        stage
    }

    fn configuration(&self) -> String {
        let profile = "profile shortlived require;";
        let (url, ca) = (self.proxy.directory_url(), self.proxy.ca_file());
        let mut text = issuer("pebble", &url, ca, profile);
        text.push_str(&self.bed.provider());
        text.push_str(&self.bed.propagation());
        for (number, style) in &self.servers {
            text.push_str(&self.server(*number, *style));
        }
        text
    }

    fn server(&self, number: usize, style: Style) -> String {
        let mut names = names(number);
        match style {
            Style::Plain | Style::Named => {}
            Style::Reversed => names.reverse(),
            Style::Longer => names.insert(0, format!("a.s{number}.{ZONE}")),
        }
        let name = match style {
            Style::Named => format!(" name=named{number}"),
            _ => String::new(),
        };
        let (addr, names) = (self.port.addr(), names.join(" "));
        format!(
            "server {{\n    listen {addr} ssl;\n    server_name {names};\n    acme_dns on{name};\n}}\n"
        )
    }

    /// Writes some servers in another way and all of them in another order, and reloads.
    pub(super) fn edit(&mut self, random: &mut Random) {
        random.shuffle(&mut self.servers);
        for (_, style) in self.servers.iter_mut().take(EDITED) {
            *style = STYLES[random.below(STYLES.len())];
        }
        let http = self.configuration();
        self.nginx.http(http).reload();
    }

    /// Sets the clock of all of nginx's processes that many seconds ahead.
    pub(super) fn set_clock(&self, ahead: i64) {
        // It is read while it is written: never half of it.
        let new = self.clock.with_extension("new");
        fs::write(&new, format!("{ahead:+}\n"))
            .and_then(|()| fs::rename(&new, &self.clock))
            .unwrap_or_else(|e| panic!("cannot write {}: {e}", self.clock.display()));
    }

    /// For each certificate the clients of all of its names, which trust the CA alone.
    pub(super) fn clients(&self) -> Vec<Vec<TlsClient>> {
        let roots = self.bed.pebble.root_pem(0);
        let client = |name: &String| {
            let name = name.replace('*', "www");
            TlsClient::new(self.port.addr()).sni(&name).roots(&roots)
        };
        let clients = |number| names(number).iter().map(client).collect();
        (0..self.servers.len()).map(clients).collect()
    }

    pub(super) fn wait_for_certificates(&self) {
        for client in self.clients().iter().flatten() {
            let served = wait_until(FIRST, || client.handshake().ok());
            assert!(served.is_some(), "no certificate {client:?}:\n{}", self.nginx.log());
        }
    }

    /// The helper that works or will work.
    pub(super) fn helper(&self) -> Option<u32> {
        proc::services(self.nginx.master_pid()).last().copied()
    }

    /// Waits for a moment at which no order has left anything; gives what is left otherwise.
    pub(super) fn wait_until_clean(&self, limit: Duration) -> Left {
        let mut left = Left::default();
        let clean = wait_until(limit, || {
            left = self.left();
            (left == Left::default()).then_some(())
        });
        clean.map_or(left, |()| Left::default())
    }

    /// Lines of the log that no outage explains: processes that ended on their own, what they left
    /// open, panics.
    pub(super) fn alerts(&self) -> Vec<String> {
        report::alerts(&self.nginx.log())
    }

    fn left(&self) -> Left {
        let (journal, orders) = (self.entries("journal"), self.entries("orders"));
        // The records last, and only if no order is under way: DNS takes long to list them.
        let records = if journal.is_empty() && orders.is_empty() {
            self.bed.cloudflare.txt_records().len() + self.bed.dns.all_txt().len()
        } else {
            0
        };
        Left { journal, orders, records }
    }

    fn entries(&self, directory: &str) -> Vec<String> {
        let path = self.nginx.dir().join("acme_dns").join(directory);
        let entries =
            fs::read_dir(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
        entries.filter_map(|e| Some(e.ok()?.file_name().to_string_lossy().into_owned())).collect()
    }
}

/// The names of a server.
fn names(number: usize) -> Vec<String> {
    let name = format!("s{number}.{ZONE}");
    let wildcard = number.is_multiple_of(WILDCARD_EVERY).then(|| format!("*.{name}"));
    [name].into_iter().chain(wildcard).collect()
}
