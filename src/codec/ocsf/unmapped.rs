//! What the event does not carry word for word: the record's own members, under their own names.
//!
//! So the line holds every value of its record, with `raw_data` off as well.

use std::collections::BTreeSet;

use crate::{
    codec::{json::Writer, raw},
    event::Event,
};

pub(super) fn write(w: &mut Writer<'_>, event: &Event<'_>, flattened: bool) {
    if event.unreadable_because().is_some() {
        w.member("unmapped", |w| raw::original(w, event.record()));
        return;
    }
    let members: Vec<_> = event.fields.0.iter().filter(|member| !member.taken).collect();
    let flattened = flattened && !event.bag.0.is_empty() && !members.iter().any(|member| member.key == "Properties");
    if members.is_empty() && !flattened {
        return;
    }
    // duplicate keys: readers keep one of them, so all their values go into one list
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by(|a, b| members[*a].key.cmp(&members[*b].key));
    let twins: BTreeSet<usize> = order
        .windows(2)
        .filter(|pair| members[pair[0]].key == members[pair[1]].key)
        .flat_map(|pair| [pair[0], pair[1]])
        .collect();
    w.member("unmapped", |w| {
        for (at, member) in members.iter().enumerate() {
            if !twins.contains(&at) {
                w.key(&member.key);
                w.copy(member.value.0);
            }
        }
        listed(w, twins.iter().map(|at| (&*members[*at].key, members[*at].value.0)), |w, raw| w.copy(raw));
        if flattened {
            w.member("Properties", |w| bag(w, event));
        }
    });
}

/// The property bag by name; a name that comes twice has a list.
fn bag(w: &mut Writer<'_>, event: &Event<'_>) {
    let mut order: Vec<&(_, _)> = event.bag.0.iter().collect();
    order.sort_by(|a, b| a.0.cmp(&b.0));
    for group in order.chunk_by(|a, b| a.0 == b.0) {
        match group {
            [(name, value)] => w.text(name, value),
            [(name, _), ..] => w.texts(name, group.iter().map(|(_, value)| &**value)),
            [] => {}
        }
    }
}

/// Members that share keys, each key once with the list of its values.
fn listed<'m>(
    w: &mut Writer<'_>,
    members: impl Iterator<Item = (&'m str, &'m str)>,
    mut write: impl FnMut(&mut Writer<'_>, &'m str),
) {
    let mut members: Vec<_> = members.collect();
    members.sort_by_key(|(key, _)| *key);
    for group in members.chunk_by(|a, b| a.0 == b.0) {
        w.key(group[0].0);
        w.array(|w| group.iter().for_each(|(_, value)| write(w, value)));
    }
}
