//! Query arguments: `?page=2&state=failing&q=shop`.

use super::certificate::{Activity, CertificateStatus, Served};
use serde::Serialize;

/// The most certificates of a page.
pub const MOST: usize = 1000;

/// The longest text that is searched for, in bytes.
const LONGEST: usize = 255;

/// State that is looked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Filter {
    /// By what is served.
    Served(Served),
    /// By what is done.
    Activity(Activity),
    /// Those that are revoked.
    Revoked,
}

impl Filter {
    /// Gives its word in a query.
    pub fn word(self) -> &'static str {
        match self {
            Self::Served(served) => served.word(),
            Self::Activity(activity) => activity.word(),
            Self::Revoked => "revoked",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        let served = Served::ALL.iter().find(|it| it.word() == word).copied().map(Self::Served);
        let activity = Activity::ALL.iter().find(|it| it.word() == word).copied();
        let revoked = (word == "revoked").then_some(Self::Revoked);
        served.or(activity.map(Self::Activity)).or(revoked)
    }
}

impl Serialize for Filter {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.word())
    }
}

/// Selection that is asked for.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Query {
    /// Number of the page, from 1.
    pub page: usize,
    /// Number of certificates of a page.
    pub size: usize,
    /// State that all of them are to have.
    pub state: Option<Filter>,
    /// Part of a name, in lower case. It comes from a client: escape it.
    #[serde(rename = "q")]
    pub search: Option<String>,
    /// Set if a browser is not to ask again by itself.
    #[serde(skip)]
    pub still: bool,
    /// The name of a certificate whose renewal was just asked for. It comes from a client as well.
    #[serde(skip)]
    pub asked: Option<String>,
}

impl Query {
    /// Reads the arguments of a URL. What is not understood is ignored, as nginx's arguments are free.
    pub fn parse(arguments: &str, size: usize) -> Self {
        let mut query =
            Self { page: 1, size, state: None, search: None, still: false, asked: None };
        for (name, value) in url::form_urlencoded::parse(arguments.as_bytes()) {
            match &*name {
                "page" => query.page = value.parse().unwrap_or(1).max(1),
                "size" => query.size = value.parse().unwrap_or(size).clamp(1, MOST),
                "state" => query.state = Filter::parse(&value),
                "q" => {
                    let text = value.trim().to_lowercase();
                    query.search = (!text.is_empty() && text.len() <= LONGEST).then_some(text);
                }
                "refresh" => query.still = value == "off",
                "asked" => query.asked = Some(value.into_owned()),
                _ => {}
            }
        }
        query
    }

    /// Writes the arguments of a URL that selects another page of the same; `None`: all states.
    pub fn link(&self, page: usize, state: Option<Filter>) -> String {
        let mut link = url::form_urlencoded::Serializer::new(String::new());
        if page > 1 {
            link.append_pair("page", &page.to_string());
        }
        if let Some(state) = state {
            link.append_pair("state", state.word());
        }
        if let Some(search) = &self.search {
            link.append_pair("q", search);
        }
        if self.still {
            link.append_pair("refresh", "off");
        }
        link.finish()
    }

    /// Writes the arguments of a URL that selects the same, after the renewal of a certificate was asked for.
    pub fn link_after(&self, asked: &str) -> String {
        let same = self.link(self.page, self.state);
        let mut link = url::form_urlencoded::Serializer::new(same);
        link.append_pair("asked", asked);
        link.finish()
    }
}

impl CertificateStatus {
    /// Tells whether it has a state.
    pub fn is(&self, filter: Filter) -> bool {
        match filter {
            Filter::Served(served) => self.served == served,
            Filter::Activity(activity) => self.activity == activity,
            Filter::Revoked => self.revoked,
        }
    }
}
