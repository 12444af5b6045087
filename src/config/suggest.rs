//! "Did you mean": the nearest of a few known words.

/// The known word that `word` most likely was meant to be, if one is near enough to be worth a line.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|k| (likeness(&word, &k.to_lowercase().replace('-', "_")), k))
        .filter(|(likeness, _)| *likeness >= 0.75)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, k)| k)
}

/// 0 to 1; letters that changed places count once, a common beginning counts for more.
fn likeness(a: &str, b: &str) -> f64 {
    let edits = strsim::normalized_damerau_levenshtein(a, b);
    // jaro-winkler alone finds words alike that only share letters, so a few edits must do as well
    if edits >= 0.5 { edits.max(strsim::jaro_winkler(a, b)) } else { edits }
}

/// A hint out of [`nearest`], else the list of what is known.
pub fn hint(word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["state_dir", "listen", "body_budget", "log"];
        for (word, near) in
            [("statedir", "state_dir"), ("listen", "listen"), ("budget", "body_budget"), ("body-budget", "body_budget")]
        {
            assert_eq!(nearest(word, known), if word == "budget" { None } else { Some(near) }, "{word}");
        }
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("splunk-hec", ["splunk_hec", "syslog"]), Some("splunk_hec"));
    }
}
