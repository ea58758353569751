//! Issuers, DNS providers, and the process that obtains certificates.

use super::text::{Counted, Isolated, Moment, Number, Seen, Text};
use crate::status::{HelperState, IssuerStatus, Page, ProviderStatus, RequestCount};
use crate::time::UnixTime;
use std::fmt;

/// Begins a table with a heading and the titles of its columns.
fn begin(f: &mut fmt::Formatter<'_>, heading: &str, titles: &[&str]) -> fmt::Result {
    write!(
        f,
        "<section><h2 id=\"{heading}\">{heading}</h2><div class=\"scroll\" tabindex=\"0\" role=\"region\" \
         aria-labelledby=\"{heading}\"><table><thead><tr>"
    )?;
    titles.iter().try_for_each(|title| write!(f, "<th scope=\"col\">{title}</th>"))?;
    f.write_str("</tr></thead><tbody>\n")
}

const END: &str = "</tbody></table></div></section>\n";

/// Tells whether a request was answered with a success.
fn is_success(code: &str) -> bool {
    code == "ok" || code.starts_with(['2', '3'])
}

/// Adds the requests up: all, and those that were not answered with a success.
fn sums(requests: &[RequestCount]) -> (u64, u64) {
    let sum = |only_failures: bool| {
        let counted = requests.iter().filter(|it| !only_failures || !is_success(&it.code));
        counted.map(|it| it.count).sum()
    };
    (sum(false), sum(true))
}

/// The issuers.
pub(super) struct Issuers<'a> {
    pub(super) issuers: &'a [IssuerStatus],
    pub(super) now: UnixTime,
}

impl fmt::Display for Issuers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        begin(f, "Issuers", &["Name", "Directory", "Attempts", "Requests", "Pause"])?;
        for it in self.issuers {
            let staging = if it.is_staging { " (for tests, not trusted by browsers)" } else { "" };
            let (requests, failed) = sums(&it.requests);
            write!(f, "<tr><th scope=\"row\">{}{staging}</th>", Isolated(&it.name))?;
            write!(f, "<td>{}</td>", Isolated(&it.directory))?;
            write!(
                f,
                "<td>{} ok, {} failed</td>",
                Number(it.attempts.ok),
                Number(it.attempts.failed)
            )?;
            write!(f, "<td>{}, {} refused</td>", Number(requests), Number(failed))?;
            match it.retry_after.filter(|until| *until > self.now) {
                Some(until) => {
                    let seen = Seen { at: until, from: self.now };
                    writeln!(
                        f,
                        "<td>it asked to be left alone until {}, {seen}</td></tr>",
                        Moment(until)
                    )?;
                }
                None => writeln!(f, "<td>none</td></tr>")?,
            }
        }
        f.write_str(END)
    }
}

/// The DNS providers.
pub(super) struct Providers<'a>(pub(super) &'a [ProviderStatus]);

impl fmt::Display for Providers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        begin(f, "Providers", &["Name", "Type", "Requests", "TXT records now"])?;
        for it in self.0 {
            let (requests, failed) = sums(&it.requests);
            writeln!(
                f,
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}, {} refused</td><td>{}</td></tr>",
                Isolated(&it.name),
                Text(&it.kind),
                Number(requests),
                Number(failed),
                Number(it.txt_records)
            )?;
        }
        f.write_str(END)
    }
}

/// The process, versions and memory.
pub(super) struct Process<'a>(pub(super) &'a Page);

impl fmt::Display for Process<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let page = self.0;
        let state = match page.helper.state {
            HelperState::Starting => "starting",
            HelperState::Working => "working",
            HelperState::Following => "another NGINX renews here, this one serves what it obtains",
            HelperState::Down => "down: NGINX starts it again, the error log says why it ended",
        };
        writeln!(f, "<section><h2>Process</h2><dl>")?;
        writeln!(f, "<dt>State</dt><dd>{state}</dd>")?;
        if let Some(started) = page.helper.started {
            let seen = Seen { at: started, from: page.now };
            writeln!(f, "<dt>Started</dt><dd>{}, {seen}</dd>", Moment(started))?;
        }
        let reloads = page.reloads;
        writeln!(
            f,
            "<dt>Reloads asked for</dt><dd>{}, {} failed</dd>",
            Counted(reloads.ok.saturating_add(reloads.failed), "reload"),
            Number(reloads.failed)
        )?;
        let memory = page.shared_zone;
        writeln!(
            f,
            "<dt>Shared memory</dt><dd>{} of {} KiB</dd>",
            Number((memory.used / 1024) as u64),
            Number((memory.total / 1024) as u64)
        )?;
        let build = &page.build;
        writeln!(
            f,
            "<dt>Versions</dt><dd>module {}, nginx {}, {}</dd></dl></section>",
            Text(&build.version),
            Text(&build.nginx),
            Text(&build.openssl)
        )
    }
}
