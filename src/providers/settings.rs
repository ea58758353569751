//! The settings of a request, by their names in the configuration.

use acme_dns_core::providers_protocol::Request;
use dns_update::Error;

/// The settings of a provider.
pub(crate) struct Settings<'a>(&'a Request);

impl<'a> Settings<'a> {
    pub(crate) fn new(request: &'a Request) -> Self {
        Self(request)
    }

    /// Gives a setting, secret or not, if it is there.
    pub(crate) fn optional(&self, name: &str) -> Option<&'a str> {
        let Self(Request { settings, secrets, .. }) = self;
        settings.get(name).or_else(|| secrets.get(name)).map(String::as_str)
    }

    /// Gives a setting that has to be there.
    pub(crate) fn required(&self, name: &str) -> Result<&'a str, Error> {
        let missing = || Error::Unsupported(format!("setting \"{name}\" is missing"));
        self.optional(name).ok_or_else(missing)
    }

    /// Gives a setting that is a number, if it is there.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u32>, Error> {
        let no_number = |_| Error::Unsupported(format!("setting \"{name}\" is no number"));
        self.optional(name).map(|text| text.parse().map_err(no_number)).transpose()
    }

    /// Tells whether a setting is on.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.optional(name) == Some("on")
    }

    pub(crate) fn owned(&self, name: &str) -> Option<String> {
        self.optional(name).map(str::to_owned)
    }

    pub(crate) fn required_owned(&self, name: &str) -> Result<String, Error> {
        self.required(name).map(str::to_owned)
    }
}
