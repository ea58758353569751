//! The variables, by which nginx's logs, headers and maps know a server's certificate. They are
//! registered by the http and the stream module.
//!
//! A value is that of the process that answers, so it can lag behind the file by the moment that a
//! swap takes. The two that hold the certificate itself are for `ssl_certificate` and
//! `ssl_certificate_key`; a private key in a variable can be logged, which is why serving a
//! certificate does not need them.

use super::certificate::ServerCertificate;
use super::nginx::{ERROR, OK};
use super::owner::{owner_of, tls_of};
use super::pool::NgxPool;
use super::served::Served;
use super::ssl_conf::CERTIFICATE_VARIABLE;
use ngx::ffi::{ngx_connection_t, ngx_int_t, ngx_str_t, ngx_variable_value_t};
use std::ptr::NonNull;
use zeroize::Zeroizing;

/// Variable, by a number that nginx keeps.
#[derive(Clone, Copy)]
#[repr(usize)]
enum Variable {
    Certificate,
    CertificateKey,
    CertificateName,
    Status,
    NotAfter,
}

const ALL: [(&str, Variable); 5] = [
    (CERTIFICATE_VARIABLE, Variable::Certificate),
    ("acme_dns_certificate_key", Variable::CertificateKey),
    ("acme_dns_certificate_name", Variable::CertificateName),
    ("acme_dns_status", Variable::Status),
    ("acme_dns_not_after", Variable::NotAfter),
];

/// Registers the variables: `add` makes one of this name for this data. `None`: nginx has reported why
/// it cannot.
pub(super) fn register(
    pool: NgxPool<'_>,
    add: impl Fn(*mut ngx_str_t, usize) -> Option<()>,
) -> Option<()> {
    for (name, variable) in ALL {
        let mut name = pool.string(name)?;
        add(&raw mut name, variable as usize)?;
    }
    Some(())
}

/// Gives a variable its value, for a connection whose server serves these certificates.
///
/// # Safety
/// `value` is to be filled in, `pool` lives as long as its reader; the connection and the server are live, and
/// nothing else refers to the certificates.
pub(super) unsafe fn fill(
    value: *mut ngx_variable_value_t,
    data: usize,
    (served, connection): (Option<NonNull<Served>>, *const ngx_connection_t),
    pool: NgxPool<'_>,
) -> ngx_int_t {
    // SAFETY: by this function's contract.
    let value = unsafe { &mut *value };
    // A server without a certificate has that of the default server.
    // SAFETY: by this function's contract.
    let served = served.or_else(|| unsafe { owner_of(connection) });
    // SAFETY: by this function's contract.
    let served = served.map(|mut served| unsafe { served.as_mut() });
    // SAFETY: by this function's contract.
    let tls = unsafe { tls_of(connection) };
    let certificate = served.map(|served| match &tls {
        Some(tls) => served.of(tls),
        None => &mut served.own,
    });
    let variable = ALL.iter().map(|(_, variable)| *variable).find(|v| *v as usize == data);
    let text = certificate.zip(variable).and_then(|(it, variable)| read(it, variable));
    let Some(text) = text else {
        value.set_not_found(1);
        return OK;
    };
    let Some(copy) = pool.string(&text) else { return ERROR };
    value.data = copy.data;
    value.set_len(u32::try_from(copy.len).unwrap_or_default());
    value.set_valid(1);
    value.set_no_cacheable(0);
    value.set_not_found(0);
    OK
}

/// Reads the value; it is wiped, as it may be a key. nginx gets a copy that lives as long as the request.
fn read(certificate: &mut ServerCertificate, variable: Variable) -> Option<Zeroizing<String>> {
    match variable {
        Variable::Certificate => certificate.pem().map(|(chain, _)| Zeroizing::new(chain.clone())),
        Variable::CertificateKey => certificate.pem().map(|(_, key)| key.clone()),
        Variable::CertificateName => Some(Zeroizing::new(certificate.name.clone())),
        Variable::Status => Some(Zeroizing::new(certificate.status().to_owned())),
        Variable::NotAfter => certificate.not_after().map(|time| Zeroizing::new(time.to_string())),
    }
}
