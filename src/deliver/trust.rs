//! Whether a row of refusals says something of the messages, or of the sink (design §3, Quarantine).

use std::{collections::BTreeSet, sync::Arc};

/// After so many refusals in a row, with nothing taken between them, the fault may be a setting.
const ROW: u32 = 20;

/// What the refusals of one sink are worth.
#[derive(Debug, Default)]
pub(super) struct Trust {
    /// Refused since the sink last took something.
    row: u32,
    hold: bool,
    contents: BTreeSet<i64>,
    /// Of the last refusal.
    words: Option<Arc<str>>,
}

impl Trust {
    /// The sink has taken something: what it refused before goes to quarantine.
    pub fn taken(&mut self) {
        *self = Trust::default();
    }

    /// It refused a message of this content.
    pub fn refused(&mut self, content: i64, words: &Arc<str>) {
        self.words = Some(Arc::clone(words));
        self.row = self.row.saturating_add(1);
        self.hold = true;
        // as many as can be in a row before one is offered alone
        if self.contents.len() < 2 * ROW as usize {
            self.contents.insert(content);
        }
    }

    /// Refusals wait, until it is known whose fault they are.
    pub fn holds(&self) -> bool {
        self.hold
    }

    /// Nothing else is there to tell by, and the row is short: the messages are at fault.
    pub fn give_in(&mut self) {
        if !self.probes() {
            self.hold = false;
        }
    }

    /// A message of another content is to be offered alone.
    pub fn probes(&self) -> bool {
        self.row >= ROW
    }

    /// What was refused is offered again later.
    pub fn pardoned(&mut self) {
        self.hold = false;
    }

    /// What the sink said last.
    pub fn words(&self) -> &str {
        self.words.as_deref().unwrap_or("it gave no reason")
    }

    /// Contents with a message of the row.
    pub fn contents(&self) -> Vec<i64> {
        self.contents.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_row_is_the_messages_fault_once_nothing_else_is_there() {
        let mut trust = Trust::default();
        for content in 0..19 {
            trust.refused(content, &"no such index".into());
        }
        assert!(trust.holds() && !trust.probes());
        trust.give_in();
        assert!(!trust.holds());
    }

    #[test]
    fn a_long_row_is_decided_by_another_message_only() {
        let mut trust = Trust::default();
        for content in 0..20 {
            trust.refused(content, &"no such index".into());
        }
        assert!(trust.probes());
        trust.give_in();
        assert!(trust.holds());
        assert_eq!(trust.words(), "no such index");
        assert_eq!(trust.contents().len(), 20);
        trust.taken();
        assert!(!trust.holds() && !trust.probes() && trust.contents().is_empty());
    }

    #[test]
    fn the_row_goes_on_over_a_pardon() {
        let mut trust = Trust::default();
        for content in 0..20 {
            trust.refused(content, &"no such index".into());
        }
        trust.pardoned();
        assert!(trust.probes() && !trust.holds());
    }
}
