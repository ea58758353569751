//! The variable of the environment that asks for a check, `ACME_DNS_CHECK`.

/// Scope of a check, and its form.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// The certificate, by its name or one of its names; `None`: all of them.
    pub certificate: Option<String>,
    /// Set if a test record is written and removed.
    pub writes: bool,
    /// Set if the result is JSON on standard output, not a table on standard error.
    pub is_json: bool,
}

impl Request {
    /// Reads a value of the variable: `all` or a name, then words after commas.
    ///
    /// # Errors
    /// It is none; the text lists the forms.
    pub fn parse(value: &str) -> Result<Self, String> {
        let invalid = || {
            format!(
                "invalid value \"{}\" of ACME_DNS_CHECK, the forms are \"all\", \"NAME\" (of a certificate), and \
                 these with \",nowrite\" (no test record), \",json\" or both behind",
                super::shown(value)
            )
        };
        let mut words = value.split(',').map(str::trim);
        let name = words.next().filter(|name| !name.is_empty()).ok_or_else(invalid)?;
        let certificate = (name != "all").then(|| name.to_ascii_lowercase());
        let mut request = Self { certificate, writes: true, is_json: false };
        for word in words {
            match word {
                "write" => request.writes = true,
                "nowrite" => request.writes = false,
                "json" => request.is_json = true,
                _ => return Err(invalid()),
            }
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::Request;

    #[test]
    fn reads_all_forms_and_lists_them_where_it_is_none() {
        let read = |value| {
            let request = Request::parse(value).ok()?;
            Some((request.certificate, request.writes, request.is_json))
        };
        let name = || Some("example.com".to_owned());
        for (value, expected) in [
            ("all", Some((None, true, false))),
            ("example.com", Some((name(), true, false))),
            ("Example.COM,nowrite", Some((name(), false, false))),
            ("all,json", Some((None, true, true))),
            ("all, nowrite, json", Some((None, false, true))),
            ("example.com,write", Some((name(), true, false))),
            ("", None),
            (",json", None),
            ("all,yaml", None),
            ("all,", None),
        ] {
            assert_eq!(read(value), expected, "{value:?}");
        }
        let error = Request::parse("all,yaml\n").unwrap_err();
        for part in ["\"all,yaml \"", "\"all\"", "\"NAME\"", "\",nowrite\"", "\",json\""] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
