//! Bad configuration, exact text. Each `cases/NAME.toml` has its `cases/NAME.txt`; a case of several files is a folder `cases/NAME/`.
//!
//! `UPDATE_EXPECTED=1 cargo test --test config_errors` writes the texts anew; read the difference before committing it.

mod command;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use auditferry::{
    config::{self, SourceFile},
    sinks,
};

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config_errors/cases")
}

/// Name of each case, and its files with the names that the texts show.
fn all_cases() -> BTreeMap<String, Vec<SourceFile>> {
    let mut all = BTreeMap::<String, Vec<SourceFile>>::new();
    for entry in fs::read_dir(cases()).expect("the cases are there") {
        let path = entry.expect("readable").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let files = if path.is_dir() {
            let mut files: Vec<_> =
                fs::read_dir(&path).expect("readable").map(|e| e.expect("readable").path()).collect();
            files.sort();
            files
        } else if path.extension().is_some_and(|e| e == "toml") {
            vec![path]
        } else {
            continue;
        };
        for file in files {
            let text = fs::read_to_string(&file).expect("UTF-8");
            let shown = file.file_name().expect("a name").into();
            all.entry(name.clone()).or_default().push(SourceFile { path: shown, text });
        }
    }
    all
}

#[test]
fn every_mistake_has_its_text() {
    let all = all_cases();
    assert!(all.len() >= 20, "only {} cases found", all.len());
    let mut wrong = Vec::new();
    for (name, files) in all {
        let text = match config::parse(files, &sinks::registry()) {
            Ok(config) => panic!("{name}: no mistake was found: {config:?}"),
            Err(report) => report.to_string(),
        };
        assert!(!text.contains("hunter2"), "{name}: a secret is shown:\n{text}");
        let path = cases().join(format!("{name}.txt"));
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&path, &text).expect("written");
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        if text != expected {
            wrong.push(format!("== {name}: expected\n{expected}\n== got\n{text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The mistakes of a file must not depend on how its bytes happen to be broken: nothing here may panic.
#[test]
fn no_mangled_file_is_too_much() {
    let registry = sinks::registry();
    for (name, files) in all_cases() {
        for file in files {
            let text = &file.text;
            for text in
                [text.replace('\n', "\r\n"), text.replace(' ', "\t"), format!("\u{feff}{text}"), text.replace('"', "'")]
            {
                let mangled = SourceFile { path: name.clone().into(), text };
                let shown =
                    config::parse(vec![mangled], &registry).err().map_or(String::new(), |report| report.to_string());
                assert!(!shown.contains("hunter2"), "{shown}");
            }
            for at in (0..text.len()).step_by(7).filter(|at| text.is_char_boundary(*at)) {
                for patch in ["", "\"", "[", "\u{fc}", "= {", "\n"] {
                    let text = format!("{}{patch}{}", &text[..at], &text[at..].chars().skip(1).collect::<String>());
                    let mangled = SourceFile { path: name.clone().into(), text };
                    if let Err(report) = config::parse(vec![mangled], &registry) {
                        assert!(!report.to_string().is_empty());
                    }
                }
            }
        }
    }
}
