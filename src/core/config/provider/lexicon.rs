//! Names that lexicon gives to its providers and their options, for containers that go on from it: `PROVIDER`, and variables
//! such as `LEXICON_HETZNER_AUTH_TOKEN`. Listed are those options that mean the same as a setting of ours.

/// A provider of lexicon.
pub(super) struct LexiconProvider {
    /// Its name.
    pub(super) name: &'static str,
    /// The type of ours.
    pub(super) kind: &'static str,
    /// Settings, each with lexicon's option.
    options: &'static [(&'static str, &'static str)],
}

/// Options that several have.
const TOKEN: &[(&str, &str)] = &[("token", "auth_token")];
const API_KEY: &[(&str, &str)] = &[("api_key", "auth_token")];
const KEY_AND_SECRET: &[(&str, &str)] = &[("api_key", "auth_key"), ("api_secret", "auth_secret")];
const USER_AND_TOKEN: &[(&str, &str)] = &[("username", "auth_username"), ("api_key", "auth_token")];
const PASSWORD: &[(&str, &str)] = &[("username", "auth_username"), ("password", "auth_password")];
const TWO_KEYS: &[(&str, &str)] = &[("api_key", "auth_username"), ("api_secret", "auth_token")];

/// The providers that both have. Cloudflare's variables are ambiguous, and the image itself reads them.
const PROVIDERS: &[LexiconProvider] = &[
    same("arvancloud", API_KEY),
    same("constellix", TWO_KEYS),
    same("digitalocean", TOKEN),
    same("dnsimple", TOKEN),
    same("dnsmadeeasy", TWO_KEYS),
    same("dreamhost", API_KEY),
    same("duckdns", TOKEN),
    same("dynu", API_KEY),
    same("exoscale", KEY_AND_SECRET),
    same("gandi", TOKEN),
    same("glesys", USER_AND_TOKEN),
    same("godaddy", KEY_AND_SECRET),
    same("hetzner", TOKEN),
    same("hostingde", API_KEY),
    same("infomaniak", TOKEN),
    same("inwx", PASSWORD),
    same("ionos", &[("api_key", "api_key")]),
    same("joker", API_KEY),
    same("linode", TOKEN),
    same("luadns", USER_AND_TOKEN),
    same("mythicbeasts", PASSWORD),
    same("namesilo", API_KEY),
    same("porkbun", KEY_AND_SECRET),
    same("safedns", TOKEN),
    same("scaleway", &[("token", "auth_secret_key")]),
    same("ultradns", PASSWORD),
    same("vercel", TOKEN),
    same("vultr", API_KEY),
    same(
        "cloudns",
        &[
            ("auth_id", "auth_id"),
            ("auth_password", "auth_password"),
            ("sub_auth_id", "auth_subid"),
        ],
    ),
    same(
        "infoblox",
        &[
            ("host", "ib_host"),
            ("username", "auth_user"),
            ("password", "auth_psw"),
            ("view", "ib_view"),
        ],
    ),
    same(
        "namecheap",
        &[
            ("api_user", "auth_username"),
            ("api_key", "auth_token"),
            ("client_ip", "auth_client_ip"),
        ],
    ),
    same(
        "netcup",
        &[
            ("customer_number", "auth_customer_id"),
            ("api_key", "auth_api_key"),
            ("api_password", "auth_api_password"),
        ],
    ),
    same(
        "ovh",
        &[
            ("endpoint", "auth_entrypoint"),
            ("application_key", "auth_application_key"),
            ("application_secret", "auth_application_secret"),
            ("consumer_key", "auth_consumer_key"),
        ],
    ),
    same(
        "powerdns",
        &[("api", "pdns_server"), ("api_key", "auth_token"), ("server_id", "pdns_server_id")],
    ),
    same(
        "route53",
        &[
            ("access_key_id", "auth_access_key"),
            ("secret_access_key", "auth_access_secret"),
            ("hosted_zone_id", "zone_id"),
        ],
    ),
    LexiconProvider {
        name: "aliyun",
        kind: "alidns",
        options: &[("access_key_id", "auth_key_id"), ("access_key_secret", "auth_secret")],
    },
    LexiconProvider {
        name: "azure",
        kind: "azuredns",
        options: &[
            ("tenant_id", "auth_tenant_id"),
            ("client_id", "auth_client_id"),
            ("client_secret", "auth_client_secret"),
            ("subscription_id", "auth_subscription_id"),
            ("resource_group", "resource_group"),
        ],
    },
    LexiconProvider { name: "linode4", kind: "linode", options: TOKEN },
    LexiconProvider { name: "namecom", kind: "namedotcom", options: USER_AND_TOKEN },
    LexiconProvider { name: "nsone", kind: "ns1", options: API_KEY },
    LexiconProvider {
        name: "oci",
        kind: "oraclecloud",
        options: &[
            ("tenancy_ocid", "auth_tenancy"),
            ("user_ocid", "auth_user"),
            ("fingerprint", "auth_fingerprint"),
            ("private_key", "auth_key_content"),
            ("region", "auth_region"),
        ],
    },
];

/// Makes one whose name is that of our type.
const fn same(
    name: &'static str,
    options: &'static [(&'static str, &'static str)],
) -> LexiconProvider {
    LexiconProvider { name, kind: name, options }
}

/// Lists lexicon's providers for a type.
pub(super) fn of(kind: &str) -> impl Iterator<Item = &'static LexiconProvider> {
    PROVIDERS.iter().filter(move |provider| provider.kind == kind)
}

impl LexiconProvider {
    /// Lists the variables that lexicon reads a setting from: `LEXICON_HETZNER_AUTH_TOKEN`, and the same without `AUTH`.
    pub(super) fn variables(&self, setting: &str) -> Vec<String> {
        let option =
            self.options.iter().find(|(ours, _)| *ours == setting).map(|(_, option)| option);
        let Some(option) = option else { return Vec::new() };
        let variable =
            |option: &str| format!("LEXICON_{}_{option}", self.name).to_ascii_uppercase();
        let short = option.strip_prefix("auth_").map(variable);
        [variable(option)].into_iter().chain(short).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::types::types;
    use super::PROVIDERS;

    #[test]
    fn what_is_listed_is_a_setting_of_a_type() {
        for provider in PROVIDERS {
            let kind = types().find(|kind| kind.form.name == provider.kind);
            let form = kind.unwrap_or_else(|| panic!("no type {}", provider.kind)).form;
            for (setting, _) in provider.options {
                let is_there = form.fields.iter().any(|field| field.name == *setting);
                assert!(is_there, "{} has no {setting}", provider.kind);
            }
        }
    }

    #[test]
    fn variables_are_those_of_lexicon() {
        let hetzner = super::of("hetzner").next().expect("it is listed");
        let expected = ["LEXICON_HETZNER_AUTH_TOKEN", "LEXICON_HETZNER_TOKEN"];
        assert_eq!(hetzner.variables("token"), expected);
        let powerdns = super::of("powerdns").next().expect("it is listed");
        assert_eq!(powerdns.variables("api"), ["LEXICON_POWERDNS_PDNS_SERVER"]);
        assert!(powerdns.variables("ttl").is_empty());
    }
}
