//! The table with which the image makes a provider's block out of its environment:
//! `docker/entrypoint/lib/providers.txt`.

use super::fields::{Field, Form, Kind};
use super::lexicon;
use super::types::types;

/// Head of the table.
const HEAD: &str = "\
# `make providers` writes this file from the table that `nginx -t` reads (src/core/config/provider).
#   provider TYPE WORD...
#   setting NAME secret|text|flag required|optional|way-NUMBER VARIABLE...
";

/// Writes the table.
#[must_use]
pub fn image_table() -> String {
    let mut table = HEAD.to_owned();
    for kind in types() {
        let form = &kind.form;
        let of_lexicon = lexicon::of(form.name).map(|provider| provider.name);
        let words = form.words().skip(1).chain(of_lexicon.filter(|name| *name != form.name));
        let words: String = words.map(|word| format!(" {word}")).collect();
        table += &format!("provider {}{words}\n", form.name);
        table.extend(form.fields.iter().filter_map(|field| row(form, field)));
    }
    table
}

/// Writes the line of a setting that the environment can give.
fn row(form: &Form, field: &Field) -> Option<String> {
    let how = match field.kind {
        Kind::Secret(_) => "secret",
        Kind::Flag | Kind::Consent(_) => "flag",
        Kind::Requests | Kind::Variable | Kind::SecretVariable => return None,
        _ => "text",
    };
    let way = form.credentials.iter().position(|way| way.contains(&field.name));
    let need = match way {
        _ if field.is_required => "required".to_owned(),
        Some(way) => format!("way-{}", way + 1),
        None => "optional".to_owned(),
    };
    Some(format!("setting {} {how} {need} {}\n", field.name, variables(form, field).join(" ")))
}

/// Lists the variables of a setting, the preferred one first.
fn variables(form: &Form, field: &Field) -> Vec<String> {
    // ACME_DNS_ begins the image's own variables.
    let prefix = match form.name {
        "acme-dns" => "ACMEDNS".to_owned(),
        name => name.replace('-', "_").to_ascii_uppercase(),
    };
    let own = format!("{prefix}_{}", field.name.to_ascii_uppercase());
    let known = field.also.iter().map(|name| (*name).to_owned());
    let of_lexicon = lexicon::of(form.name).flat_map(|provider| provider.variables(field.name));
    let mut variables: Vec<String> = Vec::new();
    for variable in known.chain([own]).chain(of_lexicon) {
        if !variables.contains(&variable) {
            variables.push(variable);
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::image_table;

    #[test]
    fn the_image_has_the_table_that_nginx_reads() {
        let kept = include_str!("../../../../docker/entrypoint/lib/providers.txt");
        assert_eq!(kept, image_table(), "run: make providers");
    }
}
