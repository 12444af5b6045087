//! What the reports of one batch mean to the agent. Pure.
//!
//! A batch can end in several ways at once. The rules, first that fits:
//!
//! 1. All stored: `Ok`.
//! 2. Something that takes a person (topic, permission, login). Nothing of the batch was stored: `Blocked`. Something was: `Retry` of the
//!    rest with the same words, so that what is stored is not sent again; the rest, alone, is `Blocked` next time.
//! 3. A message that is known to be the culprit: `Refused`, and the rest of what was not stored is untaken.
//! 4. Messages among which the culprit is: `Refused` without a name, so that the agent halves.
//! 5. Anything else passes: `Retry`. An error that nobody has thought of is among it: it costs time, never a message.

use auditferry_contract::{Cause, Refusal, SinkError};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::context::{Fault, FaultKind};

/// What became of one message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Report {
    /// Nothing is known yet.
    Waiting,
    /// All in-sync replicas have it.
    Stored,
    /// It is larger than `max_message`: librdkafka did not take it, and no other message has to do with it.
    TooLarge,
    /// Not stored, or not known to be.
    Failed(RDKafkaErrorCode),
}

impl Report {
    /// The report that an error of librdkafka is.
    pub fn of(error: &KafkaError) -> Report {
        Report::Failed(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail))
    }
}

/// One ended call.
#[derive(Debug)]
pub struct Ended<'a> {
    /// By position in the batch.
    pub reports: &'a [Report],
    /// Whether no other call ran meanwhile: then a refused producer batch held nothing else.
    pub alone: bool,
    /// What ended the producer, if anything did.
    pub fault: Option<&'a Fault>,
    /// Why connections failed, if any did.
    pub last_words: Option<&'a str>,
    /// The brokers of the options, for the words.
    pub brokers: &'a str,
    /// The destination's topic, for the words.
    pub topic: &'a str,
}

/// What a code asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Class {
    Person,
    Suspect,
    Passing,
}

fn class(code: RDKafkaErrorCode) -> Class {
    use RDKafkaErrorCode::*;
    match code {
        UnknownTopicOrPartition | UnknownTopic | UnknownPartition | InvalidTopic => Class::Person,
        TopicAuthorizationFailed | ClusterAuthorizationFailed | TransactionalIdAuthorizationFailed => Class::Person,
        Authentication | SaslAuthenticationFailed | UnsupportedSASLMechanism | IllegalSASLState | SSL => Class::Person,
        UnsupportedFeature | UnsupportedVersion | UnsupportedCompressionType | UnsupportedForMessageFormat => {
            Class::Person
        }
        SecurityDisabled | PolicyViolation | InvalidTimestamp | InvalidRequiredAcks | InvalidConfig => Class::Person,
        // the broker's answer is about a producer batch, and any message of it may be the reason
        MessageSizeTooLarge | MessageBatchTooLarge | InvalidMessageSize | InvalidRecord => Class::Suspect,
        _ => Class::Passing,
    }
}

/// True when the broker's refusal is about a producer batch, so that the culprit has to be looked for.
pub fn casts_doubt(report: &Report) -> bool {
    matches!(report, Report::Failed(code) if class(*code) == Class::Suspect)
}

/// The agent's instruction.
///
/// # Errors
/// Whatever was not stored, as the module's rules have it.
pub fn verdict(ended: &Ended<'_>) -> Result<(), SinkError> {
    let positions = |wanted: &dyn Fn(&Report) -> bool| -> Vec<usize> {
        ended.reports.iter().enumerate().filter(|(_, report)| wanted(report)).map(|(at, _)| at).collect()
    };
    let untaken = positions(&|report| *report != Report::Stored);
    if untaken.is_empty() {
        return Ok(());
    }
    let nothing_stored = untaken.len() == ended.reports.len();
    // empty says "all", which is shorter and right
    let rest = |untaken: Vec<usize>| if nothing_stored { Vec::new() } else { untaken };

    if let Some(cause) = takes_a_person(ended) {
        if nothing_stored {
            return Err(SinkError::Blocked { cause });
        }
        return Err(SinkError::Retry { untaken, after: None, cause });
    }
    let suspects = positions(&casts_doubt);
    let mut culprits = positions(&|report| *report == Report::TooLarge);
    if ended.alone && ended.reports.len() == 1 {
        culprits.extend(&suspects);
    }
    if !culprits.is_empty() {
        let refused = |&position: &usize| {
            let cause = words(ended.reports[position], ended);
            Refusal { position, cause }
        };
        let refused: Vec<_> = culprits.iter().map(refused).collect();
        let cause = refused[0].cause.clone();
        let untaken = untaken.into_iter().filter(|position| !culprits.contains(position)).collect();
        return Err(SinkError::Refused { refused, untaken, cause });
    }
    let first = suspects.first().or(untaken.first()).map_or(Report::Waiting, |at| ended.reports[*at]);
    let cause = words(first, ended);
    if suspects.is_empty() || ended.reports.len() == 1 {
        // a single message whose producer batch may have held those of other calls is offered again, alone
        return Err(SinkError::Retry { untaken: rest(untaken), after: None, cause });
    }
    Err(SinkError::Refused { refused: Vec::new(), untaken: rest(untaken), cause })
}

/// The words of what takes a person, if anything does.
fn takes_a_person(ended: &Ended<'_>) -> Option<Cause> {
    if let Some(fault) = ended.fault
        && fault.kind != FaultKind::Fatal
    {
        return Some(fault_words(fault));
    }
    let found = ended.reports.iter().find(|r| matches!(r, Report::Failed(code) if class(*code) == Class::Person))?;
    Some(words(*found, ended))
}

/// A fault as an error when nothing of a batch was stored, or no batch is concerned.
pub fn fault_error(fault: &Fault) -> SinkError {
    match fault.kind {
        FaultKind::Fatal => SinkError::retry(fault_words(fault)),
        FaultKind::Login | FaultKind::Tls | FaultKind::Denied => SinkError::blocked(fault_words(fault)),
    }
}

/// A fatal error: some are a permission that is missing (the producer's id is asked for before the first message), and a new producer
/// would meet the same.
pub fn fatal(code: RDKafkaErrorCode, words: &str, topic: &str) -> Fault {
    let kind = if class(code) == Class::Person { FaultKind::Denied } else { FaultKind::Fatal };
    Fault { kind, words: code_words(code, topic).unwrap_or_else(|| one_line(words)) }
}

/// A fault in words.
pub fn fault_words(fault: &Fault) -> Cause {
    let words = &fault.words;
    match fault.kind {
        FaultKind::Login => Cause::coded(
            "KafkaLogin",
            format_args!("kafka refused the login: {words}; check `sasl`, and the user on the brokers"),
        ),
        FaultKind::Tls => Cause::coded(
            "KafkaTls",
            format_args!(
                "no tls with kafka: {words}; `ca` must be the authority that signed the brokers' certificates, each broker's certificate \
                 must be for the name it advertises, and brokers that ask for a client certificate need `certificate` and `key`"
            ),
        ),
        // these words have their code
        FaultKind::Denied => Cause(words.clone()),
        FaultKind::Fatal => Cause(format!("the kafka producer can't go on and is replaced: {words}")),
    }
}

/// A code in words; `None` where there is nothing better than librdkafka's own.
pub fn code_words(code: RDKafkaErrorCode, topic: &str) -> Option<String> {
    use RDKafkaErrorCode::*;
    let words = match code {
        UnknownTopicOrPartition | UnknownTopic | UnknownPartition => format!(
            "kafka knows no topic {topic}, or not that partition: create it, or let this user describe it; it is never created on the way"
        ),
        InvalidTopic => format!("kafka can't have a topic named {topic}: choose another `topic`"),
        TopicAuthorizationFailed => {
            format!("kafka refused: this user may not write to topic {topic}; allow WRITE and DESCRIBE on it")
        }
        ClusterAuthorizationFailed => "kafka refused: this user may not write idempotently; brokers before 2.8 need \
             IDEMPOTENT_WRITE on the cluster"
            .to_string(),
        UnsupportedCompressionType | UnsupportedForMessageFormat => {
            format!("topic {topic} takes no records of this compression: set `compression`, \"none\" for event hubs")
        }
        UnsupportedFeature | UnsupportedVersion => {
            "the brokers are too old for idempotent producers: kafka 0.11 and later can".to_string()
        }
        PolicyViolation => format!("a policy of the brokers refuses records in topic {topic}: ask who runs them"),
        InvalidTimestamp => format!(
            "topic {topic} refuses the time of sending: set this machine's clock, or look at the topic's message.timestamp.*"
        ),
        MessageSizeTooLarge | MessageBatchTooLarge | InvalidMessageSize => {
            format!("too large for topic {topic}: raise its max.message.bytes, or lower `max_message`")
        }
        InvalidRecord => format!("the brokers call the record invalid for topic {topic}: see their log for the reason"),
        MessageTimedOut => "no broker confirmed it in time, so it may be stored or not: it is sent again".to_string(),
        QueueFull => "librdkafka's queue is full, so it was not handed over".to_string(),
        PurgeQueue | PurgeInflight => "the producer was closed before kafka confirmed it".to_string(),
        NotEnoughReplicas | NotEnoughReplicasAfterAppend => {
            format!("too few in-sync replicas for topic {topic}: it goes on by itself once they are back")
        }
        _ => return None,
    };
    Some(match entry(code) {
        Some(entry) => Cause::coded(entry, words).0,
        None => words,
    })
}

/// Under which code the runbook has it.
fn entry(code: RDKafkaErrorCode) -> Option<&'static str> {
    use RDKafkaErrorCode::*;
    Some(match code {
        UnknownTopicOrPartition | UnknownTopic | UnknownPartition | InvalidTopic => "KafkaTopic",
        TopicAuthorizationFailed | ClusterAuthorizationFailed => "KafkaAuthorization",
        UnsupportedCompressionType | UnsupportedForMessageFormat => "KafkaCompression",
        UnsupportedFeature | UnsupportedVersion => "KafkaVersion",
        PolicyViolation | InvalidRecord | InvalidTimestamp => "KafkaRecord",
        MessageSizeTooLarge | MessageBatchTooLarge | InvalidMessageSize => "KafkaTooLarge",
        NotEnoughReplicas | NotEnoughReplicasAfterAppend => "KafkaReplicas",
        _ => return None,
    })
}

fn words(report: Report, ended: &Ended<'_>) -> Cause {
    let topic = ended.topic;
    match report {
        Report::TooLarge => Cause(
            "larger than `max_message` with its key and headers: raise it, and the topic's max.message.bytes".into(),
        ),
        Report::Failed(RDKafkaErrorCode::MessageTimedOut) => {
            let known = code_words(RDKafkaErrorCode::MessageTimedOut, topic).unwrap_or_default();
            let why = ended.last_words.unwrap_or(
                "they accept connections and do not answer, or the leader of its partition, or replicas of it, are missing",
            );
            Cause(format!("{known}; of kafka at {}: {why}", ended.brokers))
        }
        Report::Failed(RDKafkaErrorCode::Fatal) if ended.fault.is_some() => {
            ended.fault.map_or_else(|| Cause::from("the kafka producer is replaced"), fault_words)
        }
        Report::Failed(code) => Cause(
            code_words(code, topic)
                .unwrap_or_else(|| format!("kafka did not take it: {}", one_line(&code.to_string()))),
        ),
        Report::Waiting | Report::Stored => match ended.fault {
            Some(fault) => fault_words(fault),
            None => Cause::from("kafka has not confirmed it"),
        },
    }
}

/// Words from outside, fit to be shown: one line of at most 400 characters.
pub fn one_line(words: &str) -> String {
    let line: String = words.chars().take(400).map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.trim().to_string()
}

#[cfg(test)]
mod tests {
    use RDKafkaErrorCode::*;

    use super::*;

    const S: Report = Report::Stored;

    fn f(code: RDKafkaErrorCode) -> Report {
        Report::Failed(code)
    }

    /// The verdict in short: what, whom it refuses, whom it leaves untaken.
    fn short(reports: &[Report], alone: bool, fault: Option<FaultKind>) -> (&'static str, Vec<usize>, Vec<usize>) {
        let fault = fault.map(|kind| Fault { kind, words: "said librdkafka".into() });
        let fault = fault.as_ref();
        let ended = Ended { reports, alone, fault, last_words: None, brokers: "k:9092", topic: "audit" };
        match verdict(&ended) {
            Ok(()) => ("ok", vec![], vec![]),
            Err(SinkError::Retry { untaken, .. }) => ("retry", vec![], untaken),
            Err(SinkError::Blocked { .. }) => ("blocked", vec![], vec![]),
            Err(SinkError::Refused { refused, untaken, .. }) => {
                ("refused", refused.iter().map(|r| r.position).collect(), untaken)
            }
        }
    }

    #[test]
    fn one_verdict_for_a_batch() {
        let no = Vec::new;
        for (reports, expected) in [
            (vec![S, S], ("ok", no(), no())),
            (vec![f(MessageTimedOut), f(MessageTimedOut)], ("retry", no(), no())),
            (vec![S, f(MessageTimedOut), S], ("retry", no(), vec![1])),
            (vec![S, f(NotLeaderForPartition), f(PurgeQueue)], ("retry", no(), vec![1, 2])),
            (vec![f(TopicAuthorizationFailed), f(UnknownPartition)], ("blocked", no(), no())),
            (vec![f(MessageTimedOut), f(UnknownTopicOrPartition)], ("blocked", no(), no())),
            (vec![f(UnsupportedForMessageFormat)], ("blocked", no(), no())),
            // with something stored, the rest is sent alone, and blocked then
            (vec![S, f(TopicAuthorizationFailed), f(MessageTimedOut)], ("retry", no(), vec![1, 2])),
            // a fault of configuration is never the messages'
            (vec![Report::TooLarge, f(TopicAuthorizationFailed)], ("blocked", no(), no())),
            (vec![S, f(MessageSizeTooLarge), f(TopicAuthorizationFailed)], ("retry", no(), vec![1, 2])),
            (vec![S, Report::TooLarge, f(MessageTimedOut)], ("refused", vec![1], vec![2])),
            (vec![Report::TooLarge, f(MessageSizeTooLarge), f(MessageSizeTooLarge)], ("refused", vec![0], vec![1, 2])),
            (vec![f(MessageSizeTooLarge), f(MessageSizeTooLarge)], ("refused", no(), no())),
            (vec![S, f(MessageSizeTooLarge), f(MessageTimedOut)], ("refused", no(), vec![1, 2])),
            (vec![S, f(InvalidRecord), f(InvalidDifferentRecord)], ("refused", no(), vec![1, 2])),
            (vec![f(InvalidDifferentRecord)], ("retry", no(), no())),
            (vec![f(MessageSizeTooLarge)], ("retry", no(), no())),
            (vec![S, Report::Waiting], ("retry", no(), vec![1])),
            (vec![f(Unknown), f(CriticalSystemResource)], ("retry", no(), no())),
        ] {
            assert_eq!(short(&reports, false, None), expected, "{reports:?}");
        }
        assert_eq!(short(&[f(MessageSizeTooLarge)], true, None), ("refused", vec![0], vec![]));
        assert_eq!(short(&[f(InvalidRecord)], true, None), ("refused", vec![0], vec![]));
        assert_eq!(short(&[f(MessageTimedOut)], true, None), ("retry", vec![], vec![]));
    }

    #[test]
    fn a_fault_speaks_for_what_has_no_report() {
        for kind in [FaultKind::Login, FaultKind::Tls, FaultKind::Denied] {
            assert_eq!(short(&[Report::Waiting, f(MessageTimedOut)], false, Some(kind)).0, "blocked");
            assert_eq!(short(&[S, Report::Waiting], false, Some(kind)), ("retry", vec![], vec![1]));
            assert_eq!(short(&[S, S], false, Some(kind)).0, "ok");
        }
        assert_eq!(short(&[Report::Waiting, f(Fatal)], false, Some(FaultKind::Fatal)), ("retry", vec![], vec![]));
    }

    #[test]
    fn fatal_errors_that_a_new_producer_would_meet_again_are_blocked() {
        let denied = fatal(ClusterAuthorizationFailed, "no id", "audit");
        assert!(matches!(fault_error(&denied), SinkError::Blocked { cause } if cause.0.contains("IDEMPOTENT_WRITE")));
        let passing = fatal(OutOfOrderSequenceNumber, "desynchronized", "audit");
        assert!(matches!(fault_error(&passing), SinkError::Retry { cause, .. } if cause.0.ends_with("desynchronized")));
    }

    #[test]
    fn words_are_one_line_for_every_code() {
        for code in (-200..140).filter_map(|n| rdkafka::types::RDKafkaRespErr::try_from(n).ok()) {
            let code = RDKafkaErrorCode::from(code);
            let ended =
                Ended { reports: &[], alone: false, fault: None, last_words: None, brokers: "k:9092", topic: "audit" };
            let cause = words(Report::Failed(code), &ended).0;
            assert!(cause.len() > 10 && !cause.contains('\n') && !cause.contains("  "), "{code:?}: {cause}");
        }
        assert_eq!(one_line(" a\r\nb\u{1b}[0m "), "a  b [0m");
        assert_eq!(one_line(&"\u{6f22}".repeat(900)).chars().count(), 400);
    }
}
