//! acme.sh's scripts for DNS providers as clients of the stand-ins: what they are content with is no invention of ours.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use crate::package::unpacked;
use crate::process::run;

/// Reads acme.sh without running it, keeps its settings to itself, and calls a function of a script.
const CALL: &str = r#"
script=$1 function=$2 name=$3 value=$4 settings=$5
set -- :
. "$ACME_SH/acme.sh"
_initpath
_savedomainconf() { :; }
_saveaccountconf_mutable() { :; }
. "$ACME_SH/dnsapi/$script.sh"
eval "$settings"
"$function" "$name" "$value"
"#;

/// Calls `dns_..._add` or `dns_..._rm` of a script with a name and a value. `dir` is for its own files.
///
/// # Errors
/// Its output.
pub fn call(
    dir: &Path,
    (script, function): (&str, &str),
    (name, value): (&str, &str),
    settings: &[(&str, &str)],
) -> Result<String, String> {
    let program = unpacked("acme.sh", "sid").join("usr/share/acme.sh");
    let mut assignments = String::new();
    for (setting, value) in settings {
        let _ = writeln!(assignments, "{setting}='{value}'");
    }
    let mut command = Command::new("sh");
    command.env("ACME_SH", program).env("LE_WORKING_DIR", dir);
    command.args(["-c", CALL, "sh", script, &format!("{script}_{function}")]);
    run(command.args([name, value, &assignments]))
}
