//! The sink: batches to lines, off the runtime's threads.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use auditferry_contract::{Batch, Confirmation, Sink, SinkError};
use tokio::task::spawn_blocking;

use crate::append::Appender;

/// A call that the agent abandons goes on to its end on its thread and keeps the lock until then; a sink opened
/// meanwhile is told so and comes again. Killed in the middle, it leaves a torn line, which the next `open` cuts off.
pub struct FileSink {
    appender: Arc<Mutex<Appender>>,
}

impl FileSink {
    pub async fn open(path: PathBuf, mode: u32) -> Result<Self, SinkError> {
        let appender = spawn_blocking(move || Appender::open(path, mode)).await.map_err(|_| cut_off())??;
        Ok(FileSink { appender: Arc::new(Mutex::new(appender)) })
    }
}

#[async_trait]
impl Sink for FileSink {
    fn confirmation(&self) -> Confirmation {
        Confirmation::Stored
    }

    async fn deliver(&self, batch: Batch) -> Result<(), SinkError> {
        if batch.is_empty() {
            return Ok(());
        }
        let lines = batch.lines()?;
        // the copy takes its place in memory, and one call runs at a time
        drop(batch);
        let appender = self.appender.clone();
        let append = move || appender.lock().unwrap_or_else(PoisonError::into_inner).append(&lines);
        spawn_blocking(append).await.map_err(|_| cut_off())?
    }
}

fn cut_off() -> SinkError {
    SinkError::retry("the write was cut off: the agent is stopping")
}
