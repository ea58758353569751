//! Types that a key and a secret, or a user and a password, authorize.

use super::settings::{
    TTL, ZONE_REWRITE, address, flag, number, optional, password, rsa_key, secret, text, ttl, url,
};
use super::{LibraryType, RECORD, SET, ZONE};

/// The types.
pub(super) const TYPES: &[LibraryType] = &[
    LibraryType {
        name: "autodns",
        title: "AutoDNS of InterNetX",
        fields: &[
            text("username", &["AUTODNS_API_USER", "AUTODNS_USER"]),
            password("password", &["AUTODNS_API_PASSWORD", "AUTODNS_PASSWORD"]),
            optional(number("context", &["AUTODNS_CONTEXT"])),
            ttl(600),
        ],
        ..RECORD
    },
    LibraryType {
        name: "cloudns",
        title: "ClouDNS",
        fields: &[
            optional(text("auth_id", &["CLOUDNS_AUTH_ID"])),
            optional(text("sub_auth_id", &["CLOUDNS_SUB_AUTH_ID"])),
            password("auth_password", &["CLOUDNS_AUTH_PASSWORD"]),
            TTL,
        ],
        credentials: &[&["auth_id"], &["sub_auth_id"]],
        ..RECORD
    },
    LibraryType {
        name: "constellix",
        title: "Constellix",
        fields: &[
            secret("api_key", &["CONSTELLIX_API_KEY", "CONSTELLIX_Key"]),
            secret("api_secret", &["CONSTELLIX_SECRET_KEY", "CONSTELLIX_Secret"]),
            TTL,
        ],
        ..SET
    },
    LibraryType {
        name: "dnsmadeeasy",
        title: "DNS Made Easy",
        fields: &[
            secret("api_key", &["DNSMADEEASY_API_KEY", "ME_Key"]),
            secret("api_secret", &["DNSMADEEASY_API_SECRET", "ME_Secret"]),
            TTL,
        ],
        ..RECORD
    },
    LibraryType {
        name: "domeneshop",
        title: "Domeneshop; the key is what it calls token",
        fields: &[
            secret("api_key", &["DOMENESHOP_API_TOKEN", "DOMENESHOP_Token"]),
            secret("api_secret", &["DOMENESHOP_API_SECRET", "DOMENESHOP_Secret"]),
            TTL,
        ],
        ..RECORD
    },
    LibraryType {
        name: "easydns",
        title: "easyDNS",
        fields: &[secret("token", &["EASYDNS_TOKEN"]), secret("api_key", &["EASYDNS_KEY"]), TTL],
        ..RECORD
    },
    LibraryType {
        name: "exoscale",
        title: "Exoscale",
        fields: &[
            secret("api_key", &["EXOSCALE_API_KEY"]),
            secret("api_secret", &["EXOSCALE_API_SECRET", "EXOSCALE_SECRET_KEY"]),
            TTL,
        ],
        ..RECORD
    },
    LibraryType {
        name: "glesys",
        title: "GleSYS",
        fields: &[
            text("username", &["GLESYS_API_USER"]),
            secret("api_key", &["GLESYS_API_KEY"]),
            TTL,
        ],
        ..RECORD
    },
    LibraryType {
        name: "godaddy",
        title: "GoDaddy",
        fields: &[
            secret("api_key", &["GODADDY_API_KEY", "GD_Key"]),
            secret("api_secret", &["GODADDY_API_SECRET", "GD_Secret"]),
            ttl(600),
        ],
        ..SET
    },
    LibraryType {
        name: "inwx",
        title: "INWX",
        fields: &[
            text("username", &["INWX_USERNAME", "INWX_User"]),
            password("password", &["INWX_PASSWORD"]),
            flag("sandbox", &["INWX_SANDBOX"]),
            ttl(300),
        ],
        ..RECORD
    },
    LibraryType {
        name: "joker",
        title: "Joker.com's DMAPI",
        fields: &[
            optional(secret("api_key", &["JOKER_API_KEY"])),
            optional(text("username", &["JOKER_USERNAME"])),
            optional(password("password", &["JOKER_PASSWORD"])),
            ZONE_REWRITE,
            ttl(300),
        ],
        credentials: &[&["api_key"], &["username", "password"]],
        ..ZONE
    },
    LibraryType {
        name: "luadns",
        title: "LuaDNS",
        fields: &[
            text("username", &["LUADNS_API_USERNAME", "LUA_Email"]),
            secret("api_key", &["LUADNS_API_TOKEN", "LUA_Key"]),
            ttl(300),
        ],
        ..RECORD
    },
    LibraryType {
        name: "mythicbeasts",
        title: "Mythic Beasts; a key's id is the user, its secret the password",
        fields: &[
            text("username", &["MYTHICBEASTS_USERNAME", "MB_AK"]),
            password("password", &["MYTHICBEASTS_PASSWORD", "MB_AS"]),
            TTL,
        ],
        ..SET
    },
    LibraryType {
        name: "namecheap",
        title: "Namecheap",
        fields: &[
            text("api_user", &["NAMECHEAP_API_USER"]),
            secret("api_key", &["NAMECHEAP_API_KEY"]),
            address("client_ip", &["NAMECHEAP_SOURCEIP"]),
            ZONE_REWRITE,
            optional(text("username", &["NAMECHEAP_USERNAME"])),
            TTL,
        ],
        ..ZONE
    },
    LibraryType {
        name: "namedotcom",
        title: "Name.com",
        fields: &[
            text("username", &["NAMECOM_USERNAME"]),
            secret("api_key", &["NAMECOM_API_TOKEN", "Namecom_Token"]),
            ttl(300),
        ],
        ..RECORD
    },
    LibraryType {
        name: "netcup",
        title: "netcup",
        fields: &[
            text("customer_number", &["NETCUP_CUSTOMER_NUMBER", "NC_CID"]),
            secret("api_key", &["NETCUP_API_KEY", "NC_Apikey"]),
            password("api_password", &["NETCUP_API_PASSWORD", "NC_Apipw"]),
            TTL,
        ],
        ..RECORD
    },
    LibraryType {
        name: "porkbun",
        title: "Porkbun",
        fields: &[
            secret("api_key", &["PORKBUN_API_KEY"]),
            secret("api_secret", &["PORKBUN_SECRET_API_KEY"]),
            ttl(600),
        ],
        ..RECORD
    },
    LibraryType {
        name: "selectel",
        aliases: &["selectelv2"],
        title: "Selectel's DNS API v2, by a service user",
        fields: &[
            text("username", &["SELECTELV2_USERNAME", "SL_Login_Name"]),
            password("password", &["SELECTELV2_PASSWORD", "SL_Pswd"]),
            text("account_id", &["SELECTELV2_ACCOUNT_ID", "SL_Login_ID"]),
            text("project_id", &["SELECTELV2_PROJECT_ID"]),
            TTL,
        ],
        ..SET
    },
    LibraryType {
        name: "simplycom",
        aliases: &["simply"],
        title: "Simply.com",
        fields: &[
            text("account", &["SIMPLY_ACCOUNT_NAME", "SIMPLY_AccountName"]),
            secret("api_key", &["SIMPLY_API_KEY", "SIMPLY_ApiKey"]),
            TTL,
        ],
        ..RECORD
    },
    LibraryType {
        name: "spaceship",
        title: "Spaceship",
        fields: &[
            secret("api_key", &["SPACESHIP_API_KEY"]),
            secret("api_secret", &["SPACESHIP_API_SECRET"]),
            TTL,
        ],
        ..RECORD
    },
    LibraryType {
        name: "transip",
        title: "TransIP",
        fields: &[
            text("login", &["TRANSIP_ACCOUNT_NAME", "TRANSIP_Username"]),
            rsa_key("private_key", &["TRANSIP_PRIVATE_KEY_PATH", "TRANSIP_Key_File"]),
            flag("global_key", &[]),
            TTL,
        ],
        ..RECORD
    },
    LibraryType {
        name: "ultradns",
        title: "UltraDNS",
        fields: &[
            text("username", &["ULTRADNS_USERNAME", "ULTRA_USR"]),
            password("password", &["ULTRADNS_PASSWORD", "ULTRA_PWD"]),
            optional(url("endpoint", &["ULTRADNS_ENDPOINT"])),
            TTL,
        ],
        ..SET
    },
    LibraryType {
        name: "websupport",
        title: "Websupport",
        fields: &[
            secret("api_key", &["WEBSUPPORT_API_KEY", "WS_ApiKey"]),
            secret("api_secret", &["WEBSUPPORT_SECRET", "WS_ApiSecret"]),
            ttl(120),
        ],
        ..RECORD
    },
    LibraryType {
        name: "zoneeu",
        aliases: &["zoneee"],
        title: "Zone.eu",
        fields: &[
            text("username", &["ZONEEE_API_USER", "ZONE_Username"]),
            secret("api_key", &["ZONEEE_API_KEY", "ZONE_Key"]),
            TTL,
        ],
        ..RECORD
    },
];
