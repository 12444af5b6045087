//! How often each kind of fault has shown itself: what never strikes proves nothing.

use std::{
    collections::BTreeMap,
    fmt::Display,
    sync::{Arc, Mutex},
};

/// By the name of the fault.
pub type Struck = BTreeMap<String, u64>;

/// Counted where the fault is made.
#[derive(Clone, Default)]
pub struct Strikes(Arc<Mutex<Struck>>);

impl Strikes {
    /// A fault of this kind has shown itself.
    pub fn note(&self, what: impl Display) {
        *self.0.lock().unwrap().entry(what.to_string()).or_default() += 1;
    }

    /// All of them.
    pub fn all(&self) -> Struck {
        self.0.lock().unwrap().clone()
    }
}

/// Adds what has struck elsewhere.
pub fn add(struck: &mut Struck, more: &Struck) {
    for (name, times) in more {
        *struck.entry(name.clone()).or_default() += times;
    }
}
