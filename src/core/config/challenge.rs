//! The directives `challenge` and `persist` of an issuer: how names are proven.

use super::text::{arguments, duplicate, invalid_parameter, set_once, time, wrong_arguments};
use std::time::Duration;

/// The shortest time for which a record of dns-persist-01 is written.
const SHORTEST: Duration = Duration::from_secs(24 * 3600);

/// Method by which a name is proven (RFC 8555 section 8).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ChallengeMethod {
    /// A TXT record for each order (RFC 8555 section 8.4).
    Dns01,
    /// The same, at a name of the account's own (draft-ietf-acme-dns-account-label).
    DnsAccount01,
    /// A TXT record that stays (draft-ietf-acme-dns-persist).
    DnsPersist01,
}

impl ChallengeMethod {
    /// All methods.
    pub const ALL: [Self; 3] = [Self::Dns01, Self::DnsAccount01, Self::DnsPersist01];

    /// Its name at CAs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dns01 => "dns-01",
            Self::DnsAccount01 => "dns-account-01",
            Self::DnsPersist01 => "dns-persist-01",
        }
    }
}

/// Reads both directives.
#[derive(Debug, Default)]
pub(super) struct ChallengeReader {
    methods: Option<Vec<ChallengeMethod>>,
    persist: Option<Duration>,
}

impl ChallengeReader {
    /// Reads `challenge`: methods, the preferred ones first.
    pub(super) fn set_methods(&mut self, directive: &str, args: &[&str]) -> Result<(), String> {
        let mut methods = Vec::with_capacity(args.len());
        for arg in args {
            let method = ChallengeMethod::ALL.into_iter().find(|method| method.name() == *arg);
            let method = method.ok_or_else(|| invalid_parameter(arg))?;
            if methods.contains(&method) {
                return Err(format!("duplicate \"{arg}\" in \"{directive}\" directive"));
            }
            methods.push(method);
        }
        match methods.is_empty() {
            true => Err(wrong_arguments(directive)),
            false => set_once(&mut self.methods, directive, methods),
        }
    }

    /// Reads `persist`: the time for which records are written.
    pub(super) fn set_persist(&mut self, directive: &str, args: &[&str]) -> Result<(), String> {
        let [text] = arguments(directive, args)?;
        if self.persist.is_some() {
            return Err(duplicate(directive));
        }
        let span = time(text).filter(|span| *span >= SHORTEST);
        self.persist = Some(span.ok_or_else(|| invalid_parameter(text))?);
        Ok(())
    }

    /// Gives the methods, and the time for which records are written.
    pub(super) fn finish(
        self,
        issuer: &str,
    ) -> Result<(Vec<ChallengeMethod>, Option<Duration>), String> {
        let methods = self.methods.unwrap_or_else(|| vec![ChallengeMethod::Dns01]);
        match self.persist {
            Some(_) if !methods.contains(&ChallengeMethod::DnsPersist01) => Err(format!(
                "issuer \"{issuer}\" has \"persist\", but not \"dns-persist-01\" in \"challenge\""
            )),
            persist => Ok((methods, persist)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ChallengeMethod::{Dns01, DnsAccount01, DnsPersist01};
    use super::{ChallengeMethod, ChallengeReader};
    use std::time::Duration;

    /// Reads lines of a block.
    fn read(lines: &[&str]) -> Result<(Vec<ChallengeMethod>, Option<Duration>), String> {
        let mut reader = ChallengeReader::default();
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            match words[0] {
                "challenge" => reader.set_methods("challenge", &words[1..])?,
                _ => reader.set_persist("persist", &words[1..])?,
            }
        }
        reader.finish("own")
    }

    #[test]
    fn methods_stand_in_the_order_of_preference() {
        let year = Some(Duration::from_secs(400 * 86_400));
        for (lines, methods, persist) in [
            (&[][..], &[Dns01][..], None),
            (&["challenge dns-account-01"], &[DnsAccount01], None),
            (&["challenge dns-persist-01 dns-01"], &[DnsPersist01, Dns01], None),
            (&["persist 400d", "challenge dns-persist-01"], &[DnsPersist01], year),
        ] {
            assert_eq!(read(lines), Ok((methods.to_vec(), persist)), "{lines:?}");
        }
    }

    #[test]
    fn mistakes_are_told_in_the_words_of_nginx() {
        for (lines, expected) in [
            (&["challenge"][..], "invalid number of arguments in \"challenge\" directive"),
            (&["challenge http-01"], "invalid parameter \"http-01\""),
            (&["challenge dns-01 dns-01"], "duplicate \"dns-01\" in \"challenge\" directive"),
            (&["challenge dns-01", "challenge dns-01"], "\"challenge\" directive is duplicate"),
            (&["persist"], "invalid number of arguments in \"persist\" directive"),
            (&["persist 1h"], "invalid parameter \"1h\""),
            (&["persist soon"], "invalid parameter \"soon\""),
            (&["persist 2d", "persist 2d"], "\"persist\" directive is duplicate"),
            (
                &["persist 2d", "challenge dns-01"],
                "issuer \"own\" has \"persist\", but not \"dns-persist-01\" in \"challenge\"",
            ),
        ] {
            assert_eq!(read(lines), Err(expected.to_owned()), "{lines:?}");
        }
    }
}
