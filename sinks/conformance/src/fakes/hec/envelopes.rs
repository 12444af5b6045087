//! A strict reader of concatenated envelopes, of its own: it shares nothing with the sink that writes them.

use std::collections::BTreeMap;

use auditferry_contract::EventId;
use serde_json::{StreamDeserializer, de::SliceRead, value::RawValue};

use super::Behaviour;

/// One event of a request.
#[derive(Debug)]
pub(super) struct Taken {
    /// From the indexed field `event_id`.
    pub id: Option<EventId>,
    /// The text of `event` as it stood there; of a JSON string, what it says.
    pub body: Vec<u8>,
}

/// Why Splunk stops at an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stop {
    /// Splunk's code.
    pub code: u16,
    /// The number that comes along: the position from 0, but for code 7, where it is one more.
    pub invalid: usize,
}

/// Everything before the first bad event, and why it is bad. `told` gets what Splunk would let pass and our client should not do.
pub(super) fn read(body: &[u8], behaviour: &Behaviour, told: &mut impl FnMut(String)) -> (Vec<Taken>, Option<Stop>) {
    let mut taken = Vec::new();
    let envelopes: StreamDeserializer<'_, SliceRead<'_>, BTreeMap<String, &RawValue>> =
        serde_json::Deserializer::from_slice(body).into_iter();
    for (at, envelope) in envelopes.enumerate() {
        let one = envelope.map_err(|_| 6).and_then(|members| one(&members, behaviour, told));
        match one {
            Ok(event) => taken.push(event),
            Err(code) => return (taken, Some(Stop { code, invalid: if code == 7 { at + 1 } else { at } })),
        }
    }
    (taken, None)
}

fn one(
    members: &BTreeMap<String, &RawValue>,
    behaviour: &Behaviour,
    told: &mut impl FnMut(String),
) -> Result<Taken, u16> {
    for name in members.keys() {
        if !["time", "host", "source", "sourcetype", "index", "event", "fields"].contains(&name.as_str()) {
            told(format!("an envelope has the unknown member {name}"));
        }
    }
    match members.get("time") {
        None => told("an envelope has no time: Splunk would take the time of arrival".to_string()),
        Some(time) if !plain_number(time.get()) => return Err(15),
        Some(_) => {}
    }
    for name in ["host", "source", "sourcetype", "index"] {
        let text = members.get(name).map(|value| serde_json::from_str::<String>(value.get()));
        match text {
            Some(Err(_)) => return Err(6),
            Some(Ok(text)) if text.is_empty() => told(format!("an envelope has an empty {name}")),
            Some(Ok(index))
                if name == "index" && behaviour.indexes.as_ref().is_some_and(|known| !known.contains(&index)) =>
            {
                return Err(7);
            }
            _ => {}
        }
    }
    let event = members.get("event").ok_or(12_u16)?.get();
    let body = match event.as_bytes().first() {
        Some(b'"') => serde_json::from_str::<String>(event).map_err(|_| 6_u16)?.into_bytes(),
        _ if event == "null" => return Err(12),
        _ => event.as_bytes().to_vec(),
    };
    if body.is_empty() || body == b"{}" {
        return Err(13);
    }
    if let Some(poison) = &behaviour.poison
        && body.windows(poison.len().max(1)).any(|part| part == poison.as_bytes())
    {
        return Err(6);
    }
    let fields = members.get("fields").map_or("{}", |fields| fields.get());
    if fields.starts_with('[') {
        return Err(6);
    }
    let fields: BTreeMap<String, Flat> = serde_json::from_str(fields).map_err(|_| 15_u16)?;
    let id = match fields.get("event_id") {
        Some(Flat::One(id)) => id.parse().ok(),
        _ => None,
    };
    if id.is_none() {
        told("an event has no event id in its fields".to_string());
    }
    Ok(Taken { id, body })
}

/// What an indexed field can be.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Flat {
    One(String),
    Many(#[expect(dead_code, reason = "only its shape counts")] Vec<String>),
}

/// Digits, perhaps a sign, perhaps a point and digits; no exponent.
fn plain_number(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    match unsigned.split_once('.') {
        None => digits(unsigned),
        Some((whole, part)) => digits(whole) && digits(part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01234567-89ab-8def-8123-456789abcdef";

    fn good(event: &str) -> String {
        format!("{{\"time\":1.5,\"index\":\"a\",\"event\":{event},\"fields\":{{\"event_id\":\"{ID}\"}}}}")
    }

    fn codes(body: &str) -> (usize, Option<(u16, usize)>, usize) {
        let behaviour =
            Behaviour { indexes: Some(vec!["a".into()]), poison: Some("bad".into()), ..Behaviour::default() };
        let mut told = 0;
        let (taken, stop) = read(body.as_bytes(), &behaviour, &mut |_| told += 1);
        (taken.len(), stop.map(|s| (s.code, s.invalid)), told)
    }

    #[test]
    fn bodies_come_out_as_they_went_in() {
        let body = good("{\"a\": 1.0,\"a\":\"\\u0041\"}") + &good("\"CEF:0|a\\\"b\"");
        let (taken, stop) = read(body.as_bytes(), &Behaviour::default(), &mut |what| panic!("{what}"));
        assert_eq!(stop, None);
        let bodies: Vec<_> = taken.iter().map(|t| String::from_utf8_lossy(&t.body).into_owned()).collect();
        assert_eq!(bodies, ["{\"a\": 1.0,\"a\":\"\\u0041\"}", "CEF:0|a\"b"]);
        assert_eq!(taken[0].id.map(|id| id.to_string()).as_deref(), Some(ID));
    }

    #[test]
    fn it_stops_where_splunk_stops() {
        let one = good("1");
        let after_one = |bad: &str| codes(&format!("{one}{bad}"));
        assert_eq!(codes(""), (0, None, 0));
        assert_eq!(after_one(""), (1, None, 0));
        assert_eq!(after_one("{\"time\":1,"), (1, Some((6, 1)), 0));
        assert_eq!(after_one("[1]"), (1, Some((6, 1)), 0));
        assert_eq!(after_one(&good("\"bad\"")), (1, Some((6, 1)), 0));
        assert_eq!(after_one("{\"time\":1}"), (1, Some((12, 1)), 0));
        assert_eq!(after_one(&good("\"\"")), (1, Some((13, 1)), 0));
        assert_eq!(after_one(&good("1").replace("\"a\"", "\"b\"")), (1, Some((7, 2)), 0));
        for time in ["1e3", "\"1\"", "1.5E2", "null"] {
            assert_eq!(after_one(&good("1").replace("1.5", time)), (1, Some((15, 1)), 0), "{time}");
        }
        assert_eq!(after_one(&good("1").replace(&format!("\"{ID}\""), "{\"a\":\"b\"}")), (1, Some((15, 1)), 0));
        assert_eq!(after_one("{\"time\":1,\"event\":1,\"fields\":[]}"), (1, Some((6, 1)), 0));
        // passes, but is told
        assert_eq!(after_one("{\"event\":1,\"more\":1}"), (2, None, 3));
    }
}
