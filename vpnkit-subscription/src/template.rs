//! Formats of the operator's own.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value, context};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clash::{self, Dialect};
use crate::sing_box::{self, SingBoxForm};
use crate::{link, sample, xray_json};
use vpnkit_core::model::{Endpoint, Key, KeyStatus};
use vpnkit_core::subscription::percentage;
use vpnkit_core::{Error, ErrorKind, Result, Timestamp};

/// Steps that a template may take: a loop over a loop over everything ends.
const FUEL: u64 = 2_000_000;
/// How long it may take for them: some steps are dear.
const TIME: Duration = Duration::from_secs(1);
/// The longest source.
const SOURCE_MAX: usize = 256 * 1024;
/// The longest of its tags: each operator in one is a level of the compiler's stack.
const TAG_MAX: usize = 4 * 1024;
/// The longest list of numbers that it may count by.
const RANGE_MAX: usize = 1_000;
/// The deepest nesting of its blocks.
const DEPTH_MAX: usize = 50;
/// The longest text that it may write.
const WRITTEN_MAX: usize = 4 * 1024 * 1024;

thread_local! {
    /// When what this thread writes has taken too long.
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
}

fn in_time() -> Result<(), minijinja::Error> {
    match DEADLINE.get() {
        Some(deadline) if Instant::now() > deadline => {
            Err(minijinja::Error::new(minijinja::ErrorKind::OutOfFuel, "it takes too long"))
        }
        _ => Ok(()),
    }
}

/// Numbers to count by, as Jinja's; a thousand of them.
fn range(first: i64, end: Option<i64>, step: Option<i64>) -> Result<Vec<i64>, minijinja::Error> {
    let (start, end) = end.map_or((0, first), |end| (first, end));
    let step = usize::try_from(step.unwrap_or(1)).ok().filter(|step| *step > 0);
    let count = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
    match step {
        Some(step) if count / step <= RANGE_MAX => Ok((start..end).step_by(step).collect()),
        _ => Err(minijinja::Error::new(
            minijinja::ErrorKind::InvalidOperation,
            "a range has up to 1,000 numbers",
        )),
    }
}

/// What a template writes, up to a limit.
#[derive(Default)]
struct Written(Vec<u8>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        in_time().map_err(io::Error::other)?;
        if self.0.len() + bytes.len() > WRITTEN_MAX {
            return Err(io::Error::other("it writes more than 4 MiB"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Checks the shape of a source before it is compiled: the compiler's stack grows with the length of tags and the depth of
/// blocks. Follows strings, braces, comments and raw text as the compiler does.
fn check_shape(source: &str) -> Result<()> {
    let line =
        |rest: &str| source.get(..source.len() - rest.len()).unwrap_or_default().matches('\n').count() + 1;
    let fault = |rest: &str, message: &str| {
        Err(Error::invalid(SubscriptionTemplate::OP, "source", message).with("line", line(rest)))
    };
    // Of each open block how many levels it is: each `elif` is one more.
    let mut blocks: Vec<usize> = Vec::new();
    let mut rest = source;
    while let Some(start) = ["{{", "{%", "{#"].iter().filter_map(|open| rest.find(open)).min() {
        rest = rest.get(start..).unwrap_or_default();
        if rest.starts_with("{#") {
            rest = rest.find("#}").and_then(|end| rest.get(end + 2..)).unwrap_or_default();
            continue;
        }
        let length = tag_length(rest);
        if length > TAG_MAX {
            return fault(rest, "a tag has more than 4,096 characters");
        }
        let (tag, after) = rest.split_at(length);
        if tag.starts_with("{%") {
            let words = tag.get(2..).unwrap_or_default().trim_start_matches(['-', '+']).trim_start();
            let word: &str =
                words.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
            match word {
                "raw" => {
                    // Nothing of it is read, up to its end.
                    rest = after.find("endraw").and_then(|end| after.get(end..)).unwrap_or_default();
                    rest = rest.find("%}").and_then(|end| rest.get(end + 2..)).unwrap_or_default();
                    continue;
                }
                "for" | "if" | "macro" | "call" | "filter" | "with" | "block" | "autoescape" | "set" => {
                    blocks.push(1)
                }
                "elif" => blocks.iter_mut().next_back().into_iter().for_each(|levels| *levels += 1),
                word if word.starts_with("end") => drop(blocks.pop()),
                _ => {}
            }
            // Only the form without a value is a block.
            if word == "set" && words.contains('=') {
                blocks.pop();
            }
            if blocks.iter().sum::<usize>() > DEPTH_MAX {
                return fault(rest, "blocks are nested more than 50 deep");
            }
        }
        rest = after;
    }
    Ok(())
}

/// Returns the length of the tag that a text begins with, its end included; up to the end of the text when it has none.
fn tag_length(text: &str) -> usize {
    let end: &[u8] = if text.starts_with("{{") { b"}}" } else { b"%}" };
    let bytes = text.as_bytes();
    let (mut quote, mut depth, mut place) = (None, 0usize, 2);
    while let Some(&byte) = bytes.get(place) {
        match quote {
            Some(_) if byte == b'\\' => place += 1,
            Some(open) if byte == open => quote = None,
            Some(_) => {}
            None if matches!(byte, b'"' | b'\'') => quote = Some(byte),
            None if depth == 0 && bytes.get(place..place + 2) == Some(end) => return place + 2,
            None if byte == b'{' => depth += 1,
            None if byte == b'}' => depth = depth.saturating_sub(1),
            None => {}
        }
        place += 1;
    }
    text.len()
}

/// A format of the operator's own, in the language of Jinja.
///
/// It sees `title`, `url`, `now`, `notice` (lines, empty for a key that may connect), `key` (`{{ key.id }}`, `name`, `label`,
/// `status`, `used`, `{{ key.data_limit }}`, `remaining`, `percentage`, `{{ key.expires_at }}`) and `endpoints`, each
/// with `remark`, `address`, `port`, `protocol`, `transport`, `security`, `secret`, `link`, and `xray`, `clash` and
/// `{{ endpoint.sing_box }}`: the objects that these programs read, `none` where they cannot use the endpoint. Filters besides Jinja's own: `tojson`,
/// `urlencode`, `base64`. Sizes are bytes, times seconds since 1970. A name that is not there is an error.
///
/// ```
/// use vpnkit_subscription::SubscriptionTemplate;
/// let template = SubscriptionTemplate {
///     content_type: "application/json".into(),
///     source: r#"{"servers": [{% for e in endpoints %}{{ e.link|tojson }}{{ "," if not loop.last }}{% endfor %}]}"#.into(),
/// };
/// template.check()?;
/// # Ok::<(), vpnkit_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionTemplate {
    /// The media type of what it writes.
    pub content_type: String,
    /// Its text.
    pub source: String,
}

impl SubscriptionTemplate {
    const OP: &'static str = "subscriptions.put_template";

    /// Writes subscriptions with every protocol, with a notice and with nothing, for a key with limits and one without.
    /// What is said to be JSON must be.
    ///
    /// Errors: `InvalidInput` about `source` with the `line`, or about `content_type`.
    pub fn check(&self) -> Result<()> {
        let visible = self.content_type.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        if !visible || !self.content_type.contains('/') || self.content_type.len() > 100 {
            return Err(Error::invalid(Self::OP, "content_type", "must be a media type: text/plain"));
        }
        if self.source.len() > SOURCE_MAX {
            return Err(Error::invalid(Self::OP, "source", "must have up to 256 KiB"));
        }
        let mut templates = Templates::default();
        templates.add("check", self)?;
        let (all, notice) = (sample::endpoints(), sample::notice());
        // A key with everything and one with nothing; with a URL and without; of every status, since a fault may stand where
        // only a key that has ended comes.
        let every = KeyStatus::ALL.iter().flat_map(|status| {
            let of = |key: Key| Key { status: *status, ..key };
            [(of(sample::full_key()), Some("https://sub.test/s/x")), (of(sample::bare_key()), None)]
        });
        for (key, url) in every {
            for (endpoints, lines) in [(all.as_slice(), &[][..]), (&notice, &["notice"]), (&[], &["notice"])]
            {
                let view = View { key: &key, title: "VPN", url, now: Timestamp::default(), notice: lines };
                let text = templates.render("check", &view, endpoints)?.1;
                if self.content_type.contains("json") {
                    serde_json::from_str::<serde::de::IgnoredAny>(&text).map_err(|e| {
                        Error::invalid(Self::OP, "source", "does not write JSON")
                            .with("endpoints", endpoints.len())
                            .with("fault", e)
                    })?;
                }
            }
        }
        Ok(())
    }
}

/// What a template sees besides endpoints.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) key: &'a Key,
    pub(crate) title: &'a str,
    pub(crate) url: Option<&'a str>,
    pub(crate) now: Timestamp,
    pub(crate) notice: &'a [&'a str],
}

/// Templates that were checked, ready to write.
pub struct Templates {
    environment: Environment<'static>,
    types: BTreeMap<String, String>,
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.types.keys()).finish()
    }
}

impl Default for Templates {
    fn default() -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        // What lives through the turns of a loop can be doubled in each, until the memory is full.
        environment.remove_global("namespace");
        environment.add_function("range", range);
        environment.add_filter("base64", |text: String| in_time().map(|()| STANDARD.encode(text)));
        environment.add_filter("tojson", |value: Value, kwargs: minijinja::value::Kwargs| {
            in_time()?;
            minijinja::filters::tojson(&value, None, kwargs)
        });
        Self { environment, types: BTreeMap::new() }
    }
}

impl Templates {
    /// Compiles a template.
    pub fn add(&mut self, name: &str, template: &SubscriptionTemplate) -> Result<()> {
        check_shape(&template.source)?;
        self.environment
            .add_template_owned(name.to_owned(), template.source.clone())
            .map_err(|e| fault(&e))?;
        self.types.insert(name.to_owned(), template.content_type.clone());
        Ok(())
    }

    /// The media type of the template and what it writes.
    ///
    /// Errors: `NotFound`, `InvalidInput`.
    pub(crate) fn render(
        &self,
        name: &str,
        view: &View<'_>,
        endpoints: &[Endpoint],
    ) -> Result<(&str, String)> {
        let (Some(content_type), Ok(template)) = (self.types.get(name), self.environment.get_template(name))
        else {
            return Err(Error::new(ErrorKind::NotFound, "subscriptions.render", "no such template")
                .with("template", name));
        };
        let key = view.key;
        let mut written = Written::default();
        DEADLINE.set(Some(Instant::now() + TIME));
        let outcome = template.render_captured_to(context! {
            title => view.title, url => view.url, now => view.now.as_secs(), notice => view.notice.iter().map(|line| Value::from(*line)).collect::<Vec<_>>(),
            key => context! {
                id => key.id.0,
                name => key.name.as_ref().map(vpnkit_core::model::KeyName::as_str),
                label => key.label.as_deref(),
                status => key.status.code(),
                used => key.used,
                data_limit => key.data_limit.map(vpnkit_core::model::ByteSize::bytes),
                remaining => key.remaining(),
                percentage => percentage(key),
                expires_at => key.expires_at.map(Timestamp::as_secs),
            },
            endpoints => endpoints.iter().map(shown).collect::<Vec<_>>(),
        }, &mut written);
        DEADLINE.set(None);
        outcome.map(drop).map_err(|e| fault(&e))?;
        let text = String::from_utf8(written.0)
            .map_err(|_| Error::invalid(SubscriptionTemplate::OP, "source", "does not write UTF-8"))?;
        Ok((content_type.as_str(), text))
    }
}

fn shown(endpoint: &Endpoint) -> Value {
    let xray = xray_json::client(endpoint, 0).pointer("/outbounds/0").cloned();
    context! {
        remark => endpoint.remark.as_str(),
        address => endpoint.address.as_str(),
        port => endpoint.port,
        protocol => endpoint.proxy.code(),
        transport => endpoint.transport.code(),
        security => endpoint.security.code(),
        secret => endpoint.proxy.secret().expose(),
        link => link(endpoint),
        xray => Serde(xray),
        clash => Serde(clash::value(Dialect::Mihomo, endpoint)),
        sing_box => Serde(sing_box::outbound(SingBoxForm::V1_12, endpoint, &endpoint.remark)),
    }
}

/// The source is the operator's, so its own words may be repeated; nothing of a customer stands in them.
fn fault(error: &minijinja::Error) -> Error {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    let told = match (error.detail(), cause) {
        (Some(detail), _) => format!("{}: {detail}", error.kind()),
        (None, Some(cause)) => format!("{}: {cause}", error.kind()),
        (None, None) => error.kind().to_string(),
    };
    let fault = Error::invalid(SubscriptionTemplate::OP, "source", told);
    match error.line() {
        Some(line) => fault.with("line", line),
        None => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(content_type: &str, source: &str) -> SubscriptionTemplate {
        SubscriptionTemplate { content_type: content_type.into(), source: source.into() }
    }

    #[test]
    fn faults_are_found_when_a_template_is_set() {
        for (source, line) in [
            ("{% for e in endpoints %}", "1"),
            ("a\n{{ endpoints[0].nothing }}", "2"),
            ("{{ missing }}", "1"),
            ("{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}", "1"),
            ("{{ key.name|nofilter }}", "1"),
            // Not every key has a limit, an end or a name, and not every store a URL.
            ("{{ key.data_limit // 1024 }}", "1"),
            ("\n\n{{ key.name ~ '' if key.expires_at - now > 0 }}", "3"),
            ("{{ url.split('/') }}", "1"),
            // Where only some keys come.
            ("{% if key.status == 'disabled' %}{{ misspelled }}{% endif %}", "1"),
            ("{% if key.status == 'limited' %}\n{{ key.nothing.more }}{% endif %}", "2"),
        ] {
            let error = template("text/plain", source).check().unwrap_err();
            assert_eq!((error.get("field"), error.get("line")), (Some("source"), Some(line)), "{source}");
        }
        // What would overflow the stack, take the time or fill the memory of the process.
        let sum = format!("{{{{ {}1 }}}}", "1+".repeat(100_000));
        let tags = format!("{{{{ {}1 }}}}", "1+".repeat(2_000));
        let nested = format!("{}x{}", "{% if true %}".repeat(5_000), "{% endif %}".repeat(5_000));
        let deep = format!("{}x{}", "{% if true %}".repeat(45), "{% endif %}".repeat(45));
        let brackets = format!("{{{{ {}1{} }}}}", "(".repeat(2_000), ")".repeat(2_000));
        let slow = "{% for a in range(1000) %}{% for b in range(100) %}{{ endpoints|tojson|length }}{% endfor %}{% endfor %}";
        let quoted = format!("{{{{ '}}}}' ~ {}1 }}}}", "1+".repeat(100_000));
        let braced = format!("{{{{ {{'a': {{}}}} ~ {}1 }}}}", "1+".repeat(100_000));
        let elif = format!("{{% if url %}}{}{{% endif %}}", "{% elif url %}".repeat(18_000));
        let raw = format!("{}x", "{% if true %}{% raw %}{% endif %}{% endraw %}".repeat(200));
        let comment = format!("{{# {{{{ #}}{}x", "{% if true %}".repeat(200));
        let long = "{% for a in range(9000) %}{{ 'x' * 1000 if false else endpoints[0].link * 1 if false else \
                    '0123456789012345678901234567890123456789012345678901234567890123456789' }}{% endfor %}";
        template("text/plain", &deep).check().unwrap();
        for source in
            [&sum, &nested, &brackets, slow, &long.repeat(20), &quoted, &braced, &elif, &raw, &comment]
        {
            let begun = std::time::Instant::now();
            let error = template("text/plain", source).check().unwrap_err();
            assert_eq!(error.get("field"), Some("source"), "{error}");
            assert!(begun.elapsed() < Duration::from_secs(60), "it ended by itself");
        }
        let _ = template("text/plain", &tags).check();
        let broken =
            template("application/json", "[{% for e in endpoints %}{{ e.link|tojson }},{% endfor %}]");
        assert_eq!(broken.check().unwrap_err().get("field"), Some("source"));
        assert_eq!(template("plain\r\nx: y", "").check().unwrap_err().get("field"), Some("content_type"));
    }

    #[test]
    fn a_template_sees_what_the_built_in_formats_write() {
        template("text/plain", "{{ endpoints|map(attribute='link')|join('\n')|base64 }}").check().unwrap();
        let clash = "proxies: {{ endpoints|map(attribute='clash')|select|list|tojson }}";
        template("text/yaml", clash).check().unwrap();
        let json = r#"{"who": {{ key.name|tojson }}, "out": {{ endpoints|map(attribute="sing_box")|select|list|tojson }},
            "xray": {{ endpoints|map(attribute="xray")|list|tojson }}, "left": {{ key.remaining|tojson }}}"#;
        template("application/json; charset=utf-8", json).check().unwrap();
    }
}
