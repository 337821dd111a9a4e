//! Documentation of Rust in the words of another language: links, `None`, kinds of errors.

use serde_json::Value;
use vpnkit::ErrorKind;

use super::model::camel;

/// Whose words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    Python,
    TypeScript,
}

impl Language {
    /// The class of an error.
    pub(super) fn class(kind: ErrorKind) -> String {
        match kind {
            // `TimeoutError` is Python's own.
            ErrorKind::Timeout => "OperationTimeoutError".to_owned(),
            // An operating system has one too.
            ErrorKind::Forked => "ForkError".to_owned(),
            kind => format!("{kind:?}Error"),
        }
    }

    fn raises(self) -> &'static str {
        match self {
            Self::Python => "Raises",
            Self::TypeScript => "Rejects with",
        }
    }

    /// Translates Markdown of rustdoc. The paragraphs of the result are lines of any length.
    pub(super) fn translate(self, docs: &str) -> String {
        let mut paragraphs: Vec<String> = Vec::new();
        let mut example = false;
        for part in docs.split("\n\n") {
            let fences = part.matches("```").count();
            if example || fences > 0 {
                example ^= fences % 2 == 1;
                continue;
            }
            let part = part.split_whitespace().collect::<Vec<_>>().join(" ");
            paragraphs.push(self.paragraph(&part));
        }
        paragraphs.join("\n\n")
    }

    fn paragraph(self, text: &str) -> String {
        let text = match text.strip_prefix("Errors") {
            Some(rest) => {
                let lead = if rest.starts_with(':') {
                    self.raises()
                } else {
                    self.raises().split(' ').next().unwrap_or("")
                };
                format!("{lead}{}", rest.strip_prefix(':').unwrap_or(rest))
            }
            None => text.to_owned(),
        };
        let mut words = String::new();
        let mut rest = text.as_str();
        while let Some(start) = rest.find('`') {
            let (before, code) = rest.split_at(start);
            let code = code.get(1..).unwrap_or_default();
            let (code, mut after) = code.split_once('`').unwrap_or((code, ""));
            let link = before.ends_with('[') && after.starts_with(']');
            words.push_str(before.strip_suffix('[').filter(|_| link).unwrap_or(before));
            if link {
                after = after.get(1..).unwrap_or_default();
                if let Some((_, behind)) = after.strip_prefix('(').and_then(|path| path.split_once(')')) {
                    after = behind;
                }
            }
            words.push_str(&self.code(code));
            rest = after;
        }
        words + rest
    }

    /// One word in backticks.
    fn code(self, code: &str) -> String {
        if let Some(kind) = ErrorKind::ALL.iter().find(|kind| format!("{kind:?}") == code) {
            return Self::class(*kind);
        }
        if code == "None" || code == "Patch::Clear" {
            return match self {
                Self::Python => "None".to_owned(),
                Self::TypeScript => "`null`".to_owned(),
            };
        }
        let local = code.strip_prefix("Self::");
        let path = code.rsplit("::").take(2).filter(|part| !matches!(*part, "super" | "crate" | "Self"));
        let mut path: Vec<&str> = path.collect();
        path.reverse();
        if path.len() == 2 && path.first().is_some_and(|module| module.starts_with(char::is_lowercase)) {
            path.remove(0);
        }
        let identifier = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphabetic())
                && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        // An IPv6 address has colons too.
        let is_path = code.contains("::") && code.split("::").all(identifier);
        let name = if is_path { path.join(".") } else { code.to_owned() };
        match (self, local) {
            (Self::Python, Some(method)) => format!(":meth:`{method}`"),
            (Self::Python, None) => match name.as_str() {
                "true" => "True".to_owned(),
                "false" => "False".to_owned(),
                name => format!("``{name}``"),
            },
            (Self::TypeScript, _) => {
                let identifier = |c: char| c.is_ascii_alphanumeric() || "_.[]".contains(c);
                let snake = name.contains('_')
                    && name.chars().all(identifier)
                    && (is_path || name.starts_with(char::is_lowercase));
                format!("`{}`", if snake { camel(&name) } else { name })
            }
        }
    }
}

/// Takes the examples and the links of rustdoc out of the descriptions of a JSON Schema: its readers may have neither.
pub(super) fn plain(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            for name in ["description", "docs"] {
                if let Some(Value::String(docs)) = fields.get_mut(name) {
                    *docs = without_rust(docs);
                }
            }
            fields.values_mut().for_each(plain);
        }
        Value::Array(all) => all.iter_mut().for_each(plain),
        _ => {}
    }
}

fn without_rust(docs: &str) -> String {
    let mut inside = false;
    let outside = |line: &&str| {
        let fence = line.starts_with("```");
        inside ^= fence;
        !inside && !fence
    };
    let text = docs.lines().filter(outside).collect::<Vec<_>>().join("\n");
    text.trim_end().replace("[`", "`").replace("`]", "`").replace("Self::", "").replace("crate::", "")
}

/// Breaks every paragraph into lines of at most `width` letters.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}
