//! What to write where a key of a sink is missing: as the sink kind's own sample has it.

use auditferry_contract::{
    options::mistake,
    toml_span::{
        self, Error, ErrorKind, Value,
        value::{Table, ValueInner},
    },
};

/// The error, and for a missing key the line that the kind's sample has there.
pub(super) fn with_example(error: Error, sample: &str) -> Error {
    let ErrorKind::MissingField(name) = error.kind else { return error };
    match line(sample, name) {
        Some(line) => mistake(error.span, &format!("`{name}` is missing in this table"), &format!("add {line}")),
        None => error,
    }
}

/// `name = …` out of a sample; a key of a table in the sink's table is looked for there too.
fn line(sample: &str, name: &str) -> Option<String> {
    let root = toml_span::parse(sample).ok()?;
    let sink = root.pointer("/sink/0")?.as_table()?;
    Some(format!("{name} = {}", written(find(sink, name)?)))
}

fn find<'t, 'de>(table: &'t Table<'de>, name: &str) -> Option<&'t Value<'de>> {
    table.get(name).or_else(|| table.values().filter_map(Value::as_table).find_map(|inner| find(inner, name)))
}

/// A value as it is written in a file.
fn written(value: &Value<'_>) -> String {
    match value.as_ref() {
        ValueInner::String(text) => format!("\"{text}\""),
        ValueInner::Integer(number) => number.to_string(),
        ValueInner::Float(number) => number.to_string(),
        ValueInner::Boolean(yes) => yes.to_string(),
        ValueInner::Array(items) => format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(", ")),
        ValueInner::Table(table) => {
            let mut keys: Vec<_> = table.iter().collect();
            // as the file has them, not by the alphabet
            keys.sort_by_key(|(key, _)| key.span.start);
            let pairs: Vec<_> = keys.iter().map(|(key, value)| format!("{} = {}", key.name, written(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str =
        "[[sink]]\nname = \"x\"\nports = [1, 2]\ntls = true\nlogin = { user = \"u\", word = { file = \"/w\" } }";

    #[test]
    fn a_line_is_written_as_the_sample_has_it() {
        for (name, expected) in [
            ("name", Some("name = \"x\"")),
            ("ports", Some("ports = [1, 2]")),
            ("tls", Some("tls = true")),
            ("login", Some("login = { user = \"u\", word = { file = \"/w\" } }")),
            ("user", Some("user = \"u\"")),
            ("word", Some("word = { file = \"/w\" }")),
            ("other", None),
        ] {
            assert_eq!(line(SAMPLE, name).as_deref(), expected);
        }
        assert_eq!(line("no TOML", "name"), None);
    }
}
