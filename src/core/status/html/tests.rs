use super::*;
use crate::status::samples::{HOSTILE, NOW, failing, issuing, page, states, valid};
use crate::status::{Query, Step};

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
        "4 attempts in a row failed, the last one 12 minutes ago",
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
    assert_eq!(refresh(&page(vec![valid("a.example", 1)])), LATER);
    assert_eq!(refresh(&page(vec![issuing("a.example", Step::Finalize)])), SOON);
    assert_eq!(page(vec![]).now, NOW);
}
