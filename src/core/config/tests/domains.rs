//! Domains files: how lines are read, and which servers use their certificates.

use super::provider::read_provider;
use super::{ACCEPT, names, read_issuer};
use crate::config::Location;
use crate::config::binding::Request;
use crate::config::domains::{Parameters, parameters, parse};
use crate::config::draft::{Draft, Finished};
use std::path::PathBuf;

#[test]
fn a_line_is_read_as_dehydrated_reads_it() {
    type Row<'a> = (&'a str, &'a [&'a str], &'a str);
    let rows: &[Row<'_>] = &[
        ("a.test", &["a.test"], "a.test"),
        ("a.test www.a.test", &["a.test", "www.a.test"], "a.test"),
        (" \ta.test \t b.test\x0b\x0c \r", &["a.test", "b.test"], "a.test"),
        ("A.Test WWW.a.TEST > Web", &["a.test", "www.a.test"], "web"),
        ("a.test>web", &["a.test"], "web"),
        ("a.test >web", &["a.test"], "web"),
        ("a.test> web ", &["a.test"], "web"),
        // Wherever it stands.
        ("a.test > web b.test", &["a.test", "b.test"], "web"),
        ("> web a.test", &["a.test"], "web"),
        ("*.a.test > star_a_test", &["*.a.test"], "star_a_test"),
        // dehydrated wants an alias here.
        ("*.a.test a.test", &["*.a.test", "a.test"], "_.a.test"),
        ("a.test A.TEST a.test", &["a.test"], "a.test"),
        ("b\u{fc}cher.test", &["xn--bcher-kva.test"], "xn--bcher-kva.test"),
    ];
    for (line, expected, name) in rows {
        let lines = parse(line.as_bytes()).unwrap_or_else(|e| panic!("{line:?}: {}", e.message));
        let [found] = lines.as_slice() else { panic!("{line:?}: {lines:?}") };
        assert_eq!((found.names.clone(), found.number), (names(expected), 1), "{line:?}");
        assert_eq!(found.name.as_deref(), Some(*name), "{line:?}");
    }
}

#[test]
fn comments_and_empty_lines_count() {
    let text = "\u{feff}# first\r\n\r\n   # second\r\na.test\r\n\n#b.test\nc.test > c";
    let lines = parse(text.as_bytes()).unwrap();
    let found: Vec<_> =
        lines.iter().map(|line| (line.number, line.name.as_deref().unwrap())).collect();
    assert_eq!(found, [(4, "a.test"), (7, "c")]);
    for empty in ["", "\n", "#", "\r\n \t\r\n"] {
        assert_eq!(parse(empty.as_bytes()), Ok(Vec::new()), "{empty:?}");
    }
}

#[test]
fn a_first_name_too_long_for_a_file_names_nothing() {
    let long = format!("{}test", "abcdefghi.".repeat(22));
    assert_eq!(parse(long.as_bytes()).unwrap()[0].name, None);
}

#[test]
fn mistakes_are_told_with_their_line() {
    let rows: &[(&[u8], &str)] = &[
        (
            b"exa_mple.test",
            "\"exa_mple.test\" cannot be certified: it has a label that is empty, longer than 63 characters or not made of letters, digits and inner hyphens",
        ),
        (
            b"a.test 192.0.2.1",
            "\"192.0.2.1\" cannot be certified: it is an IP address, which dns-01 cannot prove",
        ),
        (b"a.test localhost", "\"localhost\" cannot be certified: it has only one label"),
        (b"a.test # what for", "a comment needs a line of its own"),
        (b"a.test #what", "a comment needs a line of its own"),
        (b"a.test >", "there is no alias behind \">\""),
        (b"a.test > b > c", "there is more than one alias"),
        (b"a.test>>b", "there is more than one alias"),
        (b"> b", "there are no names before the alias"),
        (b"a.test > *.a.test", "invalid alias \"*.a.test\""),
        (b"a.test > Up/Down", "invalid alias \"Up/Down\""),
        (b"a.test > ..", "invalid alias \"..\""),
        (b"a\xff.test", "invalid UTF-8"),
    ];
    for (line, expected) in rows {
        let text = [b"# first\ngood.test\n".as_slice(), line, b"\nbad_.test"].concat();
        let mistake = parse(&text).expect_err(expected);
        assert_eq!((mistake.message.as_str(), mistake.line), (*expected, 3));
    }
}

#[test]
fn parameters_are_those_of_acme_dns_without_a_name() {
    let args = ["issuer=a,b", "provider=p", "key=rsa:2048", "reuse_key=on"];
    let all: Vec<&str> = ["on"].into_iter().chain(args).collect();
    let Ok(Request::On(wanted)) = Request::parse(&all) else { panic!("not read") };
    assert_eq!(parameters(&args), Ok(Parameters { wanted: wanted.clone(), watches: false }));
    let watched = [&args[..1], &["watch"], &args[1..]].concat();
    assert_eq!(parameters(&watched), Ok(Parameters { wanted, watches: true }));
    for wrong in ["name=web", "on", "a.test", "size=1", "key=", "issuer=a,a", "watch="] {
        assert_eq!(parameters(&[wrong]), Err(format!("invalid parameter \"{wrong}\"")), "{wrong}");
    }
    assert!(parameters(&["key=rsa:2048", "key=rsa:4096"]).is_err());
    assert!(parameters(&["watch", "watch"]).is_err());
}

/// A directive: the file, its parameters and its lines.
type File<'a> = (&'a str, &'a [&'a str], &'a str);

/// The arguments of an `acme_dns`, and the names of its server.
type Server<'a> = (&'a [&'a str], &'a [&'a str]);

/// Reads files and servers, each of which is a line of nginx.conf; two issuers and two providers if
/// `several`. Gives the name of each server's certificate.
fn finish(
    several: bool,
    files: &[File<'_>],
    servers: &[Server<'_>],
) -> Result<(Finished, Vec<String>), String> {
    let mut draft = Draft::default();
    let count = if several { 2 } else { 1 };
    for name in ["ca", "cb"].iter().take(count) {
        draft.add_issuer(read_issuer(name, &[&["directory", "https://ca.test/"], ACCEPT])?)?;
    }
    for name in ["cf", "cg"].iter().take(count) {
        draft.add_provider(read_provider(name, Some("cloudflare"), &[&["token_file", "t"]])?)?;
    }
    let mut line = 0;
    let mut place = || {
        line += 1;
        Location { file: "nginx.conf".to_owned(), line }
    };
    for (file, args, text) in files {
        let added = draft.add_domains(file, text.as_bytes(), parameters(args)?.wanted, place());
        added.map_err(|error| error.to_string())?;
    }
    let mut bindings = Vec::new();
    for (args, list) in servers {
        let Request::On(wanted) = Request::parse(args)? else { return Err("off".to_owned()) };
        let given = wanted.names.clone();
        let list = if given.is_empty() { names(list) } else { given };
        let place = place();
        bindings.push(draft.bind(wanted, list, place.clone(), place)?);
    }
    let finished = draft.finish(PathBuf::from("/state")).map_err(|error| error.to_string())?;
    let certificates = &finished.config.certificates;
    let found = bindings
        .into_iter()
        .map(|id| certificates[finished.certificate(id).expect("a certificate")].name.clone());
    let found = found.collect();
    Ok((finished, found))
}

#[test]
fn each_line_is_a_certificate_whether_or_not_a_server_uses_it() {
    let files: &[File<'_>] = &[
        ("d", &[], "b.test www.b.test\n\n*.a.test x.a.test > stars\nb.test www.b.test"),
        ("e", &["key=rsa:2048", "reuse_key=on"], "www.c.test *.c.test"),
    ];
    let (finished, _) = finish(false, files, &[]).unwrap();
    let certificates = finished.config.certificates;
    let found: Vec<_> = certificates.values().map(|c| (c.name.as_str(), c.names.clone())).collect();
    let expected = [
        ("b.test", names(&["b.test", "www.b.test"])),
        ("stars", names(&["*.a.test"])),
        // What the wildcard covers is left out, and gives its name as dehydrated does.
        ("www.c.test", names(&["*.c.test"])),
    ];
    assert_eq!(found, expected);
    let reuses_key: Vec<_> = certificates.values().map(|c| c.reuses_key).collect();
    assert_eq!(reuses_key, [false, false, true]);
}

#[test]
fn servers_use_the_line_that_covers_their_names() {
    const ON: &[&str] = &["on"];
    type Row<'a> = (&'a [File<'a>], Server<'a>, &'a str);
    let stars: &[File<'_>] = &[("d", &[], "a.test *.a.test b.test > web")];
    let two: &[File<'_>] =
        &[("d", &[], "x.test a.test\n*.a.test a.test > second"), ("e", &[], "a.test > third")];
    let again: &[File<'_>] =
        &[("d", &[], "a.test b.test > x\na.test c.test > y\na.test b.test > x")];
    let rsa: &[File<'_>] = &[("d", &["key=rsa:2048"], "a.test www.a.test > rsa")];
    let rows: &[Row<'_>] = &[
        (stars, (ON, &["a.test"]), "web"),
        (stars, (ON, &["www.a.test", "b.test"]), "web"),
        (stars, (ON, &["*.a.test"]), "web"),
        (stars, (ON, &["x.www.a.test"]), "x.www.a.test"),
        (stars, (ON, &["*.www.a.test"]), "_.www.a.test"),
        (stars, (ON, &["a.test", "c.test"]), "a.test"),
        (stars, (ON, &["www.b.test"]), "www.b.test"),
        // The first line of the first file.
        (two, (ON, &["a.test"]), "x.test"),
        (two, (ON, &["a.test", "w.a.test"]), "second"),
        (two, (ON, &["w.a.test", "x.test"]), "w.a.test"),
        (again, (ON, &["a.test", "c.test"]), "y"),
        (again, (ON, &["a.test"]), "x"),
        // Parameters that say the same, and others.
        (rsa, (ON, &["a.test"]), "rsa"),
        (
            rsa,
            (&["on", "key=rsa:2048", "issuer=ca", "provider=cf", "reuse_key=off"], &["a.test"]),
            "rsa",
        ),
        (rsa, (&["on", "key=ecdsa:256"], &["a.test"]), "a.test"),
        (rsa, (&["on", "reuse_key=on"], &["a.test"]), "a.test"),
        (rsa, (&["on", "name=own"], &["a.test"]), "own"),
        // By its name, whatever the server is called.
        (stars, (&["on", "name=web"], &[]), "web"),
        (stars, (&["on", "name=web"], &["other.test"]), "web"),
        (rsa, (&["on", "name=rsa", "key=rsa:2048"], &[]), "rsa"),
        // Names that are given have to be the same.
        (rsa, (&["www.a.test", "a.test"], &[]), "rsa"),
        (rsa, (&["www.a.test", "a.test", "name=rsa"], &[]), "rsa"),
        (rsa, (&["a.test"], &[]), "a.test"),
        (stars, (&["www.a.test", "a.test", "b.test"], &[]), "www.a.test"),
    ];
    for (files, server, expected) in rows {
        let (_, found) = finish(false, files, &[*server]).expect(expected);
        assert_eq!(found, [*expected], "{files:?} {server:?}");
    }
}

#[test]
fn a_server_need_not_choose_where_a_line_has_chosen() {
    let files: &[File<'_>] = &[
        ("d", &["issuer=cb", "provider=cf"], "a.test > b"),
        ("e", &["issuer=ca,cb", "provider=cg"], "a.test > ab"),
    ];
    for (args, expected) in [
        (&["on"] as &[&str], "b"),
        (&["on", "provider=cg"], "ab"),
        (&["on", "issuer=ca,cb"], "ab"),
        (&["on", "issuer=ca", "provider=cf"], "a.test"),
    ] {
        let (_, found) = finish(true, files, &[(args, &["a.test"])]).expect(expected);
        assert_eq!(found, [expected], "{args:?}");
    }
}

#[test]
fn mistakes_between_lines_and_servers_are_told() {
    type Row<'a> = (bool, &'a [File<'a>], &'a [Server<'a>], &'a str);
    let hundred: Vec<String> = (0..101).map(|number| format!("n{number}.test")).collect();
    let hundred = format!("\n{}", hundred.join(" "));
    let hundred: &[File<'_>] = &[("d", &[], &hundred)];
    let web: &[File<'_>] = &[("d", &["key=rsa:2048"], "a.test > web")];
    let rows: &[Row<'_>] = &[
        (
            false,
            &[("d", &[], "a.test b.test > x\na.test > x")],
            &[],
            "certificate \"x\" is defined with different settings in d:2",
        ),
        (
            false,
            &[("d", &[], "a.test"), ("e", &[], "\na.test www.a.test")],
            &[],
            "certificate \"a.test\" is defined with different settings in e:2",
        ),
        (
            false,
            &[("d", &[], "a.test"), ("e", &["key=rsa:2048"], "a.test")],
            &[],
            "certificate \"a.test\" is defined with different settings in e:1",
        ),
        (
            false,
            &[("d", &[], "\nbad_.test")],
            &[],
            "\"bad_.test\" cannot be certified: it has a label that is empty, longer than 63 \
             characters or not made of letters, digits and inner hyphens in d:2",
        ),
        (false, hundred, &[], "101 names for one certificate, a CA takes at most 100 in d:2"),
        (
            true,
            &[("d", &[], "a.test")],
            &[],
            "several \"acme_dns_issuer\" are defined, \"acme_dns_domains\" needs \"issuer=NAME\" in nginx.conf:1",
        ),
        (
            false,
            &[("d", &["provider=cx"], "a.test")],
            &[],
            "no \"acme_dns_provider\" is defined for \"provider=cx\" in nginx.conf:1",
        ),
        (
            false,
            web,
            &[(&["on", "name=web", "key=ecdsa:256"], &["a.test"])],
            "certificate \"web\" is defined with different settings in nginx.conf:2",
        ),
        (
            false,
            web,
            &[(&["b.test", "name=web"], &[])],
            "certificate \"web\" is defined with different settings in nginx.conf:2",
        ),
        (
            false,
            web,
            &[(&["on", "issuer=typo"], &["a.test"])],
            "no \"acme_dns_issuer\" is defined for \"issuer=typo\" in nginx.conf:2",
        ),
    ];
    for (several, files, servers, expected) in rows {
        let error = finish(*several, files, servers).map(|_| ()).expect_err(expected);
        assert_eq!(error, *expected, "{files:?} {servers:?}");
    }
}

#[test]
fn a_file_without_lines_asks_for_nothing() {
    let mut draft = Draft::default();
    let file = |draft: &mut Draft, text: &str| {
        let wanted = parameters(&[]).unwrap().wanted;
        draft.add_domains("d", text.as_bytes(), wanted, Location::default()).unwrap();
    };
    file(&mut draft, "# a.test\n");
    assert!(draft.is_unused());
    file(&mut draft, "a.test\n");
    assert!(!draft.is_unused());
}
