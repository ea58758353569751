//! Settings that the blocks of hooks, webhooks and exports have in common.

use super::super::Resources;
use super::super::provider::fields::{Field, Values};
use super::super::text::{duplicate, wrong_arguments};
use crate::notice::NoticeKind;

/// Settings of a block while it is read.
#[derive(Debug)]
pub(super) struct Block {
    fields: &'static [Field],
    pub(super) values: Values,
}

impl Block {
    pub(super) fn new(fields: &'static [Field]) -> Self {
        Self { fields, values: Values::default() }
    }

    /// Reads one directive of the block.
    pub(super) fn set(
        &mut self,
        directive: &str,
        args: &[&str],
        resources: &mut dyn Resources,
    ) -> Result<(), String> {
        let field = self.fields.iter().find(|field| field.is_set_by(directive));
        let field = field.ok_or_else(|| format!("unknown directive \"{directive}\""))?;
        self.values.read(field, directive, args, resources)
    }
}

/// Reads the words of `events`.
pub(super) fn set_events(events: &mut Vec<NoticeKind>, args: &[&str]) -> Result<(), String> {
    if !events.is_empty() {
        return Err(duplicate("events"));
    }
    if args.is_empty() {
        return Err(wrong_arguments("events"));
    }
    for word in args {
        let kind = NoticeKind::find(word).ok_or_else(|| unknown_event(word))?;
        if events.contains(&kind) {
            return Err(format!("event \"{word}\" is listed twice in \"events\" directive"));
        }
        events.push(kind);
    }
    Ok(())
}

fn unknown_event(word: &str) -> String {
    let known = NoticeKind::ALL.map(|kind| format!("\"{kind}\"")).join(", ");
    format!("unknown event \"{word}\" in \"events\" directive, the known events are {known}")
}
