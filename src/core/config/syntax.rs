//! The syntax of nginx's configuration files, as far as it takes to find out what they refer to.
//!
//! nginx has accepted a file before it is read here; what it would refuse is read somehow.

/// The directives of a file in their order, those of blocks too: their words, the name first.
///
/// The rules are those of nginx's `ngx_conf_read_token`.
pub fn directives(text: &str) -> Vec<Vec<String>> {
    let mut reader = Reader { rest: text };
    let mut found = Vec::new();
    let mut words = Vec::new();
    while let Some(token) = reader.token() {
        match token {
            Token::Word(word) => words.push(word),
            Token::End if words.is_empty() => {}
            Token::End => found.push(std::mem::take(&mut words)),
        }
    }
    found
}

enum Token {
    Word(String),
    /// `;`, `{` or `}`
    End,
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn token(&mut self) -> Option<Token> {
        loop {
            self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
            match self.rest.chars().next()? {
                '#' => self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest),
                ';' | '{' | '}' => {
                    self.next();
                    return Some(Token::End);
                }
                quote @ ('"' | '\'') => {
                    self.next();
                    return Some(Token::Word(self.word(|c| c == quote, true)));
                }
                _ => {
                    let is_end = |c| matches!(c, ' ' | '\t' | '\r' | '\n' | ';' | '{');
                    return Some(Token::Word(self.word(is_end, false)));
                }
            }
        }
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next();
        self.rest = chars.as_str();
        next
    }

    /// Reads up to the character that ends the word, and over it if it is a quote.
    fn word(&mut self, is_end: impl Fn(char) -> bool, is_quoted: bool) -> String {
        let mut word = String::new();
        while let Some(char) = self.rest.chars().next() {
            // `${name}` does not begin a block.
            let is_variable = char == '{' && word.ends_with('$');
            if is_end(char) && !is_variable {
                if is_quoted {
                    self.next();
                }
                break;
            }
            self.next();
            if char == '\\' {
                self.escaped(&mut word);
            } else {
                word.push(char);
            }
        }
        word
    }

    /// Reads the character after a backslash: only some characters lose it.
    fn escaped(&mut self, word: &mut String) {
        match self.next() {
            Some(char @ ('"' | '\'' | '\\')) => word.push(char),
            Some('t') => word.push('\t'),
            Some('r') => word.push('\r'),
            Some('n') => word.push('\n'),
            Some(char) => word.extend(['\\', char]),
            None => word.push('\\'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::directives;
    use proptest::prelude::*;

    #[test]
    fn words_are_read_as_nginx_reads_them() {
        let text = r#"
            user nobody; # a comment; with "quotes
            http{ include conf.d/*.conf;
                server { listen 443 ssl; # }
                    ssl_certificate "/a b/c.pem";ssl_certificate_key '/k\'ey';
                    set $x "${host}{}";  return 200 ${x}y;
                    location ~ ^/[0-9]\.x {}
                    add_header X a#b;
                }
            }"#;
        let expected: [&[&str]; 11] = [
            &["user", "nobody"],
            &["http"],
            &["include", "conf.d/*.conf"],
            &["server"],
            &["listen", "443", "ssl"],
            &["ssl_certificate", "/a b/c.pem"],
            &["ssl_certificate_key", "/k'ey"],
            &["set", "$x", "${host}{}"],
            &["return", "200", "${x}y"],
            &["location", "~", r"^/[0-9]\.x"],
            &["add_header", "X", "a#b"],
        ];
        assert_eq!(directives(text), expected);
    }

    #[test]
    fn what_nginx_refuses_is_read_somehow() {
        for text in ["", "a", "\"open", "a\\", "}}}{;;", "'a' \"b\"c;", "${", "# no end"] {
            directives(text);
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(text in "[ -~\n\t${}\"';#\\\\]*") {
            for words in directives(&text) {
                prop_assert!(!words.is_empty());
            }
        }
    }
}
