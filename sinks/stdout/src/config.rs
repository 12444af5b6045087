//! No options of its own: what is left in the table is a mistake.

use std::sync::Arc;

use async_trait::async_trait;
use auditferry_contract::{CheckedSink, ConfigErrors, Confirmation, Env, Format, Limits, Options, Sink, SinkError};

use crate::sink::Stdout;

pub fn check(options: Options<'_>, _: &Format) -> Result<Box<dyn CheckedSink>, ConfigErrors> {
    options.finalize(None)?;
    Ok(Box::new(Checked))
}

struct Checked;

#[async_trait]
impl CheckedSink for Checked {
    fn limits(&self) -> Limits {
        Limits::default()
    }

    fn promise(&self) -> Option<Confirmation> {
        Some(Confirmation::Sent)
    }

    async fn open(&self, _: Arc<dyn Env>) -> Result<Arc<dyn Sink>, SinkError> {
        Stdout::open().map(|sink| Arc::new(sink) as Arc<dyn Sink>)
    }
}
