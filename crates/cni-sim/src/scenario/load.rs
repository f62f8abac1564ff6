//! From a name or a file to a checked scenario.

use super::built_in::BUILT_IN;
use super::checks;
use super::spec::Scenario;
use cni_types::near::nearest;

/// Why a scenario cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// No built-in scenario has this name.
    #[error("unknown scenario {name:?}{meant} Available scenarios (\"demo --list\" describes them):{known}")]
    UnknownName {
        /// What was asked for.
        name: String,
        /// A question about the most similar name, if there is one.
        meant: String,
        /// All names, in lines that fit a terminal of 80 columns.
        known: String,
    },
    /// The file cannot be read.
    #[error("{file}: {source}")]
    Unreadable {
        /// Path as given.
        file: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The text is not YAML, or its keys or values are invalid.
    #[error("{file}:{line}: {message}")]
    Malformed {
        /// File or built-in name.
        file: String,
        /// 1-based; 0 when unknown.
        line: u64,
        /// What is wrong, with the place marked.
        message: String,
    },
    /// The keys are valid but contradict each other; every mistake is listed.
    #[error("{}", .0.join("\n"))]
    Contradictory(Vec<String>),
}

/// The reader's text, with the file's name in the place of its own for it.
fn in_file(text: &str, file: &str) -> String {
    text.strip_prefix("error: ").unwrap_or(text).replace("<input>", file)
}

impl Scenario {
    /// A built-in scenario.
    pub fn named(name: &str) -> Result<Self, ScenarioError> {
        let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) else {
            let meant = nearest(name, BUILT_IN.iter().map(|(known, _)| *known));
            let meant = meant.map_or_else(|| ".".to_owned(), |near| format!(": did you mean {near:?}?"));
            return Err(ScenarioError::UnknownName { name: name.to_owned(), meant, known: lines_of_names() });
        };
        Self::parse(text, &format!("{name}.yaml"))
    }

    /// A scenario file, or a built-in one if `name_or_path` is the name of one.
    pub fn load(name_or_path: &str) -> Result<Self, ScenarioError> {
        if BUILT_IN.iter().any(|(known, _)| *known == name_or_path) {
            return Self::named(name_or_path);
        }
        let path = std::path::Path::new(name_or_path);
        let looks_like_path = path.components().count() > 1 || path.extension().is_some() || path.exists();
        if !looks_like_path {
            return Self::named(name_or_path);
        }
        let text = std::fs::read_to_string(path)
            .map_err(|source| ScenarioError::Unreadable { file: name_or_path.to_owned(), source })?;
        Self::parse(&text, name_or_path)
    }

    /// Reads and checks YAML; `file` is what messages call it.
    pub fn parse(text: &str, file: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = serde_saphyr::from_str(text).map_err(|error| ScenarioError::Malformed {
            file: file.to_owned(),
            line: error.location().map_or(0, |location| location.line()),
            message: in_file(&error.to_string(), file),
        })?;
        let mistakes = checks::mistakes(&scenario, file);
        if mistakes.is_empty() { Ok(scenario) } else { Err(ScenarioError::Contradictory(mistakes)) }
    }
}

/// The names of the built-in scenarios, each line indented.
fn lines_of_names() -> String {
    const COLUMNS: usize = 80;
    let (mut lines, mut line) = (String::new(), String::new());
    for (name, _) in BUILT_IN {
        if line.is_empty() || line.len() + name.len() + 3 > COLUMNS {
            lines.push_str(&line);
            let end = if line.is_empty() { "" } else { "," };
            line = format!("{end}\n  {name}");
        } else {
            line = format!("{line}, {name}");
        }
    }
    lines + &line
}
