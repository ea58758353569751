//! The status as a page for a browser: one sentence that says whether all is well, then the certificates, the most
//! urgent first.
//!
//! It works without scripts, and nothing of it comes from elsewhere. All text that others may have written goes
//! through [`text`].

mod certificate;
mod share;
mod tables;
#[cfg(test)]
mod tests;
mod text;

use super::{Activity, Answer, Filter, HelperState, Page, Query, RequestState, Served, Totals};
use crate::status::{CertificateStatus, ShareStatus};
use crate::time::UnixTime;
use certificate::{Article, Request};
use share::{Sharing, Warning};
use std::fmt;
use std::time::Duration;
use tables::{Issuers, Process, Providers};
use text::{Isolated, Moment, Number, Seen, Text};

/// The style sheet. A `Content-Security-Policy` names it by its digest, so that the browser takes no other.
pub const STYLE: &str = include_str!("style.css");

/// Pauses between two looks: while something is under way, and else.
const SOON: Duration = Duration::from_secs(5);
const LATER: Duration = Duration::from_secs(60);

/// Links to so many pages beside this one are shown.
const NEAR: usize = 2;

/// Writes the page.
pub fn render(page: &Page) -> String {
    Document(page).to_string()
}

/// Writes the answer to a request for a renewal that was not handed on.
pub fn answer(answer: &Answer) -> String {
    let mut page = head("Not renewed");
    let certificate = answer.certificate.as_deref();
    let name = certificate.map(|name| format!("{}: ", Isolated(name))).unwrap_or_default();
    page += &format!(
        "<p>{name}{}</p>\n<p><a href=\"?\">Back to the page</a></p>\n",
        Text(&answer.message)
    );
    page += FOOT;
    page
}

/// Gives the time after which a browser asks again; `None`: it was asked not to.
///
/// A certificate that waits after a failure, for a CA or for a record that a person has to add, changes with its next
/// attempt: that is looked at as soon as it begins, and not before.
pub fn refresh(page: &Page) -> Option<Duration> {
    if page.listing.query.still {
        return None;
    }
    let is_pending = |it: &CertificateStatus| {
        it.requested.is_some_and(|request| request.state == RequestState::Pending)
    };
    let is_busy = page.totals.issuing > 0
        || page.helper.state == HelperState::Starting
        || page.certificates.iter().any(is_pending);
    if is_busy {
        return Some(SOON);
    }
    let failing = page.certificates.iter().filter(|it| it.activity == Activity::Failing);
    let next = failing.filter_map(|it| Some(it.next?.at.since(page.now))).min();
    Some(next.map_or(LATER, |next| next.clamp(SOON, LATER)))
}

/// Writes the beginning of a page with this headline.
fn head(headline: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"robots\" content=\"noindex\">\n<title>{headline} - acme_dns</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{headline}</h1>\n"
    )
}

const FOOT: &str = "</main>\n</body>\n</html>\n";

/// Gives the sentence that says whether all is well.
fn headline(page: &Page) -> String {
    let Totals { total, valid, expired, none, failing, revoked, .. } = page.totals;
    let of = |number: usize, one: &str, more: &str| match (number, total) {
        (1, 1) => format!("The certificate {one}"),
        (1, _) => format!("1 of {} certificates {one}", Number(total as u64)),
        _ => format!("{} of {} certificates {more}", Number(number as u64), Number(total as u64)),
    };
    if total == 0 {
        "No certificate is configured".to_owned()
    } else if page.helper.state == HelperState::Down {
        "Nothing is renewed: the acme dns process is down".to_owned()
    } else if failing > 0 {
        of(failing, "needs you", "need you")
    } else if revoked > 0 {
        of(revoked, "is revoked", "are revoked")
    } else if expired + none > 0 {
        of(expired + none, "is being obtained", "are being obtained")
    } else {
        let all = match total {
            1 => "The certificate is valid".to_owned(),
            _ => format!("All {} certificates are valid", Number(valid as u64)),
        };
        match page.share.as_ref().is_some_and(ShareStatus::is_broken) {
            true => format!("{all}, but not shared with other hosts now"),
            false => all,
        }
    }
}

/// States that a page can be filtered by, with their words and their numbers.
fn states(totals: &Totals) -> [(Filter, &'static str, usize); 6] {
    [
        (Filter::Activity(Activity::Failing), "failing", totals.failing),
        (Filter::Activity(Activity::Issuing), "under way", totals.issuing),
        (Filter::Activity(Activity::Waiting), "due", totals.waiting),
        (Filter::Served(Served::Expired), "expired", totals.expired),
        (Filter::Served(Served::None), "without a certificate", totals.none),
        (Filter::Revoked, "revoked", totals.revoked),
    ]
}

struct Document<'a>(&'a Page);

impl fmt::Display for Document<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let page = self.0;
        f.write_str(&head(&headline(page)))?;
        Asked(page).fmt(f)?;
        Lead(page).fmt(f)?;
        Warning(page).fmt(f)?;
        Selection(page).fmt(f)?;
        if page.certificates.is_empty() && page.totals.total > 0 {
            let all = Query { search: None, ..page.listing.query.clone() }.link(1, None);
            writeln!(f, "<p>No certificate fits. <a href=\"?{}\">Show all</a></p>", Text(&all))?;
        }
        for certificate in &page.certificates {
            Article { certificate, page }.fmt(f)?;
        }
        Pages(page).fmt(f)?;
        f.write_str(
            "<p class=\"legend\">The bar is a certificate's lifetime: its coloured part is over, the blue line is \
             the renewal.</p>\n",
        )?;
        Issuers { issuers: &page.issuers, now: page.now }.fmt(f)?;
        Providers(&page.providers).fmt(f)?;
        Sharing(page).fmt(f)?;
        Process(page).fmt(f)?;
        f.write_str(FOOT)
    }
}

/// Fate of a renewal that was just asked for here.
struct Asked<'a>(&'a Page);

impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(asked) = &self.0.listing.query.asked else { return Ok(()) };
        let mut certificates = self.0.certificates.iter().filter(|it| it.name == *asked);
        let found = certificates.find_map(|it| Some((it, it.requested?)));
        let Some((certificate, request)) = found else { return Ok(()) };
        let words = Request { request, now: self.0.now };
        writeln!(
            f,
            "<p role=\"status\" class=\"told\">{}: {words}</p>",
            Isolated(&certificate.name)
        )
    }
}

/// The numbers below the headline, and the next renewal.
struct Lead<'a>(&'a Page);

impl Lead<'_> {
    /// Finds the next renewal of those on the page.
    fn next(&self) -> Option<(&str, UnixTime)> {
        let idle = self.0.certificates.iter().filter(|it| it.activity == Activity::Idle);
        let renewals = idle.filter_map(|it| Some((it.name.as_str(), it.next?.at)));
        renewals.min_by_key(|(_, at)| *at)
    }
}

impl fmt::Display for Lead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let page = self.0;
        write!(f, "<p class=\"lead\">{} valid", Number(page.totals.valid as u64))?;
        for (_, words, number) in states(&page.totals) {
            if number > 0 {
                write!(f, ", {} {words}", Number(number as u64))?;
            }
        }
        f.write_str(". ")?;
        if let Some((name, at)) = self.next().filter(|_| page.listing.page == 1) {
            let seen = Seen { at, from: page.now };
            write!(f, "Next renewal: {}, {seen}. ", Isolated(name))?;
        }
        let query = Query { still: !page.listing.query.still, ..page.listing.query.clone() };
        let words = if query.still { "Stop refreshing" } else { "Refresh by itself" };
        let href = query.link(query.page, query.state);
        writeln!(f, "As of {}. <a href=\"?{}\">{words}</a></p>", Moment(page.now), Text(&href))
    }
}

/// Search and filter.
struct Selection<'a>(&'a Page);

impl fmt::Display for Selection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Page { listing, totals, .. } = self.0;
        let query = &listing.query;
        let search = query.search.as_deref().unwrap_or_default();
        write!(
            f,
            "<form role=\"search\" method=\"get\"><input type=\"search\" name=\"q\" value=\"{}\" aria-label=\"Part \
             of a name\" placeholder=\"Part of a name\">",
            Text(search)
        )?;
        if let Some(state) = query.state {
            write!(f, "<input type=\"hidden\" name=\"state\" value=\"{}\">", state.word())?;
        }
        if query.still {
            f.write_str("<input type=\"hidden\" name=\"refresh\" value=\"off\">")?;
        }
        writeln!(
            f,
            "<button>Search</button></form>\n<nav aria-label=\"States\"><ul class=\"states\">"
        )?;
        let link =
            |f: &mut fmt::Formatter<'_>, state: Option<Filter>, words: &str, number: usize| {
                let current = if state == query.state { " aria-current=\"true\"" } else { "" };
                let href = query.link(1, state);
                let number = Number(number as u64);
                writeln!(f, "<li><a href=\"?{}\"{current}>{words} {number}</a></li>", Text(&href))
            };
        link(f, None, "all", totals.total)?;
        for (state, words, number) in states(totals) {
            if number > 0 || query.state == Some(state) {
                link(f, Some(state), words, number)?;
            }
        }
        f.write_str("</ul></nav>\n")
    }
}

/// Links to the other pages.
struct Pages<'a>(&'a Page);

impl fmt::Display for Pages<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listing = &self.0.listing;
        let (page, pages) = (listing.page, listing.pages);
        if pages <= 1 {
            return Ok(());
        }
        f.write_str("<nav aria-label=\"Pages\"><ul class=\"pages\">")?;
        let is_near =
            |number: usize| number == 1 || number == pages || number.abs_diff(page) <= NEAR;
        let mut last = 0;
        for number in (1..=pages).filter(|number| is_near(*number)) {
            if number > last + 1 {
                f.write_str("<li>...</li>")?;
            }
            last = number;
            let href = listing.query.link(number, listing.query.state);
            let current = if number == page { " aria-current=\"page\"" } else { "" };
            write!(
                f,
                "<li><a href=\"?{}\" aria-label=\"Page {number}\"{current}>{}</a></li>",
                Text(&href),
                Number(number as u64)
            )?;
        }
        f.write_str("</ul></nav>\n")
    }
}
