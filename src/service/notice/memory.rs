//! Memory of what was told before, and which certificates there are: read once, when a desk opens.

use super::certificate::{Held, look};
use crate::store::{Notes, Store, StoreError};
use std::collections::HashMap;

/// State that a desk begins with.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) held: HashMap<String, Held>,
    pub(super) notes: HashMap<String, Notes>,
    /// Names whose notes cannot be read.
    pub(super) lost: Vec<String>,
    pub(super) errors: Vec<StoreError>,
}

impl Memory {
    /// Reads all that is known of these names.
    pub(super) async fn read(store: &Store, names: Vec<String>) -> Self {
        let read = store.on_thread(move |store| Ok(Self::read_at_once(store, names)));
        read.await.unwrap_or_else(|error| Self { errors: vec![error], ..Self::default() })
    }

    fn read_at_once(store: &Store, names: Vec<String>) -> Self {
        let mut memory = Self::default();
        match look(store, names.iter()) {
            Ok(held) => memory.held = held,
            Err(error) => memory.errors.push(error),
        }
        for name in names {
            match store.load_notes(&name) {
                Ok(notes) => drop(memory.notes.insert(name, notes)),
                Err(error) => {
                    memory.errors.push(error);
                    memory.lost.push(name);
                }
            }
        }
        memory
    }
}
