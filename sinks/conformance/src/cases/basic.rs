//! The ordinary course: everything is taken.

use std::time::Duration;

use auditferry_contract::{Options, toml_span};

use crate::{
    Destination,
    messages::{all_of_unicode, cut, padded, small},
    trial::{Trial, checked, format},
};

pub async fn sample(to: &dyn Destination) -> bool {
    let kind = to.kind();
    let mut root = toml_span::parse(kind.sample).unwrap_or_else(|error| panic!("sample: not TOML: {error}"));
    let Some(table) = root.pointer_mut("/sink/0") else { panic!("sample: no [[sink]]") };
    let mut table = Options::new(table).unwrap_or_else(|error| panic!("sample: {error}"));
    assert_eq!(table.optional::<String>("kind").as_deref(), Some(kind.name), "sample: another kind");
    for key in ["name", "codec", "raw_data", "start", "sources", "filter", "batch"] {
        let _ = table.take(key);
    }
    if let Err(errors) = (kind.check)(table, &format()) {
        panic!("sample: refused: {errors}");
    }
    let unknown = checked(to, &format!("no_such_option = 1\n{}", to.options()));
    assert!(unknown.is_err_and(|e| e.contains("no_such_option")), "sample: an unknown option is taken");
    true
}

pub async fn limits(to: &dyn Destination) -> bool {
    let limits = Trial::new("limits", to).sink.limits();
    assert!(limits.message_bytes >= 1024, "limits: {limits:?}");
    assert!(limits.batch_bytes >= 1024 && limits.batch_messages >= 1, "limits: {limits:?}");
    assert!(limits.in_flight >= 1 && (1..=limits.in_flight).contains(&limits.in_hand), "limits: {limits:?}");
    assert!(limits.deadline >= Duration::from_secs(1), "limits: {limits:?}");
    true
}

pub async fn all_taken(to: &dyn Destination) -> bool {
    let trial = Trial::new("all taken", to);
    let sink = trial.open().await;
    let mut sent = Vec::new();
    for round in 0..60 {
        let bodies = small(&format!("all taken {round}"), trial.at_most(1 + round * 7 % 50));
        trial.deliver(sink.as_ref(), &bodies).await;
        sent.extend(bodies);
        // after `Ok`, not some time later
        trial.exactly(&sent).await;
        assert!(!trial.is_lost(sink.as_ref()).await, "all taken: the sink gives its connection up though it is good");
    }
    true
}

pub async fn empty(to: &dyn Destination) -> bool {
    let trial = Trial::new("empty batch", to);
    let sink = trial.open().await;
    trial.deliver(sink.as_ref(), &[]).await;
    // something behind it, so that a destination that says nothing can be seen to have got that and no more
    let bodies = small("empty batch", 1);
    trial.deliver(sink.as_ref(), &bodies).await;
    trial.exactly(&bodies).await;
    true
}

pub async fn unicode(to: &dyn Destination) -> bool {
    let trial = Trial::new("all of unicode", to);
    let sink = trial.open().await;
    let limits = trial.sink.limits();
    let bodies = all_of_unicode(limits.message_bytes);
    for part in cut(&bodies, &limits) {
        trial.deliver(sink.as_ref(), part).await;
    }
    trial.exactly(&bodies).await;
    true
}

pub async fn largest(to: &dyn Destination) -> bool {
    let trial = Trial::new("largest message", to);
    let sink = trial.open().await;
    let bodies = vec![padded("largest message", 0, trial.sink.limits().message_bytes)];
    trial.deliver(sink.as_ref(), &bodies).await;
    trial.exactly(&bodies).await;
    true
}

pub async fn largest_batch(to: &dyn Destination) -> bool {
    let trial = Trial::new("largest batch", to);
    let limits = trial.sink.limits();
    let sink = trial.open().await;
    // as many as fit, then as much as fits
    let many = small("largest batch", limits.batch_messages.min(limits.batch_bytes / 64));
    let each = limits.message_bytes.min(limits.batch_bytes / limits.batch_messages.min(4));
    let count = (limits.batch_bytes / each).min(limits.batch_messages);
    let much: Vec<_> = (0..count).map(|n| padded("largest batch", n, each)).collect();
    trial.deliver(sink.as_ref(), &many).await;
    trial.deliver(sink.as_ref(), &much).await;
    trial.exactly(&[many, much].concat()).await;
    true
}
