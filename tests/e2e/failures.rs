//! Failures of the DNS provider and of the authority: the log says what and what to do, the
//! other certificates are not held up, and when it is over the certificate is obtained.

mod authority;
mod cloudflare;

use servers::process::wait_until;

use crate::site::{LIMIT, Site};

/// Outcome of a certificate's first attempt.
enum Outcome {
    /// It is obtained without anybody noticing.
    Survives,
    /// The first attempt fails with a line of this level that contains these texts.
    Fails(&'static str, &'static [&'static str]),
}

/// Waits for the line that says that a certificate was not obtained, and checks it. What stands in
/// for the certificate is served meanwhile.
fn check_failure(site: &Site, name: &str, level: &str, texts: &[&str]) {
    let failed = format!("certificate \"{name}\" was not obtained, attempt 1, next attempt at 2");
    let line = site.nginx.wait_for_log(&failed, LIMIT);
    assert!(line.contains(&format!("[{level}]")), "{name}: {line}");
    for text in texts {
        assert!(line.contains(text), "{name}: {line}\nhas no {text:?}");
    }
    // What happens next stands before the reason, which may be long.
    let asked = line.contains(", not sooner, as was asked for: ");
    assert!(line.contains(", or at once after a reload: ") || asked, "{name}: {line}");
    // On a busy machine it may have been obtained at the next attempt by now.
    let is_issued = || site.nginx.log().contains(&format!("certificate \"{name}\" issued"));
    assert!(site.serves_fallback(name) || is_issued(), "{name}");
}

/// No attempt for this certificate has failed.
fn check_survival(site: &Site, name: &str) {
    let failed = format!("certificate \"{name}\" was not obtained");
    assert!(!site.nginx.log().contains(&failed), "{name}: {}", site.nginx.log());
}

/// Reloads once everything works again, as what needs a person waits for one, and checks that all certificates
/// are obtained and nothing is left of any order.
fn check_recovery<'a>(site: &mut Site, rows: impl IntoIterator<Item = (String, &'a Outcome)>) {
    site.reload();
    for (name, outcome) in rows {
        let leaf = site.wait_for_certificate(&name).leaf;
        assert_eq!(site.check_files(&name), leaf);
        if let Outcome::Survives = outcome {
            check_survival(site, &name);
        }
    }
    site.wait_until_clean();
}

/// Returns whether a certificate of the authority is served, seen once.
fn is_obtained(site: &Site, name: &str) -> bool {
    !site.serves_fallback(name)
}

/// Waits until a number is reached.
fn wait_for_count(what: &str, count: usize, now: impl Fn() -> usize) {
    let reached = wait_until(LIMIT, || (now() >= count).then_some(()));
    assert!(reached.is_some(), "{} {what} instead of {count}", now());
}
