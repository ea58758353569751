//! The table of types: how the library's client of each is made of its settings. A type needs a line here and one
//! in the table of the module (`acme_dns_core::config`), which has its settings; a test compares the two.

use crate::settings::Settings;
use dns_update::providers::azuredns::{AzureDnsConfig, AzureEnvironment};
use dns_update::providers::bluecatv2::BluecatV2Config;
use dns_update::providers::edgedns::EdgeDnsConfig;
use dns_update::providers::google_cloud_dns::GoogleCloudDnsConfig;
use dns_update::providers::infoblox::InfobloxConfig;
use dns_update::providers::joker::JokerAuth;
use dns_update::providers::lightsail::LightsailConfig;
use dns_update::providers::oraclecloud::OracleCloudConfig;
use dns_update::providers::ovh::OvhEndpoint;
use dns_update::providers::route53::Route53Config;
use dns_update::providers::volcengine::VolcengineConfig;
use dns_update::providers::yandexcloud::YandexCloudConfig;
use dns_update::{DnsUpdater, Error, Result};
use std::time::Duration;

/// Longest time for one HTTP request.
type Limit = Option<Duration>;

/// A type of provider.
pub(crate) struct Type {
    /// The word in the configuration.
    pub(crate) name: &'static str,
    /// Makes the library's client.
    pub(crate) make: fn(&Settings<'_>, Limit) -> Result<DnsUpdater>,
}

/// Makes a line whose settings are all required and are the arguments of the library's constructor.
macro_rules! plain {
    ($name:literal, $new:ident, $($setting:literal),+) => {
        Type { name: $name, make: |s, limit| DnsUpdater::$new($(s.required($setting)?),+, limit) }
    };
}

/// Makes any other line.
macro_rules! line {
    ($name:literal, $make:expr) => {
        Type { name: $name, make: $make }
    };
}

/// All types, by their names.
pub(crate) const TYPES: &[Type] = &[
    line!("alidns", |s, limit| DnsUpdater::new_alidns(
        s.required("access_key_id")?,
        s.required("access_key_secret")?,
        s.optional("region"),
        s.optional("security_token"),
        s.optional("line"),
        limit,
    )),
    plain!("arvancloud", new_arvancloud, "api_key"),
    line!("autodns", |s, limit| DnsUpdater::new_autodns(
        s.required("username")?,
        s.required("password")?,
        s.number("context")?,
        limit,
    )),
    line!("azuredns", azuredns),
    plain!("baiducloud", new_baiducloud, "access_key_id", "secret_access_key"),
    line!("bluecatv2", bluecatv2),
    plain!("bunny", new_bunny, "api_key"),
    line!("cloudns", |s, limit| DnsUpdater::new_cloudns(
        s.optional("auth_id"),
        s.optional("sub_auth_id"),
        s.required("auth_password")?,
        limit,
    )),
    plain!("constellix", new_constellix, "api_key", "api_secret"),
    plain!("cpanel", new_cpanel, "base_url", "username", "token"),
    plain!("desec", new_desec, "token"),
    plain!("digitalocean", new_digitalocean, "token"),
    plain!("dnsimple", new_dnsimple, "token", "account_id"),
    plain!("dnsmadeeasy", new_dnsmadeeasy, "api_key", "api_secret"),
    plain!("domeneshop", new_domeneshop, "api_key", "api_secret"),
    plain!("dreamhost", new_dreamhost, "api_key"),
    plain!("dynu", new_dynu, "api_key"),
    plain!("easydns", new_easydns, "token", "api_key"),
    line!("edgedns", edgedns),
    plain!("exoscale", new_exoscale, "api_key", "api_secret"),
    plain!("gandi", new_gandiv5, "token"),
    plain!("gcore", new_gcore, "token"),
    plain!("glesys", new_glesys, "username", "api_key"),
    plain!("godaddy", new_godaddy, "api_key", "api_secret"),
    line!("googlecloud", googlecloud),
    plain!("hetzner", new_hetzner, "token"),
    plain!("hostingde", new_hostingde, "api_key"),
    plain!("hostinger", new_hostinger, "token"),
    plain!("huaweicloud", new_huaweicloud, "access_key", "secret_key", "region"),
    plain!("ibmcloud", new_ibmcloud, "username", "api_key"),
    line!("infoblox", infoblox),
    plain!("infomaniak", new_infomaniak, "token"),
    line!("inwx", |s, limit| DnsUpdater::new_inwx(
        s.required("username")?,
        s.required("password")?,
        s.flag("sandbox"),
        limit,
    )),
    plain!("ionos", new_ionos, "api_key"),
    plain!("ipv64", new_ipv64, "api_key"),
    line!("joker", joker),
    line!("lightsail", lightsail),
    plain!("linode", new_linode, "token"),
    plain!("luadns", new_luadns, "username", "api_key"),
    plain!("mythicbeasts", new_mythicbeasts, "username", "password"),
    line!("namecheap", |s, limit| DnsUpdater::new_namecheap(
        s.required("api_user")?,
        s.required("api_key")?,
        s.required("client_ip")?,
        s.optional("username"),
        limit,
    )),
    plain!("namedotcom", new_namedotcom, "username", "api_key"),
    plain!("namesilo", new_namesilo, "api_key"),
    plain!("netcup", new_netcup, "customer_number", "api_key", "api_password"),
    plain!("netlify", new_netlify, "token"),
    plain!("nifcloud", new_nifcloud, "access_key", "secret_key"),
    plain!("ns1", new_ns1, "api_key"),
    line!("oraclecloud", oraclecloud),
    line!("ovh", |s, limit| DnsUpdater::new_ovh(
        s.required("application_key")?,
        s.required("application_secret")?,
        s.required("consumer_key")?,
        ovh_endpoint(s.optional("endpoint"))?,
        limit,
    )),
    plain!("plesk", new_plesk, "base_url", "api_key"),
    plain!("porkbun", new_porkbun, "api_key", "api_secret"),
    line!("route53", route53),
    plain!("safedns", new_safedns, "token"),
    plain!("scaleway", new_scaleway, "token"),
    plain!("selectel", new_selectel, "username", "password", "account_id", "project_id"),
    plain!("simplycom", new_simplycom, "account", "api_key"),
    plain!("spaceship", new_spaceship, "api_key", "api_secret"),
    line!("tencentcloud", |s, limit| DnsUpdater::new_tencentcloud(
        s.required("secret_id")?,
        s.required("secret_key")?,
        s.optional("region"),
        s.optional("session_token"),
        limit,
    )),
    line!("transip", |s, limit| DnsUpdater::new_transip(
        s.required("login")?,
        s.required("private_key")?,
        s.flag("global_key"),
        limit,
    )),
    line!("ultradns", |s, limit| DnsUpdater::new_ultradns(
        s.required("username")?,
        s.required("password")?,
        s.owned("endpoint"),
        limit,
    )),
    line!("vercel", |s, limit| DnsUpdater::new_vercel(
        s.required("token")?,
        s.optional("team_id"),
        limit,
    )),
    line!("volcengine", volcengine),
    plain!("vultr", new_vultr, "api_key"),
    plain!("websupport", new_websupport, "api_key", "api_secret"),
    line!("yandexcloud", yandexcloud),
    plain!("zoneeu", new_zoneeu, "username", "api_key"),
];

fn azuredns(s: &Settings<'_>, limit: Limit) -> Result<DnsUpdater> {
    DnsUpdater::new_azuredns(AzureDnsConfig {
        tenant_id: s.required_owned("tenant_id")?,
        client_id: s.required_owned("client_id")?,
        client_secret: s.required_owned("client_secret")?,
        subscription_id: s.required_owned("subscription_id")?,
        resource_group: s.required_owned("resource_group")?,
        environment: AzureEnvironment::from_str_lossy(s.optional("environment").unwrap_or("")),
        request_timeout: limit,
    })
}

fn bluecatv2(s: &Settings<'_>, limit: Limit) -> Result<DnsUpdater> {
    DnsUpdater::new_bluecatv2(BluecatV2Config {
        server_url: s.required_owned("server_url")?,
        username: s.required_owned("username")?,
        password: s.required_owned("password")?,
        config_name: s.required_owned("config_name")?,
        view_name: s.required_owned("view_name")?,
        skip_deploy: false,
        request_timeout: limit,
    })
}

fn edgedns(s: &Settings<'_>, limit: Limit) -> Result<DnsUpdater> {
    DnsUpdater::new_edgedns(EdgeDnsConfig {
        host: s.required_owned("host")?,
        client_token: s.required_owned("client_token")?,
        client_secret: s.required_owned("client_secret")?,
        access_token: s.required_owned("access_token")?,
        account_switch_key: s.owned("account_switch_key"),
        request_timeout: limit,
    })
}

fn googlecloud(s: &Settings<'_>, limit: Limit) -> Result<DnsUpdater> {
    DnsUpdater::new_google_cloud_dns(GoogleCloudDnsConfig {
        service_account_json: s.required_owned("service_account")?,
        project_id: s.required_owned("project")?,
        managed_zone: s.owned("managed_zone"),
        private_zone: false,
        impersonate_service_account: s.owned("impersonate_service_account"),
        request_timeout: limit,
    })
}

fn infoblox(s: &Settings<'_>, limit: Limit) -> Result<DnsUpdater> {
    DnsUpdater::new_infoblox(InfobloxConfig {
        host: s.required_owned("host")?,
        port: s.owned("port"),
        username: s.required_owned("username")?,
        password: s.required_owned("password")?,
        wapi_version: s.owned("wapi_version"),
        dns_view: s.owned("view"),
        request_timeout: limit,
    })
}

fn joker(s: &Settings<'_>, limit: Limit) -> Result<DnsUpdater> {
    let auth = match s.optional("api_key") {
        Some(key) => JokerAuth::api_key(key),
        None => JokerAuth::username_password(s.required("username")?, s.required("password")?),
    };
    DnsUpdater::new_joker(auth, limit)
}

fn lightsail(s: &Settings<'_>, limit: Limit) -> Result<DnsUpdater> {
    DnsUpdater::new_lightsail(LightsailConfig {
        access_key_id: s.required_owned("access_key_id")?,
        secret_access_key: s.required_owned("secret_access_key")?,
        session_token: s.owned("session_token"),
        region: s.owned("region"),
        domain: None,
        request_timeout: limit,
    })
}

fn oraclecloud(s: &Settings<'_>, limit: Limit) -> Result<DnsUpdater> {
    DnsUpdater::new_oraclecloud(OracleCloudConfig {
        tenancy_ocid: s.required_owned("tenancy_ocid")?,
        user_ocid: s.required_owned("user_ocid")?,
        fingerprint: s.required_owned("fingerprint")?,
        private_key_pem: s.required_owned("private_key")?,
        private_key_password: s.owned("private_key_password"),
        region: s.required_owned("region")?,
        compartment_ocid: s.required_owned("compartment_ocid")?,
        request_timeout: limit,
    })
}

fn ovh_endpoint(name: Option<&str>) -> Result<OvhEndpoint> {
    Ok(match name.unwrap_or("ovh-eu") {
        "ovh-eu" => OvhEndpoint::OvhEu,
        "ovh-us" => OvhEndpoint::OvhUs,
        "ovh-ca" => OvhEndpoint::OvhCa,
        "kimsufi-eu" => OvhEndpoint::KimsufiEu,
        "kimsufi-ca" => OvhEndpoint::KimsufiCa,
        "soyoustart-eu" => OvhEndpoint::SoyoustartEu,
        "soyoustart-ca" => OvhEndpoint::SoyoustartCa,
        other => return Err(Error::Unsupported(format!("endpoint \"{other}\" is not known"))),
    })
}

fn route53(s: &Settings<'_>, _limit: Limit) -> Result<DnsUpdater> {
    DnsUpdater::new_route53(Route53Config {
        access_key_id: s.required_owned("access_key_id")?,
        secret_access_key: s.required_owned("secret_access_key")?,
        session_token: s.owned("session_token"),
        region: s.owned("region"),
        hosted_zone_id: s.owned("hosted_zone_id"),
        private_zone_only: Some(s.flag("private_zone")),
        endpoint: s.owned("endpoint"),
    })
}

fn volcengine(s: &Settings<'_>, limit: Limit) -> Result<DnsUpdater> {
    DnsUpdater::new_volcengine(VolcengineConfig {
        access_key: s.required_owned("access_key")?,
        secret_key: s.required_owned("secret_key")?,
        region: s.owned("region"),
        host: None,
        scheme: None,
        request_timeout: limit,
    })
}

fn yandexcloud(s: &Settings<'_>, limit: Limit) -> Result<DnsUpdater> {
    DnsUpdater::new_yandexcloud(YandexCloudConfig {
        // The key as a document will do, whatever the name says.
        iam_token_b64: s.required_owned("service_account")?,
        folder_id: s.required_owned("folder_id")?,
        request_timeout: limit,
    })
}
