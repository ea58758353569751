//! The variables that other clients read settings from, for whoever translates a configuration of theirs.

use super::fields::Kind;
use super::types::types;

/// Variables of lego and acme.sh for one setting.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SettingVariables {
    /// The type of provider.
    pub kind: &'static str,
    /// The setting; if it is a secret, the directives are it, and it with `_file` behind.
    pub setting: &'static str,
    /// Set if it is a secret.
    pub is_secret: bool,
    /// The variables. Those whose names end in `_FILE` or `_PATH` hold the name of a file.
    pub variables: &'static [&'static str],
}

/// Lists the variables of lego and acme.sh for the settings of all types, as far as they are known.
pub fn variables() -> impl Iterator<Item = SettingVariables> {
    types().flat_map(|kind| {
        let known = kind.form.fields.iter().filter(|field| !field.also.is_empty());
        known.map(move |field| SettingVariables {
            kind: kind.form.name,
            setting: field.name,
            is_secret: matches!(field.kind, Kind::Secret(_)),
            variables: field.also,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::variables;
    use std::collections::HashMap;

    #[test]
    fn a_variable_stands_for_one_setting_of_a_type() {
        let mut seen = HashMap::new();
        for known in variables() {
            for variable in known.variables {
                let key = (known.kind, variable.to_ascii_uppercase());
                let other = seen.insert(key, known.setting);
                let is_alone = other.is_none_or(|other| other == known.setting);
                assert!(is_alone, "{variable} of {}", known.kind);
                assert!(!variable.is_empty() && !variable.contains(char::is_whitespace));
            }
        }
        let key = ("hetzner", "HETZNER_API_TOKEN".to_owned());
        assert_eq!(seen.get(&key), Some(&"token"));
    }
}
