//! The block of a provider that is a program.

use super::super::{CommandLine, ExecProtocol, ExecSettings, ProviderKind, SecretId, SecretSource};
use super::provider::{read_provider, read_provider_with};
use super::{Block, Fake};
use std::time::Duration;

fn exec(block: Block<'_>) -> Result<ExecSettings, String> {
    match read_provider("p", Some("exec"), block)?.kind {
        ProviderKind::Exec(settings) => Ok(settings),
        other => panic!("{other:?}"),
    }
}

const HOOK: &[&str] = &["command", "/opt/hook", "-v"];
const LEGO: &[&str] = &["protocol", "lego"];
const ACME_SH: &[&str] = &["protocol", "acme.sh"];

#[test]
fn a_program_has_a_protocol_with_its_settings() {
    let settings = exec(&[HOOK]).unwrap();
    let command = CommandLine { program: "/opt/hook".to_owned(), arguments: vec!["-v".to_owned()] };
    let is_chained = false;
    assert_eq!(
        settings.protocol,
        ExecProtocol::Dehydrated { command: command.clone(), is_chained }
    );
    assert_eq!((settings.removes_by_name, settings.timeout), (false, Duration::from_secs(120)));
    let chained = exec(&[HOOK, &["chain", "on"], &["protocol", "dehydrated"]]).unwrap();
    assert!(matches!(chained.protocol, ExecProtocol::Dehydrated { is_chained: true, .. }));
    let lego = exec(&[LEGO, HOOK, &["removal", "name"], &["timeout", "5m"]]).unwrap();
    assert_eq!(lego.protocol, ExecProtocol::Lego { command: command.clone() });
    assert_eq!((lego.removes_by_name, lego.timeout), (true, Duration::from_secs(300)));
    let cleanup = CommandLine { program: "/opt/c".to_owned(), arguments: Vec::new() };
    let certbot = exec(&[HOOK, &["cleanup", "/opt/c"], &["protocol", "certbot"]]).unwrap();
    assert_eq!(certbot.files().len(), 2);
    assert_eq!(certbot.protocol, ExecProtocol::Certbot { command, cleanup });
}

#[test]
fn a_script_of_acme_sh_is_known_by_its_removal() {
    for (hook, removal, by_name) in [
        ("dns_nsupdate", None, true),
        ("dns_pdns", None, false),
        ("dns_pdns", Some("name"), true),
        ("dns_nsupdate", Some("value"), false),
    ] {
        let hook: &[&str] = &["hook", hook];
        let removal = removal.map(|removal| ["removal", removal]);
        let mut block = vec![ACME_SH, hook];
        block.extend(removal.iter().map(|words| &words[..]));
        assert_eq!(exec(&block).unwrap().removes_by_name, by_name, "{block:?}");
    }
    let files = |home: Block<'_>| {
        let block: Vec<&[&str]> =
            [ACME_SH, &["hook", "dns_cf"]].into_iter().chain(home.iter().copied()).collect();
        let files = exec(&block).unwrap().files();
        assert!(files.iter().all(|file| file.is_script));
        files.into_iter().map(|file| file.path).collect::<Vec<_>>()
    };
    let debian = ["/usr/share/acme.sh/acme.sh", "/usr/share/acme.sh/dnsapi/dns_cf.sh"];
    assert_eq!(files(&[]), debian);
    assert_eq!(files(&[&["home", "/opt/a/"]]), ["/opt/a/acme.sh", "/opt/a/dnsapi/dns_cf.sh"]);
}

#[test]
fn variables_of_a_program_are_repeated_and_secrets_are_read() {
    let mut fake = Fake::default();
    let block: Block<'_> = &[
        HOOK,
        &["env", "PROVIDER", "powerdns"],
        &["secret", "KEY", "/run/key"],
        &["env", "TTL", ""],
        &["secret", "TOKEN", "env:T"],
    ];
    let provider = read_provider_with(&mut fake, "p", Some("exec"), block).unwrap();
    assert_eq!(provider.secrets, [SecretId(0), SecretId(1)]);
    let file = SecretSource::File("/run/key".to_owned());
    assert_eq!(fake.secrets, [file, SecretSource::Environment("T".to_owned())]);
    let ProviderKind::Exec(settings) = provider.kind else { panic!("{provider:?}") };
    let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(settings.variables, [text("PROVIDER", "powerdns"), text("TTL", "")]);
    let secrets = [("KEY".to_owned(), SecretId(0)), ("TOKEN".to_owned(), SecretId(1))];
    assert_eq!(settings.secrets, secrets);
}

#[test]
fn mistakes_in_the_block_of_a_program_are_named() {
    const CERTBOT: &[&str] = &["protocol", "certbot"];
    const CLEANUP: &[&str] = &["cleanup", "/opt/c"];
    let rows: &[(Block<'_>, &str)] = &[
        (&[], "no \"command\" is defined for \"protocol dehydrated\" of provider \"p\""),
        (&[LEGO], "no \"command\" is defined for \"protocol lego\" of provider \"p\""),
        (&[CERTBOT, HOOK], "no \"cleanup\" is defined for \"protocol certbot\" of provider \"p\""),
        (&[ACME_SH], "no \"hook\" is defined for \"protocol acme.sh\" of provider \"p\""),
        (
            &[ACME_SH, HOOK],
            "\"command\" makes no sense with \"protocol acme.sh\" of provider \"p\"",
        ),
        (
            &[HOOK, CLEANUP],
            "\"cleanup\" makes no sense with \"protocol dehydrated\" of provider \"p\"",
        ),
        (
            &[HOOK, LEGO, &["chain", "on"]],
            "\"chain\" makes no sense with \"protocol lego\" of provider \"p\"",
        ),
        (
            &[&["protocol", "acmesh"]],
            "invalid value \"acmesh\" in \"protocol\" directive, it must be \"dehydrated\" or \"lego\" or \
             \"certbot\" or \"acme.sh\"",
        ),
        (
            &[&["command", "hook.sh"]],
            "invalid program \"hook.sh\" in \"command\" directive, it must be an absolute path",
        ),
        (
            &[&["command", "~/hook.sh"]],
            "invalid program \"~/hook.sh\" in \"command\" directive, it must be an absolute path",
        ),
        (&[&["command"]], "invalid number of arguments in \"command\" directive"),
        (&[HOOK, HOOK], "\"command\" directive is duplicate"),
        (
            &[&["hook", "dns_x/../y"]],
            "invalid name of a script \"dns_x/../y\" in \"hook\" directive",
        ),
        (&[&["home", "acme"]], "invalid path \"acme\" in \"home\" directive"),
        (
            &[&["timeout", "0"]],
            "invalid value \"0\" in \"timeout\" directive, it must be 1s to 3600s",
        ),
        (&[&["env", "A"]], "invalid number of arguments in \"env\" directive"),
        (&[&["env", "A=B", "c"]], "invalid variable \"A=B\" in \"env\" directive"),
        (&[&["env", "1A", "c"]], "invalid variable \"1A\" in \"env\" directive"),
        (
            &[&["env", "A", "c"], &["secret", "A", "/f"]],
            "duplicate variable \"A\" in \"secret\" directive",
        ),
        (&[&["secret", "A", "/missing"]], "cannot read \"/missing\""),
        (
            &[&["ttl", "60"]],
            "\"ttl\" is not a setting of type \"exec\", which has \"protocol\", \"command\", \"cleanup\", \
             \"chain\", \"hook\", \"home\", \"removal\", \"timeout\", \"env\", \"secret\"",
        ),
    ];
    for (block, expected) in rows {
        assert_eq!(exec(block).expect_err(expected), *expected);
    }
}
