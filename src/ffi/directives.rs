//! The directives that define things, in `main` and in `http`: their table, and how each is handed to the model of the
//! configuration (`acme_dns_core::config`), which reads its parameters.
//!
//! The directives of servers are in `server`.

use super::callback::callback;
use super::conf::{CoreConf, core_conf};
use super::identity::{NamedUser, find_group};
use super::nginx::CONF_ERROR;
use super::parser::{DirectiveError, Parser, PathBase, duplicate};
use super::programs::{LibraryBlock, PlacedExport, PlacedProgram};
use super::vault::ConfResources;
use acme_dns_core::config::domains::{self, Parameters};
use acme_dns_core::config::issuer::IssuerReader;
use acme_dns_core::config::listener::{ExportReader, HookReader, WebhookReader, add_listener};
use acme_dns_core::config::provider::ProviderReader;
use acme_dns_core::config::share::ShareReader;
use acme_dns_core::config::zone::SharedZone;
use acme_dns_core::config::{
    Import, ImportFormat, Listener, Location, Propagation, Reload, Resources,
};
use acme_dns_core::text::errno;
use acme_dns_service::domains::domains_files;
use ngx::ffi::{
    NGX_CONF_1MORE, NGX_CONF_BLOCK, NGX_CONF_TAKE1, NGX_CONF_TAKE2, NGX_CONF_TAKE12,
    NGX_CONF_TAKE123, ngx_command_t, ngx_conf_t, ngx_str_t, ngx_uint_t,
};
use std::ffi::{CStr, c_char, c_void};
use std::path::PathBuf;
use std::{fs, io, ptr};

/// Function that nginx calls for a directive.
pub(super) type Setter =
    unsafe extern "C" fn(*mut ngx_conf_t, *mut ngx_command_t, *mut c_void) -> *mut c_char;

/// Makes an entry of a module's table of directives.
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

/// Makes nginx's function for a directive of a function of ours.
macro_rules! setter {
    ($read:path) => {{
        callback! {
            fn set(cf: Parser, _command: *mut ngx_command_t, _conf: *mut c_void) -> *mut c_char {
                read(&cf, $read)
            } ?= CONF_ERROR
        }
        set
    }};
}

/// Number of the directives that define things.
pub(super) const DEFINITIONS: usize = 12;

/// Makes a module's table: the directives that define things, those of its own, and the end.
#[allow(clippy::indexing_slicing, reason = "a table of the wrong length does not compile")]
pub(super) const fn table<const LENGTH: usize>(
    block: u32,
    own: &[ngx_command_t],
) -> [ngx_command_t; LENGTH] {
    assert!(LENGTH == DEFINITIONS + own.len() + 1);
    let definitions = definitions(block);
    let mut table = [ngx_command_t::empty(); LENGTH];
    let mut index = 0;
    while index < DEFINITIONS + own.len() {
        let is_own = index >= DEFINITIONS;
        table[index] = if is_own { own[index - DEFINITIONS] } else { definitions[index] };
        index += 1;
    }
    table
}

/// Lists the directives that define things, for one block of the configuration.
const fn definitions(block: u32) -> [ngx_command_t; DEFINITIONS] {
    let (takes_1, takes_2) = (block | NGX_CONF_TAKE1, block | NGX_CONF_TAKE2);
    let (takes_1_or_2, takes_more) = (block | NGX_CONF_TAKE12, block | NGX_CONF_1MORE);
    let named_block = block | NGX_CONF_BLOCK | NGX_CONF_TAKE1;
    let hook_block = block | NGX_CONF_BLOCK | NGX_CONF_1MORE;
    let provider_block = block | NGX_CONF_BLOCK | NGX_CONF_TAKE123;
    [
        command(c"acme_dns_issuer", named_block, setter!(set_issuer), 0),
        command(c"acme_dns_provider", provider_block, setter!(set_provider), 0),
        command(c"acme_dns_state_path", takes_1_or_2, setter!(set_state_path), 0),
        command(c"acme_dns_shared_zone", takes_1, setter!(set_shared_zone), 0),
        command(c"acme_dns_propagation", takes_more, setter!(set_propagation), 0),
        command(c"acme_dns_reload", takes_1, setter!(set_reload), 0),
        command(c"acme_dns_domains", takes_more, setter!(set_domains), 0),
        command(c"acme_dns_import", takes_2, setter!(set_import), 0),
        command(c"acme_dns_hook", hook_block, setter!(set_hook), 0),
        command(c"acme_dns_webhook", named_block, setter!(set_webhook), 0),
        command(c"acme_dns_export", named_block, setter!(set_export), 0),
        command(c"acme_dns_share", named_block, setter!(set_share), 0),
    ]
}

/// Makes the entry of `acme_dns_user`, which is for `main` only.
pub(super) const fn user_command(flags: u32) -> ngx_command_t {
    command(c"acme_dns_user", flags, setter!(set_user), 0)
}

/// Makes the entry of `acme_dns_providers`, which is for `main` only.
pub(super) const fn providers_command(flags: u32) -> ngx_command_t {
    command(c"acme_dns_providers", flags, setter!(set_providers_program), 0)
}

/// Has a directive read into the configuration.
fn read(
    cf: &Parser,
    set: impl FnOnce(&Parser, &[&str], &mut CoreConf) -> Result<(), DirectiveError>,
) -> *mut c_char {
    cf.read(|_, args| match core_conf(cf.cycle()) {
        Some(mut conf) => set(cf, args, &mut conf),
        None => Err("module \"ngx_acme_dns_module\" is not loaded".into()),
    })
}

/// Gives the first parameter. nginx has counted them, by the flags in the table.
fn first<'a>(args: &[&'a str]) -> &'a str {
    args.first().copied().unwrap_or_default()
}

/// Resolves a path that must not be empty.
fn full_path(cf: &Parser, path: &str, base: PathBase) -> Result<String, DirectiveError> {
    let full = cf.full_name(path, base).filter(|_| !path.is_empty());
    full.ok_or_else(|| format!("invalid path \"{path}\"").into())
}

fn set_issuer(cf: &Parser, args: &[&str], conf: &mut CoreConf) -> Result<(), DirectiveError> {
    let mut reader = IssuerReader::new(first(args))?;
    read_block(cf, conf, |name, args, resources| reader.set(name, args, resources))?;
    Ok(conf.draft.add_issuer(reader.finish()?)?)
}

fn set_provider(cf: &Parser, args: &[&str], conf: &mut CoreConf) -> Result<(), DirectiveError> {
    let mut reader = ProviderReader::parse(args)?;
    let location = cf.location();
    read_block(cf, conf, |name, args, resources| reader.set(name, args, resources))?;
    let provider = reader.finish()?;
    let placed = |file| PlacedProgram { file, location: location.clone() };
    conf.programs.extend(provider.kind.program_files().into_iter().map(placed));
    if conf.library.is_none() {
        conf.library = LibraryBlock::of(&provider, location);
    }
    Ok(conf.draft.add_provider(provider)?)
}

fn set_hook(cf: &Parser, args: &[&str], conf: &mut CoreConf) -> Result<(), DirectiveError> {
    let mut reader = HookReader::new(args)?;
    let location = cf.location();
    read_block(cf, conf, |name, args, resources| reader.set(name, args, resources))?;
    add(conf, Listener::Hook(reader.finish()?), location)
}

fn set_webhook(cf: &Parser, args: &[&str], conf: &mut CoreConf) -> Result<(), DirectiveError> {
    let mut reader = WebhookReader::new(first(args))?;
    let location = cf.location();
    read_block(cf, conf, |name, args, resources| reader.set(name, args, resources))?;
    add(conf, Listener::Webhook(reader.finish()?), location)
}

fn set_export(cf: &Parser, args: &[&str], conf: &mut CoreConf) -> Result<(), DirectiveError> {
    let mut reader = ExportReader::new(first(args))?;
    let location = cf.location();
    read_block(cf, conf, |name, args, resources| reader.set(name, args, resources, find_group))?;
    add(conf, Listener::Export(reader.finish()?), location)
}

fn set_share(cf: &Parser, args: &[&str], conf: &mut CoreConf) -> Result<(), DirectiveError> {
    let mut reader = ShareReader::new(first(args))?;
    read_block(cf, conf, |name, args, resources| reader.set(name, args, resources))?;
    Ok(conf.draft.set_share(reader.finish()?)?)
}

/// Adds somebody who is told of certificates, with the program that it runs.
fn add(conf: &mut CoreConf, listener: Listener, location: Location) -> Result<(), DirectiveError> {
    let file = listener.program_file();
    conf.programs.extend(file.map(|file| PlacedProgram { file, location: location.clone() }));
    if let Listener::Export(export) = &listener {
        conf.exports.push(PlacedExport { export: export.clone(), location });
    }
    Ok(add_listener(&mut conf.listeners, listener)?)
}

/// Gives each directive of a block to `set`.
fn read_block(
    cf: &Parser,
    conf: &mut CoreConf,
    mut set: impl FnMut(&str, &[&str], &mut dyn Resources) -> Result<(), String>,
) -> Result<(), DirectiveError> {
    cf.parse_block(|cf| {
        let mut resources = ConfResources { cf, vault: &mut conf.vault };
        cf.read(|name, args| Ok(set(name, args, &mut resources)?))
    })
}

fn set_state_path(cf: &Parser, args: &[&str], conf: &mut CoreConf) -> Result<(), DirectiveError> {
    let path = first(args);
    if path.is_empty() {
        return Err("invalid path \"\"".into());
    }
    if let Some(group) = args.get(1) {
        let name = group.strip_prefix("group=").filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| format!("invalid parameter \"{group}\""))?;
        conf.certs_group = Some(find_group(name)?);
    }
    let full = full_path(cf, path, PathBase::Prefix)?;
    Ok(conf.draft.set_state_path(PathBuf::from(full))?)
}

fn set_user(cf: &Parser, args: &[&str], conf: &mut CoreConf) -> Result<(), DirectiveError> {
    let user = NamedUser::find(first(args), args.get(1).copied(), cf.location())?;
    match conf.user.replace(user) {
        Some(_) => Err(duplicate("acme_dns_user")),
        None => Ok(()),
    }
}

fn set_providers_program(
    _: &Parser,
    args: &[&str],
    conf: &mut CoreConf,
) -> Result<(), DirectiveError> {
    let path = first(args);
    if !path.starts_with('/') {
        return Err(format!("invalid program \"{path}\", it must be an absolute path").into());
    }
    match conf.providers_program.replace(path.to_owned()) {
        Some(_) => Err(duplicate("acme_dns_providers")),
        None => Ok(()),
    }
}

fn set_shared_zone(cf: &Parser, args: &[&str], conf: &mut CoreConf) -> Result<(), DirectiveError> {
    // SAFETY: nginx writes it once, at start.
    let page = unsafe { ngx::ffi::ngx_pagesize };
    let zone = SharedZone::parse(first(args), page)?;
    match conf.zone.replace((zone, cf.location())) {
        Some(_) => Err(duplicate("acme_dns_shared_zone")),
        None => Ok(()),
    }
}

fn set_propagation(_: &Parser, args: &[&str], conf: &mut CoreConf) -> Result<(), DirectiveError> {
    Ok(conf.draft.set_propagation(Propagation::parse(args)?)?)
}

fn set_reload(_: &Parser, args: &[&str], conf: &mut CoreConf) -> Result<(), DirectiveError> {
    Ok(conf.draft.set_reload(Reload::parse(first(args))?)?)
}

fn set_domains(cf: &Parser, args: &[&str], conf: &mut CoreConf) -> Result<(), DirectiveError> {
    let (path, parameters) = args.split_first().ok_or("invalid path \"\"")?;
    let Parameters { wanted, watches } = domains::parameters(parameters)?;
    let full = full_path(cf, path, PathBase::Configuration)?;
    let failed =
        |file: &str, error: &io::Error| format!("open() \"{file}\" failed ({})", errno(error));
    if watches {
        let path = PathBuf::from(&full);
        let files = domains_files(&path).map_err(|error| failed(&full, &error))?;
        let number = conf.draft.watch_domains(path, wanted);
        for file in files {
            let name = file.display().to_string();
            let content = fs::read(&file).map_err(|error| failed(&name, &error))?;
            conf.draft.add_watched(number, &name, &content, cf.location());
        }
        return Ok(());
    }
    let content = fs::read(&full).map_err(|error| failed(&full, &error))?;
    let added = conf.draft.add_domains(&full, &content, wanted, cf.location());
    added.map_err(|mistake| DirectiveError::Placed(mistake.to_string()))
}

fn set_import(cf: &Parser, args: &[&str], conf: &mut CoreConf) -> Result<(), DirectiveError> {
    let [format, path] = args else { return Ok(()) };
    let format = ImportFormat::parse(format)?;
    let path = PathBuf::from(full_path(cf, path, PathBase::Prefix)?);
    let import = Import { format, path };
    if !import.is_there() {
        // It may have been removed, as it is not needed any more.
        let path = import.path.display();
        let kind = if format == ImportFormat::Traefik { "file" } else { "directory" };
        cf.warn(&format!(
            "\"{path}\" is not a {kind}, \"acme_dns_import\" can be removed if all was imported"
        ));
    }
    conf.draft.add_import(import);
    Ok(())
}
