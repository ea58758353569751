//! Every request of an order is answered with an error, done without an answer, or never answered.
//!
//! All cells are under way at once, because each waits for a time limit or for the pause before the
//! next attempt: each has an issuer of its own, which is a proxy in front of Pebble, and a DNS
//! provider of its own.

use std::time::Instant;

use servers::acme_proxy::{AcmeProxy, AcmeStep};
use servers::bed::{ZONE, issuer};
use servers::cloudflare::{Cloudflare, Token};
use servers::process::wait_until;
use servers::traffic::{Action, Fault, Match, Traffic};

use super::requests::{Server, cloudflare_requests};
use super::{BYSTANDER, Matrix};
use crate::site::{LIMIT, Site};

/// Fate of the first requests of a step.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Error,
    Lost,
    Never,
}

impl Answer {
    fn action(self) -> Action {
        match self {
            Self::Error => Action::Status { status: 500, retry_after: None },
            Self::Lost => Action::LostAnswer,
            Self::Never => Action::Hang,
        }
    }

    /// Returns how often it comes.
    fn times(self) -> usize {
        match self {
            // So often that the attempt fails.
            Self::Error => 4,
            Self::Lost | Self::Never => 1,
        }
    }
}

struct Cell {
    name: String,
    step: String,
    answer: Answer,
    requests: Match,
    server: Server,
    proxy: AcmeProxy,
    cloudflare: Cloudflare,
}

impl Cell {
    fn traffic(&self) -> &Traffic {
        match self.server {
            Server::Acme => &self.proxy.traffic,
            Server::Cloudflare => &self.cloudflare.traffic,
        }
    }

    /// Returns whether a request has met the fault: it has no answer, or a bad one.
    fn has_struck(&self) -> bool {
        let requests = self.traffic().requests(&self.requests);
        requests.first().is_some_and(|first| first.status != Some(200) && first.status != Some(201))
    }
}

#[test]
fn errors_and_lost_answers_at_each_request() {
    run("answers that fail", &[Answer::Error, Answer::Lost]);
}

#[test]
fn no_answer_to_each_request() {
    run("answers that never come", &[Answer::Never]);
}

fn run(title: &'static str, answers: &[Answer]) {
    let mut matrix = Matrix::start(title);
    let acme = AcmeStep::ISSUANCE.map(|step| (format!("{step:?}"), Server::Acme, step.requests()));
    let cloudflare = cloudflare_requests();
    let cloudflare = cloudflare.map(|(step, requests)| (step.into(), Server::Cloudflare, requests));
    let steps: Vec<(String, Server, Match)> = acme.into_iter().chain(cloudflare).collect();
    let mut cells = Vec::new();
    for answer in answers {
        for (step, server, requests) in &steps {
            cells.push(cell(&matrix.site, cells.len(), step, *answer, *server, requests));
        }
    }
    configure(&mut matrix.site, &cells);
    let start = Instant::now();
    matrix.site.reload();
    let mut waiting: Vec<&Cell> = cells.iter().collect();
    let mut times = Vec::new();
    let all = wait_until(LIMIT, || {
        waiting.retain(|cell| {
            let obtained = matrix.site.trusting(&cell.name).handshake().is_ok();
            if obtained {
                times.push((cell.name.clone(), start.elapsed()));
            }
            !obtained
        });
        waiting.is_empty().then_some(())
    });
    let names: Vec<&String> = waiting.iter().map(|cell| &cell.name).collect();
    assert!(all.is_some(), "no certificate for {names:?}:\n{}", matrix.site.nginx.log());
    for cell in &cells {
        let what = format!("{} {:?}", cell.step, cell.answer);
        matrix.check_obtained(&what, &cell.name);
        assert!(cell.has_struck(), "{what}:\n{}", cell.traffic().summary());
        let clean = wait_until(LIMIT, || cell.cloudflare.txt_records().is_empty().then_some(()));
        assert!(clean.is_some(), "{what}: {:?}", cell.cloudflare.txt_records());
        let took = times.iter().find(|(name, _)| *name == cell.name).map(|(_, time)| *time);
        let took = took.unwrap_or_default().as_secs_f64();
        let orders = cell.proxy.traffic.count(&AcmeStep::NewOrder.requests());
        let answer = match cell.answer {
            Answer::Error => "error 500, four times",
            Answer::Lost => "done, answer lost",
            Answer::Never => "hang",
        };
        matrix.row(&cell.step, answer, &format!("obtained after {took:4.1} s, {orders} orders"));
    }
    matrix.check_clean(title);
    matrix.end();
}

fn cell(
    site: &Site,
    number: usize,
    step: &str,
    answer: Answer,
    server: Server,
    requests: &Match,
) -> Cell {
    let bed = &site.bed;
    let cloudflare = Cloudflare::start(&bed.dns);
    cloudflare.add_zone(&bed.dns, ZONE);
    cloudflare.add_token(Token::new(bed.token()));
    let cell = Cell {
        name: format!("c{number}.{ZONE}"),
        step: step.to_owned(),
        answer,
        requests: requests.clone(),
        server,
        proxy: AcmeProxy::start(&bed.dir().join(format!("proxy{number}")), &bed.pebble),
        cloudflare,
    };
    cell.traffic().inject(Fault::new(requests.clone(), answer.action()).times(answer.times()));
    cell
}

/// One issuer, provider and server for each cell.
fn configure(site: &mut Site, cells: &[Cell]) {
    site.http.clear();
    site.set_servers(&[]);
    site.add_server(BYSTANDER, "on issuer=pebble provider=cloudflare");
    for (number, cell) in cells.iter().enumerate() {
        let url = cell.proxy.directory_url();
        site.http += &issuer(&format!("ca{number}"), &url, cell.proxy.ca_file(), "");
        site.http += &format!(
            "acme_dns_provider api{number} cloudflare {{\n    api {};\n    token_file {};\n}}\n",
            cell.cloudflare.api_url(),
            site.bed.token_file().display(),
        );
        let arguments = format!("on issuer=ca{number} provider=api{number}");
        site.add_server(&format!("{0} *.{0}", cell.name), &arguments);
    }
}
