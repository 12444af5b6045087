//! The real file sink, in the one thread of the crash test.

use std::sync::Arc;

use async_trait::async_trait;
use auditferry_contract::{Batch, CheckedSink, Confirmation, Env, Limits, Sink, SinkError};

/// A sink whose blocking calls end before anything else goes on: a thread that answers when it likes would make the
/// order of the gates a matter of luck.
struct InPlace(Box<dyn CheckedSink>);

struct OpenInPlace(Arc<dyn Sink>);

async fn in_place<T: Send>(work: impl Future<Output = T> + Send) -> T {
    // other loops have their turn while it is under way, and may die then
    tokio::task::yield_now().await;
    std::thread::scope(|scope| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        scope.spawn(move || runtime.block_on(work)).join().unwrap()
    })
}

#[async_trait]
impl CheckedSink for InPlace {
    fn limits(&self) -> Limits {
        self.0.limits()
    }

    async fn open(&self, env: Arc<dyn Env>) -> Result<Arc<dyn Sink>, SinkError> {
        Ok(Arc::new(OpenInPlace(in_place(self.0.open(env)).await?)))
    }
}

#[async_trait]
impl Sink for OpenInPlace {
    fn confirmation(&self) -> Confirmation {
        self.0.confirmation()
    }

    async fn deliver(&self, batch: Batch) -> Result<(), SinkError> {
        in_place(self.0.deliver(batch)).await
    }
}

/// The real file sink.
pub fn file(path: &std::path::Path) -> Box<dyn CheckedSink> {
    let text = format!("path = {:?}", path.display().to_string());
    let mut value = toml_span::parse(&text).unwrap();
    let options = toml_span::de_helpers::TableHelper::new(&mut value).unwrap();
    let format =
        auditferry_contract::Format { codec: "ocsf", schema: "ocsf/1.8.0".into(), media_type: "application/json" };
    match (auditferry_sink_file::KIND.check)(options, &format) {
        Ok(checked) => Box::new(InPlace(checked)),
        Err(errors) => panic!("{errors}"),
    }
}
