use super::{Choice, Difference, Stock, Traits, WantedNames, covers};
use crate::config::{Config, Issuer, Profile, Variant};
use crate::id::{CertificateId, IdRange, VariantId};
use crate::key::KeyType::{self, EcdsaP256, EcdsaP384, Rsa2048};
use crate::name::Name;
use crate::schedule::Validity;
use crate::time::UnixTime;

const DAY: i64 = 86_400;
const NOW: UnixTime = UnixTime(1_700_000_000);
const PRODUCTION: &str = "https://ca.test/directory";
const STAGING: &str = "https://staging.ca.test/directory";

fn issuer(directory: &str, profile: Option<&str>) -> Issuer {
    let profile = profile.map(|name| Profile { name: name.to_owned(), required: false });
    Issuer { profile, ..Issuer::with_directory(directory, directory) }
}

/// One certificate, from the first issuer.
fn config(names: &str, keys: &[KeyType]) -> Config {
    let mut config = Config::with_state_path("state");
    config.issuers = vec![issuer(PRODUCTION, None), issuer(STAGING, None)].into();
    config.add_certificate("own", &names.split(' ').collect::<Vec<_>>(), keys);
    config
}

/// A certificate of 90 days with so many of them left.
fn traits(names: &str, left: i64) -> Traits {
    let not_after = UnixTime(NOW.0 + left * DAY);
    Traits {
        names: names.split(' ').map(str::to_owned).collect(),
        validity: Validity { not_before: UnixTime(not_after.0 - 90 * DAY), not_after },
        key: EcdsaP256,
        directory: Some(PRODUCTION.to_owned()),
        profile: None,
        is_imported: false,
        is_self_signed: false,
    }
}

fn stock(items: Vec<(&'static str, Traits)>) -> Stock<&'static str> {
    let mut stock = Stock::default();
    items.into_iter().for_each(|(source, traits)| stock.add(source, traits));
    stock
}

/// The places of what is taken over, with `-` for nothing, and of what stands in.
fn chosen(config: &Config, items: Vec<(&'static str, Traits)>) -> String {
    let stock = stock(items);
    let owner = |source: &&str| config.variants.find(|v| v.name == *source);
    let Choice { taken_over, stand_ins } =
        stock.choose(config, &config.certificates[CertificateId::new(0)], NOW, owner);
    let source = |index: &usize| *stock.item(*index).expect("an index of the stock").0;
    let taken_over = taken_over.iter().map(|item| item.as_ref().map_or("-", source));
    let stand_ins = stand_ins.iter().map(source);
    let (taken_over, stand_ins): (Vec<_>, Vec<_>) = (taken_over.collect(), stand_ins.collect());
    format!("{} | {}", taken_over.join(" "), stand_ins.join(" ")).trim().to_owned()
}

#[test]
fn a_wildcard_covers_one_label() {
    let held = ["example.test".to_owned(), "*.example.test".to_owned()];
    for (name, expected) in [
        ("example.test", true),
        ("a.example.test", true),
        ("*.example.test", true),
        ("a.b.example.test", false),
        ("*.a.example.test", false),
        ("test", false),
        ("other.test", false),
    ] {
        assert_eq!(covers(&held, name), expected, "{name}");
    }
}

#[test]
fn what_has_a_wanted_name_is_what_covers_one() {
    let names = ["a.test", "b.test", "x.a.test", "*.a.test", "*.x.a.test"];
    for wanted in names {
        let name = Name::parse(wanted).unwrap();
        let set = WantedNames::of([&name]);
        for held in names {
            let held = ["other.example".to_owned(), held.to_owned()];
            assert_eq!(set.has_any(&held), covers(&held, wanted), "{wanted} by {held:?}");
        }
    }
}

#[test]
fn what_is_wanted_is_told_from_what_is_only_served() {
    let of = |change: fn(&mut Traits)| {
        let mut traits = traits("a.test b.test", 80);
        change(&mut traits);
        traits
    };
    let rows = [
        ("the same", of(|_| {}), None),
        ("in another order", of(|t| t.names.reverse()), None),
        ("with one name more", of(|t| t.names.push("c.test".to_owned())), None),
        ("with one name less", of(|t| t.names.truncate(1)), Some(Difference::Names)),
        ("by a wildcard", of(|t| t.names = vec!["*.test".to_owned()]), None),
        ("other key", of(|t| t.key = EcdsaP384), Some(Difference::Key)),
        ("from staging", of(|t| t.directory = Some(STAGING.into())), Some(Difference::Issuer)),
        ("other profile", of(|t| t.profile = Some("short".into())), Some(Difference::Profile)),
        ("of unknown origin", of(|t| t.directory = None), None),
        (
            "self-signed",
            of(|t| (t.directory, t.is_self_signed) = (None, true)),
            Some(Difference::SelfSigned),
        ),
        (
            "imported",
            of(|t| (t.key, t.profile, t.is_imported) = (Rsa2048, Some("short".into()), true)),
            None,
        ),
    ];
    let config = config("a.test b.test", &[EcdsaP256]);
    for (row, traits, expected) in rows {
        let found = traits.difference(
            &config,
            &config.variants[VariantId::new(0)],
            &config.certificates[CertificateId::new(0)],
        );
        assert_eq!(found, expected, "{row}");
    }
}

#[test]
fn what_covers_all_names_is_taken_over() {
    let wanted = config("b.test a.test", &[EcdsaP256]);
    let with = |names, left, change: fn(&mut Traits)| {
        let mut traits = traits(names, left);
        change(&mut traits);
        traits
    };
    type Row = (&'static str, Vec<(&'static str, Traits)>, &'static str);
    let rows: Vec<Row> = vec![
        ("nothing is there", vec![], "- |"),
        ("nothing of these names", vec![("x", traits("x.test", 80))], "- |"),
        ("another name's", vec![("x", traits("a.test b.test", 80))], "x |"),
        (
            "its own first",
            vec![("x", traits("a.test b.test", 80)), ("own", traits("a.test b.test", 70))],
            "own |",
        ),
        (
            "another, if its own is due",
            vec![("x", traits("a.test b.test", 80)), ("own", traits("a.test b.test", 9))],
            "x |",
        ),
        (
            "its own, if all are due",
            vec![("x", traits("a.test b.test", 10)), ("own", traits("a.test b.test", 9))],
            "own |",
        ),
        (
            "the exact one",
            vec![("more", traits("a.test b.test c.test", 80)), ("x", traits("a.test b.test", 70))],
            "x |",
        ),
        (
            "the later one",
            vec![("x", traits("a.test b.test", 70)), ("y", traits("a.test b.test", 80))],
            "y |",
        ),
        ("expired", vec![("x", traits("a.test b.test", 0))], "- |"),
        (
            "from staging",
            vec![("x", with("a.test b.test", 80, |t| t.directory = Some(STAGING.into())))],
            "- | x",
        ),
        (
            "of unknown origin, of another name",
            vec![("x", with("a.test b.test", 80, |t| t.directory = None))],
            "- | x",
        ),
        (
            "of unknown origin, its own",
            vec![("own", with("a.test b.test", 80, |t| t.directory = None))],
            "own |",
        ),
    ];
    for (row, items, expected) in rows {
        assert_eq!(chosen(&wanted, items), expected, "{row}");
    }
}

#[test]
fn what_covers_some_names_stands_in() {
    let staging = |names| Traits { directory: Some(STAGING.to_owned()), ..traits(names, 80) };
    let self_signed = |names| Traits { directory: None, is_self_signed: true, ..traits(names, 80) };
    let rsa = |names| Traits { key: Rsa2048, ..traits(names, 80) };
    let both: &[KeyType] = &[EcdsaP256, Rsa2048];
    type Rows = Vec<(&'static str, &'static [KeyType], Vec<(&'static str, Traits)>, &'static str)>;
    let rows: Rows = vec![
        ("www.a.test a.test", &[EcdsaP256], vec![("x", traits("a.test", 80))], "- | x"),
        (
            "a.test b.test",
            &[EcdsaP256],
            vec![("x", traits("a.test", 80)), ("y", traits("b.test", 80))],
            "- | x y",
        ),
        (
            "a.test b.test",
            &[EcdsaP256],
            vec![("x", traits("a.test", 80)), ("y", traits("a.test", 80))],
            "- | x",
        ),
        // What is trusted is served where it covers, the rest by what is not.
        (
            "a.test b.test",
            &[EcdsaP256],
            vec![("x", staging("a.test b.test")), ("y", traits("a.test", 80))],
            "- | y x",
        ),
        (
            "a.test b.test",
            &[EcdsaP256],
            vec![("x", self_signed("a.test b.test")), ("y", staging("a.test"))],
            "- | y x",
        ),
        (
            "*.a.test",
            &[EcdsaP256],
            vec![("x", traits("b.a.test", 80)), ("y", traits("c.a.test", 80))],
            "- | x y",
        ),
        ("*.a.test", &[EcdsaP256], vec![("x", traits("a.test", 80))], "- |"),
        ("a.test", &[Rsa2048], vec![("own", traits("a.test", 80))], "- | own"),
        ("a.test", both, vec![("own", traits("a.test", 80))], "own - |"),
        ("a.test", both, vec![("own", rsa("a.test"))], "- own |"),
        (
            "www.a.test a.test",
            both,
            vec![("x", traits("a.test", 80)), ("x-rsa", rsa("a.test"))],
            "- - | x x-rsa",
        ),
        (
            "www.a.test a.test",
            both,
            vec![("x", traits("a.test", 80)), ("y", rsa("www.a.test"))],
            "- - | x y",
        ),
    ];
    for (names, keys, items, expected) in rows {
        let sources: Vec<_> =
            items.iter().map(|(source, t)| (*source, t.names.join(","))).collect();
        assert_eq!(chosen(&config(names, keys), items), expected, "{names}: {sources:?}");
    }
}

#[test]
fn what_another_certificate_wants_is_left_to_it() {
    // What lies under the name of the other one, whose names are these, and what is chosen.
    let rows = [
        ("a.test b.test", "a.test b.test", "- | other"),
        ("a.test b.test c.test", "c.test b.test a.test", "- | other"),
        ("a.test b.test", "b.test", "other |"),
        ("a.test b.test", "c.test", "other |"),
    ];
    for (held, names, expected) in rows {
        let mut config = config("a.test", &[EcdsaP256]);
        let mut other = config.certificates[CertificateId::new(0)].clone();
        other.names = names.split(' ').map(|name| Name::parse(name).unwrap()).collect();
        other.variants = IdRange::new(VariantId::new(1), VariantId::new(2));
        config.certificates.push(other);
        let variant = Variant {
            name: "other".to_owned(),
            key: EcdsaP256,
            certificate: CertificateId::new(1),
        };
        config.variants.push(variant);
        assert_eq!(chosen(&config, vec![("other", traits(held, 80))]), expected, "{held}: {names}");
        // A copy under a name of before changes nothing, unless it is all that there is.
        let items = vec![("copy", traits(held, 80)), ("other", traits(held, 80))];
        assert_eq!(chosen(&config, items).starts_with("- |"), expected.starts_with("- |"));
        assert_eq!(chosen(&config, vec![("copy", traits(held, 80))]), "copy |");
    }
}

#[test]
fn no_more_stand_in_than_there_is_room_for() {
    let names: Vec<String> = (0..30).map(|n| format!("n{n}.test")).collect();
    let items = names.iter().map(|name| ("x", traits(name, 80))).collect();
    let chosen = chosen(&config(&names.join(" "), &[EcdsaP256]), items);
    assert_eq!(chosen.matches('x').count(), super::MAX_STAND_INS);
}
