//! The directives that define things, in `main` and in `http`.

use super::catch::guard;
use super::conf::{CoreConf, core_conf};
use super::identity::{NamedUser, find_group};
use super::nginx::{BlockHandler, CONF_ERROR, CONF_OK, Conf, PathBase};
use super::vault::ConfResources;
use acme_dns_core::config::domains;
use acme_dns_core::config::issuer::IssuerReader;
use acme_dns_core::config::provider::ProviderReader;
use acme_dns_core::config::zone::Zone;
use acme_dns_core::config::{Import, ImportFormat, Propagation, Reload};
use acme_dns_core::text::errno;
use ngx::ffi::{
    NGX_CONF_1MORE, NGX_CONF_BLOCK, NGX_CONF_TAKE1, NGX_CONF_TAKE2, NGX_CONF_TAKE12,
    NGX_CONF_TAKE123, ngx_command_t, ngx_conf_t, ngx_str_t, ngx_uint_t,
};
use std::ffi::{CStr, c_char, c_void};
use std::path::PathBuf;
use std::ptr;

/// nginx's type of a function that reads a directive.
pub(super) type Setter =
    unsafe extern "C" fn(*mut ngx_conf_t, *mut ngx_command_t, *mut c_void) -> *mut c_char;

/// An entry of a module's table of directives.
pub(super) const fn command(
    name: &'static CStr,
    flags: u32,
    set: Setter,
    conf: usize,
) -> ngx_command_t {
    let name = ngx_str_t { len: name.count_bytes(), data: name.as_ptr().cast_mut().cast() };
    ngx_command_t {
        name,
        type_: flags as ngx_uint_t,
        set: Some(set),
        conf,
        offset: 0,
        post: ptr::null_mut(),
    }
}

/// The table of the directives that define things, for one level of the configuration.
pub(super) const fn definitions(level: u32) -> [ngx_command_t; 8] {
    [
        command(c"acme_dns_issuer", level | NGX_CONF_BLOCK | NGX_CONF_TAKE1, set_issuer, 0),
        command(c"acme_dns_provider", level | NGX_CONF_BLOCK | NGX_CONF_TAKE123, set_provider, 0),
        command(c"acme_dns_state_path", level | NGX_CONF_TAKE12, set_state_path, 0),
        command(c"acme_dns_shared_zone", level | NGX_CONF_TAKE1, set_shared_zone, 0),
        command(c"acme_dns_propagation", level | NGX_CONF_1MORE, set_propagation, 0),
        command(c"acme_dns_reload", level | NGX_CONF_TAKE1, set_reload, 0),
        command(c"acme_dns_domains", level | NGX_CONF_1MORE, set_domains, 0),
        command(c"acme_dns_import", level | NGX_CONF_TAKE2, set_import, 0),
    ]
}

/// Runs the body of a setter with the parser, the words behind the name, and what is being built.
///
/// # Safety
/// `cf` is what nginx gave to the setter.
unsafe fn set(
    cf: *mut ngx_conf_t,
    body: impl FnOnce(&Conf, &[&str], &mut CoreConf) -> Result<(), String>,
) -> *mut c_char {
    guard(CONF_ERROR, || {
        // SAFETY: by this function's contract.
        let conf = unsafe { Conf::new(cf) };
        // SAFETY: the cycle of a parser is live, and only this thread is at work on it.
        let Some(core) = (unsafe { core_conf(conf.cycle()) }) else {
            return conf.fail("the module ngx_acme_dns_module is not loaded");
        };
        let result =
            conf.words().and_then(|words| body(&conf, words.get(1..).unwrap_or_default(), core));
        result.map_or_else(|message| conf.fail(&message), |()| CONF_OK)
    })
}

unsafe extern "C" fn set_state_path(
    cf: *mut ngx_conf_t,
    _: *mut ngx_command_t,
    _: *mut c_void,
) -> *mut c_char {
    let body = |conf: &Conf, args: &[&str], core: &mut CoreConf| {
        let (path, group) = match args {
            [path] => (*path, None),
            [path, group] => (*path, Some(*group)),
            _ => ("", None),
        };
        if path.is_empty() {
            return Err("invalid path \"\"".to_owned());
        }
        if let Some(group) = group {
            let name = group.strip_prefix("group=").filter(|name| !name.is_empty());
            let name = name.ok_or_else(|| format!("invalid parameter \"{group}\""))?;
            core.certs_group = Some(find_group(name)?);
        }
        let full = conf.full_name(path, PathBase::Prefix);
        let full = full.ok_or_else(|| format!("invalid path \"{path}\""))?;
        core.draft.set_state_path(PathBuf::from(full))
    };
    // SAFETY: `cf` is what nginx gave.
    unsafe { set(cf, body) }
}

/// Reads `acme_dns_user`.
///
/// # Safety
/// nginx gives a parser.
pub(super) unsafe extern "C" fn set_user(
    cf: *mut ngx_conf_t,
    _: *mut ngx_command_t,
    _: *mut c_void,
) -> *mut c_char {
    let body = |conf: &Conf, args: &[&str], core: &mut CoreConf| {
        let name = args.first().copied().unwrap_or_default();
        let user = NamedUser::find(name, args.get(1).copied(), conf.location())?;
        match core.user.replace(user) {
            Some(_) => Err("\"acme_dns_user\" directive is duplicate".to_owned()),
            None => Ok(()),
        }
    };
    // SAFETY: `cf` is what nginx gave.
    unsafe { set(cf, body) }
}

unsafe extern "C" fn set_shared_zone(
    cf: *mut ngx_conf_t,
    _: *mut ngx_command_t,
    _: *mut c_void,
) -> *mut c_char {
    let body = |conf: &Conf, args: &[&str], core: &mut CoreConf| {
        // SAFETY: written once at start.
        let page = unsafe { ngx::ffi::ngx_pagesize };
        let zone = Zone::parse(args.first().copied().unwrap_or_default(), page)?;
        if core.zone.replace((zone, conf.location())).is_some() {
            return Err("\"acme_dns_shared_zone\" directive is duplicate".to_owned());
        }
        Ok(())
    };
    // SAFETY: `cf` is what nginx gave.
    unsafe { set(cf, body) }
}

unsafe extern "C" fn set_propagation(
    cf: *mut ngx_conf_t,
    _: *mut ngx_command_t,
    _: *mut c_void,
) -> *mut c_char {
    let body = |_: &Conf, args: &[&str], core: &mut CoreConf| {
        core.draft.set_propagation(Propagation::parse(args)?)
    };
    // SAFETY: `cf` is what nginx gave.
    unsafe { set(cf, body) }
}

unsafe extern "C" fn set_reload(
    cf: *mut ngx_conf_t,
    _: *mut ngx_command_t,
    _: *mut c_void,
) -> *mut c_char {
    let body = |_: &Conf, args: &[&str], core: &mut CoreConf| {
        core.draft.set_reload(Reload::parse(args.first().copied().unwrap_or_default())?)
    };
    // SAFETY: `cf` is what nginx gave.
    unsafe { set(cf, body) }
}

unsafe extern "C" fn set_domains(
    cf: *mut ngx_conf_t,
    _: *mut ngx_command_t,
    _: *mut c_void,
) -> *mut c_char {
    let body = |conf: &Conf, args: &[&str], core: &mut CoreConf| {
        let (path, parameters) = args.split_first().ok_or("invalid path \"\"")?;
        let wanted = domains::parameters(parameters)?;
        let full = conf.full_name(path, PathBase::Configuration).filter(|_| !path.is_empty());
        let full = full.ok_or_else(|| format!("invalid path \"{path}\""))?;
        let content = std::fs::read(&full)
            .map_err(|e| format!("open() \"{full}\" failed ({})", errno(&e)))?;
        match core.draft.add_domains(&full, &content, wanted, conf.location()) {
            Ok(()) => Ok(Some(())),
            Err(mistake) => {
                conf.fail_at(&mistake.to_string());
                Ok(None)
            }
        }
    };
    // SAFETY: `cf` is what nginx gave.
    unsafe { set_block(cf, body) }
}

unsafe extern "C" fn set_import(
    cf: *mut ngx_conf_t,
    _: *mut ngx_command_t,
    _: *mut c_void,
) -> *mut c_char {
    let body = |conf: &Conf, args: &[&str], core: &mut CoreConf| {
        let [format, path] = args else { return Ok(()) };
        let format = ImportFormat::parse(format)?;
        let full = conf.full_name(path, PathBase::Prefix).filter(|_| !path.is_empty());
        let path = PathBuf::from(full.ok_or_else(|| format!("invalid path \"{path}\""))?);
        let import = Import { format, path };
        if !import.is_there() {
            // It may have been removed, as it is not needed any more.
            let path = import.path.display();
            let kind = if format == ImportFormat::Traefik { "file" } else { "directory" };
            conf.warn(&format!(
                "\"{path}\" is not a {kind}, \"acme_dns_import\" can be removed if all was imported"
            ));
        }
        core.draft.add_import(import);
        Ok(())
    };
    // SAFETY: `cf` is what nginx gave.
    unsafe { set(cf, body) }
}

unsafe extern "C" fn set_issuer(
    cf: *mut ngx_conf_t,
    _: *mut ngx_command_t,
    _: *mut c_void,
) -> *mut c_char {
    let body = |conf: &Conf, args: &[&str], core: &mut CoreConf| {
        let reader = IssuerReader::new(args.first().copied().unwrap_or_default())?;
        let Some(reader) = read_block(conf, core, reader, in_issuer) else { return Ok(None) };
        core.draft.add_issuer(reader.finish()?).map(Some)
    };
    // SAFETY: `cf` is what nginx gave.
    unsafe { set_block(cf, body) }
}

unsafe extern "C" fn set_provider(
    cf: *mut ngx_conf_t,
    _: *mut ngx_command_t,
    _: *mut c_void,
) -> *mut c_char {
    let body = |conf: &Conf, args: &[&str], core: &mut CoreConf| {
        let reader = ProviderReader::parse(args)?;
        let Some(reader) = read_block(conf, core, reader, in_provider) else { return Ok(None) };
        core.draft.add_provider(reader.finish()?).map(Some)
    };
    // SAFETY: `cf` is what nginx gave.
    unsafe { set_block(cf, body) }
}

/// As [`set`], for a body that may have reported its error already: `None`.
///
/// # Safety
/// As for [`set`].
unsafe fn set_block(
    cf: *mut ngx_conf_t,
    body: impl FnOnce(&Conf, &[&str], &mut CoreConf) -> Result<Option<()>, String>,
) -> *mut c_char {
    let mut reported = false;
    let body = |conf: &Conf, args: &[&str], core: &mut CoreConf| {
        reported = body(conf, args, core)?.is_none();
        Ok(())
    };
    // SAFETY: by this function's contract.
    let result = unsafe { set(cf, body) };
    if reported { CONF_ERROR } else { result }
}

/// A block while it is read.
struct Block<'a, R> {
    reader: R,
    core: &'a mut CoreConf,
}

/// Reads a block; `None` if nginx or a directive in it has reported an error.
fn read_block<R>(conf: &Conf, core: &mut CoreConf, reader: R, handler: BlockHandler) -> Option<R> {
    let mut block = Block { reader, core };
    let data = (&raw mut block).cast::<c_void>();
    // SAFETY: both handlers of this file take a `Block` of the reader that they are used with.
    let result = unsafe { conf.parse_block(handler, data) };
    (result == CONF_OK).then_some(block.reader)
}

unsafe extern "C" fn in_issuer(
    cf: *mut ngx_conf_t,
    _: *mut ngx_command_t,
    data: *mut c_void,
) -> *mut c_char {
    // SAFETY: `set_issuer` gives a block with this reader; nginx gave `cf`.
    unsafe { in_block(cf, data, IssuerReader::set) }
}

unsafe extern "C" fn in_provider(
    cf: *mut ngx_conf_t,
    _: *mut ngx_command_t,
    data: *mut c_void,
) -> *mut c_char {
    // SAFETY: `set_provider` gives a block with this reader; nginx gave `cf`.
    unsafe { in_block(cf, data, ProviderReader::set) }
}

/// Gives one directive of a block to its reader.
///
/// # Safety
/// `cf` is what nginx gave to the handler, `data` a `Block<R>` that nothing else refers to.
unsafe fn in_block<R>(
    cf: *mut ngx_conf_t,
    data: *mut c_void,
    set: impl Fn(&mut R, &str, &[&str], &mut dyn acme_dns_core::config::Resources) -> Result<(), String>,
) -> *mut c_char {
    guard(CONF_ERROR, || {
        // SAFETY: by this function's contract.
        let (conf, block) = (unsafe { Conf::new(cf) }, data.cast::<Block<'_, R>>());
        // SAFETY: by this function's contract.
        let Block { reader, core } = unsafe { &mut *block };
        let mut resources = ConfResources { conf: &conf, vault: &mut core.vault };
        let result = conf.words().and_then(|words| match words.as_slice() {
            [directive, args @ ..] => set(reader, directive, args, &mut resources),
            [] => Ok(()),
        });
        result.map_or_else(|message| conf.fail(&message), |()| CONF_OK)
    })
}
