//! The blocks of hooks, webhooks and exports.

use super::super::tests::{Block, Fake};
use super::{
    Export, ExportForm, ExportReader, Hook, HookProtocol, HookReader, Listener, Webhook,
    WebhookReader, add_listener, is_exported,
};
use crate::notice::{NoticeFormat, NoticeKind};
use std::time::Duration;

fn hook(args: &[&str], block: Block<'_>) -> Result<Hook, String> {
    let (mut reader, mut fake) = (HookReader::new(args)?, Fake::default());
    block.iter().try_for_each(|line| reader.set(line[0], &line[1..], &mut fake))?;
    reader.finish()
}

fn webhook(url: &str, block: Block<'_>) -> Result<Webhook, String> {
    let (mut reader, mut fake) = (WebhookReader::new(url)?, Fake::default());
    block.iter().try_for_each(|line| reader.set(line[0], &line[1..], &mut fake))?;
    reader.finish()
}

fn export(name: &str, block: Block<'_>) -> Result<Export, String> {
    let group = |name: &str| match name {
        "haproxy" => Ok(7),
        _ => Err(format!("unknown group \"{name}\"")),
    };
    let (mut reader, mut fake) = (ExportReader::new(name)?, Fake::default());
    block.iter().try_for_each(|line| reader.set(line[0], &line[1..], &mut fake, group))?;
    reader.finish()
}

#[test]
fn a_hook_is_a_program_with_events() {
    let plain = hook(&["/opt/hook", "-v"], &[]).unwrap();
    assert_eq!((plain.events.len(), plain.protocol), (9, HookProtocol::Json));
    assert_eq!((plain.command.arguments.len(), plain.timeout), (1, Duration::from_secs(60)));
    let settings: Block<'_> = &[
        &["events", "renewed", "failed"][..],
        &["timeout", "5m"],
        &["env", "A", "b"],
        &["secret", "T", "token"],
    ];
    let hooked = hook(&["/opt/hook"], settings).unwrap();
    assert_eq!(hooked.events, [NoticeKind::Renewed, NoticeKind::Failed]);
    assert_eq!((hooked.variables.len(), hooked.secrets.len()), (1, 1));
    let dehydrated = hook(&["/opt/hook"], &[&["protocol", "dehydrated"]]).unwrap();
    assert_eq!(dehydrated.events, [NoticeKind::Issued, NoticeKind::Renewed]);
    for (args, block, expected) in [
        (&["hook"][..], &[][..], "invalid program \"hook\" in \"acme_dns_hook\" directive"),
        (&[], &[], "invalid number of arguments"),
        (
            &["/h"],
            &[&["events", "renew"][..]],
            "unknown event \"renew\" in \"events\" directive, the known",
        ),
        (&["/h"], &[&["events"]], "invalid number of arguments in \"events\""),
        (&["/h"], &[&["events", "failed", "failed"]], "event \"failed\" is listed twice"),
        (
            &["/h"],
            &[&["events", "failed"], &["events", "issued"]],
            "\"events\" directive is duplicate",
        ),
        (&["/h"], &[&["timeout", "0"]], "invalid value \"0\""),
        (&["/h"], &[&["format", "slack"]], "unknown directive \"format\""),
        (
            &["/h"],
            &[&["protocol", "dehydrated"], &["events", "failed"]],
            "event \"failed\" makes no sense with \"protocol dehydrated\"",
        ),
    ] {
        let error = hook(args, block).unwrap_err();
        assert!(error.contains(expected), "{args:?} {block:?}: {error}");
    }
}

#[test]
fn a_webhook_is_a_url_with_a_format() {
    const URL: &str = "https://chat.example/hooks/";
    let settings: Block<'_> = &[
        &["format", "ntfy"][..],
        &["path_file", "p"],
        &["secret_file", "s"],
        &["authorization_file", "a"],
        &["header", "X-Priority", "high and mighty"],
        &["events", "attention"],
    ];
    let full = webhook(URL, settings).unwrap();
    assert_eq!((full.format, full.events.len()), (NoticeFormat::Ntfy, 1));
    assert!(full.path.is_some() && full.secret.is_some() && full.authorization.is_some());
    assert_eq!(webhook(URL, &[]).unwrap().format, NoticeFormat::Json);
    for (word, format) in NoticeFormat::ALL {
        assert_eq!(webhook(URL, &[&["format", word]]).unwrap().format, format);
    }
    for (url, block, expected) in [
        ("http://chat.example/", &[][..], "only a loopback address can be used without TLS"),
        ("chat", &[], "invalid URL \"chat\""),
        (URL, &[&["format", "teams"][..]], "invalid value \"teams\""),
        (URL, &[&["secret", "s"]], "\"secret\" takes \"env:NAME\""),
        (URL, &[&["header", "A:", "b"]], "invalid header \"A:\""),
        (URL, &[&["header", "A", "b\n"]], "invalid value of header \"A\""),
        (URL, &[&["header", "A", "b"], &["header", "a", "c"]], "duplicate header \"a\""),
        (URL, &[&["header", "authorization", "b"]], "is set by \"authorization_file FILE\""),
        (URL, &[&["header", "Host", "b"]], "header \"Host\" cannot be set"),
        ("https://a.example/x", &[&["path_file", "p"]], "needs a URL that ends in \"/\""),
    ] {
        let error = webhook(url, block).unwrap_err();
        assert!(error.contains(expected), "{url} {block:?}: {error}");
    }
}

const DIRECTORY: &[&str] = &["directory", "/etc/haproxy/certs"];
const BUNDLE: &[&str] = &["bundle", "$name.pem"];

#[test]
fn an_export_has_files_with_modes() {
    let files = |block: Block<'_>| {
        let block = [&[DIRECTORY, BUNDLE, &["fullchain", "$name.crt"]], block].concat();
        export("*", &block).unwrap().files_of("_.a.example")
    };
    for (block, key, public) in [
        (&[][..], 0o600, 0o644),
        (&[&["group", "haproxy"][..]], 0o640, 0o644),
        (&[&["group", "haproxy"], &["mode", "0440"]], 0o440, 0o440),
    ] {
        let expected = [
            (ExportForm::Bundle, "_.a.example.pem".to_owned(), key),
            (ExportForm::FullChain, "_.a.example.crt".to_owned(), public),
        ];
        assert_eq!(files(block), expected, "{block:?}");
    }
    for (name, block, expected) in [
        ("a b", &[][..], "invalid certificate name \"a b\""),
        ("a", &[BUNDLE], "no \"directory\" is defined for \"acme_dns_export a\""),
        ("a", &[DIRECTORY], "no file, such as \"bundle\""),
        ("a", &[&["directory", "certs"]], "invalid path \"certs\""),
        ("a", &[DIRECTORY, &["key", "../key"]], "invalid file name \"../key\""),
        ("*", &[DIRECTORY, &["key", "key"]], "would hold all certificates"),
        ("a", &[DIRECTORY, &["key", "k"], &["chain", "k"]], "\"k\" directive is duplicate"),
        ("a", &[DIRECTORY, BUNDLE, &["mode", "0644"]], "everyone could use the key"),
        ("a", &[DIRECTORY, BUNDLE, &["mode", "0660"]], "invalid mode \"0660\""),
        ("a", &[DIRECTORY, BUNDLE, &["mode", "rw"]], "invalid mode \"rw\""),
        ("a", &[DIRECTORY, BUNDLE, &["group", "none"]], "unknown group \"none\""),
        ("a", &[DIRECTORY, &["pkcs12", "p"]], "no \"password_file\" is defined"),
        ("a", &[DIRECTORY, BUNDLE, &["password_file", "p"]], "makes no sense without \"pkcs12\""),
        ("a", &[DIRECTORY, BUNDLE, &["timeout", "9"]], "makes no sense without \"hook\""),
    ] {
        let error = export(name, block).unwrap_err();
        assert!(error.contains(expected), "{name} {block:?}: {error}");
    }
}

#[test]
fn listeners_are_different_and_exports_do_not_share_files() {
    let export = |name: &str, file: &str| {
        Listener::Export(export(name, &[DIRECTORY, &["key", file]]).unwrap())
    };
    let hook = Listener::Hook(hook(&["/h"], &[]).unwrap());
    for (one, other, expected) in [
        (hook.clone(), hook, "duplicate hook \"/h\""),
        (export("a", "k"), export("b", "k"), "certs/k\" is written by another"),
        (export("a", "$name"), export("b", "$name"), ""),
        (export("*", "$name"), export("b", "b"), "certs/b\" is written by another"),
        (export("*", "$name"), export("b", "c"), ""),
        (export("*", "$name"), export("*", "x$name"), ""),
    ] {
        let mut listeners = Vec::new();
        add_listener(&mut listeners, one).unwrap();
        let error = add_listener(&mut listeners, other).err().unwrap_or_default();
        assert_eq!(error.is_empty(), expected.is_empty(), "{error}");
        assert!(error.contains(expected), "{error}");
    }
    let listeners = [export("a", "k"), export("*", "$name")];
    assert!(is_exported(&listeners, "a") && !is_exported(&listeners, "b"));
    let Listener::Export(export) = &listeners[0] else { panic!("{listeners:?}") };
    assert_eq!(export.check_certificate(|name| name == "a"), Ok(()));
    let error = export.check_certificate(|_| false).unwrap_err();
    assert!(error.contains("no certificate \"a\""), "{error}");
    let same = |block: Block<'_>| Listener::Hook(self::hook(&["/h"], block).unwrap()).identity();
    assert_eq!(same(&[]), same(&[&["events", "failed"], &["secret", "A", "b"]]));
    assert_ne!(same(&[]), same(&[&["protocol", "dehydrated"]]));
    let wants = |kind| listeners[0].wants(kind, Some("a"));
    assert!(wants(NoticeKind::Renewed) && !wants(NoticeKind::Failed));
    assert!(!listeners[0].wants(NoticeKind::Renewed, Some("b")));
}
