//! Types that a single token or key authorizes.

use super::settings::{TTL, optional, secret, text, ttl};
use super::{LibraryType, RECORD, SET};

/// The types.
pub(super) const TYPES: &[LibraryType] = &[
    LibraryType {
        name: "arvancloud",
        title: "ArvanCloud",
        fields: &[secret("api_key", &["ARVANCLOUD_API_KEY", "Arvan_Token"]), ttl(600)],
        ..RECORD
    },
    LibraryType {
        name: "bunny",
        title: "Bunny DNS",
        fields: &[secret("api_key", &["BUNNY_API_KEY"]), TTL],
        ..RECORD
    },
    LibraryType {
        name: "desec",
        title: "deSEC",
        fields: &[secret("token", &["DESEC_TOKEN", "DEDYN_TOKEN"]), ttl(3600)],
        ..SET
    },
    LibraryType {
        name: "digitalocean",
        title: "DigitalOcean",
        fields: &[secret("token", &["DO_AUTH_TOKEN", "DO_API_KEY"]), TTL],
        ..RECORD
    },
    LibraryType {
        name: "dnsimple",
        title: "DNSimple",
        fields: &[
            secret("token", &["DNSIMPLE_OAUTH_TOKEN", "DNSimple_OAUTH_TOKEN"]),
            text("account_id", &[]),
            TTL,
        ],
        ..RECORD
    },
    LibraryType {
        name: "dreamhost",
        title: "DreamHost",
        fields: &[secret("api_key", &["DREAMHOST_API_KEY", "DH_API_KEY"]), TTL],
        ..RECORD
    },
    LibraryType {
        name: "dynu",
        title: "Dynu",
        fields: &[secret("api_key", &["DYNU_API_KEY"]), ttl(90)],
        ..RECORD
    },
    LibraryType {
        name: "gandi",
        aliases: &["gandiv5"],
        title: "Gandi LiveDNS, by a personal access token",
        fields: &[
            secret("token", &["GANDIV5_PERSONAL_ACCESS_TOKEN", "GANDI_LIVEDNS_TOKEN"]),
            ttl(300),
        ],
        ..SET
    },
    LibraryType {
        name: "gcore",
        title: "Gcore",
        fields: &[secret("token", &["GCORE_PERMANENT_API_TOKEN", "GCORE_Key"]), ttl(120)],
        ..SET
    },
    LibraryType {
        name: "hetzner",
        title: "Hetzner Cloud",
        fields: &[secret("token", &["HETZNER_API_TOKEN", "HETZNER_TOKEN"]), TTL],
        ..RECORD
    },
    LibraryType {
        name: "hostingde",
        title: "hosting.de",
        fields: &[secret("api_key", &["HOSTINGDE_API_KEY", "HOSTINGDE_APIKEY"]), TTL],
        ..RECORD
    },
    LibraryType {
        name: "hostinger",
        title: "Hostinger",
        fields: &[secret("token", &["HOSTINGER_API_TOKEN"]), TTL],
        ..SET
    },
    LibraryType {
        name: "infomaniak",
        title: "Infomaniak",
        fields: &[secret("token", &["INFOMANIAK_ACCESS_TOKEN", "INFOMANIAK_API_TOKEN"]), ttl(300)],
        ..RECORD
    },
    LibraryType {
        name: "ionos",
        title: "IONOS; the key is its prefix, a dot and its secret",
        fields: &[secret("api_key", &["IONOS_API_KEY"]), TTL],
        ..RECORD
    },
    LibraryType {
        name: "ipv64",
        title: "IPv64",
        fields: &[secret("api_key", &["IPV64_API_KEY", "IPv64_Token"]), TTL],
        ..RECORD
    },
    LibraryType {
        name: "linode",
        title: "Linode",
        fields: &[secret("token", &["LINODE_TOKEN", "LINODE_V4_API_KEY"]), ttl(300)],
        ..RECORD
    },
    LibraryType {
        name: "namesilo",
        title: "NameSilo",
        fields: &[secret("api_key", &["NAMESILO_API_KEY", "Namesilo_Key"]), ttl(3600)],
        ..RECORD
    },
    LibraryType {
        name: "netlify",
        title: "Netlify",
        fields: &[secret("token", &["NETLIFY_TOKEN", "NETLIFY_ACCESS_TOKEN"]), TTL],
        ..RECORD
    },
    LibraryType {
        name: "ns1",
        title: "NS1",
        fields: &[secret("api_key", &["NS1_API_KEY", "NS1_Key"]), TTL],
        ..SET
    },
    LibraryType {
        name: "safedns",
        title: "ANS SafeDNS",
        fields: &[secret("token", &["SAFEDNS_AUTH_TOKEN"]), TTL],
        ..RECORD
    },
    LibraryType {
        name: "scaleway",
        title: "Scaleway",
        fields: &[secret("token", &["SCALEWAY_API_TOKEN", "SCW_SECRET_KEY"]), TTL],
        ..RECORD
    },
    LibraryType {
        name: "vercel",
        title: "Vercel",
        fields: &[
            secret("token", &["VERCEL_API_TOKEN", "VERCEL_TOKEN"]),
            optional(text("team_id", &["VERCEL_TEAM_ID"])),
            TTL,
        ],
        ..RECORD
    },
    LibraryType {
        name: "vultr",
        title: "Vultr",
        fields: &[secret("api_key", &["VULTR_API_KEY"]), ttl(120)],
        ..RECORD
    },
];
