//! A broker that looks into what is produced: the mock cluster looks into no message, so its front door does.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, spawn_blocking},
};

use super::{Code, Kafka};

/// Kafka's number of the request that brings messages (protocol guide, "API Keys").
const PRODUCE: [u8; 2] = 0_i16.to_be_bytes();
/// Where the cluster listens, and this.
const HOST: &str = "127.0.0.1";
/// The longest request or answer that is passed on, bytes.
const LONGEST: usize = 64 << 20;

/// In front of a cluster of one broker. A request to produce in which a text stands is answered with an error, whole, as a broker
/// answers: it names no message. It sees what is not compressed, of producers that want an answer (any `acks` but 0).
#[derive(Debug)]
pub struct Inspector {
    address: SocketAddr,
    rule: Arc<Rule>,
    listening: AbortHandle,
}

#[derive(Debug)]
struct Rule {
    kafka: Arc<Kafka>,
    /// The port of the broker, and ours.
    ports: (u16, u16),
    refused: Mutex<Option<(Vec<u8>, Code)>>,
    /// The cluster refuses the next request to produce, whosever it is: one at a time.
    turn: tokio::sync::Mutex<()>,
}

impl Inspector {
    /// Listens in front of `kafka`, and lets everything pass. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// No free port, or the cluster has several brokers: they would be talked to past this door.
    #[expect(clippy::disallowed_methods, reason = "a receiver for tests is no part of the agent")]
    pub async fn start(kafka: Arc<Kafka>) -> io::Result<Inspector> {
        let listener = TcpListener::bind((HOST, 0)).await?;
        let address = listener.local_addr()?;
        let brokers = kafka.bootstrap_servers();
        let port = brokers.strip_prefix(HOST).and_then(|rest| rest.strip_prefix(':')?.parse().ok());
        let port = port.ok_or_else(|| io::Error::other(format!("not one broker on {HOST}: {brokers}")))?;
        let rule = Arc::new(Rule {
            kafka,
            ports: (port, address.port()),
            refused: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        });
        let listening = tokio::spawn(listen(listener, rule.clone())).abort_handle();
        Ok(Inspector { address, rule, listening })
    }

    /// Where clients connect to.
    pub fn bootstrap_servers(&self) -> String {
        self.address.to_string()
    }

    /// From the next request on, refuses with `code` what holds `text`.
    pub fn refuse(&self, text: &str, code: Code) {
        *self.rule.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some((text.into(), code));
    }

    /// From the next request on, lets everything pass.
    pub fn pass(&self) {
        *self.rule.refused.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Drop for Inspector {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, rule: Arc<Rule>) {
    // aborted with this task
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => {
                // an error here is one client's (it left before it was taken)
                let Ok((stream, _)) = accepted else { continue };
                let rule = rule.clone();
                // tidy: as above. How a connection ends is the clients' affair, as with a broker
                connections.spawn(async move { drop(rule.serve(stream).await) });
            }
        }
    }
}

impl Rule {
    /// One request after the other, so that an error that the cluster is told to give meets the request that it is for.
    async fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let mut broker = TcpStream::connect((HOST, self.ports.0)).await?;
        client.set_nodelay(true)?;
        broker.set_nodelay(true)?;
        let (theirs, ours) = (named(self.ports.0), named(self.ports.1));
        loop {
            let request = frame(&mut client).await?;
            let mut answer = {
                let _turn = if request.starts_with(&PRODUCE) { Some(self.turn.lock().await) } else { None };
                if request.starts_with(&PRODUCE)
                    && let Some(code) = self.refusal(&request)
                {
                    let kafka = self.kafka.clone();
                    spawn_blocking(move || kafka.refuse(code, 1)).await?;
                }
                pass_on(&mut broker, &request).await?;
                frame(&mut broker).await?
            };
            for at in find(&answer, &theirs) {
                answer[at..at + ours.len()].copy_from_slice(&ours);
            }
            pass_on(&mut client, &answer).await?;
        }
    }

    fn refusal(&self, request: &[u8]) -> Option<Code> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let (text, code) = refused.as_ref()?;
        (!find(request, text).is_empty()).then_some(*code)
    }
}

/// A broker in an answer to a request for metadata: its host, and right behind it the port in four bytes.
fn named(port: u16) -> Vec<u8> {
    [HOST.as_bytes(), &u32::from(port).to_be_bytes()].concat()
}

fn find(bytes: &[u8], part: &[u8]) -> Vec<usize> {
    let Some(first) = part.first() else { return Vec::new() };
    let begins = bytes.iter().enumerate().filter(|(_, byte)| *byte == first).map(|(at, _)| at);
    begins.filter(|at| bytes[*at..].starts_with(part)).collect()
}

async fn frame(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u32().await? as usize;
    if length > LONGEST {
        return Err(io::Error::other("a frame out of hand"));
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).await?;
    Ok(frame)
}

async fn pass_on(stream: &mut TcpStream, frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), frame].concat()).await
}
