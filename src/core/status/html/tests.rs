use super::*;
use crate::status::samples::{HOSTILE, NOW, failing, issuing, page, states, valid};
use crate::status::{AnswerKind, NextStep, Query, RenewalRequest, Step, WhyNext};

#[test]
fn the_headline_says_whether_all_is_well() {
    let down = |mut page: Page| {
        page.helper.state = HelperState::Down;
        page
    };
    let revoked = || {
        let mut certificate = valid("a.example", 1);
        certificate.revoked = true;
        certificate
    };
    let missing = || {
        let mut certificate = issuing("a.example", Step::Ordering);
        certificate.served = Served::None;
        certificate
    };
    let good = || valid("b.example", 1);
    let bad = || failing("c.example", "x");
    for (page, expected) in [
        (page(vec![]), "No certificate is configured"),
        (page(vec![good()]), "The certificate is valid"),
        (page(vec![good(), good()]), "All 2 certificates are valid"),
        (page(vec![good(), issuing("a.example", Step::Records)]), "All 2 certificates are valid"),
        (page(vec![bad()]), "The certificate needs you"),
        (page(vec![good(), bad()]), "1 of 2 certificates needs you"),
        (page(vec![bad(), bad(), good()]), "2 of 3 certificates need you"),
        (page(vec![good(), revoked()]), "1 of 2 certificates is revoked"),
        (page(vec![good(), missing()]), "1 of 2 certificates is being obtained"),
        (down(page(vec![good(), bad()])), "Nothing is renewed: the acme dns process is down"),
    ] {
        assert_eq!(headline(&page), expected);
        assert!(render(&page).contains(&format!("<h1>{expected}</h1>")), "{expected}");
    }
}

#[test]
fn each_state_has_its_words() {
    let html = render(&page(states()));
    for words in [
        "<bdi>shop.example.com</bdi></h2> <span class=\"state\">not issued</span>",
        "<bdi>old.example.org</bdi></h2> <span class=\"state\">expired, renewal fails</span>",
        "<bdi>leaked.example.org</bdi></h2> <span class=\"state\">revoked</span>",
        "<bdi>new.example.com</bdi></h2> <span class=\"state\">no certificate yet</span>",
        "<bdi>example.com</bdi></h2> <span class=\"state\">renewing</span>",
        "<bdi>mail.example.org</bdi></h2> <span class=\"state\">valid</span>",
        "4 attempts in a row failed, the last time 12 minutes ago",
        "<bdi>cloud.example.com</bdi></h2> <span class=\"state\">waits for a record</span>",
        "The record was looked for 4 times, the last time 12 minutes ago",
        "Add the record: the certificate is ordered by itself once all servers show it.",
        "and no provider may write zone &quot;example.net&quot;</bdi>",
        "A reload of NGINX tries again at once.",
        "This pause was asked for: a reload does not shorten it.",
        "Next attempt: <time datetime=\"2026-11-29T12:32:00Z\">29 November 2026, 12:32 UTC</time>, in 32 minutes",
        "Renewal: as soon as there is room (somebody has asked for it)",
        "First attempt: as soon as there is room",
        "<li class=\"done\">TXT records written</li><li aria-current=\"step\">seen at all name servers</li>",
        "<summary>and 24 more</summary>",
        "<dt>Stapled until</dt><dd><time datetime=\"2026-12-03T12:00:00Z\">",
        "aria-label=\"30 percent of the lifetime is over, renewal at 67 percent\"",
        "Next renewal: <bdi>xn--mgbh0fb.example.com</bdi>, in 20 days.",
    ] {
        assert!(html.contains(words), "{words}\n{html}");
    }
}

#[test]
fn words_of_others_stay_words() {
    let mut certificate = failing(HOSTILE, HOSTILE);
    certificate.sans = vec![HOSTILE.to_owned()];
    certificate.issuers = vec![HOSTILE.to_owned()];
    certificate.provider = HOSTILE.to_owned();
    let mut page = page(vec![certificate, valid("b.example", 1)]);
    page.listing.query.search = Some(HOSTILE.to_owned());
    page.issuers[0].name = HOSTILE.to_owned();
    page.issuers[0].directory = HOSTILE.to_owned();
    page.providers[0].name = HOSTILE.to_owned();
    page.build.openssl = HOSTILE.to_owned();
    if let Some(served) = &mut page.certificates[1].variants[0].certificate {
        served.issuer_cn = HOSTILE.to_owned();
        served.profile = Some(HOSTILE.to_owned());
    }
    let html = render(&page);
    for forbidden in ["<script", "onload=\"", "<!-- ", "]]> ", "\u{202e}", "\u{0}", "alert('"] {
        assert!(!html.contains(forbidden), "{forbidden:?}");
    }
    assert_eq!(html.matches("</main>").count(), 1);
    assert!(html.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"), "{html}");
}

#[test]
fn pages_and_states_are_links() {
    let mut page = page(vec![valid("a.example", 1), failing("b.example", "x")]);
    let search = Some("b&c".to_owned());
    page.listing.query = Query {
        page: 5,
        state: Some(Filter::Activity(Activity::Failing)),
        search,
        ..page.listing.query
    };
    (page.listing.page, page.listing.pages) = (5, 9);
    let html = render(&page);
    for link in [
        "<a href=\"?q=b%26c\">all 2</a>",
        "<a href=\"?state=failing&amp;q=b%26c\" aria-current=\"true\">failing 1</a>",
        "<a href=\"?page=9&amp;state=failing&amp;q=b%26c\" aria-label=\"Page 9\">9</a>",
        "aria-label=\"Page 5\" aria-current=\"page\">5</a>",
        "<li>...</li>",
        "<input type=\"hidden\" name=\"state\" value=\"failing\">",
    ] {
        assert!(html.contains(link), "{link}\n{html}");
    }
    assert!(!html.contains("?page=8"), "{html}");
    assert!(!html.contains("Next renewal"), "it may be on another page");
}

#[test]
fn the_page_is_asked_for_again_soon_while_something_is_under_way() {
    let failing = |seconds: i64| {
        let mut certificate = failing("a.example", "the record is missing");
        let next = NextStep { at: UnixTime(NOW.0 + seconds), reason: WhyNext::Retry };
        certificate.next = Some(next);
        certificate
    };
    for (certificate, expected) in [
        (valid("a.example", 1), LATER),
        (issuing("a.example", Step::Finalize), SOON),
        (asked(RequestState::Pending), SOON),
        (asked(RequestState::Granted), LATER),
        // Who waits for a record sees the next look at it begin.
        (failing(3600), LATER),
        (failing(20), Duration::from_secs(20)),
        (failing(1), SOON),
        (failing(-1), SOON),
    ] {
        let mut page = page(vec![certificate]);
        assert_eq!(refresh(&page), Some(expected), "{:?}", page.certificates);
        page.listing.query.still = true;
        assert_eq!(refresh(&page), None);
    }
}

fn asked(state: RequestState) -> CertificateStatus {
    let requested = Some(RenewalRequest { at: UnixTime(NOW.0 - 60), state });
    CertificateStatus { requested, ..valid("a.example", 1) }
}

#[test]
fn refreshing_can_be_stopped() {
    let mut page = page(vec![valid("a.example", 1)]);
    let html = render(&page);
    assert!(html.contains("<a href=\"?refresh=off\">Stop refreshing</a>"), "{html}");
    page.listing.query = Query::parse("refresh=off&state=valid&q=a&page=2", 100);
    page.listing.pages = 3;
    let html = render(&page);
    for link in [
        "<a href=\"?page=2&amp;state=valid&amp;q=a\">Refresh by itself</a>",
        "<a href=\"?page=3&amp;state=valid&amp;q=a&amp;refresh=off\"",
        "<input type=\"hidden\" name=\"refresh\" value=\"off\">",
        "<a href=\"?q=a&amp;refresh=off\">all 1</a>",
    ] {
        assert!(html.contains(link), "{link}\n{html}");
    }
}

#[test]
fn a_button_is_there_where_it_does_something() {
    let button = |certificate: CertificateStatus| {
        let mut page = page(vec![certificate]);
        page.issuers[0].retry_after = None;
        page.certificates[0].renew_token = Some("0a1b".to_owned());
        render(&page)
    };
    let html = button(valid(HOSTILE, 1));
    let name = "&lt;script&gt;alert(&#39;x&#39;)";
    assert!(html.contains("<form method=\"post\"><input type=\"hidden\" name=\"renew\" value=\""));
    assert!(html.contains("name=\"token\" value=\"0a1b\"><button aria-label=\"Renew now: "));
    assert!(html.contains(name) && !html.contains("<script"), "{html}");
    let has_button = |html: &str| html.contains("Renew now");
    assert!(has_button(&button(failing("a.example", "x"))));
    assert!(has_button(&button(asked(RequestState::Refused))));
    for certificate in [
        issuing("a.example", Step::Records),
        asked(RequestState::Pending),
        asked(RequestState::Granted),
    ] {
        assert!(!has_button(&button(certificate)));
    }
    assert!(!has_button(&render(&page(vec![valid("a.example", 1)]))), "nothing is allowed here");
}

#[test]
fn the_page_says_what_has_become_of_a_request() {
    for (state, words) in [
        (RequestState::Pending, "A renewal was asked for here, and begins within seconds."),
        (RequestState::Granted, "A renewal was asked for here, and begun 60 seconds ago."),
        (
            RequestState::Refused,
            "A renewal was asked for here, and refused 60 seconds ago: the log says why.",
        ),
    ] {
        let mut page = page(vec![asked(state)]);
        assert!(render(&page).contains(&format!("<p class=\"soft\">{words}</p>")), "{words}");
        assert!(!render(&page).contains("role=\"status\""));
        page.listing.query.asked = Some("a.example".to_owned());
        let told = format!("<p role=\"status\" class=\"told\"><bdi>a.example</bdi>: {words}</p>");
        assert!(render(&page).contains(&told), "{told}");
        // What is not shown was not asked for, whatever the address says.
        page.listing.query.asked = Some(HOSTILE.to_owned());
        assert!(!render(&page).contains("role=\"status\""));
    }
}

#[test]
fn an_answer_is_a_page_with_a_way_back() {
    let mut answer = Answer::plain(AnswerKind::Stale);
    answer.certificate = Some(HOSTILE.to_owned());
    let html = super::answer(&answer);
    assert!(html.contains("<title>Not renewed - acme_dns</title>") && !html.contains("<script"));
    assert!(html.contains("press the button there.") && html.contains("<a href=\"?\">"), "{html}");
}
