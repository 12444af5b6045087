//! `check --connect`: tries everything that the agent will need, in the order in which it will need it, and changes nothing.
//!
//! Each source and sink is a row of steps; after a step that failed the ones that rest on it are not tried. So the first failure is the cause.

mod agent;
mod sink;
mod source;

use std::fmt::Write as _;

use auditferry_contract::code_of;
use futures_util::{StreamExt as _, stream};
use serde::Serialize;

use crate::{
    config::{Config, secret::Secrets},
    env::AgentEnv,
    world::World,
};

/// So many sources and sinks are tried at once: enough for hundreds of tenants, few enough for a proxy.
const AT_ONCE: usize = 8;

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should be.
    Ok,
    /// It works, and should be looked at.
    Warning,
    /// Nothing works like this.
    Failed,
    /// Not tried, since something before it failed.
    Skipped,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What was looked at: `clock`, `token`, `subscription Audit.General`.
    pub step: String,
    /// How it ended.
    pub state: State,
    /// The entry of the runbook.
    pub code: Option<String>,
    /// What was found, and what to do.
    pub words: String,
}

impl Step {
    fn ok(step: impl Into<String>, words: impl Into<String>) -> Step {
        Step { step: step.into(), state: State::Ok, code: None, words: words.into() }
    }

    fn warning(step: impl Into<String>, code: &str, words: impl Into<String>) -> Step {
        Step { step: step.into(), state: State::Warning, code: Some(code.to_owned()), words: words.into() }
    }

    fn failed(step: impl Into<String>, code: &str, words: impl Into<String>) -> Step {
        let words = words.into();
        // words that rest on another cause may have its code already
        let words = words.strip_suffix(&format!(" [{code}]")).map_or(words.as_str(), |bare| bare).to_owned();
        Step { step: step.into(), state: State::Failed, code: Some(code.to_owned()), words }
    }

    /// Words of a cause, which end with their code.
    fn cause(step: impl Into<String>, words: &str) -> Step {
        let code = code_of(words).map(str::to_owned);
        let bare = code.as_ref().map_or(words, |code| &words[..words.len() - code.len() - 3]);
        Step { step: step.into(), state: State::Failed, code, words: bare.to_owned() }
    }

    fn skipped(step: impl Into<String>, why: &str) -> Step {
        Step { step: step.into(), state: State::Skipped, code: None, words: format!("not tried: {why}") }
    }
}

/// The steps of one source, of one sink, or of the agent itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tried {
    /// `agent`, `source` or `sink`.
    pub table: &'static str,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// In order.
    pub steps: Vec<Step>,
}

impl Tried {
    /// False when a step failed.
    pub fn works(&self) -> bool {
        self.steps.iter().all(|step| step.state != State::Failed)
    }

    fn whose(&self) -> String {
        self.name.as_ref().map_or(self.table.to_owned(), |name| format!("{} `{name}`", self.table))
    }

    fn complaints(&self, state: State, kind: &str) -> String {
        let mut text = String::new();
        for step in self.steps.iter().filter(|step| step.state == state) {
            let code = step.code.as_ref().map_or(String::new(), |code| format!(" [{code}]"));
            let _ = writeln!(text, "{kind}: {}, {}: {}{code}", self.whose(), step.step, step.words);
        }
        text
    }
}

/// Tries everything that the configuration names.
pub async fn run(config: &Config, world: &World) -> Vec<Tried> {
    let env = AgentEnv::new(world.clone(), Secrets::default());
    let mut all = vec![agent::look(config)];
    let sources = config.sources.iter().map(|source| source::look(source, world, &env));
    let sources: Vec<Tried> = stream::iter(sources).buffered(AT_ONCE).collect().await;
    let sinks = config.sinks.iter().map(|sink| sink::look(sink, world, &env));
    let sinks: Vec<Tried> = stream::iter(sinks).buffered(AT_ONCE).collect().await;
    all.extend(sources);
    all.extend(sinks);
    all
}

/// What failed, each on a line that says what to do.
pub fn failures(tried: &[Tried]) -> String {
    tried.iter().map(|tried| tried.complaints(State::Failed, "error")).collect()
}

/// What works and should be looked at, likewise.
pub fn warnings(tried: &[Tried]) -> String {
    tried.iter().map(|tried| tried.complaints(State::Warning, "warning")).collect()
}

/// Every step on a line.
pub fn text(tried: &[Tried]) -> String {
    let mut text = String::new();
    for tried in tried {
        let name = tried.name.as_ref().map_or(String::new(), |name| format!(" {name}"));
        let _ = writeln!(text, "{}{name}", tried.table);
        for step in &tried.steps {
            let state = match step.state {
                State::Ok => "ok",
                State::Warning => "look",
                State::Failed => "FAILS",
                State::Skipped => "-",
            };
            let code = step.code.as_ref().map_or(String::new(), |code| format!(" [{code}]"));
            let _ = writeln!(text, "  {state:<5} {:<28} {}{code}", step.step, step.words);
        }
        text.push('\n');
    }
    let warned = tried.iter().flat_map(|tried| &tried.steps).any(|step| step.state == State::Warning);
    text.push_str(match (tried.iter().all(Tried::works), warned) {
        (true, false) => "everything that the agent needs was there\n",
        (true, true) => {
            "nothing fails; what is marked `look` is not sure. Each code in brackets has its entry in docs/runbook.md\n"
        }
        (false, _) => "what fails is above; each code in brackets has its entry in docs/runbook.md\n",
    });
    text
}

#[cfg(test)]
mod tests;
