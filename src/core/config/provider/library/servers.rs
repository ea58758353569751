//! Types of servers that people run themselves or rent.

use super::settings::{TTL, host, number, optional, password, secret, text, url};
use super::{LibraryType, RECORD, SET};

/// The types.
pub(super) const TYPES: &[LibraryType] = &[
    LibraryType {
        name: "bluecatv2",
        title: "BlueCat Address Manager, REST API v2",
        fields: &[
            url("server_url", &["BLUECATV2_SERVER_URL"]),
            text("username", &["BLUECATV2_USERNAME"]),
            password("password", &["BLUECATV2_PASSWORD"]),
            text("config_name", &["BLUECATV2_CONFIG_NAME"]),
            text("view_name", &["BLUECATV2_VIEW_NAME"]),
            TTL,
        ],
        ..RECORD
    },
    LibraryType {
        name: "cpanel",
        title: "cPanel",
        fields: &[
            url("base_url", &["CPANEL_BASE_URL", "cPanel_Hostname"]),
            text("username", &["CPANEL_USERNAME", "cPanel_Username"]),
            secret("token", &["CPANEL_TOKEN", "cPanel_Apitoken"]),
            TTL,
        ],
        ..SET
    },
    LibraryType {
        name: "infoblox",
        title: "Infoblox NIOS",
        fields: &[
            host("host", &["INFOBLOX_HOST", "Infoblox_Server"]),
            text("username", &["INFOBLOX_USERNAME"]),
            password("password", &["INFOBLOX_PASSWORD"]),
            optional(number("port", &["INFOBLOX_PORT"])),
            optional(text("view", &["INFOBLOX_DNS_VIEW", "Infoblox_View"])),
            optional(text("wapi_version", &["INFOBLOX_WAPI_VERSION"])),
            TTL,
        ],
        ..RECORD
    },
    LibraryType {
        name: "plesk",
        title: "Plesk's REST API",
        fields: &[url("base_url", &["PLESK_SERVER_BASE_URL"]), secret("api_key", &[]), TTL],
        ..RECORD
    },
];
