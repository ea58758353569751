//! Symbols that nginx looks up in a shared object (`ngx_load_module`): the modules, their names and their order.
//! The modules themselves are in `core_module`, `http_module`, `stream_module` and `mail_module`.

use super::core_module::NGX_ACME_DNS_MODULE;
use super::http_module::NGX_HTTP_ACME_DNS_MODULE;
#[cfg(ngx_mail)]
use super::mail_module::NGX_MAIL_ACME_DNS_MODULE;
#[cfg(ngx_stream)]
use super::stream_module::NGX_STREAM_ACME_DNS_MODULE;
use ngx::ffi::ngx_module_t;
use std::ffi::c_char;
use std::ptr;

/// The modules, ended by a null pointer. Those of a kind that nginx lacks are never asked for anything.
#[allow(non_upper_case_globals, reason = "the name is nginx's")]
#[unsafe(no_mangle)]
static mut ngx_modules: [*const ngx_module_t; 5] = [
    &raw const NGX_ACME_DNS_MODULE,
    &raw const NGX_HTTP_ACME_DNS_MODULE,
    #[cfg(ngx_stream)]
    &raw const NGX_STREAM_ACME_DNS_MODULE,
    #[cfg(ngx_mail)]
    &raw const NGX_MAIL_ACME_DNS_MODULE,
    ptr::null(),
    #[cfg(not(ngx_stream))]
    ptr::null(),
    #[cfg(not(ngx_mail))]
    ptr::null(),
];

/// Their names.
#[allow(non_upper_case_globals, reason = "the name is nginx's")]
#[unsafe(no_mangle)]
static mut ngx_module_names: [*const c_char; 5] = [
    c"ngx_acme_dns_module".as_ptr(),
    c"ngx_http_acme_dns_module".as_ptr(),
    #[cfg(ngx_stream)]
    c"ngx_stream_acme_dns_module".as_ptr(),
    #[cfg(ngx_mail)]
    c"ngx_mail_acme_dns_module".as_ptr(),
    ptr::null(),
    #[cfg(not(ngx_stream))]
    ptr::null(),
    #[cfg(not(ngx_mail))]
    ptr::null(),
];

/// Each module goes before the SSL module of its kind, so that its merge runs first and the SSL module's
/// merge finds the list that was put there. nginx puts a module before all that follow it here: this
/// is the order in which nginx has the kinds itself, and none may come before its own core module.
#[allow(non_upper_case_globals, reason = "the name is nginx's")]
#[unsafe(no_mangle)]
static mut ngx_module_order: [*const c_char; 7] = [
    c"ngx_http_acme_dns_module".as_ptr(),
    c"ngx_http_ssl_module".as_ptr(),
    c"ngx_mail_acme_dns_module".as_ptr(),
    c"ngx_mail_ssl_module".as_ptr(),
    c"ngx_stream_acme_dns_module".as_ptr(),
    c"ngx_stream_ssl_module".as_ptr(),
    ptr::null(),
];
