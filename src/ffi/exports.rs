//! What nginx looks up in a shared object (`ngx_load_module`).

use super::core_module::NGX_ACME_DNS_MODULE;
use super::http_module::NGX_HTTP_ACME_DNS_MODULE;
use ngx::ffi::ngx_module_t;
use std::ffi::c_char;
use std::ptr;

/// The modules, ended by a null pointer.
#[allow(non_upper_case_globals, reason = "the name is nginx's")]
#[unsafe(no_mangle)]
static mut ngx_modules: [*const ngx_module_t; 3] =
    [&raw const NGX_ACME_DNS_MODULE, &raw const NGX_HTTP_ACME_DNS_MODULE, ptr::null()];

/// Their names.
#[allow(non_upper_case_globals, reason = "the name is nginx's")]
#[unsafe(no_mangle)]
static mut ngx_module_names: [*const c_char; 3] =
    [c"ngx_acme_dns_module".as_ptr(), c"ngx_http_acme_dns_module".as_ptr(), ptr::null()];

/// The http module goes before the SSL module, so that its merge runs first and the SSL module's
/// merge finds the certificates that were put there.
#[allow(non_upper_case_globals, reason = "the name is nginx's")]
#[unsafe(no_mangle)]
static mut ngx_module_order: [*const c_char; 3] =
    [c"ngx_http_acme_dns_module".as_ptr(), c"ngx_http_ssl_module".as_ptr(), ptr::null()];
