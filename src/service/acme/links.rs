//! Links in the header of an answer (RFC 8288).

use http::HeaderMap;
use http::header::LINK;
use url::Url;

/// Gives the targets of the links (RFC 8288) of one relation, as absolute URLs.
pub(super) fn links(headers: &HeaderMap, relation: &str, base: &Url) -> Vec<String> {
    let values = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    let links = values.flat_map(split_links).filter(|(_, relations)| {
        relations.split_ascii_whitespace().any(|other| other.eq_ignore_ascii_case(relation))
    });
    let urls = links.filter_map(|(target, _)| base.join(target).ok());
    let urls = urls.filter(|url| matches!(url.scheme(), "https" | "http"));
    urls.map(String::from).collect()
}

/// Gives the links of one header, each with its relations.
fn split_links(mut text: &str) -> Vec<(&str, &str)> {
    let mut links = Vec::new();
    while let Some((target, rest)) =
        text.split_once('<').and_then(|(_, after)| after.split_once('>'))
    {
        let mut quoted = false;
        let end = rest.find(|c| {
            quoted ^= c == '"';
            c == ',' && !quoted
        });
        let (parameters, next) = rest.split_at(end.unwrap_or(rest.len()));
        let relation = parameters.split(';').find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("rel").then(|| value.trim().trim_matches('"'))
        });
        links.push((target.trim(), relation.unwrap_or_default()));
        text = next;
    }
    links
}

#[cfg(test)]
mod tests {
    use super::links;
    use http::header::LINK;
    use http::{HeaderMap, HeaderValue};
    use url::Url;

    #[test]
    fn links_are_found_among_others_and_made_absolute() {
        let base = Url::parse("https://ca.example/acme/cert/1").unwrap();
        let cases: [(&[&str], &[&str]); 8] = [
            (&["<https://ca.example/alt/1>;rel=\"alternate\""], &["https://ca.example/alt/1"]),
            (&["</alt/1>; REL=Alternate"], &["https://ca.example/alt/1"]),
            (&["<2>;title=\"a;b, <c>\";rel=\"up alternate\""], &["https://ca.example/acme/cert/2"]),
            (
                &["</dir>;rel=\"index\", </a>;rel=\"alternate\"", "</b,c>;rel=\"alternate\""],
                &["https://ca.example/a", "https://ca.example/b,c"],
            ),
            (&["<file:///etc/passwd>;rel=\"alternate\""], &[]),
            (&["</a>;rel=\"alternates\""], &[]),
            (&["</a", "alternate", "<>", "</a>;rel"], &[]),
            (&[], &[]),
        ];
        for (values, expected) in cases {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(LINK, HeaderValue::from_static(value));
            }
            assert_eq!(links(&headers, "alternate", &base), expected, "{values:?}");
        }
    }
}
