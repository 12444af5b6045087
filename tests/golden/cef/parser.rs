//! Reads a line of CEF, strictly by the specification (CEF Implementation Standard v27): written from its text, shares
//! nothing with the encoder, and refuses what the specification does not allow.

/// One line, unescaped.
#[derive(Debug)]
pub(crate) struct Line {
    /// Vendor, product, version, class id, name, severity; `CEF:0` before them is checked.
    pub(crate) header: [String; 6],
    /// Keys and values in their order.
    pub(crate) pairs: Vec<(String, String)>,
}

impl Line {
    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(name, _)| name == key).map(|(_, value)| &**value)
    }
}

pub(crate) fn parse(line: &str) -> Result<Line, String> {
    let rest = line.strip_prefix("CEF:0|").ok_or("does not begin with CEF:0|")?;
    let (mut fields, mut field, mut end) = (Vec::new(), String::new(), None);
    let mut characters = rest.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => match characters.next() {
                Some((_, escaped @ ('\\' | '|'))) => field.push(escaped),
                other => return Err(format!("escape of the header at {at}: {other:?}")),
            },
            '|' => fields.push(std::mem::take(&mut field)),
            '\n' | '\r' => return Err("a line break".to_owned()),
            c => field.push(c),
        }
        if fields.len() == 6 {
            end = Some(at + 1);
            break;
        }
    }
    let end = end.ok_or("fewer than seven fields in the header")?;
    let header = fields.try_into().map_err(|_| "not six fields".to_owned())?;
    Ok(Line { header, pairs: extension(&rest[end..])? })
}

/// A key is letters and digits between a space (or the beginning) and a bare `=`; its value ends at the space before the
/// next key.
fn extension(text: &str) -> Result<Vec<(String, String)>, String> {
    let (mut signs, mut escaped) = (Vec::new(), false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '=' => signs.push(at),
            _ => {}
        }
    }
    let mut keys = Vec::new();
    for sign in signs {
        let start = text[..sign].rfind(' ').map_or(0, |space| space + 1);
        let key = &text[start..sign];
        if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(format!("a bare = that ends no key at {sign}"));
        }
        keys.push((start, sign));
    }
    if keys.first().is_none_or(|(start, _)| *start != 0) {
        return Err("the extension does not begin with a key".to_owned());
    }
    let mut pairs = Vec::new();
    for (n, (start, sign)) in keys.iter().enumerate() {
        let end = keys.get(n + 1).map_or(text.len(), |(next, _)| next - 1);
        let value = text.get(sign + 1..end).ok_or_else(|| format!("no value at {sign}"))?;
        pairs.push((text[*start..*sign].to_owned(), unescape(value)?));
    }
    Ok(pairs)
}

fn unescape(value: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut characters = value.chars();
    while let Some(c) = characters.next() {
        out.push(match c {
            '\\' => match characters.next() {
                Some('\\') => '\\',
                Some('=') => '=',
                Some('n') => '\n',
                Some('r') => '\r',
                other => return Err(format!("escape of a value: {other:?}")),
            },
            c => c,
        });
    }
    Ok(out)
}
