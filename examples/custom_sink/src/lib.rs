//! Appends each event to a list in Redis, from which Logstash and others read. A whole sink, on the contract alone.

#[allow(missing_docs, reason = "as it stands in sinks/README.md")]
pub mod forty;

use std::sync::Arc;

use async_trait::async_trait;
use auditferry_contract::{options::required_text, *};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::{net::TcpStream, sync::Mutex};

/// Kind `redis`.
pub const KIND: SinkKind = SinkKind { name: "redis", sample: include_str!("../sample.toml"), check };

fn check(mut options: Options<'_>, _: &Format) -> Result<Box<dyn CheckedSink>, ConfigErrors> {
    let address = required_text(&mut options, "address").map(|text| text.value).unwrap_or_default();
    let list = required_text(&mut options, "list").map(|text| text.value).unwrap_or_default();
    let password = options.optional("password");
    options.finalize(None)?; // reports every mistake of the table: what is missing, wrong or unknown
    Ok(Box::new(Redis { address, list, password }))
}

struct Redis {
    address: String,
    list: String,
    password: Option<SecretRef>,
}

#[async_trait]
impl CheckedSink for Redis {
    fn limits(&self) -> Limits {
        Limits::default()
    }

    fn references(&self) -> Vec<SecretRef> {
        self.password.iter().cloned().collect()
    }

    async fn open(&self, env: Arc<dyn Env>) -> Result<Arc<dyn Sink>, SinkError> {
        let connected = TcpStream::connect(&self.address).await;
        let socket = connected.map_err(|e| SinkError::retry(format!("can't reach redis at {}: {e}", self.address)))?;
        let open = Open { list: self.list.clone(), connection: Mutex::new(BufReader::new(socket)) };
        if let Some(reference) = &self.password {
            let password = env.secret(reference).await.map_err(SinkError::blocked)?;
            open.ask(command([b"AUTH", password.expose_secret().as_bytes()])).await?;
        }
        Ok(Arc::new(open))
    }
}

struct Open {
    list: String,
    connection: Mutex<BufReader<TcpStream>>,
}

#[async_trait]
impl Sink for Open {
    fn confirmation(&self) -> Confirmation {
        Confirmation::Accepted // it has it; whether it survives Redis is a matter of Redis's own settings
    }

    async fn deliver(&self, batch: Batch) -> Result<(), SinkError> {
        if batch.is_empty() {
            return Ok(());
        }
        let head: [&[u8]; 2] = [b"RPUSH", self.list.as_bytes()];
        let push = command(head.into_iter().chain(batch.iter().map(|message| message.body.as_ref())));
        drop(batch); // it counts against the agent's memory until then
        self.ask(push).await
    }
}

/// A command as Redis reads it: an array of texts, each with its length, so that a body may hold anything.
fn command<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let (mut count, mut bytes) = (0, Vec::new());
    for part in parts {
        count += 1;
        bytes.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        bytes.extend_from_slice(part);
        bytes.extend_from_slice(b"\r\n");
    }
    [format!("*{count}\r\n").into_bytes(), bytes].concat()
}

impl Open {
    /// One command, one answer. An error is an instruction to the agent; it drops this sink and opens a new one.
    async fn ask(&self, command: Vec<u8>) -> Result<(), SinkError> {
        let gone = |e| SinkError::retry(format!("the connection to redis broke: {e}"));
        let mut connection = self.connection.lock().await;
        connection.write_all(&command).await.map_err(gone)?;
        let mut answer = Vec::new();
        (&mut *connection).take(1024).read_until(b'\n', &mut answer).await.map_err(gone)?;
        let text = String::from_utf8_lossy(&answer);
        match text.split_whitespace().next().unwrap_or_default() {
            _ if !text.ends_with("\r\n") => Err(SinkError::retry("redis ended the connection before it answered")),
            word if word.starts_with([':', '+']) => Ok(()),
            word @ ("-NOAUTH" | "-WRONGPASS" | "-NOPERM" | "-WRONGTYPE") => {
                Err(SinkError::blocked(format!("redis refuses: {word}; check `password` and what `list` holds")))
            }
            word if word.starts_with('-') => Err(SinkError::retry(format!("redis can't take it now: {word}"))),
            _ => Err(SinkError::retry("the answer is none of redis: is it another service that listens there?")),
        }
    }
}
