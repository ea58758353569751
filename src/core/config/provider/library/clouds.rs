//! Types of clouds, whose accounts have keys, projects and regions.

use super::super::fields::{Choice, Field, Kind};
use super::settings::{
    TTL, flag, host, optional, region, rsa_key, secret, service_account, text, ttl, url, yandex_key,
};
use super::{LibraryType, RECORD, SET};

/// The clouds of Azure.
const AZURE: Kind =
    Kind::Choice(&[Choice::new("public"), Choice::new("china"), Choice::new("usgovernment")]);

/// The endpoints of OVH, each with accounts of its own.
const OVH: Kind = Kind::Choice(&[
    Choice::new("ovh-eu"),
    Choice::new("ovh-us"),
    Choice::new("ovh-ca"),
    Choice::new("kimsufi-eu"),
    Choice::new("kimsufi-ca"),
    Choice::new("soyoustart-eu"),
    Choice::new("soyoustart-ca"),
]);

/// The types.
pub(super) const TYPES: &[LibraryType] = &[
    LibraryType {
        name: "alidns",
        title: "Alibaba Cloud DNS",
        fields: &[
            text("access_key_id", &["ALICLOUD_ACCESS_KEY", "Ali_Key"]),
            secret("access_key_secret", &["ALICLOUD_SECRET_KEY", "Ali_Secret"]),
            optional(region(&[])),
            optional(secret("security_token", &["ALICLOUD_SECURITY_TOKEN"])),
            optional(text("line", &[])),
            ttl(600),
        ],
        ..RECORD
    },
    LibraryType {
        name: "azuredns",
        aliases: &["azure"],
        title: "Azure DNS, by a service principal",
        fields: &[
            text("tenant_id", &["AZURE_TENANT_ID", "AZUREDNS_TENANTID"]),
            text("client_id", &["AZURE_CLIENT_ID", "AZUREDNS_APPID"]),
            secret("client_secret", &["AZURE_CLIENT_SECRET", "AZUREDNS_CLIENTSECRET"]),
            text("subscription_id", &["AZURE_SUBSCRIPTION_ID", "AZUREDNS_SUBSCRIPTIONID"]),
            text("resource_group", &["AZURE_RESOURCE_GROUP"]),
            Field::optional("environment", AZURE).also(&["AZURE_ENVIRONMENT"]),
            TTL,
        ],
        ..SET
    },
    LibraryType {
        name: "baiducloud",
        title: "Baidu Cloud DNS",
        fields: &[
            text("access_key_id", &["BAIDUCLOUD_ACCESS_KEY_ID"]),
            secret("secret_access_key", &["BAIDUCLOUD_SECRET_ACCESS_KEY"]),
            ttl(300),
        ],
        ..RECORD
    },
    LibraryType {
        name: "edgedns",
        title: "Akamai Edge DNS",
        fields: &[
            host("host", &["AKAMAI_HOST"]),
            secret("client_token", &["AKAMAI_CLIENT_TOKEN"]),
            secret("client_secret", &["AKAMAI_CLIENT_SECRET"]),
            secret("access_token", &["AKAMAI_ACCESS_TOKEN"]),
            optional(text("account_switch_key", &["AKAMAI_ACCOUNT_SWITCH_KEY"])),
            TTL,
        ],
        ..SET
    },
    LibraryType {
        name: "googlecloud",
        aliases: &["gcloud"],
        title: "Google Cloud DNS, by a service account",
        fields: &[
            service_account(
                "service_account",
                &["GCE_SERVICE_ACCOUNT", "GCE_SERVICE_ACCOUNT_FILE"],
            ),
            text("project", &["GCE_PROJECT"]),
            optional(text("managed_zone", &["GCE_ZONE_ID"])),
            optional(text("impersonate_service_account", &["GCE_IMPERSONATE_SERVICE_ACCOUNT"])),
            TTL,
        ],
        ..SET
    },
    LibraryType {
        name: "huaweicloud",
        title: "Huawei Cloud DNS",
        fields: &[
            text("access_key", &["HUAWEICLOUD_ACCESS_KEY_ID"]),
            secret("secret_key", &["HUAWEICLOUD_SECRET_ACCESS_KEY"]),
            region(&["HUAWEICLOUD_REGION"]),
            TTL,
        ],
        ..SET
    },
    LibraryType {
        name: "ibmcloud",
        title: "IBM Cloud, classic infrastructure (SoftLayer)",
        fields: &[
            text("username", &["SOFTLAYER_USERNAME"]),
            secret("api_key", &["SOFTLAYER_API_KEY"]),
            TTL,
        ],
        ..RECORD
    },
    LibraryType {
        name: "lightsail",
        title: "Amazon Lightsail",
        fields: &[
            text("access_key_id", &["AWS_ACCESS_KEY_ID"]),
            secret("secret_access_key", &["AWS_SECRET_ACCESS_KEY"]),
            optional(secret("session_token", &["AWS_SESSION_TOKEN"])),
            optional(region(&["LIGHTSAIL_REGION"])),
            TTL,
        ],
        ..RECORD
    },
    LibraryType {
        name: "nifcloud",
        title: "NIFCLOUD",
        fields: &[
            text("access_key", &["NIFCLOUD_ACCESS_KEY_ID"]),
            secret("secret_key", &["NIFCLOUD_SECRET_ACCESS_KEY"]),
            TTL,
        ],
        ..SET
    },
    LibraryType {
        name: "oraclecloud",
        title: "Oracle Cloud DNS",
        fields: &[
            text("tenancy_ocid", &["OCI_TENANCY_OCID", "OCI_CLI_TENANCY"]),
            text("user_ocid", &["OCI_USER_OCID", "OCI_CLI_USER"]),
            text("fingerprint", &["OCI_PUBKEY_FINGERPRINT"]),
            rsa_key("private_key", &["OCI_PRIVKEY_FILE", "OCI_CLI_KEY_FILE"]),
            region(&["OCI_REGION", "OCI_CLI_REGION"]),
            text("compartment_ocid", &["OCI_COMPARTMENT_OCID"]),
            TTL,
        ],
        ..RECORD
    },
    LibraryType {
        name: "ovh",
        title: "OVH and its brands",
        fields: &[
            text("application_key", &["OVH_APPLICATION_KEY", "OVH_AK"]),
            secret("application_secret", &["OVH_APPLICATION_SECRET", "OVH_AS"]),
            secret("consumer_key", &["OVH_CONSUMER_KEY", "OVH_CK"]),
            Field::optional("endpoint", OVH).also(&["OVH_ENDPOINT", "OVH_END_POINT"]),
            TTL,
        ],
        ..RECORD
    },
    LibraryType {
        name: "route53",
        aliases: &["aws"],
        title: "Amazon Route 53",
        fields: &[
            text("access_key_id", &["AWS_ACCESS_KEY_ID"]),
            secret("secret_access_key", &["AWS_SECRET_ACCESS_KEY"]),
            optional(secret("session_token", &["AWS_SESSION_TOKEN"])),
            optional(region(&["AWS_REGION"])),
            optional(text("hosted_zone_id", &["AWS_HOSTED_ZONE_ID"])),
            flag("private_zone", &["AWS_PRIVATE_ZONE"]),
            optional(url("endpoint", &[])),
            TTL,
        ],
        proof: "moto's model of Route 53",
        ..SET
    },
    LibraryType {
        name: "tencentcloud",
        title: "Tencent Cloud DNSPod",
        fields: &[
            text("secret_id", &["TENCENTCLOUD_SECRET_ID", "Tencent_SecretId"]),
            secret("secret_key", &["TENCENTCLOUD_SECRET_KEY", "Tencent_SecretKey"]),
            optional(region(&["TENCENTCLOUD_REGION"])),
            optional(secret("session_token", &["TENCENTCLOUD_SESSION_TOKEN"])),
            ttl(600),
        ],
        ..RECORD
    },
    LibraryType {
        name: "volcengine",
        title: "Volcano Engine",
        fields: &[
            text("access_key", &["VOLC_ACCESSKEY"]),
            secret("secret_key", &["VOLC_SECRETKEY"]),
            optional(region(&["VOLC_REGION"])),
            ttl(600),
        ],
        ..RECORD
    },
    LibraryType {
        name: "yandexcloud",
        title: "Yandex Cloud DNS, by the key of a service account",
        fields: &[
            yandex_key("service_account", &["YANDEX_CLOUD_IAM_TOKEN"]),
            text("folder_id", &["YANDEX_CLOUD_FOLDER_ID"]),
            TTL,
        ],
        ..SET
    },
];
