//! TXT content as APIs write it: strings in quotes (RFC 1035 section 5.1).

/// The longest string of a TXT record, in octets (RFC 1035 section 3.3.14).
const MAX_STRING: usize = 255;

/// Puts a value into quotes, in as many strings as it needs.
pub(super) fn quote(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    let mut length = 0;
    text.push('"');
    for c in value.chars() {
        if length + c.len_utf8() > MAX_STRING {
            text.push_str("\" \"");
            length = 0;
        }
        if matches!(c, '"' | '\\') {
            text.push('\\');
        }
        text.push(c);
        length += c.len_utf8();
    }
    text.push('"');
    text
}

/// Takes the quotes off and joins the strings; what has no quotes is the value itself.
pub(super) fn unquote(content: &str) -> String {
    if !content.starts_with('"') {
        return content.to_owned();
    }
    let mut value = String::with_capacity(content.len());
    let mut quoted = false;
    let mut chars = content.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => quoted = !quoted,
            '\\' if quoted => value.extend(chars.next()),
            _ if quoted => value.push(c),
            // What stands between two strings.
            _ => {}
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::{quote, unquote};

    #[test]
    fn values_are_quoted_and_come_back() {
        let long = "x".repeat(300);
        let split = format!("\"{}\" \"{}\"", "x".repeat(255), "x".repeat(45));
        for (value, content) in [
            ("", "\"\""),
            (
                "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0",
                "\"LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0\"",
            ),
            ("a b; c=d", "\"a b; c=d\""),
            ("say \"x\\y\"", "\"say \\\"x\\\\y\\\"\""),
            (long.as_str(), split.as_str()),
        ] {
            assert_eq!(quote(value), content, "{value}");
            assert_eq!(unquote(content), value, "{content}");
        }
    }

    #[test]
    fn content_without_quotes_is_the_value() {
        assert_eq!(unquote("abc"), "abc");
        assert_eq!(unquote("a\"b"), "a\"b");
    }
}
