//! The mail module: its tables, and the merge of servers of `mail`, with `listen ... ssl` or `starttls`. What it
//! has in common with `http` and `stream` is in `server`.
//!
//! As with streams, what is used of nginx's mail module is looked up by name. It has no names for its
//! clients to ask for, and no variables.

use super::bindings::mail::{
    NGX_MAIL_MAIN_CONF, NGX_MAIL_MODULE, NGX_MAIL_SRV_CONF, ngx_mail_conf_ctx_t,
    ngx_mail_core_srv_conf_t, ngx_mail_module_t, ngx_mail_ssl_conf_t,
};
use super::callback::callback;
use super::directives::command;
use super::module_ctx::{ConfRef, conf_at, conf_ptr_at, find_module};
use super::nginx::{CONF_ERROR, lossy_text, place};
use super::parser::Parser;
use super::server::{
    MergedServer, ServerBlock, SrvConf, create_srv_conf, merge, set_acme_dns, set_fallback,
};
use super::ssl_conf::{SslSettings, ssl_settings};
use ngx::ffi::{NGX_CONF_1MORE, NGX_CONF_TAKE1, ngx_command_t, ngx_module_t};
use std::ffi::c_char;
use std::mem::offset_of;
use std::ptr;

const SRV_CONF: usize = offset_of!(ngx_mail_conf_ctx_t, srv_conf);

static mut COMMANDS: [ngx_command_t; 3] = {
    let server = NGX_MAIL_MAIN_CONF | NGX_MAIL_SRV_CONF;
    [
        command(c"acme_dns", server | NGX_CONF_1MORE, set_acme_dns, SRV_CONF),
        command(c"acme_dns_fallback", server | NGX_CONF_TAKE1, set_fallback, SRV_CONF),
        ngx_command_t::empty(),
    ]
};

static mut MODULE_CTX: ngx_mail_module_t = ngx_mail_module_t {
    protocol: ptr::null_mut(),
    create_main_conf: None,
    init_main_conf: None,
    create_srv_conf: Some(create_srv_conf),
    merge_srv_conf: Some(merge_srv_conf),
};

/// The module, as nginx has it.
pub(super) static mut NGX_MAIL_ACME_DNS_MODULE: ngx_module_t = ngx_module_t {
    ctx: (&raw mut MODULE_CTX).cast(),
    commands: (&raw mut COMMANDS).cast(),
    type_: NGX_MAIL_MODULE as _,
    ..ngx_module_t::default()
};

/// Context of `mail`, or of a server in it.
#[derive(Clone, Copy)]
struct MailCtx<'a>(&'a ngx_mail_conf_ctx_t);

impl<'a> MailCtx<'a> {
    /// # Safety
    /// The parser is inside `mail`.
    unsafe fn of(cf: &'a Parser) -> Self {
        // SAFETY: by this function's contract the context is this structure, and lives as long as the cycle.
        Self(unsafe { &*cf.ctx().cast::<ngx_mail_conf_ctx_t>() })
    }

    /// Finds the context of the `mail` block itself, which nginx keeps for the cycle.
    fn of_block(cf: &'a Parser) -> Option<Self> {
        let module = find_module(c"ngx_mail_module")?;
        // SAFETY: the index of a module of nginx.
        let ctx = unsafe { cf.cycle().core_module_conf(module.index) };
        // SAFETY: nginx has it there while it reads the block, and for as long as the cycle lives.
        unsafe { ctx.cast::<ngx_mail_conf_ctx_t>().as_ref() }.map(Self)
    }

    /// Gives `None` in an nginx without mail.
    fn mail_cscf(self) -> Option<&'a ngx_mail_core_srv_conf_t> {
        let core = find_module(c"ngx_mail_core_module")?;
        // SAFETY: nginx's core module of mail made it.
        Some(unsafe { conf_at(self.0.srv_conf, core.ctx_index) })
    }

    /// Gives `None` in an nginx without SSL for mail.
    fn mail_sscf(self) -> Option<*mut ngx_mail_ssl_conf_t> {
        let ssl = find_module(c"ngx_mail_ssl_module")?;
        // SAFETY: nginx's SSL module of mail made it.
        Some(unsafe { conf_ptr_at(self.0.srv_conf, ssl.ctx_index) })
    }
}

callback! {
    /// Merges the configuration of each server, before the SSL module does.
    fn merge_srv_conf(
        cf: Parser,
        parent: ConfRef<SrvConf>,
        child: ConfRef<SrvConf>,
    ) -> *mut c_char {
        // SAFETY: nginx merges inside `mail`.
        let ctx = unsafe { MailCtx::of(&cf) };
        merge(&cf, &parent, &child, &MailServer { ctx, block: MailCtx::of_block(&cf) })
    } ?= CONF_ERROR
}

/// Server of `mail` that is being merged.
struct MailServer<'a> {
    ctx: MailCtx<'a>,
    /// The context of the `mail` block.
    block: Option<MailCtx<'a>>,
}

impl MergedServer for MailServer<'_> {
    fn describe(&self) -> Result<ServerBlock, String> {
        const NO_SSL: &str = "\"acme_dns\" in \"mail\" needs an nginx with the mail SSL module";
        let sscf = self.ctx.mail_sscf().ok_or(NO_SSL)?;
        let cscf = self.ctx.mail_cscf().ok_or(NO_SSL)?;
        // nginx's own merge comes later where its module is loaded after this one.
        let inherited = self.block.and_then(MailCtx::mail_cscf);
        let mut names = [Some(cscf), inherited].into_iter().flatten().map(|cscf| cscf.server_name);
        let name = names.find(|name| name.len > 0);
        // SAFETY: strings of the pool.
        let name = name.map(|name| unsafe { lossy_text(name) }.into_owned());
        Ok(ServerBlock {
            kind: "MAIL",
            ssl: ssl(sscf),
            parent_ssl: self.block.and_then(MailCtx::mail_sscf).map(ssl),
            names: name.into_iter().collect(),
            // SAFETY: the name of the file is a string of the pool that ends in NUL.
            location: unsafe { place(cscf.file_name, cscf.line) },
            // nginx builds a context for servers that speak TLS only, and for others nothing is asked.
            inherits: true,
        })
    }
}

/// Finds the SSL settings of a cycle that is being configured.
fn ssl(sscf: *mut ngx_mail_ssl_conf_t) -> SslSettings {
    // SAFETY: the SSL module made it, and nothing else refers to it while nginx calls us.
    let sscf = unsafe { &mut *sscf };
    ssl_settings!(sscf, ptr::null(), ptr::null_mut())
}
