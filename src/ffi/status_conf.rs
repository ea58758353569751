//! The directive `acme_dns_status`: what a location shows, and whether it takes requests.

use acme_dns_core::status::Form;
use std::cell::Cell;

/// Configuration of this module for a location.
#[derive(Default)]
pub(super) struct StatusConf {
    /// Set if the location shows the status.
    pub(super) shown: Cell<Option<Shown>>,
}

/// Content of a location.
#[derive(Clone, Copy)]
pub(super) struct Shown {
    /// The form; `None`: the one that the client prefers.
    pub(super) form: Option<Form>,
    /// Set if renewals can be asked for.
    pub(super) takes_requests: bool,
}

impl Shown {
    /// Reads the arguments of the directive.
    ///
    /// # Errors
    /// One of them is none, or is there twice.
    pub(super) fn parse(args: &[&str]) -> Result<Self, String> {
        let (mut form, mut control) = (None, None);
        for word in args {
            let invalid = || format!("invalid parameter \"{word}\"");
            let is_duplicate = match *word {
                "control=on" => control.replace(true).is_some(),
                "control=off" => control.replace(false).is_some(),
                word => form.replace(Form::parse(word).ok_or_else(invalid)?).is_some(),
            };
            if is_duplicate {
                return Err(invalid());
            }
        }
        let takes_requests = control.unwrap_or_default();
        if takes_requests && form == Some(Form::Prometheus) {
            return Err("\"control=on\" is for people and programs, not for Prometheus".to_owned());
        }
        Ok(Self { form, takes_requests })
    }
}
