use std::sync::Arc;

use async_trait::async_trait;
use auditferry_contract::{options::required_text, *};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::{net::TcpStream, sync::Mutex};

pub const KIND: SinkKind = SinkKind { name: "redis", sample: include_str!("forty.toml"), check };

fn check(mut options: Options<'_>, _: &Format) -> Result<Box<dyn CheckedSink>, ConfigErrors> {
    let address = required_text(&mut options, "address").map(|text| text.value).unwrap_or_default();
    options.finalize(None)?; // reports every mistake of the table: what is missing, wrong or unknown
    Ok(Box::new(Redis(address)))
}

struct Redis(String);

#[async_trait]
impl CheckedSink for Redis {
    fn limits(&self) -> Limits {
        Limits::default()
    }

    async fn open(&self, _: Arc<dyn Env>) -> Result<Arc<dyn Sink>, SinkError> {
        let socket = TcpStream::connect(&self.0).await;
        let socket = socket.map_err(|e| SinkError::retry(format!("can't reach redis at {}: {e}", self.0)))?;
        Ok(Arc::new(Open(Mutex::new(BufReader::new(socket)))))
    }
}

struct Open(Mutex<BufReader<TcpStream>>);

#[async_trait]
impl Sink for Open {
    fn confirmation(&self) -> Confirmation {
        Confirmation::Accepted // it has it; whether it survives Redis is a matter of Redis's own settings
    }

    async fn deliver(&self, batch: Batch) -> Result<(), SinkError> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut push = format!("*{}\r\n$5\r\nRPUSH\r\n$6\r\nevents\r\n", batch.len() + 2).into_bytes();
        for message in batch.iter() {
            push.extend([format!("${}\r\n", message.body.len()).as_bytes(), &message.body, b"\r\n"].concat());
        }
        drop(batch); // it counts against the agent's memory until then
        let gone = |e| SinkError::retry(format!("the connection to redis broke: {e}"));
        let (mut redis, mut answer) = (self.0.lock().await, Vec::new());
        redis.write_all(&push).await.map_err(gone)?;
        (&mut *redis).take(1024).read_until(b'\n', &mut answer).await.map_err(gone)?;
        match answer.as_slice() {
            [b':', .., b'\r', b'\n'] => Ok(()),
            [b'-', b'O', b'O', b'M', ..] => Err(SinkError::retry("redis has no memory left")),
            [b'-', ..] => Err(SinkError::blocked("redis refuses: has `events` another type, or needs it a password?")),
            _ => Err(SinkError::retry("no answer of redis, or half of one")),
        }
    }
}
