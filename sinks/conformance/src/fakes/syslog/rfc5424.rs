//! RFC 5424 read strictly, after the grammar of its §6; it knows nothing of the sink's code.

/// One PARAM: its name, and its value without the escapes.
pub type Parameter = (String, String);

/// A message taken apart; `None` where the nil value `-` stood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// 0 to 23.
    pub facility: u8,
    /// 0 (worst) to 7.
    pub severity: u8,
    /// As written.
    pub timestamp: Option<String>,
    /// Who sent it.
    pub hostname: Option<String>,
    /// Which program.
    pub app_name: Option<String>,
    /// Which run of it.
    pub proc_id: Option<String>,
    /// Kind of message.
    pub msg_id: Option<String>,
    /// Structured data: SD-ID and parameters, in order.
    pub data: Vec<(String, Vec<Parameter>)>,
    /// What stands behind, any octets.
    pub message: Vec<u8>,
}

impl Record {
    /// The first parameter of this name in the element whose SD-ID begins with `element`.
    pub fn parameter(&self, element: &str, name: &str) -> Option<&str> {
        let (_, parameters) = self.data.iter().find(|(id, _)| id.starts_with(element))?;
        parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Takes a message apart.
///
/// # Errors
/// It breaks the grammar; the words say where.
pub fn parse(message: &[u8]) -> Result<Record, String> {
    let mut rest = Rest(message);
    rest.expect(b'<')?;
    let priority = rest.until(b'>', "PRI")?;
    let digits = priority.bytes().all(|b| b.is_ascii_digit()) && (priority == "0" || !priority.starts_with('0'));
    let priority: u8 = priority.parse().ok().filter(|n| digits && *n <= 191).ok_or(format!("PRI is {priority}"))?;
    if rest.until(b' ', "VERSION")? != "1" {
        return Err("VERSION is not 1".into());
    }
    let timestamp = rest.field("TIMESTAMP", 32)?;
    if let Some(text) = &timestamp {
        moment(text)?;
    }
    let hostname = rest.field("HOSTNAME", 255)?;
    let app_name = rest.field("APP-NAME", 48)?;
    let proc_id = rest.field("PROCID", 128)?;
    let msg_id = rest.field("MSGID", 32)?;
    let data = if rest.0.first() == Some(&b'-') { rest.skip(1, Vec::new()) } else { rest.elements()? };
    let message = match rest.0 {
        [] => Vec::new(),
        [b' ', message @ ..] => message.to_vec(),
        _ => return Err("something else than a space behind the structured data".into()),
    };
    let (facility, severity) = (priority / 8, priority % 8);
    Ok(Record { facility, severity, timestamp, hostname, app_name, proc_id, msg_id, data, message })
}

/// FULL-DATE "T" FULL-TIME, no leap second, `Z` or an offset, one to six digits of a second.
fn moment(text: &str) -> Result<(), String> {
    let wrong = || format!("TIMESTAMP is {text}");
    let bytes = text.as_bytes();
    let number = |at: usize, width: usize| {
        let digits = bytes.get(at..at + width).filter(|d| d.iter().all(u8::is_ascii_digit)).ok_or_else(wrong)?;
        Ok::<u32, String>(digits.iter().fold(0, |n, d| n * 10 + u32::from(d - b'0')))
    };
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    let in_range = (1..=12).contains(&number(5, 2)?)
        && (1..=31).contains(&number(8, 2)?)
        && number(11, 2)? < 24
        && number(14, 2)? < 60
        && number(17, 2)? < 60;
    number(0, 4)?;
    if !in_range || marks.iter().any(|(at, mark)| bytes.get(*at) != Some(mark)) {
        return Err(wrong());
    }
    let mut zone = &bytes[19..];
    if let [b'.', fraction @ ..] = zone {
        let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
        if !(1..=6).contains(&digits) {
            return Err(wrong());
        }
        zone = &fraction[digits..];
    }
    match zone {
        b"Z" => Ok(()),
        [b'+' | b'-', a, b, b':', c, d] if [a, b, c, d].iter().all(|digit| digit.is_ascii_digit()) => Ok(()),
        _ => Err(wrong()),
    }
}

/// What has not been read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn skip<T>(&mut self, count: usize, then: T) -> T {
        self.0 = &self.0[count..];
        then
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        match self.0.first() {
            Some(first) if *first == byte => self.skip(1, Ok(())),
            other => Err(format!("expected {:?}, found {:?}", byte as char, other.map(|b| *b as char))),
        }
    }

    /// Text up to `end`, which is read, too.
    fn until(&mut self, end: u8, what: &str) -> Result<&'a str, String> {
        let all = self.0;
        let at = all.iter().take(512).position(|b| *b == end).ok_or(format!("{what} has no end"))?;
        self.skip(at + 1, ());
        std::str::from_utf8(&all[..at]).map_err(|_| format!("{what} is not text"))
    }

    /// A field of the header and the space behind it: 1 to `most` octets of `%d33-126`.
    fn field(&mut self, what: &str, most: usize) -> Result<Option<String>, String> {
        let text = self.until(b' ', what)?;
        if text.is_empty() || text.len() > most || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(format!("{what} is {:?}", text));
        }
        Ok((text != "-").then(|| text.to_string()))
    }

    /// SD-NAME: 1 to 32 octets of `%d33-126` without `=`, `]` and `"`.
    fn name(&mut self, ends: &[u8]) -> Result<String, String> {
        let length = self.0.iter().position(|b| ends.contains(b)).ok_or("a name in the structured data has no end")?;
        let name = &self.0[..length];
        let fits = |b: &u8| b.is_ascii_graphic() && !matches!(b, b'=' | b']' | b'"');
        if !(1..=32).contains(&length) || !name.iter().all(fits) {
            return Err(format!("a name in the structured data is {}", name.escape_ascii()));
        }
        Ok(self.skip(length, String::from_utf8_lossy(name).into_owned()))
    }

    fn elements(&mut self) -> Result<Vec<(String, Vec<Parameter>)>, String> {
        let mut elements: Vec<(String, Vec<Parameter>)> = Vec::new();
        self.expect(b'[')?;
        loop {
            let id = self.name(b" ]")?;
            if elements.iter().any(|(known, _)| *known == id) {
                return Err(format!("SD-ID {id} stands twice"));
            }
            let mut parameters = Vec::new();
            while self.0.first() == Some(&b' ') {
                self.skip(1, ());
                let name = self.name(b"=")?;
                self.expect(b'=')?;
                self.expect(b'"')?;
                parameters.push((name, self.value()?));
            }
            self.expect(b']')?;
            elements.push((id, parameters));
            if self.0.first() != Some(&b'[') {
                return Ok(elements);
            }
            self.skip(1, ());
        }
    }

    /// PARAM-VALUE up to and with its closing quote. A backslash in front of anything but `"`, `\` and `]` stands for itself (§6.3.3),
    /// and whoever sends one has forgotten to escape it: an error here.
    fn value(&mut self) -> Result<String, String> {
        let mut value = Vec::new();
        loop {
            match self.0 {
                [b'"', ..] => {
                    self.skip(1, ());
                    return String::from_utf8(value).map_err(|_| "a value in the structured data is not UTF-8".into());
                }
                [b'\\', escaped @ (b'"' | b'\\' | b']'), ..] => {
                    value.push(*escaped);
                    self.skip(2, ());
                }
                [bare @ (b'\\' | b']'), ..] => return Err(format!("{:?} is not escaped in a value", *bare as char)),
                [other, ..] => {
                    value.push(*other);
                    self.skip(1, ());
                }
                [] => return Err("a value in the structured data has no end".into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc() {
        // RFC 5424 §6.5, examples 1 to 4
        let first = parse("<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \u{feff}'su root' failed for lonvick on /dev/pts/8".as_bytes()).expect("example 1");
        assert_eq!((first.facility, first.severity, first.proc_id), (4, 2, None));
        assert!(first.message.starts_with(b"\xef\xbb\xbf'su root'") && first.msg_id.as_deref() == Some("ID47"));
        let second = parse(
            b"<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts.",
        )
        .expect("example 2");
        assert_eq!((second.facility, second.severity, second.data.len()), (20, 5, 0));
        let third = parse(b"<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut=\"3\" eventSource=\"Application\" eventID=\"1011\"] An application event log entry...").expect("example 3");
        assert_eq!(third.parameter("exampleSDID@", "eventID"), Some("1011"));
        let fourth = parse(b"<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut=\"3\" eventSource=\"Application\" eventID=\"1011\"][examplePriority@32473 class=\"high\"]").expect("example 4");
        assert_eq!((fourth.data.len(), fourth.message.len()), (2, 0));
    }

    #[test]
    fn escapes_are_taken_back() {
        let record = parse("<0>1 - - - - - [a@1 x=\"\\\"\\\\\\]ü\" y=\"\"] m".as_bytes()).expect("good");
        assert_eq!(record.data, [("a@1".into(), vec![("x".into(), "\"\\]ü".into()), ("y".into(), String::new())])]);
    }

    #[test]
    fn what_breaks_the_grammar_is_refused() {
        for message in [
            "",
            "14>1 - - - - - -",
            "<192>1 - - - - - -",
            "<014>1 - - - - - -",
            "<+1>1 - - - - - -",
            "<14>2 - - - - - -",
            "<14>1 - - - - -",
            "<14>1  - - - - - -",
            "<14>1 - h\u{fc} - - - -",
            "<14>1 - - - - 012345678901234567890123456789012 -",
            "<14>1 2026-11-25T09:00:00 - - - - -",
            "<14>1 2026-11-25t09:00:00Z - - - - -",
            "<14>1 2026-11-25T09:00:60Z - - - - -",
            "<14>1 2026-13-25T09:00:00Z - - - - -",
            "<14>1 2026-11-25T09:00:00.1234567Z - - - - -",
            "<14>1 2026-11-25T09:00:00.Z - - - - -",
            "<14>1 - - - - - -m",
            "<14>1 - - - - - [a x=\"1\"",
            "<14>1 - - - - - [a x=1] m",
            "<14>1 - - - - - [a x=\"]\"] m",
            "<14>1 - - - - - [a x=\"\\n\"] m",
            "<14>1 - - - - - [a x=\"\"\"] m",
            "<14>1 - - - - - [a][a] m",
            "<14>1 - - - - - [] m",
            "<14>1 - - - - - [a  x=\"1\"] m",
        ] {
            assert!(parse(message.as_bytes()).is_err(), "{message}");
        }
        assert!(parse(b"<14>1 - - - - - [a x=\"\xff\"] m").is_err());
    }
}
