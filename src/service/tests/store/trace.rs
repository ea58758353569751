//! What strace has written.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::Path;

/// The calls that change files.
pub(crate) const CALLS: &str = "openat,write,fsync,rename,renameat,renameat2,unlink,unlinkat,mkdir,\
                                mkdirat,symlink,symlinkat,chmod,fchmod,fchmodat,fchown,rmdir";

/// One call: its name, and which of the calls of this name it is.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    name: String,
    number: usize,
}

impl Call {
    /// What makes strace do something to this call.
    pub(crate) fn inject(&self, what: &str) -> String {
        format!("{}:{what}:when={}", self.name, self.number)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.number)
    }
}

/// The calls of a process that concern the state path.
pub(crate) struct Trace {
    calls: Vec<(Call, String)>,
}

impl Trace {
    pub(crate) fn read(log: &Path, state: &Path) -> Self {
        Self::parse(&String::from_utf8_lossy(&fs::read(log).unwrap_or_default()), state)
    }

    pub(crate) fn parse(text: &str, state: &Path) -> Self {
        let state = format!("{}/", state.display());
        let mut numbers: HashMap<String, usize> = HashMap::new();
        let mut calls = Vec::new();
        for line in text.lines() {
            let line = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
            let Some((name, _)) = line.split_once('(') else { continue };
            if line.starts_with('<') || !CALLS.split(',').any(|known| known.trim() == name) {
                continue;
            }
            let number = numbers.entry(name.to_owned()).or_default();
            *number += 1;
            let is_reading = name == "openat" && !line.contains("O_CREAT");
            if line.contains(&state) && !is_reading {
                let call = Call { name: name.to_owned(), number: *number };
                calls.push((call, line.to_owned()));
            }
        }
        Self { calls }
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.iter().map(|(call, _)| call.clone()).collect()
    }

    /// Whether a call that concerns the state path was made to fail.
    pub(crate) fn has_struck(&self) -> bool {
        self.calls.iter().any(|(_, line)| line.contains("(INJECTED)"))
    }

    /// What is renamed is on the disk before, and its new name after that.
    pub(crate) fn assert_durable(&self, what: &str) {
        let lines: Vec<&str> = self.calls.iter().map(|(_, line)| line.as_str()).collect();
        for (position, line) in lines.iter().enumerate().filter(|(_, l)| l.starts_with("rename")) {
            let mut paths = line.split('"').skip(1).step_by(2);
            let (from, to) = (paths.next().unwrap_or_default(), paths.next().unwrap_or_default());
            let synced = |lines: &[&str], path: &str| {
                lines
                    .iter()
                    .any(|line| line.starts_with("fsync(") && line.contains(&format!("<{path}>")))
            };
            let (before, after) = lines.split_at(position);
            let is_link = before.iter().any(|l| l.starts_with("symlink") && l.contains(from));
            let is_new = from.contains("/.tmp-");
            assert!(
                is_link || !is_new || synced(before, from),
                "{what}: {line} without fsync before"
            );
            let parent = Path::new(to).parent().map(|p| p.display().to_string());
            let parent = parent.unwrap_or_default();
            assert!(synced(after, &parent), "{what}: {line} without fsync of {parent} after");
        }
    }
}
