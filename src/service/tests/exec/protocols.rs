//! Arguments and environment of each protocol, exactly.

use crate::bed::{
    Bed, NAME, command, create, dehydrated, lego, placed, remove, run, settings, txt, with_env,
    with_secret, zone,
};
use acme_dns_core::config::ExecProtocol;
use acme_dns_service::dns::{About, DnsProvider};

/// Notes the arguments, each in brackets, a line for each call.
const NOTE: &str = "printf '[%s]' \"$@\" >> $dir/calls; echo >> $dir/calls";

const OTHER: &str = "_acme-challenge.other.example.com";

#[test]
fn dehydrated_gives_domain_token_and_value() {
    let bed = Bed::new();
    let hook = bed.script("hook", NOTE);
    let records = [txt(NAME, "one"), txt(NAME, "two"), txt(OTHER, "three")];
    for (is_chained, expected) in [
        (
            false,
            "[X_challenge][example.com][-][one]\n[X_challenge][example.com][-][two]\n\
             [X_challenge][other.example.com][-][three]\n",
        ),
        (
            true,
            "[X_challenge][example.com][-][one][example.com][-][two][other.example.com][-][three]\n",
        ),
    ] {
        let provider = bed.exec(&settings(dehydrated(&hook, is_chained)), &[]);
        create(&provider, &records).unwrap();
        assert_eq!(bed.read("calls"), expected.replace('X', "deploy"));
        std::fs::remove_file(bed.path("calls")).unwrap();
        remove(&provider, &records).unwrap();
        assert_eq!(bed.read("calls"), expected.replace('X', "clean"));
        std::fs::remove_file(bed.path("calls")).unwrap();
    }
    let provider = bed.exec(&settings(dehydrated(&hook, false)), &[]);
    let error = create(&provider, &[txt("x.example.com", "v")]).unwrap_err();
    assert!(error.is_definite() && *error.about() == About::Name, "{error}");
    assert_eq!(bed.read("calls"), "");
}

#[test]
fn lego_gives_the_full_name_and_arguments_stand_before() {
    let bed = Bed::new();
    let mut command = command(&bed.script("hook", NOTE));
    command.arguments = vec!["-c".to_owned(), "two words".to_owned()];
    let provider = bed.exec(&settings(ExecProtocol::Lego { command }), &[]);
    let records = [txt(NAME, "one"), txt("x.example.com", "-two")];
    create(&provider, &records).unwrap();
    remove(&provider, &records).unwrap();
    let expected = format!(
        "[-c][two words][present][{NAME}.][one]\n[-c][two words][present][x.example.com.][-two]\n\
         [-c][two words][cleanup][{NAME}.][one]\n[-c][two words][cleanup][x.example.com.][-two]\n"
    );
    assert_eq!(bed.read("calls"), expected);
}

#[test]
fn certbot_gives_variables_and_brings_the_output_back() {
    let bed = Bed::new();
    let note = "env | grep ^CERTBOT_ | sort >> $dir/calls; echo \"[$#]\" >> $dir/calls";
    let auth = format!("{note}; echo id of $CERTBOT_VALIDATION; echo not this >&2");
    let (command, cleanup) =
        (command(&bed.script("auth", &auth)), command(&bed.script("cleanup", note)));
    let provider = bed.exec(&settings(ExecProtocol::Certbot { command, cleanup }), &[]);
    let records = [txt(NAME, "one"), txt(OTHER, "two")];
    create(&provider, &records).unwrap();
    let first = "CERTBOT_ALL_DOMAINS=example.com,other.example.com\nCERTBOT_DOMAIN=example.com\n\
                 CERTBOT_REMAINING_CHALLENGES=1\nCERTBOT_VALIDATION=one\n[0]\n";
    let second = "CERTBOT_ALL_DOMAINS=example.com,other.example.com\nCERTBOT_DOMAIN=other.example.com\n\
                  CERTBOT_REMAINING_CHALLENGES=0\nCERTBOT_VALIDATION=two\n[0]\n";
    assert_eq!(bed.read("calls"), format!("{first}{second}"));
    std::fs::remove_file(bed.path("calls")).unwrap();
    remove(&provider, &records).unwrap();
    let with_output = |text: &str, value: &str| {
        let output = format!("CERTBOT_AUTH_OUTPUT=id of {value}\nCERTBOT_DOMAIN");
        text.replace("CERTBOT_DOMAIN", &output)
    };
    let expected = format!("{}{}", with_output(first, "one"), with_output(second, "two"));
    assert_eq!(bed.read("calls"), expected);
}

#[test]
fn a_program_has_its_variables_and_no_others() {
    let bed = Bed::new();
    let hook = bed.script("hook", "env | sed s,$dir,DIR, | sort > $dir/env; pwd >> $dir/env");
    let settings = with_secret(with_env(settings(lego(&hook)), "ZONE", "a b"), "TOKEN");
    let provider = bed.exec(&settings, &["s3cr3t"]);
    create(&provider, &[txt(NAME, "one")]).unwrap();
    let expected = "HOME=DIR/homes/1\nLANG=C.UTF-8\nPATH=/usr/local/bin:/usr/bin:/bin\nPWD=/\n\
                    TMPDIR=DIR/homes/1\nTOKEN=s3cr3t\nZONE=a b\n/\n";
    // The shell sets PWD.
    let without_underscore = bed.read("env").replace("_=/usr/bin/env\n", "");
    assert_eq!(without_underscore, expected);
    assert!(bed.is_tidy());
}

/// A stand-in for acme.sh with the functions that scripts of its dnsapi need.
const ACME_SH: &str = "_initpath() { echo \"init $HOME\" >> $dir/calls; }\n\
                       _save_conf() { echo saved >> $dir/calls; }\n\
                       _saveaccountconf_mutable() { _save_conf \"$1\"; }\n\
                       main() { [ \"$1\" = : ] || echo \"main $*\" >> $dir/calls; }\n\
                       main \"$@\"";

const DNSAPI: &str = "dns_own_add() {\n_saveaccountconf_mutable x\necho \"add $1 $2 [$TOKEN] $ZONE\" >> $dir/calls\n\
     env | grep -c TOKEN >> $dir/calls\ncat >> $dir/calls\necho \"token is $TOKEN\"\n}\n\
     dns_own_rm() {\necho \"rm $1 $2\" >> $dir/calls\nreturn 3\n}";

#[test]
fn a_script_of_acme_sh_gets_secrets_that_its_programs_do_not_see() {
    let bed = Bed::new();
    std::fs::create_dir(bed.path("dnsapi")).unwrap();
    bed.script("acme.sh", ACME_SH);
    bed.script("dnsapi/dns_own.sh", DNSAPI);
    let home = bed.dir.path().display().to_string();
    let protocol = ExecProtocol::AcmeSh { home, hook: "dns_own".to_owned() };
    let settings = with_secret(with_env(settings(protocol), "ZONE", "z"), "TOKEN");
    let provider = bed.exec(&settings, &["it's a $(secret)"]);
    create(&provider, &[txt(NAME, "one")]).unwrap();
    let homes = bed.path("homes/1").display().to_string();
    let expected = format!("init {homes}\nadd {NAME} one [it's a $(secret)] z\n0\n");
    assert_eq!(bed.read("calls"), expected);
    assert_eq!(bed.log(), ["program of provider \"own\" says: token is ***"]);
    let error = run(provider.remove(&placed(&[txt(NAME, "one")]), &|_| Ok(()))).unwrap_err();
    assert!(error.to_string().contains("status 3"), "{error}");
    assert_eq!(*error.about(), About::Zone(zone().name.into()));
    assert!(bed.read("calls").ends_with(&format!("rm {NAME} one\n")));
}
