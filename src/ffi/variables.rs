//! The variables: what nginx's logs, headers and maps can know of a server's certificate.
//!
//! A value is that of the process that answers, so it can lag behind the file by the moment that a
//! swap takes. The two that hold the certificate itself are for `ssl_certificate` and
//! `ssl_certificate_key`; a private key in a variable can be logged, which is why serving a
//! certificate does not need them.

use super::catch::guard;
use super::certificate::Binding;
use super::nginx::{ERROR, OK, pool_string};
use super::server::CERTIFICATE_VARIABLE;
use ngx::ffi::{ngx_int_t, ngx_pool_t, ngx_str_t, ngx_variable_value_t};
use zeroize::Zeroizing;

/// What a variable is about; nginx keeps the number.
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
///
/// # Safety
/// `pool` is a live pool.
pub(super) unsafe fn register(
    pool: *mut ngx_pool_t,
    add: impl Fn(*mut ngx_str_t, usize) -> Option<()>,
) -> Option<()> {
    for (name, variable) in ALL {
        // SAFETY: by this function's contract.
        let mut name = unsafe { pool_string(pool, name) }?;
        add(&raw mut name, variable as usize)?;
    }
    Some(())
}

/// Gives a variable its value.
///
/// # Safety
/// `value` is to be filled in, `pool` lives as long as its reader; `binding` is a live server's, and
/// nothing else refers to it.
pub(super) unsafe fn fill(
    value: *mut ngx_variable_value_t,
    data: usize,
    binding: Option<*mut Binding>,
    pool: *mut ngx_pool_t,
) -> ngx_int_t {
    guard(ERROR, || {
        // SAFETY: by this function's contract.
        let value = unsafe { &mut *value };
        // SAFETY: by this function's contract.
        let binding = binding.map(|binding| unsafe { &mut *binding });
        let variable = ALL.iter().map(|(_, variable)| *variable).find(|v| *v as usize == data);
        let text = binding.zip(variable).and_then(|(binding, variable)| read(binding, variable));
        let Some(text) = text else {
            value.set_not_found(1);
            return OK;
        };
        // SAFETY: by this function's contract.
        let Some(copy) = (unsafe { pool_string(pool, &text) }) else { return ERROR };
        value.data = copy.data;
        value.set_len(u32::try_from(copy.len).unwrap_or_default());
        value.set_valid(1);
        value.set_no_cacheable(0);
        value.set_not_found(0);
        OK
    })
}

/// The value; it is wiped, as it may be a key. What nginx gets is a copy that lives as long as the
/// request.
fn read(binding: &mut Binding, variable: Variable) -> Option<Zeroizing<String>> {
    match variable {
        Variable::Certificate => binding.pem().map(|(chain, _)| Zeroizing::new(chain.clone())),
        Variable::CertificateKey => binding.pem().map(|(_, key)| key.clone()),
        Variable::CertificateName => Some(Zeroizing::new(binding.name.clone())),
        Variable::Status => Some(Zeroizing::new(binding.status().to_owned())),
        Variable::NotAfter => binding.not_after().map(|time| Zeroizing::new(time.to_string())),
    }
}
