//! `make live ZONE=example.com TOKEN_FILE=FILE`: the module against the real Cloudflare and Let's Encrypt's
//! staging environment, for those who have a zone.
//!
//! The first certificates are obtained from the API itself; from the renewal on a proxy on this machine stands
//! between, which records what is asked and answered. Report and recording hold no secret, no identifier
//! and no name of the zone. Whatever happens, NGINX is stopped and the zone is left as it was.

mod report;
mod settings;
mod stage;
mod zone;

use std::collections::BTreeSet;
use std::io::{self, IsTerminal};
use std::panic;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use servers::bed::write_secret;
use signal_hook::consts::{SIGINT, SIGTERM};
use testbed::clients::tls::{Leaf, PeerChain};
use testbed::measurements::recorder::Recorder;
use testbed::measurements::scrub::Scrub;

use crate::report::Report;
use crate::settings::Settings;
use crate::stage::Stage;
use crate::zone::Zone;

/// Time to change one's mind.
const SECOND_THOUGHTS: Duration = Duration::from_secs(10);

/// Longer than the module takes to ask the CA about a renewal, or the API with a bad token.
const ANSWER: Duration = Duration::from_secs(120);

/// A token that is nobody's.
const WRONG: &str = "0000000000000000000000000000000000000000";

fn main() -> ExitCode {
    // The testbed panics with a whole sentence; where in our sources is of no interest here.
    panic::set_hook(Box::new(|info| {
        eprintln!("live: {}", info.payload_as_str().unwrap_or("it failed"));
    }));
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        if let Err(e) = signal_hook::flag::register(signal, stop.clone()) {
            eprintln!("live: cannot watch for signal {signal}: {e}");
            return ExitCode::FAILURE;
        }
    }
    match Settings::read().and_then(|settings| live(&settings, &stop)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("live: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Gives whether all went well.
fn live(settings: &Settings, stop: &AtomicBool) -> Result<bool, String> {
    println!("{}", settings.plan());
    if io::stdin().is_terminal() {
        println!("It begins in {} s; Ctrl-C ends it.", SECOND_THOUGHTS.as_secs());
        let begun = Instant::now();
        while begun.elapsed() < SECOND_THOUGHTS {
            thread::sleep(Duration::from_millis(100));
            if stop.load(Ordering::Relaxed) {
                return Err("not begun".to_owned());
            }
        }
    }
    let token_file = settings.token_file.display().to_string();
    let private = [
        (settings.token.as_str(), "token"),
        (settings.other_token.as_deref().unwrap_or_default(), "other"),
        (WRONG, "wrong"),
        (token_file.as_str(), "TOKEN_FILE"),
    ];
    let scrub = || Scrub::new(&settings.zone, &private);
    let zone = Zone::new(settings)?;
    // Nothing is begun where the zone cannot be cleaned afterwards.
    let before = zone.records()?;
    let recorder = Recorder::start(&settings.api, scrub())?;
    let mut report = Report::new(scrub());
    let is_done = obtain(settings, stop, &recorder, &mut report);
    if is_done && !stop.load(Ordering::Relaxed) {
        refuse(settings, stop, &recorder, &mut report);
    }
    clean(&zone, &before, &mut report);
    report.write(settings, &recorder.exchanges())
}

/// Everything that is to succeed. Gives whether it has.
fn obtain(
    settings: &Settings,
    stop: &AtomicBool,
    recorder: &Recorder,
    report: &mut Report,
) -> bool {
    let mut stage = Stage::new(settings, stop);
    let zone = &settings.zone;
    let (names, token_file) =
        (format!("{zone} *.{zone}"), settings.token_file.display().to_string());
    stage.configure(&settings.api, &token_file, &names);
    let mut leaves: Vec<Leaf> = Vec::new();
    let mut is_done = report.step("start", || match stage.nginx.test() {
        (true, _) => stage.nginx.try_start().map(|()| Some(String::new())),
        (false, said) => Err(said),
    });
    is_done =
        is_done && report.step("apex and wildcard, ECDSA and RSA", || served(&stage, &mut leaves));
    is_done = is_done
        && report.step("renewal information of the CA", || {
            let line = stage.wait_for_line(0, &["as the CA suggests"], ANSWER)?;
            let (_, time) = line.split_once(": renewal at ").unwrap_or_default();
            Ok(Some(format!("renewal at {time}")))
        });
    stage.configure(&recorder.api_url(), &token_file, &names);
    is_done = is_done
        && report.step("renewal that replaces, through the recorder", || {
            let mark = stage.nginx.log_mark();
            stage.ask(&format!("renew-{zone}"), "")?;
            served(&stage, &mut leaves)?;
            let log = stage.nginx.log_from(mark);
            match log.lines().find(|line| line.contains("ordering as if nothing was replaced")) {
                Some(line) => Err(format!("the CA does not take an order for a renewal: {line}")),
                None => Ok(Some("the CA took the orders as renewals".to_owned())),
            }
        });
    is_done = is_done
        && report.step("revocation, after both were replaced", || {
            let mark = stage.nginx.log_mark();
            stage.ask(&format!("revoke-{zone}"), "superseded\n")?;
            served(&stage, &mut leaves)?;
            let file = format!("\"actions/revoke-{zone}\"");
            let (done, failed) = (format!("{file} is done"), format!("{file} could not be done"));
            let line = stage.wait_for_line(mark, &[&done, &failed], ANSWER)?;
            if line.contains(&done) { Ok(Some(String::new())) } else { Err(line) }
        });
    report.add_log("certificates", &stage.nginx.log());
    is_done
}

/// Waits for two new certificates, checks them, and notes them.
fn served(stage: &Stage<'_>, leaves: &mut Vec<Leaf>) -> Result<Option<String>, String> {
    let chains = stage.wait_for_certificates(leaves)?;
    stage.check(&chains)?;
    let detail = chains.iter().map(|PeerChain { leaf, chain, .. }| {
        format!("{} by \"{}\", {} certificates", leaf.key, leaf.issuer, chain.len())
    });
    let detail = detail.collect::<Vec<_>>().join("; ");
    leaves.extend(chains.into_iter().map(|chain| chain.leaf));
    Ok(Some(detail))
}

/// Everything that the API is to refuse, and that has to be said.
fn refuse(settings: &Settings, stop: &AtomicBool, recorder: &Recorder, report: &mut Report) {
    let tokens = [
        ("a wrong token", Some(WRONG)),
        ("a token of another zone", settings.other_token.as_deref()),
    ];
    for (what, token) in tokens {
        let mut stage = Stage::new(settings, stop);
        report.step(what, || {
            let Some(token) = token else { return Ok(None) };
            let file = stage.nginx.dir().join("refused_token");
            write_secret(&file, token);
            let name = format!("wrong-token.{}", settings.zone);
            stage.configure(&recorder.api_url(), &file.display().to_string(), &name);
            stage.nginx.try_start()?;
            let texts = ["check that the token", "that the token may see"];
            stage.wait_for_line(0, &texts, ANSWER).map(|_| Some("it is said what to do".to_owned()))
        });
        if token.is_some() {
            report.add_log(what, &stage.nginx.log());
        }
    }
}

fn clean(zone: &Zone<'_>, before: &BTreeSet<String>, report: &mut Report) {
    report.step("the zone is as it was", || match zone.clean(before)? {
        0 => Ok(Some("no TXT record was left".to_owned())),
        left => Err(format!("{left} TXT records were left, and are removed now")),
    });
}
