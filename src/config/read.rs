//! Readers of the agent's own tables, beside those of the contract: choices, GUIDs, origins, names.

use auditferry_contract::{
    Options, is_loopback,
    options::{mistake, text},
    toml_span::{Deserialize, Spanned, Value, value::ValueInner},
};
use url::Url;

use super::suggest;

/// One of a few words.
pub fn choice<T: Copy>(table: &mut Options<'_>, name: &'static str, known: &[(&str, T)]) -> Option<T> {
    let words: Vec<_> = known.iter().map(|(word, _)| *word).collect();
    if let Some(given) = table.table.get(name).filter(|given| given.as_str().is_none()) {
        let what = format!("`{name}` can't be {}", given.as_ref().type_str());
        let (span, hint) = (given.span, format!("one of: \"{}\"", words.join("\", \"")));
        let _ = table.take(name);
        table.errors.push(mistake(span, &what, &hint));
        return None;
    }
    let value = text(table, name)?;
    let found = known.iter().find(|(word, _)| *word == value.value).map(|(_, t)| *t);
    if found.is_none() {
        let what = format!("`{name}` can't be `{}`", printable(&value.value));
        table.errors.push(mistake(value.span, &what, &suggest::hint(&value.value, &words)));
    }
    found
}

/// A GUID in lower case. Spaces around it are cut off: a pasted one must not break every request.
pub fn guid(table: &mut Options<'_>, name: &'static str, hint: &str) -> Option<Spanned<String>> {
    let value = table.optional_s::<String>(name)?;
    let guid = value.value.trim().to_ascii_lowercase();
    let dashes = |(i, c): (usize, char)| if matches!(i, 8 | 13 | 18 | 23) { c == '-' } else { c.is_ascii_hexdigit() };
    if guid.len() == 36 && guid.char_indices().all(dashes) && guid.contains(|c| c != '0' && c != '-') {
        return Some(Spanned::with_span(guid, value.span));
    }
    table.errors.push(mistake(value.span, &format!("`{name}` is not a GUID"), hint));
    None
}

/// A name: what logs, metrics and the ledger call it.
pub fn name(table: &mut Options<'_>) -> Option<Spanned<String>> {
    let value = auditferry_contract::options::required_text(table, "name")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if value.value.len() <= 64 && value.value.chars().all(fits) {
        return Some(value);
    }
    let hint = "at most 64 of: letters, digits, `-`, `_`, `.`; it stands in logs, metrics and the ledger";
    table.errors.push(mistake(value.span, "not a usable name", hint));
    None
}

/// An origin (scheme, host, port): https, or http to this machine.
pub fn origin(table: &mut Options<'_>, name: &'static str) -> Option<Url> {
    let value = text(table, name)?;
    let wrong = match Url::parse(&value.value) {
        Err(error) => Some((format!("`{name}` is not a URL: {error}"), "write it as \"https://host\"")),
        Ok(url) => match url.scheme() {
            "https" if bare(&url) => return Some(url),
            "http" if bare(&url) && url.host_str().is_some_and(is_loopback) => return Some(url),
            "http" if bare(&url) => Some((
                format!("`{name}` is plain http to another machine"),
                "the bearer token would travel in clear: use https",
            )),
            "http" | "https" => {
                Some((format!("`{name}` is more than an origin"), "only scheme, host and port: \"https://host:port\""))
            }
            other => Some((format!("`{name}` can't be `{other}`"), "use https")),
        },
    };
    if let Some((what, hint)) = wrong {
        table.errors.push(mistake(value.span, &what, hint));
    }
    None
}

/// A proxy: http or https, without a password in it.
pub fn proxy(table: &mut Options<'_>, name: &'static str) -> Option<Url> {
    let value = text(table, name)?;
    let (what, hint) = match Url::parse(&value.value) {
        Err(error) => (format!("`{name}` is not a URL: {error}"), "write it as \"http://host:port\""),
        Ok(url) if bare(&url) && matches!(url.scheme(), "http" | "https") => return Some(url),
        Ok(url) if !url.username().is_empty() || url.password().is_some() => (
            format!("`{name}` holds a user or password"),
            "a proxy with a password is not supported; secrets never stand in the configuration",
        ),
        Ok(_) => (format!("`{name}` must be an http or https origin"), "write it as \"http://host:port\""),
    };
    table.errors.push(mistake(value.span, &what, hint));
    None
}

fn bare(url: &Url) -> bool {
    let user = !url.username().is_empty() || url.password().is_some();
    !user && url.host().is_some() && matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none()
}

/// An element of a list, with its place.
pub struct Item<T>(pub Spanned<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Item<T> {
    fn deserialize(value: &mut Value<'de>) -> Result<Self, auditferry_contract::ConfigErrors> {
        Spanned::deserialize(value).map(Item)
    }
}

/// A list that holds something, each element with its place. Repeated elements and an empty list are mistakes.
pub fn list<'de, T: Deserialize<'de> + PartialEq>(
    table: &mut Options<'de>,
    name: &'static str,
    empty: &str,
) -> Option<Vec<Spanned<T>>> {
    let items = table.optional_s::<Vec<Item<T>>>(name)?;
    if items.value.is_empty() {
        table.errors.push(mistake(items.span, &format!("`{name}` is empty"), empty));
        return None;
    }
    let mut list: Vec<Spanned<T>> = Vec::new();
    for Item(item) in items.value {
        if list.iter().any(|known| known.value == item.value) {
            table.errors.push(mistake(item.span, &format!("`{name}` names this twice"), ""));
        } else {
            list.push(item);
        }
    }
    Some(list)
}

/// A table inside a table.
pub fn table<'de>(outer: &mut Options<'de>, name: &'static str) -> Option<Options<'de>> {
    let (_, mut value) = outer.take(name)?;
    if let ValueInner::Table(_) = value.as_ref() {
        return Options::new(&mut value).ok();
    }
    let what = format!("`{name}` must be a table, found {}", value.as_ref().type_str());
    outer.errors.push(mistake(value.span, &what, &format!("write {name} = {{ … }}")));
    None
}

/// A user's text, short and in one line, for a message.
pub fn printable(text: &str) -> String {
    let mut short: String = text.chars().take(40).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().nth(40).is_some() {
        short.push('…');
    }
    short
}
